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
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dnatk.errors import InputError, OutputError
from dnatk.genome.files import (
    GZIP,
    broken_gzip,
    duplicate,
    header_name,
    is_bgzip,
    not_fasta,
    open_text,
)

log = logging.getLogger(__name__)

# How many records of a bgzip file an index is held against: each may cost a block unpacked.
_SAMPLE = 200


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
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dnatk"


def _cached(path: Path, suffix: str) -> Path:
    resolved = path.resolve()
    stat = resolved.stat()
    key = f"{resolved}:{stat.st_size}:{stat.st_mtime_ns}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    stem = path.name.removesuffix(".gz").removesuffix(".bgz")
    return cache_directory() / f"{stem}.{digest}{suffix}"


@contextmanager
def _written(final: Path) -> Iterator[Path]:
    """A temporary path beside ``final`` that takes its place once it is written whole."""
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
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
    with open_text(path) as handle:
        for number, line in enumerate(iter(lambda: handle.readline(1 << 16), b""), start=1):
            line = line.strip()
            if line[:1] == b">":
                break
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
        blocks = _blocks(source, shown)
        with _written(gzi) as partial:
            partial.write_bytes(struct.pack(f"<{1 + len(blocks)}Q", len(blocks) // 2, *blocks))
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
            width = len(line.rstrip(b"\r\n"))
            if name is None:
                continue  # random_access_file has seen that these are blank or comments
            if not width:
                start, closed = (start, closed or number) if bases else (offset, 0)
                continue
            if not bases:
                per_line, line_bytes = width, len(line)
            elif closed or width > per_line:
                raise _ragged(name, shown, closed or number)
            elif len(line) != line_bytes:
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


def _blocks(source: Path, shown: Path) -> list[int]:
    """Where each block after the first begins, packed and unpacked, in turn: what a .gzi holds."""
    from Bio.bgzf import BgzfBlocks

    with open(source, "rb") as handle:
        blocks = [(start, at, size) for start, _, at, size in BgzfBlocks(handle)]
    if blocks[-1][2]:
        raise broken_gzip(shown)  # bgzip ends with an empty block
    return [place for start, at, _ in blocks[1:-1] for place in (start, at)]


def _stale(source: Path, fai: Path, gzi: Path | None) -> str | None:
    """Why an index cannot be used, or None where it can."""
    if any(i.stat().st_mtime < source.stat().st_mtime for i in (fai, gzi) if i):
        return "is older than the FASTA"
    try:
        rows = [line.split("\t") for line in fai.read_text("utf-8").rstrip("\n").split("\n")]
        entries = [Entry(name, *map(int, numbers)) for name, *numbers in rows]
        with open(source, "rb") as handle:
            read = handle if gzi is None else _Unpacked(handle, gzi)
            fits = _fits(entries, read, len(entries) if gzi is None else _SAMPLE)
    except (ValueError, TypeError, ZeroDivisionError, struct.error):
        return "is damaged"
    except (InputError, RuntimeError, zlib.error):
        fits = False  # it is the FASTA that is broken: indexing says how
    return None if fits else "does not fit the FASTA"


def _fits(entries: list[Entry], handle: BinaryIO | _Unpacked, n_checked: int) -> bool:
    """Whether between the bases of neighbours lies the header that the index names, and no more."""
    entries = sorted(entries, key=lambda entry: entry.offset)
    for i in range(0, len(entries), -(-len(entries) // n_checked)):
        start, after_bases = (entries[i - 1].end, entries[i - 1].bases) if i else (0, 0)
        if not start < entries[i].offset < start + (1 << 20):
            return False
        handle.seek(start)
        gap = handle.read(entries[i].offset - start)
        *before, header = [line for line in gap.splitlines() if line.strip()] or [b""]
        if (
            header[:1] != b">"
            or any(line[:1] != b";" for line in before)
            or (after_bases and gap[:1] not in b"\r\n")
            or header_name(header, "", 0) != entries[i].name
        ):
            return False
    handle.seek(entries[-1].end - 1)
    rest = handle.read(1 << 16)
    return bool(rest) and not rest[1:].strip()


class _Unpacked:
    """A bgzip file read at places of its unpacked text."""

    def __init__(self, handle: BinaryIO, gzi: Path) -> None:
        from Bio.bgzf import BgzfReader

        table = gzi.read_bytes()
        places = struct.unpack_from(f"<{2 * struct.unpack_from('<Q', table)[0]}Q", table, 8)
        self._packed, self._unpacked = [0, *places[::2]], [0, *places[1::2]]
        self._reader = BgzfReader(fileobj=handle, mode="rb")

    def seek(self, place: int) -> None:
        from Bio.bgzf import make_virtual_offset

        block = bisect_right(self._unpacked, place) - 1
        self._reader.seek(make_virtual_offset(self._packed[block], place - self._unpacked[block]))

    def read(self, size: int) -> bytes:
        return self._reader.read(size)
