"""What ``dnatk doctor`` finds out: software, machine, device, places, contents, a self-test.

Nothing here trusts the installation: what cannot be imported or read is a finding, and no check
keeps the others from running.
"""

from __future__ import annotations

from collections.abc import Iterator

from dnatk.diagnosis import compute, contents, machine, places, selftest, software
from dnatk.diagnosis.finding import FAILURE, LEVELS, NOTE, OK, WARNING, Asked, Finding, worst
from dnatk.errors import first_line

__all__ = ["FAILURE", "LEVELS", "NOTE", "OK", "WARNING", "Asked", "Finding", "diagnose", "worst"]

# In the order of the report; the slow ones come last. Each takes Asked and yields findings.
CHECKS = {
    "software.python": software.python,
    "software.packages": software.packages,
    "software.imports": software.imports,
    "software.output": software.output,
    "machine.cpu": machine.cpu,
    "machine.cores": machine.cores,
    "machine.threads": machine.thread_variables,
    "machine.memory": machine.memory,
    "machine.files": machine.open_files,
    "places.settings": places.settings,
    "places.variables": places.variables,
    "places.genome": places.genome,
    "places.directories": places.directories,
    "places.locking": places.locking,
    "places.hub": places.hub,
    "contents.models": contents.models,
    "contents.tasks": contents.tasks,
    "compute.torch": compute.build,
    "compute.devices": compute.devices,
    "compute.precision": compute.precision,
    "selftest.run": selftest.selftest,
}


def diagnose(asked: Asked) -> Iterator[Finding]:
    """All findings, as they are made."""
    for name, check in CHECKS.items():
        try:
            yield from check(asked)
        except Exception as error:  # a broken installation breaks the checks too
            said = f"{type(error).__name__}: {first_line(error)}"
            yield Finding(name, WARNING, f"cannot be checked: {said}", facts={"error": said})
