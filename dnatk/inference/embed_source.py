"""What ``dnatk embed`` embeds: the windows of a genome or stream, or regions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome, read_fasta
from dnatk.genome.files import readable_again, reading
from dnatk.genome.regions import Region, parse_region
from dnatk.genome.windows import Tiling
from dnatk.inference.batches import Tile
from dnatk.inference.tiles import (
    Tally,
    genome_windows,
    record_windows,
    region_tiles,
    window_tiles,
)
from dnatk.kmers import Tokens


@dataclass(frozen=True)
class EmbedSource:
    """Where tiles come from, and how progress counts them; a :class:`dnatk.inference.run.Source`.

    Attributes:
        contigs: with their lengths; those of a stream are added as they are met.
        total: items, where that is known; counted in ``unit``.
        items: begins to read them, from the start where ``again``.
        bases: of one.
        tiles: of numbered items.
        identity: of one.
    """

    contigs: dict[str, int]
    total: int | None
    unit: str
    items: Callable[[], Iterable[Any]]
    bases: Callable[[Any], int]
    tiles: Callable[[Iterable[tuple[int, Any]]], Iterator[Tile]]
    again: bool = True
    identity: Callable[[Any], bytes] = bytes


def embed_source(
    genome: Genome | None,
    bed: str | Path | None,
    regions: Sequence[str],
    tiling: Tiling,
    tokens: Tokens,
    on_error: str,
    tally: Tally,
) -> EmbedSource:
    """The tiles asked for; no genome: the FASTA on standard input."""
    contigs = {} if genome is None else genome.lengths
    if genome is None or (bed is None and not regions):
        stream = genome is None
        return EmbedSource(
            contigs,
            None if stream else sum(tiling.count(length) for length in contigs.values()),
            "windows",
            (lambda: record_windows(_read("-", read_fasta("-")), tiling, contigs))
            if stream
            else (lambda: genome_windows(contigs, tiling)),
            lambda window: window.size,
            lambda windows: window_tiles(windows, genome, tokens, tally),
            again=not stream,
        )
    wanted = [parse_region(text, contigs) for text in regions]
    again = bed is None or readable_again(bed)
    items = (lambda: wanted) if bed is None else (lambda: _read(bed, read_bed(bed)))
    return EmbedSource(
        contigs,
        _count(items(), genome, on_error) if again else None,
        "regions",
        items,
        len,
        lambda found: region_tiles(found, genome, tiling, tokens, tally, on_error=on_error),
        again,
    )


def _read(path: str | Path, items: Iterable[Any]) -> Iterator[Any]:
    with reading("<stdin>" if str(path) == "-" else path):
        yield from items


def _count(regions: Iterable[Region], genome: Genome, on_error: str) -> int:
    """Read a BED to its end before any work, so that line 90,000 fails in the first second."""
    count = 0
    for region in regions:
        count += 1
        if on_error == "fail":
            genome.check(region)
    return count
