"""FASTA in: streamed record by record, or indexed for random access through pyfaidx.

Sequences come as uint8 ASCII arrays, case and IUPAC codes kept.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dnatk.errors import InputError, ReferenceError_
from dnatk.genome.names import unknown_contig_hint
from dnatk.genome.regions import Region

log = logging.getLogger(__name__)

_NUCLEOTIDES = b"ACGTURYSWKMBDHVNacgturyswkmbdhvn-.*"
_GZIP = b"\x1f\x8b"


@contextmanager
def open_text(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, gzip (also bgzip) unpacked, ``-`` for standard input."""
    if str(path) == "-":
        yield _unpacked(sys.stdin.buffer)
        return
    path = Path(path)
    if path.is_dir():
        raise InputError("is a directory, not a file", path=path)
    try:
        with open(path, "rb") as handle, _unpacked(handle) as text:
            yield text
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except PermissionError:
        raise InputError("may not be read (permission denied)", path=path) from None
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise InputError(
            "is a broken gzip file", path=path, hint="was the download cut short?"
        ) from None


def _unpacked(handle: BinaryIO) -> BinaryIO:
    if not hasattr(handle, "peek"):
        return handle
    return gzip.open(handle, "rb") if handle.peek(2)[:2] == _GZIP else handle


def sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file as it lies on disk."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_bgzip(path: Path) -> bool:
    """Whether the file is BGZF, which can be read at any place: gzip with a BC extra field."""
    with open(path, "rb") as handle:
        start = handle.read(14)
    return start[:4] == b"\x1f\x8b\x08\x04" and start[12:14] == b"BC"


def read_fasta(path: str | Path) -> Iterator[tuple[str, np.ndarray]]:
    """Stream (name, bases (L,) uint8) of every record; one record is in memory at a time.

    ``path`` may be plain, gzip or bgzip, or ``-``. The name ends at the first white space.
    Windows line ends, blank lines, lines of any length and empty records are fine.

    Raises:
        InputError: no FASTA, no record, a name that is missing or stands twice, or a letter that
            is no IUPAC nucleotide code; with the line.
    """
    shown = "<stdin>" if str(path) == "-" else path
    seen: dict[str, int] = {}
    name, header_line, parts = None, 0, []

    def record() -> tuple[str, np.ndarray]:
        sequence = b"".join(parts)
        check_nucleotides(sequence, shown, name, 0)
        return name, np.frombuffer(sequence, dtype=np.uint8)

    with open_text(path) as handle:
        for number, line in enumerate(handle, start=1):
            line = line.strip()
            if line[:1] == b">":
                if name is not None:
                    yield record()
                name, header_line, parts = _header_name(line, shown, number), number, []
                if name in seen:
                    raise _duplicate(name, shown, seen[name], number)
                seen[name] = header_line
            elif name is not None:
                parts.append(line)
            elif line and line[:1] != b";":
                raise _not_fasta(line, shown, number)
        if name is None:
            raise InputError("is empty: no sequence in it", path=shown)
        yield record()


def _header_name(line: bytes, path: str | Path, number: int) -> str:
    words = line[1:].split(maxsplit=1)
    if not words:
        raise InputError("a sequence without a name", path=path, line=number)
    return words[0].decode("utf-8", "replace")


def _not_fasta(line: bytes, path: str | Path, number: int) -> InputError:
    if b"\0" in line or not line.isascii():
        return InputError("is not FASTA but binary data", path=path)
    shown = line[:20].decode("ascii", "replace")
    return InputError(
        f"is not FASTA: it starts with '{shown}', not with '>'", path=path, line=number
    )


def _duplicate(name: str, path: str | Path, first: int, second: int) -> InputError:
    return InputError(
        f"the name '{name}' stands twice, first at line {first}",
        path=path,
        line=second,
        hint="rename one of them",
    )


