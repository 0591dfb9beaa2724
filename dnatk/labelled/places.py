"""Regions brought to a length, their bases, and which of them overlap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dnatk.genome.fasta import Genome
from dnatk.genome.regions import Region, middle
from dnatk.kmers import reverse_complement
from dnatk.labelled.rows import ReadOptions


def resized(region: Region, length: int) -> Region:
    """``length`` bases round the middle of a region, which may pass the contig's ends."""
    start, end = middle(region.start, region.end, region.strand, length)
    return replace(region, start=start, end=end)


def fitted(region: Region, options: ReadOptions, genome: Genome) -> Region:
    """The part of the genome that stands for a region: ``options.length`` bases, where that is set.

    Cut at the contig's ends. Where each base has its label nothing is added: there is no label for
    it (and what is too long is cut later, together with its labels).
    """
    if not options.length or options.kind == "per-base":
        return region
    fit = resized(region, options.length)
    return replace(fit, start=max(fit.start, 0), end=min(fit.end, genome.lengths[fit.contig]))


def read_bases(genome: Genome, region: Region) -> np.ndarray:
    """(L,) uint8 upper-case bases of a region as its strand reads them."""
    bases = genome.fetch(region.contig, region.start, region.end)
    if region.strand == "-":
        bases = reverse_complement(bases)
    return np.frombuffer(bases.tobytes().upper(), dtype=np.uint8)


class Spans:
    """The places of some regions, to ask what touches them; strands play no part."""

    def __init__(self, regions: Iterable[Region]) -> None:
        places = defaultdict(set)
        for region in regions:
            places[region.contig].add((region.start, region.end))
        self._starts, self._reach = {}, {}
        for contig, spans in places.items():
            starts, ends = np.array(sorted(spans)).T
            self._starts[contig] = starts
            # How far the spans that start no later reach; nothing before the first.
            self._reach[contig] = np.concatenate([[-1], np.maximum.accumulate(ends)])

    def touch(self, contig: str, starts_N: np.ndarray, ends_N: np.ndarray) -> np.ndarray:
        """(N,) whether [start, end) shares a base with one of the regions."""
        if contig not in self._starts:
            return np.zeros(len(starts_N), dtype=bool)
        n_before = np.searchsorted(self._starts[contig], ends_N, side="left")
        return self._reach[contig][n_before] > starts_N

    def overlapping(self, regions: Sequence[Region]) -> np.ndarray:
        """(N,) whether each of ``regions`` shares a base with one of these."""
        rows_of = defaultdict(list)
        for row, region in enumerate(regions):
            rows_of[region.contig].append(row)
        found = np.zeros(len(regions), dtype=bool)
        for contig, rows in rows_of.items():
            starts, ends = np.array([(regions[i].start, regions[i].end) for i in rows]).T
            found[rows] = self.touch(contig, starts, ends)
        return found
