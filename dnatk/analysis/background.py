"""Regions and random windows that resemble them in all but what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.fasta import Genome
from dnatk.genome.regions import Region
from dnatk.kmers import encode
from dnatk.kmers.vocab import FIRST_KMER, UNK
from dnatk.labelled.places import read_bases


def oriented(genome: Genome, region: Region) -> bytes:
    """Upper-case bases of a region as its strand reads them."""
    return read_bases(genome, region).tobytes()


def usable_regions(genome: Genome, regions: Iterable[Region]) -> list[Region]:
    """Those inside their contig, free of N, each place and strand once."""
    kept: dict[tuple, Region] = {}
    for region in regions:
        if region.contig not in genome.lengths:
            genome.check(region)  # names that do not fit are an error, not a smaller data set
        if region.start < 0 or region.end > genome.lengths[region.contig]:
            continue
        if (encode(oriented(genome, region), 1) != UNK).all():
            kept[region.contig, region.start, region.end, region.strand] = region
    return list(kept.values())


def draw_background(
    genome: Genome, regions: Sequence[Region], avoid: Iterable[Region], rng: np.random.Generator
) -> list[Region]:
    """One random window a region: its contig, length and strand, off ``avoid`` and N.

    Starts are drawn without replacement among all that are allowed; windows may overlap one
    another. Row i belongs to region i.

    Raises:
        InputError: a contig has fewer places than regions.
    """
    taken = {}
    for contig in {region.contig for region in regions}:
        bases = genome.fetch(contig, 0, genome.lengths[contig])
        taken[contig] = encode(bases, 1) == UNK
    for region in avoid:
        if region.contig in taken:
            taken[region.contig][region.start : region.end] = True
    groups = defaultdict(list)
    for row, region in enumerate(regions):
        groups[region.contig, len(region)].append(row)
    drawn: list[Region | None] = [None] * len(regions)
    for (contig, length), rows in groups.items():
        blocked = np.concatenate([[0], np.cumsum(taken[contig])])
        starts = np.flatnonzero(blocked[length:] == blocked[:-length])
        if len(starts) < len(rows):
            raise InputError(f"{contig} has {len(starts)} places free for {len(rows)} windows")
        for row, start in zip(rows, rng.choice(starts, len(rows), replace=False), strict=True):
            start = int(start)
            drawn[row] = Region(contig, start, start + length, regions[row].strand)
    return drawn


def kmer_frequencies(sequences: Iterable[bytes], k: int) -> np.ndarray:
    """(N, 4**k) share of each overlapping k-mer in its sequence."""
    rows = []
    for sequence in sequences:
        counts = np.bincount(encode(sequence, k) - FIRST_KMER, minlength=4**k)
        rows.append((counts / counts.sum()).astype(np.float32))
    return np.stack(rows)
