"""Sequence files as bytes: opened whatever their packing, and what can be wrong with them."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dnatk.errors import InputError, first_line

GZIP = b"\x1f\x8b"


@contextmanager
def open_text(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, gzip (also bgzip) unpacked, ``-`` for standard input."""
    stdin = str(path) == "-"
    shown = "<stdin>" if stdin else path
    if not stdin and Path(path).is_dir():
        raise InputError("is a directory, not a file", path=path)
    try:
        if stdin:
            yield _unpacked(sys.stdin.buffer)
        else:
            with open(path, "rb") as handle, _unpacked(handle) as text:
                yield text
    except (FileNotFoundError, NotADirectoryError):
        raise InputError("no such file", path=shown) from None
    except PermissionError:
        raise InputError("may not be read (permission denied)", path=shown) from None
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise broken_gzip(shown) from None


def _unpacked(handle: BinaryIO) -> BinaryIO:
    if not hasattr(handle, "peek"):
        return handle
    return gzip.open(handle, "rb") if handle.peek(2)[:2] == GZIP else handle


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Raise :class:`InputError` of ``path`` where the system cannot read: no output is to blame."""
    try:
        yield
    except OSError as error:
        told = error.strerror or first_line(error)
        raise InputError(f"cannot be read: {told}", path=path) from error


def readable_again(path: str | Path) -> bool:
    """Whether it is a file: standard input, or a pipe with a name, can be read once.

    ``-`` is standard input even where a file is called so.
    """
    return str(path) != "-" and Path(path).is_file()


def sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file as it lies on disk."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_bgzip(path: Path) -> bool:
    """Whether the file is BGZF, which can be read at any place: gzip with a BC extra field."""
    with open(path, "rb") as handle:
        return begins_block(handle.read(18))


def begins_block(head: bytes) -> bool:
    """Whether a block of BGZF may begin with these 18 bytes; htslib asks for the same."""
    return len(head) == 18 and head[:4] == b"\x1f\x8b\x08\x04" and head[10:16] == b"\6\0BC\2\0"


def header_name(line: bytes, path: str | Path, number: int) -> str:
    """The name in a FASTA header line, which ends at the first white space."""
    text = line[1:].strip()
    if not text:
        raise InputError("a sequence without a name", path=path, line=number)
    if b"\r" in text:
        raise carriage_return(path, number)
    name = text.split(maxsplit=1)[0]
    if b"\0" in name:
        raise InputError("a NUL byte in a name", path=path, line=number, hint="is it UTF-16?")
    return name.decode("utf-8", "replace")


def carriage_return(path: str | Path, number: int) -> InputError:
    """What to raise for a line with others behind a carriage return: they would be lost."""
    return InputError(
        "a carriage return inside the line",
        path=path,
        line=number,
        hint="are these line ends of old Macs? convert them, e.g. with tr '\\r' '\\n'",
    )


def not_fasta(line: bytes, path: str | Path, number: int) -> InputError:
    """What to raise for text before the first header."""
    if line.startswith(codecs.BOM_UTF8):
        return InputError(
            "starts with a byte order mark", path=path, hint="save it as plain UTF-8, without one"
        )
    if b"\0" in line or not line.isascii():
        return InputError("is not FASTA but binary data", path=path)
    shown = line[:20].decode("ascii", "replace")
    return InputError(
        f"is not FASTA: it starts with '{shown}', not with '>'", path=path, line=number
    )


def duplicate(name: str, path: str | Path, first: int, second: int) -> InputError:
    """What to raise for a name that stands at two lines."""
    return InputError(
        f"the name '{name}' stands twice, first at line {first}",
        path=path,
        line=second,
        hint="rename one of them",
    )


def broken_gzip(path: str | Path) -> InputError:
    """What to raise for a gzip file that ends or breaks midway."""
    return InputError("is a broken gzip file", path=path, hint="was the download cut short?")
