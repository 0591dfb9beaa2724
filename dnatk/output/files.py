"""Output files appear whole or not at all: written under another name, renamed at the end."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dnatk.errors import OutputError

log = logging.getLogger(__name__)


def check_output(
    path: str | Path,
    *,
    force: bool,
    resume: bool = False,
    inputs: Iterable[str | Path | None] = (),
) -> Path:
    """The output path, or :class:`OutputError`: before any work is done.

    With ``resume`` the file may be there: a finished run's, or one that is to be replaced. Of a
    link it is the file that it leads to.

    Args:
        inputs: files that are read, which no ``force`` replaces; "-" and None are none.
    """
    path = Path(path)
    if path.exists() and any(
        str(each) != "-" and Path(each).exists() and path.samefile(each)
        for each in filter(None, inputs)
    ):
        raise OutputError("is what is read", path=path, hint="name another output")
    if path.is_dir():
        raise OutputError("is a directory", path=path, hint="name a file")
    if path.exists() and not path.is_file():
        raise OutputError(
            "is a pipe or a device, and a file would take its place",
            path=path,
            hint="name a file, or write to stdout where the command can",
        )
    path = path.resolve() if path.is_symlink() else path
    if not path.parent.is_dir():
        raise OutputError(f"its directory {path.parent} does not exist", path=path)
    if path.exists() and not (force or resume):
        raise OutputError("exists already", path=path, hint="--force overwrites it")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"its directory {path.parent} may not be written", path=path)
    return path


def is_packed(name: Path) -> bool:
    """Whether a file of this name is packed; in any case of its letters."""
    return name.suffix.lower() in (".gz", ".bgz")


@contextmanager
def packed_by_name(path: Path, name: Path) -> Iterator[BinaryIO]:
    """A file open for writing bytes, which are packed as bgzip does where ``name`` says so."""
    if not is_packed(name):
        with open(path, "wb") as plain:
            yield plain
        return
    from Bio.bgzf import BgzfWriter

    with open(path, "wb") as raw:
        packed = BgzfWriter(fileobj=raw)
        yield packed
        packed.close()  # writes the empty block at the end


def sync(path: Path) -> None:
    """Wait until the bytes of a file, or the names in a directory, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_names(directory: Path) -> None:
    """:func:`sync` of the names in a directory, where the system lets it be opened."""
    with suppress(OSError):
        sync(directory)


def size_and_sha256(path: Path) -> tuple[int, str]:
    """Bytes and hexadecimal SHA-256 of a file: whether it is still what was written."""
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return os.fstat(handle.fileno()).st_size, digest


def make_readable(path: Path) -> None:
    """The mode of any new file, for one that safetensors left readable by its owner only."""
    umask = os.umask(0)  # it can only be read by setting it
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def check_directory(
    path: str | Path, *, marker: str, force: bool, inputs: Iterable[str | Path | None] = ()
) -> Path:
    """A directory to make; one that is there may be replaced by ``force`` if it holds ``marker``.

    Nothing is made here, not even the directories above it.

    Args:
        inputs: files and directories that are read: where one lies inside, nothing is replaced.

    Raises:
        OutputError: it exists, holds something else, or cannot be made.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        if Path.cwd().is_relative_to(path.resolve()):
            raise OutputError("is where this command runs", path=path, hint="name a new directory")
        if not force:
            raise OutputError("exists already", path=path, hint="--force replaces it")
        if not (path / marker).exists():
            raise OutputError(f"has no {marker}, so it is not replaced", path=path)
        for each in filter(None, inputs):
            if Path(each).resolve().is_relative_to(path.resolve()):
                raise OutputError(f"holds what is read ({each}), so it is not replaced", path=path)
    parent = next(each for each in path.absolute().parents if each.exists())
    if not parent.is_dir():
        raise OutputError("is a file, no directory", path=parent)
    if not os.access(parent, os.W_OK):
        raise OutputError(f"its directory {parent} may not be written", path=path)
    return path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes ``path`` on success and is removed on any failure."""
    path = path.resolve() if path.is_symlink() else path
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except BrokenPipeError:  # of standard output, which is written beside the file
        raise
    except OSError as error:
        raise OutputError(f"cannot be written: {reason(error)}", path=path) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def directory_written_whole(target: Path, *, replace: bool) -> Iterator[Path]:
    """An empty directory that becomes ``target`` on success, else is removed."""
    staging = staging_of(target)
    try:
        staging.mkdir(parents=True)
        yield staging
        put_in_place(staging, target, replace=replace)
    except OSError as error:
        raise OutputError(f"cannot be written: {reason(error)}", path=target) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def staging_of(target: Path) -> Path:
    """Where a directory is made until it is whole: beside its place. Nothing is there yet."""
    place = target.resolve()  # what a link leads to
    # Processes of one run on several machines may have the same number.
    own = "-".join(filter(None, (str(os.getpid()), os.environ.get("RANK"))))
    staging = place.with_name(f".{place.name}.{own}.partial")
    shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
    return staging


def put_in_place(made: Path, target: Path, *, replace: bool) -> None:
    """Rename a directory to ``target``; what is there goes when the new one stands, not before.

    Args:
        replace: what is there may go.

    Raises:
        OSError: it cannot be done; what was there is there still.
        OutputError: something has come there; what was made is beside it.
    """
    place = target.resolve()
    if not replace and place.exists() and not _is_empty(place):
        beside = place.with_name(f"{place.name}.{os.getpid()}")
        made.rename(beside)
        raise OutputError(
            "has come to be while this ran", path=target, hint=f"what was made is in {beside}"
        )
    aside = place.with_name(f".{place.name}.{os.getpid()}.old")
    replaces = place.exists()
    if replaces:
        place.rename(aside)
    try:
        made.rename(place)
    except OSError:
        if replaces:
            aside.rename(place)
        raise
    shutil.rmtree(aside, ignore_errors=True)
    if aside.exists():
        log.warning("%s: what was replaced; not all of it could be removed", aside)


def _is_empty(place: Path) -> bool:
    return place.is_dir() and not any(place.iterdir())


def reason(error: OSError) -> str:
    """What the system says of a failure, in a few words."""
    # h5py tells the system's error only inside a long text of several lines.
    inside = re.search(r"errno = (\d+)", str(error))
    if inside:
        return os.strerror(int(inside[1]))
    return error.strerror or str(error).splitlines()[0]
