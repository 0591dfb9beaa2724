"""Which sequences are the same, on either strand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dnatk.kmers import reverse_complement


def canonical(sequence: np.ndarray) -> bytes:
    """A sequence or its reverse complement, whichever is first in the alphabet."""
    return min(sequence.tobytes(), reverse_complement(sequence).tobytes())


def twin_groups(sequences: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the group of each sequence, and (N,) whether it is turned round.

    A group is a sequence and its reverse complement; groups are numbered as they are met. A
    sequence that is its own reverse complement counts as not turned.
    """
    known: dict[bytes, int] = {}
    groups, turned = [], []
    for sequence in sequences:
        key = canonical(sequence)
        groups.append(known.setdefault(key, len(known)))
        turned.append(key != sequence.tobytes())
    return np.array(groups, dtype=np.int64), np.array(turned, dtype=bool)
