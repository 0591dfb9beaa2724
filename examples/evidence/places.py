"""Where sequences come from: exact seeds on a genome, enough to tell which windows overlap.

Coordinates are 0-based half-open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dnatk.genome.fasta import read_fasta
from dnatk.genome.regions import Region
from dnatk.kmers import encode, reverse_complement
from dnatk.kmers.vocab import UNK
from dnatk.labelled.places import Spans

# Seeds of 24 bases: three 8-mers, unique but for repeats in genomes of this size.
_K = 8
_PARTS = 3
_SEED = _K * _PARTS
# A seed that stands more often than this is a repeat and tells nothing.
_REPEATED = 5


class SeedIndex:
    """All seeds of a genome, sorted."""

    def __init__(self, fasta: str | Path) -> None:
        self._names, self._starts, parts, position = [], [], [], 0
        for name, bases in read_fasta(Path(fasta)):
            self._names.append(name)
            self._starts.append(position)
            parts += [bases, np.full(_SEED, ord("N"), dtype=np.uint8)]
            position += len(bases) + _SEED
        seeds = _seeds(np.concatenate(parts))
        self._order = np.argsort(seeds, kind="stable")
        self._sorted = seeds[self._order]

    def place(self, sequence: np.ndarray) -> Region | None:
        """Where most of the seeds of ``sequence`` (uint8 ASCII) agree that it lies, else None."""
        votes: Counter[tuple[int, str]] = Counter()
        for strand, bases in (("+", sequence), ("-", reverse_complement(sequence))):
            seeds = _seeds(bases)
            at = np.arange(0, len(seeds), _SEED)
            at = at[seeds[at] >= 0]
            low = np.searchsorted(self._sorted, seeds[at], side="left")
            high = np.searchsorted(self._sorted, seeds[at], side="right")
            for i, first, last in zip(at, low, high, strict=True):
                if last - first <= _REPEATED:
                    votes.update((int(p - i), strand) for p in self._order[first:last])
        if not votes:
            return None
        (start, strand), _ = votes.most_common(1)[0]
        number = max(int(np.searchsorted(self._starts, start, side="right")) - 1, 0)
        start = max(start - self._starts[number], 0)
        return Region(self._names[number], start, start + len(sequence), strand=strand)


def overlapping(
    index: SeedIndex, of: Iterable[np.ndarray], with_: Iterable[np.ndarray]
) -> tuple[np.ndarray, int]:
    """(N,) which sequences of ``of`` share a base of the genome with one of ``with_``.

    Also how many of both have no place: of them this cannot be told.
    """
    ours: Sequence[Region | None] = [index.place(sequence) for sequence in of]
    theirs = [index.place(sequence) for sequence in with_]
    found = np.zeros(len(ours), dtype=bool)
    rows = [i for i, region in enumerate(ours) if region is not None]
    spans = Spans(region for region in theirs if region is not None)
    if rows:
        found[rows] = spans.overlapping([ours[i] for i in rows])
    return found, len(ours) - len(rows) + theirs.count(None)


def _seeds(bases: np.ndarray) -> np.ndarray:
    """(L - 23,) the number of each seed; -1 with an N."""
    ids = encode(bases, _K).astype(np.int64)
    n = len(ids) - _SEED + _K
    if n <= 0:
        return np.empty(0, dtype=np.int64)
    parts = [ids[i * _K : i * _K + n] for i in range(_PARTS)]
    number = sum(part << (17 * i) for i, part in enumerate(parts))
    return np.where(np.any([part == UNK for part in parts], axis=0), -1, number)
