"""CPU, cores, memory and limits of the process."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from dnatk.diagnosis.finding import NOTE, OK, WARNING, Asked, Finding, gigabytes
from dnatk.model.cpus import affinity, quota, usable

_CPUINFO, _MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
_CGROUP_MEMORY = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# What quickens matrix products, on x86 and on ARM.
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_FEW_FILES, _LITTLE_MEMORY = 512, 1 << 30


def cpu(_: Asked) -> Iterator[Finding]:
    """The model and the instructions that matter."""
    try:
        lines = _CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    pairs = dict(tuple(map(str.strip, line.split(":", 1))) for line in lines if ":" in line)
    name = pairs.get("model name") or platform.processor() or platform.machine()
    flags = (pairs.get("flags") or pairs.get("Features") or "").split()
    features = [each for each in _FEATURES if each in flags]
    facts = {"model": name, "features": features}
    if flags and platform.machine() in ("x86_64", "AMD64") and "avx2" not in features:
        text = f"{name} has no avx2: everything is several times slower"
        yield Finding("machine.cpu", WARNING, text, "use a newer machine, or a GPU", facts)
        return
    yield Finding("machine.cpu", OK, f"{name}: {', '.join(features) or 'features unknown'}",
                  facts=facts)  # fmt: skip


def cores(_: Asked) -> Iterator[Finding]:
    """How many cores threads may keep busy, and who says so."""
    total, bound, limit, use = os.cpu_count() or 1, affinity(), quota(), usable()
    facts = {"machine": total, "affinity": bound, "quota": limit, "usable": use}
    told = [f"{total} in the machine"]
    if bound < total:
        told.append(f"{bound} by affinity")
    if limit is not None:
        told.append(f"{limit:g} by the container's quota")
    text = f"{use} core{'s' * (use != 1)} usable ({', '.join(told)})"
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if given.isdigit() and 0 < int(given) < use:
        cure = f"give commands -t {given}"
        yield Finding("machine.cores", WARNING, f"{text}, Slurm gave {given}", cure, facts)
    else:
        yield Finding("machine.cores", OK, text, facts=facts)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 1.2 * total:
        text = f"the machine is busy (load {load:.1f} on {total} cores): dnatk will be slow"
        yield Finding("machine.load", NOTE, text, facts={"load": load})


def thread_variables(_: Asked) -> Iterator[Finding]:
    """OMP_NUM_THREADS and its like; dnatk sets its own threads (-t), other libraries heed them."""
    use = usable()
    for name in _THREADS:
        value = os.environ.get(name, "")
        facts = {"variable": name, "value": value}
        if value and not all(part.isdigit() and int(part) for part in value.split(",")):
            text, level = f"{name} is {value!r}, no number of threads", WARNING
        elif value and int(value.split(",")[0]) > use:
            text, level = f"{name} is {value}, more than the {use} usable core(s)", WARNING
        elif value and int(value.split(",")[0]) < use:
            text, level = f"{name} is {value}: heeded by other libraries, dnatk goes by -t", NOTE
        else:
            continue
        cure = f"unset {name}" if level == WARNING else ""
        yield Finding("machine.threads", level, text, cure, facts)


def memory(_: Asked) -> Iterator[Finding]:
    """Memory of the machine, and what is free of it."""
    try:
        lines = [line.split() for line in _MEMINFO.read_text().splitlines()]
        sizes = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        yield Finding("machine.memory", NOTE, "memory unknown: no /proc/meminfo here")
        return
    limit = next((size for size in map(_size, _CGROUP_MEMORY) if size and size < total), None)
    facts = {"total": total, "available": free, "limit": limit}
    text = f"{gigabytes(total)} memory, {gigabytes(free)} available"
    text += f", a container's limit of {gigabytes(limit)}" if limit else ""
    if min(free, limit or free) < _LITTLE_MEMORY:
        cure = "close other programs, or give the container more"
        yield Finding("machine.memory", WARNING, text, cure, facts)
    else:
        yield Finding("machine.memory", OK, text, facts=facts)


def _size(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # "max"
        return None


def open_files(_: Asked) -> Iterator[Finding]:
    """How many files may be open at once."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    facts = {"soft": soft, "hard": hard}
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        cure = f"ulimit -n {1024 if hard == resource.RLIM_INFINITY else min(1024, hard)}"
        text = f"only {soft} files may be open at once: merging many shards may fail"
        yield Finding("machine.files", WARNING, text, cure, facts)
    else:
        many = "any number of" if soft == resource.RLIM_INFINITY else soft
        yield Finding("machine.files", OK, f"{many} files may be open at once", facts=facts)
