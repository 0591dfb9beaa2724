"""Genomes and regions cut into the tiles that the engine runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from dnatk.errors import InputError, ReferenceError_
from dnatk.genome.fasta import Genome
from dnatk.genome.regions import Region
from dnatk.genome.windows import Tiling
from dnatk.inference.engine import Row, Tile
from dnatk.kmers import encode, reverse_complement
from dnatk.kmers.vocab import UNK
from dnatk.output.hdf5 import Status


@dataclass
class Tally:
    """What became of the regions: filled while tiles are drawn."""

    rows: int = 0
    skipped: int = 0
    unscored: dict[Status, int] = field(default_factory=dict)


def genome_tiles(genome: Genome, tiling: Tiling, tally: Tally) -> Iterator[Tile]:
    """Every tile of every contig as a row of its own; tiles without a valid k-mer are skipped."""
    for contig, length in genome.lengths.items():
        for start, end in tiling.walk(length):
            bases = genome.fetch(contig, start, end)
            yield from _tile_row(bases, contig, start, length, tiling, tally)


def record_tiles(
    records: Iterable[tuple[str, np.ndarray]], tiling: Tiling, tally: Tally, on_contig
) -> Iterator[Tile]:
    """As :func:`genome_tiles`, of streamed records; ``on_contig(name, length)`` hears of each."""
    for contig, bases in records:
        on_contig(contig, len(bases))
        for start, end in tiling.walk(len(bases)):
            yield from _tile_row(bases[start:end], contig, start, len(bases), tiling, tally)


def _tile_row(
    bases: np.ndarray, contig: str, start: int, length: int, tiling: Tiling, tally: Tally
) -> Iterator[Tile]:
    ids = encode(bases, tiling.k, tiling.kmer_stride)
    if not (ids != UNK).any():
        tally.skipped += 1
        return
    whole = len(bases) == length
    region = Region(contig, start, start + len(bases), name=contig if whole else "")
    tally.rows += 1
    yield Tile(Row(region), ids, 0, len(ids), last=True)


def region_tiles(
    regions: Iterable[Region], genome: Genome, tiling: Tiling, tally: Tally, *, on_error: str
) -> Iterator[Tile]:
    """The tiles of each region; one row a region, whatever its length.

    A region on "-" is reverse-complemented before it is cut, so tokens run 5'->3'.

    Args:
        on_error: "fail" raises at the first region that cannot be scored, "na" gives a row
            without tiles and with a status.
    """
    for region in regions:
        tally.rows += 1
        bases, status = _oriented_bases(region, genome, on_error)
        tiles = tiling.tiles(len(bases))
        owned = tiling.owned(tiles)
        if not status and not _any_valid(bases, tiles, owned, tiling):
            status = Status.NO_VALID_KMER
            if on_error == "fail":
                raise InputError(
                    f"{region.contig}:{region.start}-{region.end} has no {tiling.k}-mer free of N",
                    path=region.source or None,
                    line=region.line,
                    hint="--on-error na writes a NaN row instead",
                )
        row = Row(region, status)
        if status:
            tally.unscored[status] = tally.unscored.get(status, 0) + 1
            yield Tile(row, np.empty(0, dtype=np.int16), 0, 0, last=True)
            continue
        for number, ((start, end), (low, high)) in enumerate(zip(tiles, owned, strict=True), 1):
            ids = encode(bases[start:end], tiling.k, tiling.kmer_stride)
            yield Tile(row, ids, low, high, last=number == len(tiles))


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


def _any_valid(bases: np.ndarray, tiles: list, owned: list, tiling: Tiling) -> bool:
    """Whether any k-mer that will be pooled is free of N; usually the first tile says so."""
    return any(
        (encode(bases[start:end], tiling.k, tiling.kmer_stride)[low:high] != UNK).any()
        for (start, end), (low, high) in zip(tiles, owned, strict=True)
    )
