"""FASTA in: streamed record by record, or indexed for random access through pyfaidx.

Sequences come as uint8 ASCII arrays, case and IUPAC codes kept.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from dnatk.errors import InputError, ReferenceError_
from dnatk.genome.files import duplicate, header_name, not_fasta, open_text, reading, sha256
from dnatk.genome.index import fresh_index, random_access_file
from dnatk.genome.names import unknown_contig_hint
from dnatk.genome.regions import Region

__all__ = ["Genome", "check_nucleotides", "open_text", "read_fasta", "sha256", "stream_fasta"]

_NUCLEOTIDES = b"ACGTURYSWKMBDHVNacgturyswkmbdhvn-.*"
_AT_ONCE = 1 << 20  # bases


def read_fasta(
    path: str | Path, lines: Iterable[bytes] | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Stream (name, bases (L,) uint8) of every record; one record is in memory at a time.

    ``path`` may be plain, gzip or bgzip, or ``-``. The name ends at the first white space.
    Windows line ends, blank lines, lines of any length and empty records are fine. ``lines``, of a
    file that is open already, are read instead of ``path``, which then only names them.

    Raises:
        InputError: no FASTA, no record, a name that is missing or stands twice, or a letter that
            is no IUPAC nucleotide code; with the line.
    """
    shown = "<stdin>" if str(path) == "-" else path
    seen: dict[str, int] = {}
    name: str | None = None
    header_line, parts = 0, list[bytes]()

    def record(name: str) -> tuple[str, np.ndarray]:
        sequence = b"".join(parts)
        check_nucleotides(sequence, shown, name, 0)
        return name, np.frombuffer(sequence, dtype=np.uint8)

    with open_text(path) if lines is None else nullcontext(lines) as handle:
        for number, line in enumerate(handle, start=1):
            begins = line[:1] == b">"
            line = line.strip()
            if begins:
                if name is not None:
                    yield record(name)
                name, header_line, parts = header_name(line, shown, number), number, []
                if name in seen:
                    raise duplicate(name, shown, seen[name], number)
                seen[name] = header_line
            elif name is not None:
                parts.append(line)
            elif line and line[:1] != b";":
                raise not_fasta(line, shown, number)
        if name is None:
            raise InputError("is empty: no sequence in it", path=shown)
        yield record(name)


def stream_fasta(path: str | Path, block: int = 1 << 22) -> Iterator[tuple[str, np.ndarray]]:
    """Stream (name, bases (L,) uint8) of every record in pieces, for records of any length.

    The pieces of a record follow each other under its name, the first one empty; none is longer
    than two blocks of ``block`` bytes. What is read and what is refused is as in
    :func:`read_fasta`.
    """
    seen: dict[str, int] = {}
    name, number, offset = None, 1, 0
    with open_text(path) as handle:
        for is_header, text in _sections(handle, block):
            if is_header:
                name, offset = header_name(text.strip(), path, number), 0
                if name in seen:
                    raise duplicate(name, path, seen[name], number)
                seen[name] = number
                yield name, np.empty(0, dtype=np.uint8)
            elif name is not None:
                piece = _joined(text, path, name, offset)
                offset += len(piece)
                yield name, np.frombuffer(piece, dtype=np.uint8)
            else:
                for at, line in enumerate(text.split(b"\n"), start=number):
                    if line.strip() and not line.strip().startswith(b";"):
                        raise not_fasta(line.strip(), path, at)
            number += text.count(b"\n")
    if name is None:
        raise InputError("is empty: no sequence in it", path=path)


def _sections(handle: BinaryIO, block: int) -> Iterator[tuple[bool, bytes]]:
    """Header lines (True) and the text between them (False), cut at line ends where it can be."""
    line_begins = True
    while text := handle.read(block):
        text += handle.readline(block)
        at = 0
        while at < len(text):
            is_header = line_begins and text.startswith(b">", at)
            if is_header and text.find(b"\n", at) < 0:
                text += handle.readline()
            end = text.find(b"\n" if is_header else b"\n>", at) + 1 or len(text)
            yield is_header, text[at:end]
            line_begins = text.startswith(b"\n", end - 1)
            at = end


def _joined(text: bytes, path: str | Path, name: str, offset: int) -> bytes:
    """The bases of some lines; ``offset`` is how many of the record stand before them."""
    bases = text.replace(b"\n", b"")
    if bases.translate(None, _NUCLEOTIDES):
        # Windows line ends, blanks at a line's end, or indeed no nucleotide.
        bases = b"".join(line.strip() for line in text.split(b"\n"))
        check_nucleotides(bases, path, name, offset)
    return bases


