"""SHA256SUMS beside files that must stay as they are; ``sha256sum -c`` reads it too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dnatk.errors import ModelError
from dnatk.output.files import size_and_sha256, written_whole

SUMS_FILE = "SHA256SUMS"
# What a reader sees but no program reads may be edited.
_FREE = {".md", ".png", ".jsonl"}


def summed_files(directory: Path) -> list[Path]:
    """The files below ``directory`` that :func:`write_sums` records, in order."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if path.name != SUMS_FILE and path.suffix not in _FREE and "__pycache__" not in path.parts
    )


def sums(directory: Path, files: Iterable[Path]) -> str:
    """The text of SHA256SUMS for ``files`` below ``directory``."""
    lines = (f"{size_and_sha256(f)[1]}  {f.relative_to(directory).as_posix()}\n" for f in files)
    return "".join(lines)


def write_sums(directory: Path) -> None:
    """Record all files below ``directory``."""
    with written_whole(directory / SUMS_FILE) as partial:
        partial.write_text(sums(directory, summed_files(directory)))


def read_sums(directory: Path) -> dict[str, str] | None:
    """name -> hexadecimal sha256 as recorded; None where there is no record.

    Raises:
        ModelError: the record cannot be read.
    """
    path = directory / SUMS_FILE
    if not path.exists():
        return None
    try:
        lines = [line.split(maxsplit=1) for line in path.read_text("utf-8").splitlines()]
        found = {name.removeprefix("*"): digest for digest, name in lines}
    except (OSError, ValueError):
        raise ModelError("cannot be read", path=path, hint="a line is: sha256  name") from None
    return found


def wrong_files(directory: Path, below: str = "") -> list[str]:
    """What differs from the record, a line each: ``PATH: what``.

    Args:
        below: only files whose recorded name begins so ("dnatk-small/").
    """
    recorded, wrong = read_sums(directory) or {}, []
    for name, digest in recorded.items():
        path = directory / name
        if not name.startswith(below):
            continue
        if not path.is_file():
            wrong.append(f"{path}: is missing")
            continue
        try:
            size, found = size_and_sha256(path)
        except OSError as error:
            wrong.append(f"{path}: cannot be read: {error.strerror}")
            continue
        if found != digest:
            wrong.append(
                f"{path}: has changed (sha256 {found[:12]}, recorded {digest[:12]}; {size} bytes)"
            )
    return wrong
