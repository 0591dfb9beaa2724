"""Where a model runs and in which precision."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from dnatk.errors import ModelError
from dnatk.model.cpus import is_intel, usable

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(device: str = "auto") -> torch.device:
    """The torch device of ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; it must be there."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("cpu")
    try:
        place = torch.device(device)
    except RuntimeError:
        raise ModelError(f"no device '{device}'", hint="auto, cpu, cuda, cuda:0 or mps") from None
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(place.type, 0)
    if (place.index or 0) >= count:
        raise ModelError(
            f"device '{device}' is not here",
            hint=f"torch sees {torch.cuda.device_count()} CUDA device(s); use --device cpu",
        )
    return place


def bf16_units(device: torch.device) -> str:
    """What multiplies bf16 here more quickly than fp32, in words; "" where nothing does.

    On a CPU amx_tile, or avx512_bf16 of other makes than Intel's: on Intel's cores that is half as
    quick as fp32 (measured: docs/performance.md). On CUDA a compute capability of 8.0 or more.
    """
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"compute capability {major}.{minor}" if (major, minor) >= (8, 0) else ""
    if device.type == "cpu":
        there = [name for name in ("amx_tile", "avx512_bf16") if _has(name)]
        return "" if there == ["avx512_bf16"] and is_intel() else " and ".join(there)
    return ""


def _has(instructions: str) -> bool:
    probe = getattr(torch.cpu, f"_is_{instructions}_supported", None)  # not in every torch
    return probe is not None and probe()


def precision_reason(device: torch.device) -> str:
    """Why ``auto`` chooses as it does on ``device``, in words."""
    if units := bf16_units(device):
        return f"bf16 is native here ({units})"
    if device.type == "cpu" and _has("avx512_bf16"):
        return "avx512_bf16 of Intel's CPUs is slower than fp32, and there is no amx_tile"
    if device.type == "cuda":
        return "bf16 is native from compute capability 8.0 on, this GPU is older"
    if device.type == "cpu":
        return "this CPU has neither avx512_bf16 nor amx_tile: bf16 would be emulated, slower"
    return f"bf16 is not used on {device.type}"


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of ``auto`` (bf16 where quicker, else fp32), ``fp32``, ``bf16`` or ``fp16``."""
    if precision == "auto":
        return torch.bfloat16 if bf16_units(device) else torch.float32
    if precision == "fp16" and device.type == "cpu":
        raise ModelError(
            "fp16 on a CPU is refused: no CPU computes it natively, it is hundreds of times "
            "slower than bf16 or fp32",
            hint="use --precision auto; --dtype float16 still stores float16",
        )
    try:
        return PRECISIONS[precision]
    except KeyError:
        raise ModelError(f"no precision '{precision}'", hint="auto, fp32, bf16 or fp16") from None


@contextmanager
def quick_products(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """fp32 products on a CPU through oneDNN while this lasts, where these are true fp32.

    torch's "medium" precision hands them over and lets them use bf16 units; on many CPUs they use
    fp32 all the same and are quicker. A probe tells.
    """
    if device.type != "cpu" or dtype != torch.float32 or not _medium_is_fp32():
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def packed_weight(weight_OD: torch.Tensor) -> torch.Tensor | None:
    """A bf16 weight on a CPU as oneDNN lays it out, for ``mkldnn._linear_pointwise``; else None.

    torch's own linear does that at every call, which costs 6 % of a forward. The operators are
    those that torch.compile uses; where a torch has others, or they give other numbers, None.
    """
    if weight_OD.device.type != "cpu" or weight_OD.dtype != torch.bfloat16 or not _can_pack():
        return None
    return torch.ops.mkldnn._reorder_linear_weight(weight_OD)


@cache
def _can_pack() -> bool:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(32, 64, generator=generator).bfloat16() for _ in range(2))
    bias = torch.zeros(32, dtype=torch.bfloat16)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        found = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    wanted = x.double() @ weight.double().T
    return bool((found - wanted).norm() < 1e-2 * wanted.norm())


@cache
def _medium_is_fp32() -> bool:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = a @ b
    finally:
        torch.set_float32_matmul_precision(before)
    # fp32 is off by 4e-7 here, bf16 factors by 2e-3.
    return bool((found - exact).norm() < 1e-5 * exact.norm())


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on ``device`` for which neither side waits: through pinned memory on CUDA."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def default_threads() -> int:
    """The share of the usable cores that is this process's own."""
    # torchrun says how many processes share the machine.
    return max(1, usable() // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


def prepare_cpu(threads: int | None) -> int:
    """Use ``threads`` CPU threads in all (None: its share of those this process may run on).

    The process also keeps the memory of tensors that are gone, for those to come: glibc hands
    large pieces back at once, and the kernel clears each page anew, up to 10 % of a forward.
    """
    threads = default_threads() if threads is None else threads
    torch.set_num_threads(threads)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        libc.mallopt(mmap_threshold, 32 << 20)
        libc.mallopt(trim_threshold, 1 << 30)
    return threads


def release_memory() -> None:
    """Give the system what :func:`prepare_cpu` keeps of tensors that are gone.

    In a long training every batch has other sizes, and the pieces that none fits in pile up.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
