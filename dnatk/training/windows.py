"""Training windows: drawn as a pure function of (seed, row), gathered from the codes of a corpus.

Shapes: R rows, D draws of a row, S sequences of a batch, T tokens of all of them one after another
(packed), k bases of a k-mer.

A batch is planned on the CPU, a few numbers a sequence, so that its lengths are known without
asking a GPU; its tokens are then gathered from the bases on the device that holds them. Rows depend
on (seed, global row) alone: a resumed run, or one on several ranks, sees what an uninterrupted run
on one rank sees, and needs no stored state for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dnatk.errors import InputError
from dnatk.kmers.vocab import CLS, FIRST_KMER, SEP, UNK, check_k
from dnatk.masking.strategies import N_DRAWS
from dnatk.training.corpus import Corpus
from dnatk.training.draws import row_keys, uniform
from dnatk.training.sources import INVALID, SOFT_MASKED, Segments

_STREAM_WINDOWS, _STREAM_MASKS = 0, 1
# Each draw of a window takes so many numbers: for a segment, an offset in it, a strand.
_WINDOW_DRAWS = 3


@dataclass(frozen=True)
class Mixture:
    """How often each input is drawn.

    Attributes:
        weights: the inputs' shares, in any unit; empty: by their bases.
        temperature: T: with no weights, inputs are drawn in proportion to (share of bases)^T:
            1 by their bases, 0 all alike. Below 1 small inputs are seen more often, as
            multilingual language models have it (Conneau et al., XLM-R, ACL 2020: 0.3).
    """

    weights: tuple[float, ...] = ()
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.weights and self.temperature != 1:
            raise InputError("weights and a temperature exclude each other")
        if not 0 <= self.temperature <= 1:
            raise InputError(f"the temperature must be in 0..1, not {self.temperature}")
        if self.weights and not (min(self.weights) >= 0 and np.isfinite(self.weights).all()):
            raise InputError("weights must be finite, and none negative")

    def check(self, inputs: int) -> None:
        """Raise :class:`InputError` unless so many inputs have their weights."""
        if self.weights and len(self.weights) != inputs:
            raise InputError(f"{inputs} inputs need as many weights, not {len(self.weights)}")

    def shares(self, segments: Segments, inputs: int) -> np.ndarray:
        """(G,) chance of each segment; in an input, in proportion to its bases."""
        self.check(inputs)
        bases = np.bincount(segments.source, segments.length, minlength=inputs)
        weights = self.weights or np.where(bases > 0, (bases / bases.sum()) ** self.temperature, 0)
        share = segments.length * (weights / np.maximum(bases, 1))[segments.source]
        if not share.sum() > 0:
            raise InputError("all weights of the inputs that have sequences are 0")
        return share / share.sum()


@dataclass(frozen=True)
class Plan:
    """Where the S sequences of a batch come from; ascending by length. All (S,) int64, on the CPU.

    Attributes:
        origin: place in the corpus of the first base that is read.
        step: 1 forwards, or -1 backwards for the reverse complement.
        tokens: [CLS] and [SEP] included.
        token: number in its row of the sequence's first token, as they were drawn.
        key_start, key_step: its row's :func:`~dnatk.training.draws.row_keys` for masks.
    """

    origin: torch.Tensor
    step: torch.Tensor
    tokens: torch.Tensor
    token: torch.Tensor
    key_start: torch.Tensor
    key_step: torch.Tensor

    def to(self, device: torch.device) -> Plan:
        """The same on a device, by one transfer."""
        return Plan(*torch.stack(list(vars(self).values())).to(device))


@dataclass(frozen=True)
class Batch:
    """A packed batch: S sequences one after another, each [CLS] k-mers [SEP].

    Attributes:
        ids_T: (T,) int64 token ids.
        position_T: (T,) position of each token in its sequence.
        sequence_T: (T,) number of its sequence.
        first_T, last_T: (T,) first and one-past-last k-mer of its sequence, in the batch.
        repeat_T: (T,) bool, k-mers whose middle base is soft-masked; one of both, where k is even.
        draws: (4, T) uniform numbers for :meth:`dnatk.masking.Masker.apply`.
        lengths: tokens of each sequence, ascending.
    """

    ids_T: torch.Tensor
    position_T: torch.Tensor
    sequence_T: torch.Tensor
    first_T: torch.Tensor
    last_T: torch.Tensor
    repeat_T: torch.Tensor
    draws: torch.Tensor
    lengths: list[int]


class Sampler:
    """Draws rows of training windows from segments of a corpus.

    A row holds up to ``row_tokens`` tokens: one window of a long segment, or short segments taken
    whole and packed until the next one drawn does not fit; a long one after them is cut to what is
    left, unless that is little. Segments are drawn in proportion to their bases (within an input,
    where the mixture is another), either strand with equal chance.
    """

    def __init__(
        self,
        corpus: Corpus,
        segments: Segments,
        *,
        k: int,
        kmer_stride: int,
        row_tokens: int,
        seed: int,
        mixture: Mixture | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.k, self.kmer_stride = check_k(k), kmer_stride
        self.row_tokens, self.seed = row_tokens, seed
        self._codes = corpus.codes(torch.device(device))
        shares = (mixture or Mixture()).shares(segments, len(corpus.sources))
        self._cumulative_G = torch.from_numpy(np.cumsum(shares))
        self._start_G = torch.from_numpy(segments.start)
        self._length_G = torch.from_numpy(segments.length)
        # So many of the shortest segment fill a row.
        shortest = (int(segments.length.min()) - k) // kmer_stride + 3
        self._draws = -(-row_tokens // shortest)
        # Not worth another sequence: a window this short has more edge than inside.
        self._least = max(row_tokens // 8, k + 2)

    @property
    def device(self) -> torch.device:
        """Where the bases lie and batches are made."""
        return self._codes.device

    def window_bases(self, tokens: int | torch.Tensor) -> int | torch.Tensor:
        """Bases that give ``tokens`` tokens, [CLS] and [SEP] included."""
        return (tokens - 3) * self.kmer_stride + self.k

    def plan(self, rows: Sequence[int]) -> Plan:
        """The sequences of these global rows."""
        row_R1 = torch.tensor(list(rows), dtype=torch.int64)[:, None]
        keys_2R1 = row_keys(self.seed, _STREAM_WINDOWS, row_R1)
        drawn = uniform(keys_2R1, torch.arange(self._draws * _WINDOW_DRAWS), torch.float64)
        which_RD, where_RD, strand_RD = drawn.unflatten(1, (-1, _WINDOW_DRAWS)).unbind(dim=2)

        segment_RD = torch.searchsorted(self._cumulative_G, which_RD.contiguous(), right=True)
        segment_RD.clamp_(max=len(self._cumulative_G) - 1)
        length_RD = self._length_G[segment_RD]
        is_long_RD = length_RD > self.window_bases(self.row_tokens)
        whole_RD = (length_RD - self.k) // self.kmer_stride + 3
        tokens_RD = torch.where(is_long_RD, self.row_tokens, whole_RD)
        token_RD = tokens_RD.cumsum(dim=1) - tokens_RD
        left_RD = self.row_tokens - token_RD
        fits_RD = (is_long_RD | (tokens_RD <= left_RD)) & (left_RD >= self._least)
        fits_RD[:, 0] = True
        placed_RD = fits_RD.cumprod(dim=1).bool()
        tokens_RD = torch.minimum(tokens_RD, left_RD)
        bases_RD = torch.where(is_long_RD, self.window_bases(tokens_RD), length_RD)
        offset_RD = (where_RD * (length_RD - bases_RD + 1)).long()
        start_RD = self._start_G[segment_RD] + offset_RD
        reverse_RD = strand_RD < 0.5
        origin_RD = torch.where(reverse_RD, start_RD + bases_RD - 1, start_RD)

        keys_2R1 = row_keys(self.seed, _STREAM_MASKS, row_R1)
        fields = (origin_RD, 1 - 2 * reverse_RD.long(), tokens_RD, token_RD, *keys_2R1)
        fields = [field.expand_as(placed_RD)[placed_RD] for field in fields]
        # Attention runs equal neighbours as one product.
        order_S = fields[2].argsort(stable=True)
        return Plan(*(field[order_S] for field in fields))

    def batch(self, rows: Sequence[int]) -> Batch:
        """The packed batch of these global rows, on the sampler's device."""
        plan = self.plan(rows)
        lengths = plan.tokens.tolist()
        plan = plan.to(self.device)
        sequence_T = torch.repeat_interleave(
            torch.arange(len(lengths), device=self.device), plan.tokens, output_size=sum(lengths)
        )
        end_S = plan.tokens.cumsum(dim=0)
        start_S = end_S - plan.tokens
        position_T = torch.arange(len(sequence_T), device=self.device) - start_S[sequence_T]
        is_cls_T = position_T == 0
        is_sep_T = position_T == (plan.tokens - 1)[sequence_T]

        ids_T, repeat_T = self._gather(plan, sequence_T, position_T)
        ids_T = ids_T.masked_fill(is_cls_T, CLS).masked_fill(is_sep_T, SEP)
        keys_2S = torch.stack([plan.key_start, plan.key_step])
        token_T = plan.token[sequence_T] + position_T
        number_4T = token_T * N_DRAWS + torch.arange(N_DRAWS, device=self.device)[:, None]
        return Batch(
            ids_T,
            position_T,
            sequence_T,
            first_T=(start_S + 1)[sequence_T],
            last_T=(end_S - 1)[sequence_T],
            repeat_T=repeat_T & ~is_cls_T & ~is_sep_T,
            draws=uniform(keys_2S[:, sequence_T], number_4T),
            lengths=lengths,
        )

    def _gather(
        self, plan: Plan, sequence_T: torch.Tensor, position_T: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(T,) the ids of the k-mers, and whether they are repeats; specials get anything."""
        offset_k = torch.arange(self.k, device=self.device)
        offset_Tk = (position_T[:, None] - 1) * self.kmer_stride + offset_k
        step_T1 = plan.step[sequence_T][:, None]
        place_Tk = plan.origin[sequence_T][:, None] + step_T1 * offset_Tk
        # [CLS] and [SEP] point beside their sequence, perhaps beside all.
        code_Tk = self._codes[place_Tk.clamp_(0, len(self._codes) - 1)]
        # The complement of a code is the code with its lowest bit turned.
        code_Tk = code_Tk ^ (step_T1 < 0).to(torch.uint8)
        shift_k = 2 * offset_k.flip(0)
        ids_T = FIRST_KMER + ((code_Tk & 3).long() << shift_k).sum(dim=1)
        ids_T = ids_T.masked_fill((code_Tk & INVALID).bool().any(dim=1), UNK)
        middle_T = code_Tk[:, (self.k - 1) // 2] | code_Tk[:, self.k // 2]
        return ids_T, (middle_T & SOFT_MASKED).bool()
