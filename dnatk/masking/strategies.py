"""RandomMask and its baselines, one vectorised step for a packed batch.

Shapes: T tokens of all sequences of a batch one after another (packed), S sequences.

Every maskable token becomes a centre with probability p, independently, redrawn for every batch.
A centre at i masks the m tokens from i - (m-1)//2 to i + m//2, clipped to its sequence; spans that
meet merge. m = k is DNABERT's masking, m = 1 BERT's independent tokens. Special tokens and [UNK]
(k-mers with a non-ACGT base) are never centres, never masked, never scored. Source: Liang et al.,
arXiv 2310.07644, and DNABERT (Ji et al. 2021), whose 6-mer rule i-2..i+3 is m = 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dnatk.errors import InputError
from dnatk.kmers.vocab import FIRST_KMER, MASK

MASKINGS = ("random-mask", "dnabert", "token")
SPANS = ("fixed", "uniform")
CORRUPTIONS = ("bert", "mask", "span")
DEFAULT_PROB = {"random-mask": 0.025, "dnabert": 0.025, "token": 0.15}

# The independent random numbers that each token needs, drawn as one (N_DRAWS, T) block.
_CENTRE, _WIDTH, _CORRUPT, _REPLACE = range(4)
N_DRAWS = 4


@dataclass(frozen=True)
class Masker:
    """How spans are drawn and what stands in the place of a masked token.

    Attributes:
        vocab_size: entries of the vocabulary, specials included.
        smallest: the narrowest span of ``span="uniform"``.
        mask_prob: p, the chance of a token to be a centre; or
        mask_ratio: the expected masked share of interior tokens, from which p follows.
        span: "fixed" (m itself) or "uniform" (each centre draws from smallest, smallest+2, .. m).
        corruption: "bert" (80 % [MASK], 10 % a random k-mer, 10 % unchanged, drawn per token),
            "mask" (all [MASK]), "span" (80/10/10 drawn once for a whole run of masked tokens).
    """

    vocab_size: int
    smallest: int = 1
    mask_prob: float = 0.025
    mask_ratio: float | None = None
    span: str = "fixed"
    corruption: str = "bert"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("span", self.span, SPANS),
            ("corruption", self.corruption, CORRUPTIONS),
        ):
            if value not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}, not '{value}'")
        chance = self.mask_prob if self.mask_ratio is None else self.mask_ratio
        if not 0 <= chance < 1:
            raise InputError(f"the masking probability or ratio must be in [0, 1), not {chance}")

    def widths(self, width: int) -> np.ndarray:
        """The span widths that a centre may draw in a phase of ``width``."""
        if self.span == "fixed" or width <= self.smallest:
            return np.array([width])
        return np.arange(self.smallest, width + 1, 2)

    def centre_prob(self, width: int) -> float:
        """p for a phase of ``width``: given, or solved from the mask ratio r.

        An interior token stays unmasked with probability prod over offsets of (1 - p q), where q
        is the chance that a span reaches that far; for a fixed width this is (1-p)^m = 1 - r.
        """
        if self.mask_ratio is None:
            return self.mask_prob
        widths = self.widths(width)
        if len(widths) == 1:
            return 1 - (1 - self.mask_ratio) ** (1 / width)
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            if self.expected_share(width, middle) < self.mask_ratio:
                low = middle
            else:
                high = middle
        return low

    def expected_share(self, width: int, prob: float | None = None) -> float:
        """Expected masked share of interior tokens: 1 - (1-p)^m for a fixed width m."""
        prob = self.centre_prob(width) if prob is None else prob
        widths = self.widths(width)
        offsets = np.arange(-width, width + 1)[:, None]
        reach = ((offsets >= -((widths - 1) // 2)) & (offsets <= widths // 2)).mean(axis=1)
        return float(1 - np.prod(1 - prob * reach))

    def apply(
        self,
        ids_T: np.ndarray,
        first_T: np.ndarray,
        last_T: np.ndarray,
        width: int,
        draws: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mask one packed batch.

        Args:
            ids_T: (T,) token ids, specials included.
            first_T, last_T: (T,) the first and one-past-last k-mer of each token's sequence, as
                positions in the batch: where spans are clipped.
            width: m, the span width of the current phase.
            draws: (4, T) independent uniform numbers in [0, 1), see :data:`N_DRAWS`.

        Returns:
            The corrupted ids (T,) and the mask (T,) bool: the tokens that are scored.
        """
        maskable_T = ids_T >= FIRST_KMER
        centre_C = np.flatnonzero(maskable_T & (draws[_CENTRE] < self.centre_prob(width)))
        widths = self.widths(width)
        width_C = widths[(draws[_WIDTH, centre_C] * len(widths)).astype(np.intp)]
        masked_T = maskable_T & spans(
            len(ids_T),
            np.maximum(centre_C - (width_C - 1) // 2, first_T[centre_C]),
            np.minimum(centre_C + width_C // 2 + 1, last_T[centre_C]),
        )
        return self._corrupt(ids_T, masked_T, draws), masked_T

    def _corrupt(self, ids_T: np.ndarray, masked_T: np.ndarray, draws: np.ndarray) -> np.ndarray:
        at_M = np.flatnonzero(masked_T)
        corrupted_T = ids_T.copy()
        if self.corruption == "mask":
            corrupted_T[at_M] = MASK
            return corrupted_T
        chance_M = draws[_CORRUPT, at_M]
        if self.corruption == "span" and len(at_M):
            first_M = np.diff(at_M, prepend=-2) != 1
            chance_M = chance_M[first_M][np.cumsum(first_M) - 1]
        n_kmers = self.vocab_size - FIRST_KMER
        random_M = FIRST_KMER + (draws[_REPLACE, at_M] * n_kmers).astype(ids_T.dtype)
        corrupted_T[at_M] = np.select(
            [chance_M < 0.8, chance_M < 0.9], [MASK, random_M], default=ids_T[at_M]
        )
        return corrupted_T


def spans(length: int, start_C: np.ndarray, end_C: np.ndarray) -> np.ndarray:
    """(length,) bool: the union of the half-open spans, by a difference array."""
    change = np.bincount(start_C, minlength=length + 1) - np.bincount(end_C, minlength=length + 1)
    return np.cumsum(change[:length]) > 0


def hidden_bases(
    masked_T: np.ndarray,
    kmer_T: np.ndarray,
    sequence_T: np.ndarray,
    k: int,
    stride: int = 1,
) -> int:
    """How many bases no unmasked k-mer shows, of those that masked k-mers cover.

    A run of u masked tokens inside a sequence hides max(0, u-k+1) bases (stride 1); one that
    touches an end or an [UNK] hides more.

    Args:
        masked_T: (T,) bool, the masked tokens of a packed batch.
        kmer_T: (T,) bool, the tokens that are k-mers (no special, no [UNK]).
        sequence_T: (T,) the number of each token's sequence: neighbours are told by it.
    """
    # In packed order token t begins t*stride bases on; k bases between sequences keep them apart.
    start_T = np.arange(len(masked_T)) * stride + (sequence_T - sequence_T[:1]) * k
    length = (start_T[-1] + k) if len(start_T) else 0

    def covered(which_T: np.ndarray) -> np.ndarray:
        return spans(length, start_T[which_T], start_T[which_T] + k)

    return int(np.count_nonzero(covered(masked_T) & ~covered(kmer_T & ~masked_T)))