def check_nucleotides(sequence: bytes, path: str | Path, contig: str, offset: int) -> None:
    """Raise :class:`InputError` naming the first letter that is no IUPAC nucleotide code."""
    strange = sequence.translate(None, _NUCLEOTIDES)
    if strange:
        at = sequence.index(strange[:1])
        letter = strange[:1].decode("latin-1")
        raise InputError(
            f"{contig}:{offset + at + 1}: {letter!r} is no nucleotide",
            path=path,
            hint="is this a protein FASTA?" if letter.isalpha() else "is the file damaged?",
        )


class Genome:
    """Random access to an indexed FASTA: plain, bgzip, or gzip (unpacked once to a cache).

    The index is ``<path>.fai`` where its directory may be written, else it lies in dnatk's cache.
    An index that is older than the FASTA, or does not fit it, is made anew and that is logged.

    Attributes:
        path: the file as given.
        lengths: contig name -> length in bases, in file order.
    """

    def __init__(self, path: str | Path) -> None:
        from pyfaidx import Faidx

        self.path = Path(path)
        source = _random_access_file(self.path)
        fai, gzi = _index(source, self.path)
        # pyfaidx tells bgzip by the name alone; _random_access_file has seen to that.
        self._faidx = Faidx(
            str(source), indexname=str(fai), gzi_indexname=str(gzi), as_raw=True, rebuild=False
        )
        self.lengths = {name: record.rlen for name, record in self._faidx.index.items()}
        if not any(self.lengths.values()):
            raise InputError("has no bases: every record is empty", path=self.path)

    def __enter__(self) -> Genome:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; fetching is over."""
        self._faidx.close()

    def check(self, region: Region) -> None:
        """Raise :class:`ReferenceError_` unless a region lies inside a contig that is there."""
        contig, start, end = region.contig, region.start, region.end
        where = {"path": region.source or None, "line": region.line}
        if contig not in self.lengths:
            raise ReferenceError_(
                f"no contig '{contig}' in {self.path}",
                hint=unknown_contig_hint(contig, self.lengths),
                **where,
            )
        length = self.lengths[contig]
        if not 0 <= start <= end <= length:
            raise ReferenceError_(
                f"{contig}:{start}-{end} is outside the contig, which has {length} bases", **where
            )

    def fetch(self, contig: str, start: int, end: int) -> np.ndarray:
        """Bases (end - start,) uint8 of the forward strand of [start, end)."""
        self.check(Region(contig, start, end))
        if start == end:
            return np.empty(0, dtype=np.uint8)
        sequence = self._faidx.fetch(contig, start + 1, end).encode("latin-1")
        if len(sequence) != end - start:
            raise InputError(
                f"{contig}:{start}-{end} gave {len(sequence)} bases",
                path=self.path,
                hint="did the file change? delete its .fai and try again",
            )
        check_nucleotides(sequence, self.path, contig, start)
        return np.frombuffer(sequence, dtype=np.uint8)


def cache_directory() -> Path:
    """Where dnatk keeps what it can make again: $XDG_CACHE_HOME/dnatk or ~/.cache/dnatk."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "dnatk"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _cached(path: Path, suffix: str) -> Path:
    resolved = path.resolve()
    stat = resolved.stat()
    key = f"{resolved}:{stat.st_size}:{stat.st_mtime_ns}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    stem = path.name.removesuffix(".gz").removesuffix(".bgz")
    return cache_directory() / f"{stem}.{digest}{suffix}"


