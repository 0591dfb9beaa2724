"""What a test set shares with its training set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dnatk.genome.regions import Region
from dnatk.kmers import reverse_complement


def count_overlaps(test: Sequence[Region], train: Sequence[Region]) -> int:
    """Test windows that share a base of the genome with a training window."""
    spans = defaultdict(list)
    for region in train:
        spans[region.contig].append((region.start, region.end))
    arrays = {contig: np.array(places) for contig, places in spans.items()}
    empty = np.empty((0, 2), dtype=int)
    total = 0
    for region in test:
        starts, ends = arrays.get(region.contig, empty).T
        total += bool(((starts < region.end) & (ends > region.start)).any())
    return total


def find_duplicates(test: Sequence[bytes], train: Sequence[bytes]) -> np.ndarray:
    """(N,) whether a test sequence or its reverse complement stands in the training part."""

    def canonical(sequence: bytes) -> bytes:
        other = reverse_complement(np.frombuffer(sequence, dtype=np.uint8)).tobytes()
        return min(sequence, other)

    known = {canonical(sequence) for sequence in train}
    return np.array([canonical(sequence) in known for sequence in test], dtype=bool)
