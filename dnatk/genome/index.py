"""Where a genome is read from and by which index: made, checked and kept here.

The index is samtools' .fai (name, bases, offset of the first base, bases a line, bytes a line)
and, for bgzip, .gzi. It is made here rather than by pyfaidx, which lets a record through whose
last line is longer than the others (and then fetches wrong bases) and stumbles over blank lines
at the end and over broken bgzip. pyfaidx reads it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import struct
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dnatk.directories import user_directory
from dnatk.errors import InputError, OutputError
from dnatk.genome.bgzip import Unpacked, find_blocks, read_table, table_fits, write_table
from dnatk.genome.files import (
    GZIP,
    duplicate,
    header_name,
    is_bgzip,
    not_fasta,
    open_text,
)

log = logging.getLogger(__name__)

# How many records of a bgzip file an index is held against: each may cost a block unpacked.
_SAMPLE = 200
# Numbers beyond these are no index's: bases of a genome, and bytes of a line's end.
_MOST, _LONGEST_END = 1 << 40, 16


class Entry(NamedTuple):
    """One line of a .fai."""

    name: str
    bases: int
    offset: int
    per_line: int
    line_bytes: int

    @property
    def end(self) -> int:
        """The byte after the last base."""
        if not self.bases:
            return self.offset
        full_lines = (self.bases - 1) // self.per_line
        return self.offset + self.bases + full_lines * (self.line_bytes - self.per_line)


def cache_directory() -> Path:
    """Where dnatk keeps what it can make again: $XDG_CACHE_HOME/dnatk or ~/.cache/dnatk."""
    return user_directory("cache") / "dnatk"


def _cached(path: Path, suffix: str) -> Path:
    resolved = path.resolve()
    stat = resolved.stat()
    key = f"{resolved}:{stat.st_size}:{stat.st_mtime_ns}"
    digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:16]
    stem = path.name.removesuffix(".gz").removesuffix(".bgz")
    return cache_directory() / f"{stem}.{digest}{suffix}"


@contextmanager
def _written(final: Path) -> Iterator[Path]:
    """A temporary path beside ``final`` that takes its place once it is written whole."""
    # Machines that share a genome, or containers of one image, have the same process numbers.
    partial = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(final)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", path=final) from None
    finally:
        if partial.is_symlink() or partial.exists():
            partial.unlink()


def random_access_file(path: Path) -> Path:
    """The file to index: ``path``, or its unpacked copy in the cache."""
    if str(path) == "-":
        raise InputError("standard input cannot be read at random", hint="give a file")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(
            "is a pipe or a device, no file to be read at random",
            path=path,
            hint="save it to a file first",
        )
    with open_text(path) as handle:
        for number, line in enumerate(iter(lambda: handle.readline(1 << 16), b""), start=1):
            if line[:1] == b">":
                break
            line = line.strip()
            if line and line[:1] != b";":
                raise not_fasta(line, path, number)
        else:
            raise InputError("is empty: no sequence in it", path=path)
    with open(path, "rb") as handle:
        compressed = handle.read(2) == GZIP
    # pyfaidx tells bgzip by the name alone: a link gives the file a name that fits.
    suffix = path.suffix.lower()
    if not compressed:
        return _link(path, ".fa") if suffix in (".gz", ".bgz", ".bz2", ".zip") else path
    if is_bgzip(path):
        return path if suffix in (".gz", ".bgz") else _link(path, ".fa.gz")
    unpacked = _cached(path, ".fa")
    if not unpacked.exists():
        log.warning("%s is plain gzip: unpacking it once to %s", path, unpacked)
        with _written(unpacked) as partial, open(partial, "wb") as target, open_text(path) as text:
            shutil.copyfileobj(text, target, 1 << 20)
    return unpacked


def _link(path: Path, suffix: str) -> Path:
    link = _cached(path, suffix)
    if not link.exists():
        with _written(link) as partial:
            partial.symlink_to(path.resolve())
    return link


def fresh_index(source: Path, shown: Path) -> tuple[Path, Path]:
    """Paths of a .fai (and .gzi for bgzip) that fits ``source``, made where needed.

    They lie beside ``source`` where its directory may be written, else in dnatk's cache.
    """
    beside = Path(f"{source}.fai"), Path(f"{source}.gzi")
    cached = _cached(source, ".fai"), _cached(source, ".gzi")
    bgzip = is_bgzip(source)
    refused = []
    for fai, gzi in (beside, cached):
        if fai.exists() and (gzi.exists() or not bgzip):
            reason = _stale(source, fai, gzi if bgzip else None)
            if reason is None:
                return fai, gzi
            refused.append((fai, reason))
    for fai, reason in refused:
        log.warning("%s %s: indexing again", fai, reason)
    fai, gzi = beside if os.access(source.parent, os.W_OK) else cached
    # A link in the cache has the text of the file given, whose name belongs in messages.
    entries = _entries(shown if bgzip else source, shown)
    with _written(fai) as partial:
        lines = ("\t".join(map(str, entry)) + "\n" for entry in entries)
        partial.write_text("".join(lines), "utf-8")
    if bgzip:
        places = find_blocks(source, shown)
        with _written(gzi) as partial:
            write_table(partial, places)
    return fai, gzi


def _entries(source: Path, shown: Path) -> list[Entry]:
    """Read a FASTA through; every line of a record but its last must be of one length."""
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    name, bases, start, per_line, line_bytes = None, 0, 0, 0, 0
    closed = 0  # the line that was shorter than those before it: the last one of its record
    offset = 0
    with open_text(source) as handle:
        for number, line in enumerate(handle, start=1):
            offset += len(line)
            if line[:1] == b">":
                if name is not None:
                    entries.append(Entry(name, bases, start, per_line, line_bytes))
                name = header_name(line, shown, number)
                if name in seen:
                    raise duplicate(name, shown, seen[name], number)
                seen[name] = number
                bases, start, per_line, line_bytes, closed = 0, offset, 0, 0, 0
                continue
            if name is None:
                continue  # random_access_file has seen that these are blank or comments
            text = line.strip()
            width = len(text)
            if not width:
                start, closed = (start, closed or number) if bases else (offset, 0)
                continue
            if width != len(line.rstrip(b"\r\n")) or b"\r" in text:
                raise InputError(
                    f"white space among the bases of {name}",
                    path=shown,
                    line=number,
                    hint="an indexed FASTA has none: reflow it, e.g. with seqkit seq -w 60",
                )
            if not bases:
                per_line, line_bytes = width, len(line)
            elif closed or width > per_line:
                raise _ragged(name, shown, closed or number)
            elif width < per_line or len(line) != line_bytes:
                closed = number
                if width == per_line and line[-1:] == b"\n":
                    raise _ragged(name, shown, number)
            bases += width
    entries.append(Entry(name, bases, start, per_line, line_bytes))
    return entries


def _ragged(name: str, shown: Path, number: int) -> InputError:
    return InputError(
        f"lines of different length in {name}",
        path=shown,
        line=number,
        hint="an indexed FASTA needs lines of one length: reflow it, e.g. with seqkit seq -w 60",
    )


def _stale(source: Path, fai: Path, gzi: Path | None) -> str | None:
    """Why an index cannot be used, or None where it can."""
    if any(i.stat().st_mtime < source.stat().st_mtime for i in (fai, gzi) if i):
        return "is older than the FASTA"
    try:
        lines = fai.read_text("utf-8").removesuffix("\n").split("\n")
        rows = [line.split("\t") for line in lines]
        entries = [Entry(name, *map(int, numbers)) for name, *numbers in rows]
        with open(source, "rb") as handle:
            if gzi is None:
                fits = _fits(entries, handle, len(entries))
            else:
                places = read_table(gzi)
                fits = table_fits(handle, places) and _fits(
                    entries, Unpacked(handle, places), _SAMPLE
                )
    except (ValueError, TypeError, ZeroDivisionError, struct.error):
        return "is damaged"
    except OSError as error:  # it may be another user's
        return f"cannot be read ({error.strerror})"
    except (InputError, RuntimeError, zlib.error):
        fits = False  # it is the FASTA that is broken: indexing says how
    return None if fits else "does not fit the FASTA"


def _fits(entries: list[Entry], handle: BinaryIO | Unpacked, n_checked: int) -> bool:
    """Whether each record, or n_checked of them, stands where the index says, in lines as it says.

    The first line stands for all.
    """
    if not all(map(_sound, entries)) or entries != sorted(entries, key=lambda e: e.offset):
        return False
    for i in range(0, len(entries), -(-len(entries) // n_checked)):
        if not _follows(entries[i - 1] if i else None, entries[i], handle):
            return False
        if not _has_first_line_of(entries[i], handle):
            return False
    handle.seek(entries[-1].end - 1)
    rest = handle.read(1 << 16)
    return bool(rest) and not rest[1:].strip()


def _sound(entry: Entry) -> bool:
    """Whether these are the numbers of a record of some genome."""
    _, bases, offset, per_line, line_bytes = entry
    if min(bases, offset, per_line) < 0 or max(bases, offset, per_line) > _MOST:
        return False
    return 0 <= line_bytes - per_line < _LONGEST_END and (per_line > 0 or not bases)


def _follows(before: Entry | None, entry: Entry, handle: BinaryIO | Unpacked) -> bool:
    """Whether between the bases of neighbours lies the header that the index names, and no more."""
    start, after_bases = (before.end, before.bases) if before else (0, 0)
    if not start < entry.offset < start + (1 << 20):
        return False
    handle.seek(start)
    gap = handle.read(entry.offset - start)
    *more, header = [line for line in gap.splitlines() if line.strip()] or [b""]
    return (
        header[:1] == b">"
        and all(line[:1] == b";" for line in more)
        and not (after_bases and gap[:1] not in b"\r\n")
        and (gap.endswith(b"\n") or not entry.bases)
        and header_name(header, "", 0) == entry.name
    )


def _has_first_line_of(entry: Entry, handle: BinaryIO | Unpacked) -> bool:
    """Whether the first line of a record is as long as the index says; of a long one its ends."""
    handle.seek(entry.offset)
    width = min(entry.bases, entry.per_line)
    start = handle.read(min(width, 1 << 16))
    if b"\n" in start or b"\r" in start:
        return False
    if entry.bases <= width:
        return True  # one line: what lies behind it is the next record's affair
    handle.seek(entry.offset + width)
    end = handle.read(entry.line_bytes - width)
    return end.endswith(b"\n") and not end.strip(b"\r\n")
