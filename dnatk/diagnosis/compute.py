"""torch, its devices, and what dnatk makes of them."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dnatk.diagnosis.finding import FAILURE, NOTE, OK, WARNING, Asked, Finding, gigabytes
from dnatk.errors import ModelError, first_line

_DRIVER = Path("/proc/driver/nvidia/version")
_NO_TORCH = "torch cannot be imported"


def torch_or_none() -> Any | None:
    """torch, where it can be imported."""
    try:
        import torch
    except Exception:  # a missing library is an OSError
        return None
    return torch


def driver() -> str:
    """The version of NVIDIA's driver, "unknown" where there is one that does not say, else ""."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which(command[0]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return "unknown"
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.split()[0]
    return "unknown" if _DRIVER.exists() else ""


def build(_: Asked) -> Iterator[Finding]:
    """Whether torch can be imported, and what it was built for."""
    try:
        import torch
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        cure = "pip install --force-reinstall torch"
        yield Finding("compute.torch", FAILURE, f"{_NO_TORCH}: {said}", cure, {"error": said})
        return
    made_for = "CPU"
    if torch.version.cuda:
        made_for = f"CUDA {torch.version.cuda}"
    elif getattr(torch.version, "hip", None):
        made_for = f"ROCm {torch.version.hip}"
    level = str(torch.backends.cpu.get_cpu_capability())
    facts = {"version": torch.__version__, "build": made_for, "cpu_capability": level}
    text = f"torch {torch.__version__}, built for {made_for}; on the CPU it uses {level}"
    yield Finding("compute.torch", OK, text, facts=facts)


def devices(_: Asked) -> Iterator[Finding]:
    """GPUs, or why there are none."""
    torch = torch_or_none()
    if torch is None:
        return
    version = driver()
    with warnings.catch_warnings(record=True) as told:  # torch warns of a driver that is too old
        warnings.simplefilter("always")
        n = torch.cuda.device_count() if torch.cuda.is_available() else 0
    said = "; ".join(str(each.message).split(". ")[0] for each in told)
    facts: dict[str, Any] = {"driver": version or None, "cuda_devices": n}
    if n:
        for index in range(n):
            yield _gpu(torch, index, version)
    elif torch.backends.mps.is_available():
        text = "Apple's GPU is here (mps); auto does not choose it"
        yield Finding("compute.devices", NOTE, text, "try --device mps", facts | {"mps": True})
    elif version and torch.version.cuda:
        text = f"NVIDIA driver {version}, but torch sees no GPU" + (f": {said}" if said else "")
        cure = "update the driver, or look at CUDA_VISIBLE_DEVICES"
        yield Finding("compute.devices", WARNING, text, cure, facts | {"said": said})
    elif version and not getattr(torch.version, "hip", None):
        text = f"NVIDIA driver {version} is here, but this torch is built for the CPU"
        cure = "pip install --force-reinstall torch (of PyPI, or pytorch.org's CUDA index)"
        yield Finding("compute.devices", WARNING, text, cure, facts)
    else:
        yield Finding("compute.devices", OK, "no GPU: everything runs on the CPU", facts=facts)


def _gpu(torch: Any, index: int, version: str) -> Finding:
    about = torch.cuda.get_device_properties(index)
    capability = f"{about.major}.{about.minor}"
    facts = {
        "device": f"cuda:{index}",
        "name": about.name,
        "memory": about.total_memory,
        "capability": capability,
        "driver": version or None,
    }
    text = (
        f"cuda:{index} {about.name}, {gigabytes(about.total_memory)}, "
        f"compute capability {capability}" + (f", driver {version}" if version else "")
    )
    return Finding("compute.devices", OK, text, facts=facts)


def precision(asked: Asked) -> Iterator[Finding]:
    """Where commands will compute, in which precision and why, with how many threads."""
    if torch_or_none() is None:
        return
    from dnatk.model.placement import (
        default_threads,
        precision_reason,
        resolve_device,
        resolve_precision,
    )

    try:
        device = resolve_device(asked.device)
        dtype = resolve_precision(asked.precision, device)
    except ModelError as error:
        cure = "choose another --device or --precision"
        yield Finding("compute.precision", FAILURE, str(error), cure)
        return
    reason = precision_reason(device) if asked.precision == "auto" else "asked for"
    name = str(dtype).removeprefix("torch.")
    threads = asked.threads or default_threads()
    text = f"dnatk computes on {device} in {name}: {reason}; {threads} CPU thread(s)"
    facts = {"device": str(device), "precision": name, "reason": reason, "threads": threads}
    yield Finding("compute.precision", OK, text, facts=facts)
