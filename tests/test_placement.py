"""Devices, precisions, threads, and quicker products only where they are true fp32."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from dnatk.errors import ModelError
from dnatk.model import cpus, placement
from dnatk.model.cpus import affinity
from dnatk.model.placement import (
    bf16_units,
    packed_weight,
    prepare_cpu,
    quick_products,
    resolve_device,
    resolve_precision,
    to_device,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def settings_are_put_back():
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    yield
    assert torch.get_float32_matmul_precision() == precision
    torch.set_num_threads(threads)


@pytest.fixture
def probe(monkeypatch):
    """``probe(answer)``: what the probe of "medium" says."""

    def call(answer: bool) -> None:
        monkeypatch.setattr(placement, "_medium_is_fp32", lambda: answer)

    return call


# Quick products


def test_quick_products_last_as_long_as_they_are_asked_for(probe):
    probe(True)
    with quick_products(CPU, torch.float32):
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, torch.OutOfMemoryError])
def test_an_error_puts_the_setting_back(probe, error):
    probe(True)
    with pytest.raises(error), quick_products(CPU, torch.float32):
        raise error
    assert torch.get_float32_matmul_precision() == "highest"


def test_what_was_set_before_comes_back(probe):
    probe(True)
    torch.set_float32_matmul_precision("high")
    try:
        with quick_products(CPU, torch.float32):
            pass
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("device", "dtype", "answer"),
    [
        (CPU, torch.bfloat16, True),
        (CPU, torch.float32, False),
        (torch.device("cuda"), torch.float32, True),
        (torch.device("cuda"), torch.bfloat16, True),
        (torch.device("mps"), torch.float32, True),
    ],
)
def test_where_quick_products_are_not_used(probe, device, dtype, answer):
    probe(answer)
    with quick_products(device, dtype):
        assert torch.get_float32_matmul_precision() == "highest"


def test_only_fp32_on_a_cpu_is_probed(monkeypatch):
    def asked() -> bool:
        raise AssertionError

    monkeypatch.setattr(placement, "_medium_is_fp32", asked)
    with quick_products(CPU, torch.bfloat16), quick_products(torch.device("cuda"), torch.float32):
        pass


@pytest.mark.parametrize(("rounded", "answer"), [(torch.float32, True), (torch.bfloat16, False)])
def test_the_probe_sees_bf16_in_a_product(monkeypatch, rounded, answer):
    """As a CPU whose "medium" rounds the factors would do it."""
    seen = []
    whole = torch.Tensor.__matmul__

    def product(a, b):
        seen.append((a.dtype, torch.get_float32_matmul_precision()))
        if a.dtype == torch.float32:  # in fp64: this CPU's own "medium" may round as well
            return whole(a.to(rounded).double(), b.to(rounded).double()).float()
        return whole(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    assert placement._medium_is_fp32.__wrapped__() is answer
    assert (torch.float32, "medium") in seen
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_probe_leaves_random_numbers_alone():
    before = torch.get_rng_state()
    placement._medium_is_fp32.__wrapped__()
    assert torch.equal(torch.get_rng_state(), before)


def test_quick_products_are_fp32_here():
    """Whatever this CPU is: on, or off because the probe said no."""
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(300, 300, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    with quick_products(CPU, torch.float32):
        found = a @ b
    assert (found - exact).norm() < 1e-5 * exact.norm()


# Devices and precisions


def test_auto_is_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "there", "message"),
    [
        ("cuda", 0, "device 'cuda' is not here (torch sees 0 CUDA device(s); use --device cpu)"),
        (
            "cuda:2",
            2,
            "device 'cuda:2' is not here (torch sees 2 CUDA device(s); use --device cpu)",
        ),
        ("tpu", 0, "no device 'tpu' (auto, cpu, cuda, cuda:0 or mps)"),
        ("", 0, "no device '' (auto, cpu, cuda, cuda:0 or mps)"),
        ("cuda:-1", 2, "no device 'cuda:-1' (auto, cpu, cuda, cuda:0 or mps)"),
        ("cpu:3", 0, "device 'cpu:3' is not here (torch sees 0 CUDA device(s); use --device cpu)"),
        ("meta", 0, "device 'meta' is not here (torch sees 0 CUDA device(s); use --device cpu)"),
    ],
)
def test_a_device_that_is_not_here(monkeypatch, device, there, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(ModelError) as told:
        resolve_device(device)
    assert str(told.value) == message


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_here(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device(device) == torch.device(device)


@pytest.mark.parametrize(
    ("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_bf16_of_a_gpu_is_by_its_age(monkeypatch, capability, native):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    cuda = torch.device("cuda")
    assert bool(bf16_units(cuda)) is native
    assert resolve_precision("auto", cuda) == (torch.bfloat16 if native else torch.float32)
    assert resolve_precision("fp16", cuda) == torch.float16


@pytest.mark.parametrize(
    ("there", "intel", "units"),
    [
        (["avx512_bf16"], False, "avx512_bf16"),
        (["avx512_bf16"], True, ""),  # at half the rate of fp32
        (["amx_tile"], True, "amx_tile"),
        (["amx_tile", "avx512_bf16"], True, "amx_tile and avx512_bf16"),
        ([], True, ""),
        ([], False, ""),
    ],
)
def test_bf16_of_a_cpu_is_by_its_instructions_and_its_make(monkeypatch, there, intel, units):
    monkeypatch.setattr(placement, "is_intel", lambda: intel)
    for name in ("avx512_bf16", "amx_tile"):
        answer = name in there
        probe = f"_is_{name}_supported"
        monkeypatch.setattr(torch.cpu, probe, lambda answer=answer: answer, raising=False)
    assert bf16_units(CPU) == units
    assert resolve_precision("auto", CPU) == (torch.bfloat16 if units else torch.float32)
    assert resolve_precision("bf16", CPU) == torch.bfloat16, "who asks for it gets it"


def test_a_torch_that_does_not_tell_its_instructions(monkeypatch):
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported", raising=False)
    assert bf16_units(CPU) == ""


@pytest.mark.parametrize(
    ("text", "intel"),
    [("vendor_id\t: GenuineIntel\n", True), ("vendor_id\t: AuthenticAMD\n", False)],
)
def test_whose_cpu_it_is(monkeypatch, tmp_path, text, intel):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(cpus, "_CPUINFO", path)
    path.write_text(text)
    assert cpus.is_intel.__wrapped__() is intel
    path.unlink()
    monkeypatch.setattr(platform, "processor", lambda: "Intel64 Family 6, GenuineIntel")
    assert cpus.is_intel.__wrapped__()


def test_a_precision_that_is_none():
    with pytest.raises(ModelError) as told:
        resolve_precision("fp8", CPU)
    assert str(told.value) == "no precision 'fp8' (auto, fp32, bf16 or fp16)"


# Threads


def test_threads_are_those_asked_for():
    assert prepare_cpu(1) == 1
    assert torch.get_num_threads() == 1


def test_threads_are_no_more_than_this_process_may_run_on(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert prepare_cpu(None) == 1
    assert torch.get_num_threads() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert prepare_cpu(None) == 2
    assert torch.get_num_threads() == 2


def test_a_system_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert affinity() == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_the_affinity_of_a_real_process():
    """As taskset or a scheduler binds it; memory settings of libc do no harm."""
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}})\n"
        "import torch; from dnatk.model.placement import prepare_cpu\n"
        "print(prepare_cpu(None), torch.get_num_threads(), float(torch.ones(1 << 24).sum()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["1", "1", str(float(1 << 24))]


# Copies


def test_on_a_cpu_nothing_is_copied():
    tensor = torch.arange(5)
    assert to_device(tensor, CPU) is tensor


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_pinned_copies_are_what_was_given(dtype):
    """Many at once, their sources dropped at once: none may be overwritten on its way."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    wanted = [torch.full((1 << 18,), i % 2, dtype=dtype) for i in range(64)]
    busy = torch.randn(4096, 4096, device=device)
    copies = []
    for each in wanted:
        busy = busy @ busy / 4096
        copies.append(to_device(each.clone(), device))
    for copy, each in zip(copies, wanted, strict=True):
        assert copy.device.type == "cuda"
        assert torch.equal(copy.cpu(), each)
    for empty in (torch.empty(0, dtype=dtype), torch.empty(0, 3, dtype=dtype)):
        assert to_device(empty, device).shape == empty.shape


def test_a_packed_weight_gives_what_linear_gives():
    torch.manual_seed(0)
    weight, bias = torch.randn(48, 32).bfloat16(), torch.randn(48).bfloat16()
    packed = packed_weight(weight)
    if packed is None:
        pytest.skip("this torch cannot pack weights for this CPU")
    for n in (1, 7, 512):
        x = torch.randn(n, 32).bfloat16()
        found = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        wanted = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
        assert (found - wanted).norm() < 5e-3 * wanted.norm()


def test_only_bf16_on_a_cpu_is_packed(monkeypatch):
    assert packed_weight(torch.ones(4, 4)) is None
    monkeypatch.setattr("dnatk.model.placement._can_pack", lambda: False)
    assert packed_weight(torch.ones(4, 4).bfloat16()) is None
