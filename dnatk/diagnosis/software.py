"""Python, dnatk and what it stands on."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import dnatk
from dnatk.diagnosis.finding import FAILURE, NOTE, OK, WARNING, Asked, Finding
from dnatk.errors import first_line

# What embed and predict import, torch aside (compute.build).
_IMPORTED = ("numpy", "pandas", "h5py", "pyfaidx", "safetensors")


def python(_: Asked) -> Iterator[Finding]:
    """The interpreter, the system and where dnatk is."""
    libc = " ".join(platform.libc_ver()).strip()
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    where = Path(dnatk.__file__).parent
    yield Finding(
        "software.python",
        OK,
        f"Python {platform.python_version()} ({sys.executable}), {system}"
        + (f", {libc}" if libc else ""),
        facts={"version": platform.python_version(), "system": system, "libc": libc},
    )
    yield Finding(
        "software.dnatk",
        OK,
        f"dnatk {dnatk.__version__} in {where}",
        facts={"version": dnatk.__version__, "directory": str(where)},
    )


def packages(_: Asked) -> Iterator[Finding]:
    """Installed versions against the ranges that dnatk, and what it stands on, ask for."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in metadata.requires("dnatk") or ()]
    except metadata.PackageNotFoundError:
        text = "dnatk is run without being installed: versions are not compared"
        yield Finding("software.packages", NOTE, text, "pip install . in its directory")
        return
    own = [each for each in wanted if _applies(each)]
    versions: dict[str, str | None] = {each.name: _version(each.name) for each in own}
    faults = 0
    for each in own:
        for who, need in (("dnatk", each), *((each.name, n) for n in _needs(each.name))):
            if fault := _fault(who, need):
                faults += 1
                yield fault
    if not faults:
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        text = f"{len(versions)} packages as dnatk wants them: {listed}"
        yield Finding("software.packages", OK, text, facts={"versions": versions})
    extras = {e.name: _version(e.name) for e in wanted if _applies(e, "export") and e not in own}
    if missing := [name for name, version in extras.items() if version is None]:
        text = f"{' and '.join(missing)} not installed: dnatk h5 export writes tsv and npz only"
        cure = "pip install 'dnatk[export]'"
        yield Finding("software.extras", NOTE, text, cure, {"versions": extras})


def _applies(requirement, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _needs(name: str) -> list:
    """What an installed package asks for itself."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return []
    return [need for need in map(Requirement, lines) if _applies(need)]


def _fault(who: str, need) -> Finding | None:
    found = _version(need.name)
    if found is not None and need.specifier.contains(found, prereleases=True):
        return None
    cure = f"pip install '{need.name}{need.specifier}'"
    facts = {"package": need.name, "wanted": str(need.specifier), "found": found, "by": who}
    # Not all that a package asks for is used: torch's CUDA libraries on a CPU, say.
    level = FAILURE if found is None and who == "dnatk" else WARNING
    state = "it is not installed" if found is None else f"{found} is installed"
    text = f"{who} wants {need.name}{need.specifier}: {state}"
    return Finding("software.packages", level, text, cure, facts)


def imports(_: Asked) -> Iterator[Finding]:
    """Whether the packages that need compiled code can be imported."""
    for name in _IMPORTED:
        try:
            importlib.import_module(name)
        except Exception as error:  # a library that is missing, or of another machine
            said = first_line(error)
            text = f"{name} cannot be imported: {said}"
            cure = f"pip install --force-reinstall {name}"
            yield Finding("software.imports", FAILURE, text, cure, {"package": name, "error": said})
            if name == "numpy":  # the others stand on it
                return


def output(_: Asked) -> Iterator[Finding]:
    """Whether what dnatk prints can be printed."""
    encoding = sys.stdout.encoding or "ascii"
    facts = {"encoding": encoding}
    try:
        "±é".encode(encoding)
        yield Finding("software.output", OK, f"stdout takes {encoding}", facts=facts)
    except (UnicodeEncodeError, LookupError):
        text = f"stdout takes {encoding}: names beyond ASCII cannot be printed"
        yield Finding("software.output", WARNING, text, "export PYTHONUTF8=1", facts)