def _random_access_file(path: Path) -> Path:
    """The file to index: ``path``, or its unpacked copy in the cache."""
    with open_text(path) as handle:
        _check_start(handle, path)
    with open(path, "rb") as handle:
        compressed = handle.read(2) == _GZIP
    if not compressed:
        # pyfaidx would take a plain file for bgzip by its name.
        return path if path.suffix not in (".gz", ".bgz") else _link(path, ".fa")
    if is_bgzip(path):
        return path if path.suffix in (".gz", ".bgz") else _link(path, ".fa.gz")
    unpacked = _cached(path, ".fa")
    if not unpacked.exists():
        log.warning("%s is plain gzip: unpacking it once to %s", path, unpacked)
        partial = unpacked.with_suffix(f".{os.getpid()}.partial")
        try:
            with open_text(path) as source, open(partial, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            partial.replace(unpacked)
        finally:
            partial.unlink(missing_ok=True)
    return unpacked


def _check_start(handle: BinaryIO, path: Path) -> None:
    for number, line in enumerate(iter(lambda: handle.readline(1 << 16), b""), start=1):
        line = line.strip()
        if line[:1] == b">":
            return
        if line and line[:1] != b";":
            raise _not_fasta(line, path, number)
    raise InputError("is empty: no sequence in it", path=path)


def _link(path: Path, suffix: str) -> Path:
    link = _cached(path, suffix)
    if not link.exists():
        link.symlink_to(path.resolve())
    return link


def _index(source: Path, shown: Path) -> tuple[Path, Path]:
    """Paths of a fresh .fai (and .gzi for bgzip) of ``source``, made where needed."""
    from pyfaidx import Faidx, FastaIndexingError

    beside = Path(f"{source}.fai"), Path(f"{source}.gzi")
    cached = _cached(source, ".fai"), _cached(source, ".gzi")
    bgzip = is_bgzip(source)
    for fai, gzi in (beside, cached):
        if fai.exists() and (gzi.exists() or not bgzip):
            reason = _stale(source, [fai, gzi] if bgzip else [fai], bgzip)
            if reason is None:
                return fai, gzi
            log.warning("%s %s: indexing again", fai, reason)
    fai, gzi = beside if os.access(source.parent, os.W_OK) else cached
    partial = [p.with_name(f".{p.name}.{os.getpid()}.partial") for p in (fai, gzi)]
    try:
        Faidx(str(source), indexname=str(partial[0]), gzi_indexname=str(partial[1])).close()
        for made, final in zip(partial, (fai, gzi), strict=True):
            if made.exists():
                made.replace(final)
    except FastaIndexingError as error:
        raise _indexing_error(error, shown) from None
    except ValueError as error:
        raise _duplicate_error(error, source, shown) from None
    except OSError as error:
        raise InputError(f"cannot be indexed: {error}", path=shown) from None
    finally:
        for made in partial:
            made.unlink(missing_ok=True)
    return fai, gzi


def _stale(source: Path, indices: list[Path], bgzip: bool) -> str | None:
    if any(index.stat().st_mtime < source.stat().st_mtime for index in indices):
        return "is older than the FASTA"
    try:
        rows = [line.split("\t") for line in indices[0].read_text().splitlines()]
        last = max(([int(x) for x in row[1:5]] for row in rows), key=lambda row: row[1])
        bases, offset, per_line, line_bytes = last
    except (ValueError, IndexError):
        return "is damaged"
    if bgzip:
        return None
    end = offset + bases + (-(-bases // per_line) * (line_bytes - per_line) if per_line else 0)
    # The last line may lack its end, or blank lines may follow.
    with open(source, "rb") as handle:
        handle.seek(end)
        rest = handle.read(1 << 16)
    fits = source.stat().st_size >= end - 2 and not rest.strip()
    return None if fits else "does not fit the FASTA"


def _indexing_error(error: Exception, shown: Path) -> InputError:
    text = str(error)
    if "not consistent" in text:
        where = text.rsplit("Inconsistent line found in >", 1)[-1].rstrip(".")
        return InputError(
            f"lines of different length in {where}",
            path=shown,
            hint="an indexed FASTA needs lines of one length: reflow it, e.g. with seqkit seq -w 60",
        )
    return InputError(f"cannot be indexed: {text}", path=shown)


def _duplicate_error(error: ValueError, source: Path, shown: Path) -> InputError:
    with open_text(source) as handle:
        seen: dict[str, int] = {}
        for number, line in enumerate(handle, start=1):
            if line[:1] == b">":
                name = _header_name(line.strip(), shown, number)
                if name in seen:
                    return _duplicate(name, shown, seen[name], number)
                seen[name] = number
    return InputError(f"cannot be indexed: {error}", path=shown)
