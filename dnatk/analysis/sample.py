"""Windows of a genome drawn by a seed, and its k-mer counts, in one pass over the FASTA.

Shapes: N windows, W bases of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.fasta import read_fasta
from dnatk.kmers import encode
from dnatk.kmers.vocab import FIRST_KMER, UNK

_BLOCK = 1 << 22


@dataclass(frozen=True)
class Sample:
    """Windows free of N, in the order in which they were drawn.

    Attributes:
        windows: N arrays (W,) of uint8 bases, forward strand.
        contig_N, start_N: where each lies: the number of its record, and its 0-based start.
        counts: (4^k,) occurrences of each k-mer in the FASTA's forward strand; None: not counted.
    """

    windows: list[np.ndarray]
    contig_N: np.ndarray
    start_N: np.ndarray
    counts: np.ndarray | None = None

    def split(self, test: float, seed: int) -> tuple[list[int], list[int]]:
        """Numbers of windows to train and to test on, which share no base.

        Test windows are the last ones of the genome, its contigs put in an order by ``seed``.
        Windows that overlap the first of them are in neither part.
        """
        order = np.random.default_rng(seed).permutation(self.contig_N.max(initial=0) + 1)
        rows = np.lexsort((self.start_N, order[self.contig_N])).tolist()
        cut = len(rows) - max(1, round(test * len(rows)))
        tested = rows[cut:]
        first, width = tested[0], len(self.windows[tested[0]])
        apart = [
            row
            for row in rows[:cut]
            if self.contig_N[row] != self.contig_N[first]
            or self.start_N[row] + width <= self.start_N[first]
        ]
        return apart, tested


def random_windows(count: int, window: int, seed: int) -> Sample:
    """Windows of independent, equally frequent bases."""
    rng = np.random.default_rng(seed)
    rows_NW = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), (count, window))
    return Sample(list(rows_NW), np.arange(count), np.zeros(count, dtype=np.int64))


def draw_sample(fasta: str | Path, count: int, window: int, seed: int, *, k: int = 0) -> Sample:
    """``count`` windows, each uniform among all places free of N; they may overlap.

    Memory is that of the longest record. ``k`` > 0 counts the k-mers too.

    Raises:
        InputError: as :func:`read_fasta`, or no place for a window.
    """
    rng = np.random.default_rng(seed)
    windows: list[np.ndarray] = [np.empty(0, dtype=np.uint8)] * count
    contig_N, start_N = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    counts = np.zeros(4**k, dtype=np.int64) if k else None
    places = longest = 0
    for number, (_, bases) in enumerate(read_fasta(fasta)):
        if counts is not None:
            counts += _kmer_counts(bases, k)
        first_R, end_R = _valid_runs(bases)
        longest = max(longest, int((end_R - first_R).max(initial=0)))
        starts_R = np.maximum(end_R - first_R - window + 1, 0)
        here = int(starts_R.sum())
        if not here:
            continue
        places += here
        # A reservoir for each window: in the end each place has had the same chance.
        taken_N = rng.random(count) < here / places
        pick_N = rng.integers(0, here, count)
        run_N = np.searchsorted(np.cumsum(starts_R), pick_N, side="right")
        at_N = first_R[run_N] + pick_N - (np.cumsum(starts_R) - starts_R)[run_N]
        for row in np.flatnonzero(taken_N).tolist():
            contig_N[row], start_N[row] = number, at_N[row]
            windows[row] = bases[at_N[row] : at_N[row] + window].copy()
    if not places:
        raise InputError(
            f"has no window of {window} bases free of N",
            path=fasta,
            hint=f"its longest run of A, C, G, T is {longest} bases: give --window",
        )
    return Sample(windows, contig_N, start_N, counts)


def _valid_runs(bases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) starts and ends of the runs of A, C, G and T, 0-based half-open."""
    valid = np.zeros(len(bases) + 2, dtype=bool)
    for at in range(0, len(bases), _BLOCK):
        block = encode(bases[at : at + _BLOCK], 1) != UNK
        valid[at + 1 : at + 1 + len(block)] = block
    edges = np.flatnonzero(valid[1:] != valid[:-1])
    return edges[::2], edges[1::2]


def _kmer_counts(bases: np.ndarray, k: int) -> np.ndarray:
    counts = np.zeros(FIRST_KMER + 4**k, dtype=np.int64)
    for at in range(0, max(len(bases) - k + 1, 0), _BLOCK):
        counts += np.bincount(encode(bases[at : at + _BLOCK + k - 1], k), minlength=len(counts))
    return counts[FIRST_KMER:]
