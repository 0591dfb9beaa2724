"""Settings, variables, the genome, directories and the hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dnatk.diagnosis.finding import FAILURE, NOTE, OK, WARNING, Asked, Finding, gigabytes
from dnatk.errors import InputError, NoGenomeError, did_you_mean

_MOUNTS = Path("/proc/self/mounts")
_LITTLE_DISK = 1 << 30
_NETWORK = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "afs", "panfs", "9p", "fuse")


def settings(asked: Asked) -> Iterator[Finding]:
    """The user's file of settings."""
    from dnatk.settings import settings_path

    path = settings_path()
    facts = {"path": str(path), "exists": os.path.exists(path)}
    if asked.settings_fault:
        cure = "mend it, or move it away"
        yield Finding("places.settings", FAILURE, asked.settings_fault, cure, facts)
    elif facts["exists"]:
        yield Finding("places.settings", OK, f"settings in {path}", facts=facts)
    else:
        yield Finding("places.settings", OK, f"no settings ({path})", facts=facts)


def variables(asked: Asked) -> Iterator[Finding]:
    """DNATK_* in the environment: values of those that are known, of others the name alone."""
    for name in sorted(name for name in os.environ if name.startswith("DNATK_")):
        if name in asked.variables:
            text = f"{name} is {os.environ[name]}"
            facts = {"variable": name, "value": os.environ[name]}
            yield Finding("places.variables", OK, text, facts=facts)
        else:
            hint = did_you_mean(name, asked.variables) or "nothing in dnatk reads it"
            cure = f"unset {name}"
            text = f"{name} is set, but unknown: {hint}"
            yield Finding("places.variables", WARNING, text, cure, {"variable": name})


def genome(asked: Asked) -> Iterator[Finding]:
    """The genome that regions are read from where no --genome is given."""
    from dnatk.genome.locate import find_genome, resolve_genome
    from dnatk.settings import read_settings

    try:
        if asked.genome:
            path = resolve_genome(asked.genome[0], os.environ, asked.genome[1])
        else:
            path = find_genome(None, os.environ, {} if asked.settings_fault else read_settings())
    except NoGenomeError:
        text = "no genome is named: predict on BED wants --genome"
        yield Finding("places.genome", NOTE, text, "dnatk config set genome FILE")
        return
    except InputError as error:
        cure = "dnatk config set genome FILE, or mend the variable"
        yield Finding("places.genome", WARNING, f"genome {error}", cure)
        return
    facts = {"path": str(path), "bytes": path.stat().st_size}
    beside = Path(f"{path}.fai").exists() or _writable(path.parent) is None
    where = "beside it" if beside else "in the cache"
    text = f"genome {path} ({gigabytes(facts['bytes'])}), its index {where}"
    yield Finding("places.genome", OK, text, facts=facts | {"index_beside": beside})


def directories(_: Asked) -> Iterator[Finding]:
    """Whether dnatk may write where it needs to, and how much room there is."""
    from dnatk.genome.index import cache_directory
    from dnatk.model.places import user_models
    from dnatk.settings import settings_path

    cwd = Path(os.getcwd())
    for name, path, use, cure in (
        ("cwd", cwd, "outputs", "name outputs elsewhere with -o"),
        ("temp", _temp(), "other libraries' files", "export TMPDIR=DIR"),
        ("cache", cache_directory(), "indices of FASTA files in directories that are read only",
         "export XDG_CACHE_HOME=DIR"),
        ("config", settings_path().parent, "dnatk config set", "export XDG_CONFIG_HOME=DIR"),
        ("data", user_models().parent, "your models and tasks", "export XDG_DATA_HOME=DIR"),
    ):  # fmt: skip
        check = f"places.{name}"
        facts: dict = {"path": str(path), "exists": os.path.exists(path)}
        facts["filesystem"] = _filesystem(path)
        if (reason := _writable(path)) is not None:
            text = f"{name} {path} may not be written ({reason}): it is for {use}"
            yield Finding(check, WARNING, text, cure, facts | {"writable": False})
            continue
        free = shutil.disk_usage(_existing(path)).free
        facts |= {"writable": True, "free": free}
        kind = f", {facts['filesystem']}" if facts["filesystem"] else ""
        text = f"{name} {path}: writable, {gigabytes(free)} free{kind}"
        low = free < _LITTLE_DISK
        yield Finding(check, WARNING if low else OK, text, "make room" if low else "", facts)


def _temp() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # none of those it knows may be written
        return Path(os.environ.get("TMPDIR") or "/tmp")


def _existing(path: Path) -> Path:
    """The nearest directory that is there: ``path`` or one above it."""
    # os.path: of a directory that may not be looked into, pathlib raises.
    return next(p for p in (path.absolute(), *path.absolute().parents) if os.path.exists(p))


def _writable(path: Path) -> str | None:
    """Why no file can be made in ``path``, or in the place where it would be made; else None."""
    place = _existing(path)
    try:
        # Trying is the only way to know: root may do anything but on a read-only disk.
        with tempfile.TemporaryFile(dir=place, prefix=".dnatk-doctor."):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _filesystem(path: Path) -> str:
    """The kind of file system that ``path`` is on ("ext4"), "" where the system does not say."""
    try:
        mounts = [line.split()[1:3] for line in _MOUNTS.read_text("utf-8").splitlines()]
    except (OSError, ValueError):
        return ""
    place = str(_existing(path).resolve())
    above = [
        (len(point), kind)
        for point, kind in mounts
        if place == point or place.startswith(point.rstrip("/") + "/")
    ]
    return max(above, default=(0, ""))[1]


def locking(_: Asked) -> Iterator[Finding]:
    """Whether files here can be locked, as HDF5 does it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    cwd = Path(os.getcwd())
    kind = _filesystem(cwd)
    facts = {"filesystem": kind, "HDF5_USE_FILE_LOCKING": os.environ.get("HDF5_USE_FILE_LOCKING")}
    cure = "export HDF5_USE_FILE_LOCKING=FALSE"
    if _writable(cwd) is not None:
        return
    try:
        with tempfile.TemporaryFile(dir=cwd, prefix=".dnatk-doctor.") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        text = f"files here cannot be locked ({error.strerror}), which HDF5 wants"
        yield Finding("places.locking", WARNING, text, cure, facts)
        return
    if kind.startswith(_NETWORK):
        text = f"{kind} is a network file system: should HDF5 fail to lock a file there is a cure"
        yield Finding("places.locking", NOTE, text, cure, facts)
    else:
        yield Finding("places.locking", OK, "files here can be locked (HDF5)", facts=facts)


def hub(_: Asked) -> Iterator[Finding]:
    """Whether the Hugging Face hub is switched off; it is not called."""
    from dnatk.model.hub import hub_switched_off

    off = hub_switched_off()
    state = f"switched off ({off})" if off else "not needed"
    text = f"the Hugging Face hub is {state}: only `dnatk models pull` and hub names call it"
    yield Finding("places.hub", OK, text, facts={"switched_off_by": off or None})
