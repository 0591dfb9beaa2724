"""Regions brought to a length, their bases, and which of them overlap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.fasta import Genome
from dnatk.genome.fit import Fit
from dnatk.genome.regions import Region, middle
from dnatk.kmers import reverse_complement
from dnatk.labelled.rows import ReadOptions


def resized(region: Region, length: int) -> Region:
    """``length`` bases round the middle of a region, which may pass the contig's ends."""
    start, end = middle(region.start, region.end, region.strand, length)
    return replace(region, start=start, end=end)


def fitted(region: Region, options: ReadOptions, genome: Genome) -> Region:
    """The part of the genome that stands for a region, by ``options``: as ``predict`` reads it.

    Cut at the contig's ends. Where each base has its label nothing is added: there is no label for
    it (and what is too long is cut later, together with its labels).

    Raises:
        InputError: a window of the 5' end lies beyond the contig, or there is no strand where one
            is read.
    """
    if options.stranded and region.strand == ".":
        raise _no_strand(region, "the task reads strands")
    if not options.length or options.kind == "per-base":
        return region
    fit = Fit.parse(options.fit, options.length)
    if fit.kind == "tile" and len(region) > fit.length:
        if not options.cut:
            return region
        fit = Fit("center", options.length)
    if fit.kind == "tss" and region.strand == ".":
        raise _no_strand(region, f"the fit {fit} reads strands")
    places = fit.windows(region.start, region.end, region.strand, genome.lengths[region.contig])
    window = next(places, None)
    if window is None:
        raise InputError(
            f"nothing of {region.contig} lies at {fit} of {region.start}-{region.end}",
            path=region.source,
            line=region.line,
            hint="remove the line",
        )
    return replace(region, start=window[0], end=window[1])


def _no_strand(region: Region, why: str) -> InputError:
    return InputError(
        f"has no strand, and {why}",
        path=region.source,
        line=region.line,
        hint="give + or -, in column 6 of a BED",
    )


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
