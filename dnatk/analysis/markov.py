"""Order-r Markov chains over bases, and what they say of masked overlapping k-mers.

The baseline which a masked language model of DNA has to beat. A chain gives P(x_j | x_{j-r} ..
x_{j-1}). A span of m consecutive masked k-mers that starts at token i hides only the bases which
no unmasked k-mer shows, i+k-1 .. i+m-1; every other base is known, on both sides. The best that
the chain can do for a masked token whose hidden bases are a..b is its exact posterior

    P(x_a..x_b | visible) = sum_{hidden outside a..b} prod_j P(x_j | x_{j-r}..x_{j-1})
                            / sum_{all hidden}        prod_j P(x_j | x_{j-r}..x_{j-1})

a joint probability, not the product of the marginals of its bases. It comes from the messages

    F_j(x_{j-r+1}..x_j) = sum_{x_{j-r}} F_{j-1}(x_{j-r}..x_{j-1}) P(x_j | x_{j-r}..x_{j-1})
    B_{j-1}(x_{j-r}..x_{j-1}) = sum_{x_j} P(x_j | x_{j-r}..x_{j-1}) B_j(x_{j-r+1}..x_j)

as sum(F_b^{a..b true} * B_b) / sum(F_b * B_b), where F_b^{a..b true} goes on from F_{a-1} with
x_a..x_b held at their true values. The r visible bases before the first hidden one fix the start;
those further than r behind the last hidden one cancel.

A message is an array (N, c, .., c) with one axis a base, of size 4 where that base is hidden and
1 where it is known, so that nothing is computed for bases that are not free.

Shapes: N windows, L bases of a window, W bases that matter (r + hidden + r).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dnatk.errors import InputError
from dnatk.kmers import encode, reverse_complement
from dnatk.kmers.vocab import FIRST_KMER, MAX_K

_CHUNK = 64  # windows at a time: a message of order 5 over free bases then stays in cache


@dataclass(frozen=True)
class MarkovChain:
    """A homogeneous chain over bases coded as dnatk's vocabulary does (A, T, C, G = 0..3).

    Attributes:
        order: r, the number of bases that the next one depends on.
        probability: (4**r, 4), P(next base | context); a context's number has its oldest base
            as the highest digit.
    """

    order: int
    probability: np.ndarray

    @classmethod
    def fit(
        cls,
        sequences: Iterable[np.ndarray],
        order: int = 5,
        *,
        pseudocount: float = 1.0,
        both_strands: bool = False,
    ) -> MarkovChain:
        """Count (order + 1)-mers of uint8 sequences; those with a letter beside ACGT are left out.

        P(b | c) = (n(cb) + pseudocount) / (n(c) + 4 pseudocount).

        Args:
            both_strands: count each sequence's reverse complement too.
        """
        if not 0 <= order < MAX_K:
            raise InputError(f"the order must be between 0 and {MAX_K - 1}, not {order}")
        counts = np.zeros(4 ** (order + 1))
        for bases in sequences:
            counts += kmer_counts(bases, order + 1)
            if both_strands:
                counts += kmer_counts(reverse_complement(bases), order + 1)
        counts = counts.reshape(-1, 4) + pseudocount
        return cls(order, counts / counts.sum(axis=1, keepdims=True))


def kmer_counts(bases: np.ndarray, k: int) -> np.ndarray:
    """(4**k,) how often each k-mer stands in a uint8 sequence, overlaps counted, N left out."""
    ids = encode(bases, k)
    return np.bincount(ids[ids >= FIRST_KMER] - FIRST_KMER, minlength=4**k)


def hidden_bases(span: int, k: int) -> int:
    """How many bases a span of consecutive masked overlapping k-mers hides: max(0, m - k + 1)."""
    return max(0, span - k + 1)


def hidden_part(t: int, span: int, k: int) -> tuple[int, int]:
    """(offset, count) of the hidden bases inside the masked token ``t`` of a span."""
    first, last = max(t, k - 1), min(t + k - 1, span - 1)
    return (first - t, last - first + 1) if first <= last else (0, 0)


def span_posteriors(
    chain: MarkovChain, codes_NL: np.ndarray, start_N: np.ndarray, span: int, k: int
) -> np.ndarray:
    """(N, span) exact posterior probability of each masked token given all visible bases.

    Args:
        codes_NL: bases of the windows, coded 0..3 (true values, the hidden ones too).
        start_N: the first masked token of each window, which is the first base it covers.
        span: masked tokens of a window, consecutive.

    Raises:
        InputError: fewer than ``chain.order`` known bases on a side of the hidden ones.
    """
    n_hidden = hidden_bases(span, k)
    if not n_hidden:
        return np.ones((len(codes_NL), span))
    width = n_hidden + 2 * chain.order
    first_N = np.asarray(start_N) + k - 1 - chain.order
    if (first_N < 0).any() or (first_N + width > codes_NL.shape[1]).any():
        raise InputError(
            f"a span needs {chain.order} known bases on either side of its hidden ones"
        )
    codes_NW = np.take_along_axis(codes_NL, first_N[:, None] + np.arange(width), axis=1)
    chunks = range(0, len(codes_NW), _CHUNK)
    parts = [_Span(chain, codes_NW[at : at + _CHUNK], n_hidden).tokens(span, k) for at in chunks]
    return np.concatenate(parts) if parts else np.ones((0, span))


class _Span:
    """The messages of windows whose bases r .. r + n_hidden - 1 are hidden."""

    def __init__(self, chain: MarkovChain, codes_NW: np.ndarray, n_hidden: int) -> None:
        self.order, self.table = chain.order, chain.probability.ravel()
        self.codes_NW = codes_NW.astype(np.int64)
        n_windows, width = codes_NW.shape
        self.hidden = range(self.order, self.order + n_hidden)
        known = np.ones((n_windows, *[1] * self.order))
        self.forward = {self.order - 1: known}
        for j in self.hidden:
            self.forward[j] = self._step(self.forward[j - 1], j, self.hidden)
        self.backward = {width - 1: known}
        for j in range(width - 1, self.order - 1, -1):
            product = self._factor(j, self.hidden) * self.backward[j][:, None]
            self.backward[j - 1] = product.sum(axis=-1)
        self.evidence_N = _total(self.backward[self.order - 1])

    def tokens(self, span: int, k: int) -> np.ndarray:
        """(N, span) posterior of each masked k-mer."""
        columns = []
        for t in range(span):
            offset, count = hidden_part(t, span, k)
            first = self.order + t + offset - (k - 1)
            columns.append(self._joint(first, first + count - 1))
        return np.stack(columns, axis=1)

    def _joint(self, a: int, b: int) -> np.ndarray:
        """(N,) P(x_a..x_b are true | visible)."""
        free = [j for j in self.hidden if not a <= j <= b]
        message = self.forward[a - 1]
        for j in range(a, b + 1):
            message = self._step(message, j, free)
        rest = self.backward[b]
        oldest = b - self.order + 1
        for j in range(max(a, oldest), b + 1):
            shape = [-1] + [1] * self.order
            rest = np.take_along_axis(rest, self.codes_NW[:, j].reshape(shape), 1 + j - oldest)
        return _total(message * rest) / self.evidence_N

    def _step(self, message: np.ndarray, j: int, free: Iterable[int]) -> np.ndarray:
        return (message[..., None] * self._factor(j, free)).sum(axis=1)

    def _factor(self, j: int, free: Iterable[int]) -> np.ndarray:
        """P(x_j | x_{j-r}..x_{j-1}), axes (N, x_{j-r}, .., x_j)."""
        index = np.zeros([1] * (self.order + 2), dtype=np.int64)
        for axis, position in enumerate(range(j - self.order, j + 1), start=1):
            shape = [1] * (self.order + 2)
            shape[axis if position in free else 0] = -1
            values = np.arange(4) if position in free else self.codes_NW[:, position]
            index = index * 4 + values.reshape(shape)
        return self.table[index]


def _total(message: np.ndarray) -> np.ndarray:
    return message.reshape(len(message), -1).sum(axis=1)
