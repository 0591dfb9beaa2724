"""RandomMask and its baselines, one vectorised step for a packed batch, on any device.

Shapes: T tokens of all sequences of a batch one after another (packed).

Nothing here asks a GPU for a number, so that no step waits for it.

Every maskable token becomes a centre with probability p, independently, redrawn for every batch.
A centre at i masks the m tokens from i - (m-1)//2 to i + m//2, clipped to its sequence; spans that
meet merge. m = k is DNABERT's masking, m = 1 BERT's independent tokens. Special tokens and [UNK]
(k-mers with a non-ACGT base) are never centres, never masked, never scored. Source: Liang et al.,
arXiv 2310.07644, and DNABERT (Ji et al. 2021), whose 6-mer rule i-2..i+3 is m = 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

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
        repeat_weight: the chance of a soft-masked k-mer to be a centre, as a share of p. With 0
            such k-mers are also never masked and never scored.
    """

    vocab_size: int
    smallest: int = 1
    mask_prob: float = 0.025
    mask_ratio: float | None = None
    span: str = "fixed"
    corruption: str = "bert"
    repeat_weight: float = 1.0

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
        if not 0 <= self.repeat_weight <= 1:
            raise InputError(f"the weight of repeats must be in 0..1, not {self.repeat_weight}")

    def widths(self, width: int) -> torch.Tensor:
        """The span widths that a centre may draw in a phase of ``width``."""
        if self.span == "fixed" or width <= self.smallest:
            return torch.tensor([width])
        return torch.arange(self.smallest, width + 1, 2)

    @cache  # noqa: B019  solved anew it would hold up every batch; maskers are few
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
        offsets = torch.arange(-width, width + 1)[:, None]
        reach = ((offsets >= -((widths - 1) // 2)) & (offsets <= widths // 2)).double().mean(dim=1)
        return float(1 - torch.prod(1 - prob * reach))

    def maskable(self, ids_T: torch.Tensor, repeat_T: torch.Tensor | None = None) -> torch.Tensor:
        """(T,) bool: the tokens that may be masked and scored."""
        kmer_T = ids_T >= FIRST_KMER
        return kmer_T if self.repeat_weight or repeat_T is None else kmer_T & ~repeat_T

    def apply(
        self,
        ids_T: torch.Tensor,
        first_T: torch.Tensor,
        last_T: torch.Tensor,
        width: int,
        draws: torch.Tensor,
        repeat_T: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask one packed batch.

        Args:
            ids_T: (T,) token ids, specials included.
            first_T, last_T: (T,) the first and one-past-last k-mer of each token's sequence, as
                positions in the batch: where spans are clipped.
            width: m, the span width of the current phase.
            draws: (4, T) independent uniform numbers in [0, 1), see :data:`N_DRAWS`.
            repeat_T: (T,) bool, the soft-masked k-mers; none where it is left out.

        Returns:
            The corrupted ids (T,) and the mask (T,) bool: the tokens that are scored.
        """
        maskable_T = self.maskable(ids_T, repeat_T)
        chance_T = torch.full_like(draws[_CENTRE], self.centre_prob(width))
        if repeat_T is not None:
            chance_T = torch.where(repeat_T, chance_T * self.repeat_weight, chance_T)
        centre_T = maskable_T & (draws[_CENTRE] < chance_T)
        widths = self.widths(width)
        # The widths rise by 2, or there is one.
        width_T = int(widths[0]) + 2 * (draws[_WIDTH] * len(widths)).to(first_T.dtype)
        at_T = torch.arange(len(ids_T), device=ids_T.device)
        masked_T = maskable_T & spans(
            len(ids_T),
            torch.maximum(at_T - (width_T - 1) // 2, first_T),
            torch.minimum(at_T + width_T // 2 + 1, last_T),
            centre_T,
        )
        return self._corrupt(ids_T, masked_T, draws), masked_T

    def _corrupt(
        self, ids_T: torch.Tensor, masked_T: torch.Tensor, draws: torch.Tensor
    ) -> torch.Tensor:
        if self.corruption == "mask":
            return ids_T.masked_fill(masked_T, MASK)
        chance_T = draws[_CORRUPT]
        if self.corruption == "span":
            chance_T = chance_T[_run_starts(masked_T)]
        n_kmers = self.vocab_size - FIRST_KMER
        random_T = FIRST_KMER + (draws[_REPLACE] * n_kmers).to(ids_T.dtype)
        corrupted_T = torch.where(masked_T & (chance_T < 0.9), random_T, ids_T)
        return corrupted_T.masked_fill(masked_T & (chance_T < 0.8), MASK)


def _run_starts(masked_T: torch.Tensor) -> torch.Tensor:
    """(T,) where the run of masked tokens begins that a masked token belongs to."""
    begins_T = masked_T.clone()
    begins_T[1:] &= ~masked_T[:-1]
    at_T = torch.arange(len(masked_T), device=masked_T.device)
    return torch.where(begins_T, at_T, 0).cummax(dim=0).values


def spans(
    length: int, start_C: torch.Tensor, end_C: torch.Tensor, which_C: torch.Tensor
) -> torch.Tensor:
    """(length,) bool: the union of the half-open spans that ``which_C`` (bool) names.

    By a difference array; the others of the (C,) starts and ends need only lie in 0..length.
    """
    change = torch.zeros(length + 1, dtype=torch.int32, device=start_C.device)
    change.index_add_(0, start_C, which_C.int()).index_add_(0, end_C, -which_C.int())
    return change[:length].cumsum(dim=0) > 0


def hidden_bases(
    masked_T: torch.Tensor,
    kmer_T: torch.Tensor,
    sequence_T: torch.Tensor,
    k: int,
    stride: int = 1,
) -> torch.Tensor:
    """How many bases no unmasked k-mer shows, of those that masked k-mers cover; 0-dim int64.

    A run of u masked tokens inside a sequence hides max(0, u-k+1) bases (stride 1); one that
    touches an end or an [UNK] hides more.

    Args:
        masked_T: (T,) bool, the masked tokens of a packed batch.
        kmer_T: (T,) bool, the tokens that are k-mers (no special, no [UNK]).
        sequence_T: (T,) the number of each token's sequence: neighbours are told by it.
    """
    # In packed order token t begins t*stride bases on; k bases between sequences keep them apart.
    new_T = torch.zeros_like(sequence_T)
    new_T[1:] = sequence_T[1:] != sequence_T[:-1]
    at_T = torch.arange(len(masked_T), device=masked_T.device)
    start_T = at_T * stride + new_T.cumsum(dim=0) * k
    # No more than there can be: how many sequences there are is not known here.
    length = len(masked_T) * (stride + k)

    def covered(which_T: torch.Tensor) -> torch.Tensor:
        return spans(length, start_T, start_T + k, which_T)

    return (covered(masked_T) & ~covered(kmer_T & ~masked_T)).sum()