def check_nucleotides(sequence: bytes, path: str | Path | None, contig: str, offset: int) -> None:
    """Raise :class:`InputError` naming the first letter that is no IUPAC nucleotide code."""
    strange = sequence.translate(None, _NUCLEOTIDES)
    if strange:
        at = sequence.index(strange[:1])
        letter = strange[:1].decode("latin-1")
        raise InputError(
            f"{contig}:{offset + at + 1}: {letter!r} is no nucleotide",
            path=path,
            hint="is this a protein FASTA?"
            if letter.isascii() and letter.isalpha()
            else "is the file damaged?",
        )


class _Block(NamedTuple):
    """A bgzip block, packed and unpacked start, as pyfaidx bisects for it.

    pyfaidx's own takes the block before for a place where a block begins, and fails there if that
    block is full (65,536 bytes, as Biopython writes them).
    """

    cstart: int
    ustart: int

    def __lt__(self, place: int) -> bool:  # type: ignore[override]
        return self.ustart <= place


class _UnknownContig(ReferenceError_):
    """Its hint is looked for among all contigs when it is read, if it is: one is made a row."""

    def __init__(self, region: Region, genome: Genome) -> None:
        super().__init__(
            f"no contig '{region.contig}' in {genome.path}",
            path=region.source or None,
            line=region.line,
        )
        del self.hint  # which would hide the one below
        self._contig, self._contigs = region.contig, genome.lengths

    @cached_property
    def hint(self) -> str:  # type: ignore[override]
        return unknown_contig_hint(self._contig, self._contigs)


class Genome:
    """Random access to an indexed FASTA: plain, bgzip, or gzip (unpacked once to a cache).

    The index is ``<path>.fai`` where its directory may be written, else it lies in dnatk's cache.
    An index that is older than the FASTA, or does not fit it, is made anew and that is logged.

    Attributes:
        path: the file as given.
        lengths: contig name -> length in bases, in file order.

    >>> with dnatk.Genome("genome.fa") as genome:
    ...     genome.lengths
    ...     genome.fetch("chr1", 0, 6).tobytes()
    {'chr1': 5000, 'chr2': 3000, 'chr3': 200}
    b'CGTTAA'
    """

    def __init__(self, path: str | Path) -> None:
        from pyfaidx import Faidx

        self.path = Path(path)
        source = random_access_file(self.path)
        fai, gzi = fresh_index(source, self.path)
        self._faidx = Faidx(
            str(source), indexname=str(fai), gzi_indexname=str(gzi), as_raw=True, rebuild=False
        )
        if hasattr(self._faidx, "gzi_index"):
            self._faidx.gzi_index = [_Block(b.cstart, b.ustart) for b in self._faidx.gzi_index]
        self.lengths: dict[str, int] = {
            name: record.rlen for name, record in self._faidx.index.items()
        }
        if not any(self.lengths.values()):
            self.close()
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
        if contig not in self.lengths:
            raise self.unknown_contig(region)
        length = self.lengths[contig]
        if not 0 <= start <= end <= length:
            raise ReferenceError_(
                f"{contig}:{start}-{end} (0-based) is outside the contig of {length} bases",
                path=region.source or None,
                line=region.line,
            )

    def unknown_contig(self, region: Region) -> ReferenceError_:
        """What to say of a region whose contig is not here; the likely twin is named."""
        return _UnknownContig(region, self)

    def fetch(self, contig: str, start: int, end: int) -> np.ndarray:
        """Bases (end - start,) uint8 of the forward strand of [start, end)."""
        self.check(Region(contig, start, end))
        if start == end:
            return np.empty(0, dtype=np.uint8)
        try:
            # Of bgzip all blocks of one call are added to one another, each time with a copy.
            pieces = (
                self._faidx.fetch(contig, at + 1, min(at + _AT_ONCE, end)).encode()
                for at in range(start, end, _AT_ONCE)
            )
            with reading(self.path):
                sequence = b"".join(pieces)
        except (ValueError, RuntimeError, struct.error, zlib.error) as error:
            # Bytes that are no text, or a damaged block of a bgzip file.
            raise InputError(
                f"{contig}:{start}-{end} cannot be read: {error}",
                path=self.path,
                hint="is the file damaged?",
            ) from None
        if len(sequence) != end - start:
            raise InputError(
                f"{contig}:{start}-{end} gave {len(sequence)} bases",
                path=self.path,
                hint="did the file change? delete its .fai and try again",
            )
        check_nucleotides(sequence, self.path, contig, start)
        return np.frombuffer(sequence, dtype=np.uint8)
