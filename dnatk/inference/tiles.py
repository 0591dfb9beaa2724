"""Genomes and regions cut into the tiles that the engine runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dnatk.errors import InputError, ReferenceError_
from dnatk.genome.fasta import Genome
from dnatk.genome.regions import Region
from dnatk.genome.windows import Tiling
from dnatk.inference.batches import Row, Tile, fresh_bases
from dnatk.kmers import KmerTokens, Tokens, reverse_complement
from dnatk.output.status import Status


@dataclass
class Tally:
    """What became of the regions: filled while tiles are drawn."""

    rows: int = 0
    skipped: int = 0


class Window(NamedTuple):
    """A window of a contig that is a row of its own; ``bases`` None: they are in the genome."""

    contig: str
    start: int
    end: int
    whole: bool
    bases: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Bases in it."""
        return self.end - self.start

    def __bytes__(self) -> bytes:
        return f"{self.contig}:{self.start}-{self.end}".encode("utf-8", "surrogateescape")


def genome_windows(lengths: dict[str, int], tiling: Tiling) -> Iterator[Window]:
    """Every window of every contig."""
    for contig, length in lengths.items():
        for start, end in tiling.walk(length):
            yield Window(contig, start, end, end - start == length)


def record_windows(
    records: Iterable[tuple[str, np.ndarray]], tiling: Tiling, contigs: dict[str, int]
) -> Iterator[Window]:
    """As :func:`genome_windows`, of streamed records; ``contigs`` gets each one's length."""
    for contig, bases in records:
        contigs[contig] = len(bases)
        for start, end in tiling.walk(len(bases)):
            yield Window(contig, start, end, end - start == len(bases), bases[start:end])


def window_tiles(
    windows: Iterable[tuple[int, Window]], genome: Genome | None, tokens: Tokens, tally: Tally
) -> Iterator[Tile]:
    """A tile and row for each window, numbered with its part; none without a valid token."""
    before = contig_before = None
    for part, (contig, start, end, whole, given) in windows:
        fresh = fresh_bases(start, end, before if contig == contig_before else None)
        before, contig_before = (start, end), contig
        bases = genome.fetch(contig, start, end) if given is None else given
        ids = tokens.encode(bases)
        if not tokens.valid(ids).any():
            tally.skipped += 1
            continue
        tally.rows += 1
        region = Region(contig, start, end, name=contig if whole else "")
        yield Tile(Row(region, part=part), ids, 0, len(ids), last=True, fresh=fresh)


def region_tiles(
    regions: Iterable[tuple[int, Region]],
    genome: Genome,
    tiling: Tiling,
    tokens: Tokens,
    tally: Tally,
    *,
    on_error: str,
) -> Iterator[Tile]:
    """The tiles of each region, numbered with its part; one row a region, whatever its length.

    A region on "-" is reverse-complemented before it is cut, so tokens run 5'->3'.

    Args:
        on_error: "fail" raises at the first region that cannot be scored, "na" gives a row
            without tiles and with a status.
    """
    for part, region in regions:
        tally.rows += 1
        bases, status = _oriented_bases(region, genome, on_error)
        row = Row(region, status, part)
        for tile in bases_tiles(row, bases, tiling, tokens):
            if row.status == Status.NO_VALID_KMER and on_error == "fail":
                unit = f"{tiling.k}-mer" if isinstance(tokens, KmerTokens) else "token"
                raise InputError(
                    f"{region.contig}:{region.start}-{region.end} has no {unit} free of N",
                    path=region.source or None,
                    line=region.line,
                    hint="--on-error na writes a NaN row instead",
                )
            yield tile


def bases_tiles(row: Row, bases: np.ndarray, tiling: Tiling, tokens: Tokens) -> Iterator[Tile]:
    """The tiles of one row, whose bases (L,) uint8 run as they are read.

    A row that has a status, or gets one as it has no valid token, is one empty tile.
    """
    tiles = tiling.tiles(len(bases))
    owned = tiling.owned(tiles)
    if not row.status and not _any_valid(bases, tiles, owned, tokens):
        row.status = Status.NO_VALID_KMER
    if row.status:
        yield Tile(row, np.empty(0, dtype=np.int16), 0, 0, last=True)
        return
    before = None
    for number, ((start, end), (low, high)) in enumerate(zip(tiles, owned, strict=True), 1):
        ids = tokens.encode(bases[start:end])
        if not tokens.aligned:  # windows of text do not overlap: each has its own tokens
            low, high = 0, len(ids)
        fresh, before = fresh_bases(start, end, before), (start, end)
        yield Tile(row, ids, low, high, last=number == len(tiles), fresh=fresh)


def _oriented_bases(region: Region, genome: Genome, on_error: str) -> tuple[np.ndarray, Status]:
    """Bases of a region as its strand reads them; none, and why, where the genome lacks it."""
    try:
        genome.check(region)
    except ReferenceError_:
        if on_error == "fail":
            raise
        known = region.contig in genome.lengths
        empty = np.empty(0, dtype=np.uint8)
        return empty, Status.OUT_OF_BOUNDS if known else Status.UNKNOWN_CONTIG
    bases = genome.fetch(region.contig, region.start, region.end)
    return (reverse_complement(bases) if region.strand == "-" else bases), Status.SCORED


def _any_valid(bases: np.ndarray, tiles: list, owned: list, tokens: Tokens) -> bool:
    """Whether any token that will be pooled is valid; usually the first tile says so."""
    return any(
        tokens.valid(tokens.encode(bases[start:end])[low:high]).any()
        for (start, end), (low, high) in zip(tiles, owned, strict=True)
    )
