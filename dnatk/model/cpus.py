"""Whose CPU it is, and how many of its cores this process may use."""

from __future__ import annotations

import math
import os
import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


@cache
def is_intel() -> bool:
    """Whether the CPU is one of Intel's, as far as the system tells."""
    try:
        told = _CPUINFO.read_text("utf-8", "replace")
    except OSError:
        told = platform.processor()
    return "GenuineIntel" in told


def affinity() -> int:
    """Cores that the scheduler may run this process on; all where the system knows no such set."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable() -> int:
    """Cores that threads can keep busy: more of them would only wait for each other."""
    limit = quota()
    return affinity() if limit is None else min(affinity(), max(1, math.ceil(limit)))


def quota() -> float | None:
    """Cores' worth of time that a container or a scheduler gives (cgroup); None: all there is."""
    limits = [limit for directory in _directories() if (limit := _limit(directory)) is not None]
    return min(limits, default=None)


def _directories() -> list[Path]:
    """The control groups of this process, and those above them, of both versions."""
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / controllers if controllers else _CGROUPS
        # In a container the path may be the host's, of which only the root is seen.
        own = root / path.lstrip("/")
        found += [each for each in (own, *own.parents) if each == root or root in each.parents]
    return found


def _limit(directory: Path) -> float | None:
    try:
        if (file := directory / "cpu.max").exists():
            share, period = file.read_text().split()
        else:
            share = (directory / "cpu.cfs_quota_us").read_text()
            period = (directory / "cpu.cfs_period_us").read_text()
        return int(share) / int(period) if int(share) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None
