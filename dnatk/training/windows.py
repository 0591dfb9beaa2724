"""Training windows: drawn as a pure function of (seed, row), gathered from the codes of a corpus.

Shapes: R rows, D numbers drawn for each, P pieces of segments in each, G segments, I inputs, S
sequences of a batch, T tokens of all of them one after another (packed), k bases of a k-mer.

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

    A row holds up to ``row_tokens`` tokens. It begins at a base of an input, any of its bases with
    equal chance, and goes on into the segments behind it (after the last one, the first), so that
    each input has its share of the tokens, however long its segments are. What a row has of a
    segment is one sequence, of either strand with equal chance; a piece that is little is left out.
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
        # The segments of an input stand side by side: its first one, and how many.
        _, first_I, of_G, count_I = np.unique(
            segments.source, return_index=True, return_inverse=True, return_counts=True
        )
        self._first_G, self._count_G = map(torch.from_numpy, (first_I[of_G], count_I[of_G]))
        # So many of the shortest segment fill a row, behind a piece of one.
        shortest = (int(segments.length.min()) - k) // kmer_stride + 3
        self._pieces = -(-row_tokens // shortest) + 1
        # Not worth another sequence: a window this short has more edge than inside.
        self._least = min(row_tokens, max(row_tokens // 8, k + 2))

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
        drawn_RD = uniform(keys_2R1, torch.arange(2 + self._pieces), torch.float64)
        which_R1, where_R1, strand_RP = drawn_RD.split([1, 1, self._pieces], dim=1)

        segment_R1 = torch.searchsorted(self._cumulative_G, which_R1.contiguous(), right=True)
        segment_R1.clamp_(max=len(self._cumulative_G) - 1)
        first_R1 = self._first_G[segment_R1]
        behind_RP = segment_R1 - first_R1 + torch.arange(self._pieces)
        segment_RP = first_R1 + behind_RP % self._count_G[segment_R1]
        length_RP = self._length_G[segment_RP]
        offset_RP = torch.zeros_like(length_RP)
        offset_RP[:, :1] = (where_R1 * length_RP[:, :1]).long()

        # Tokens from there to the segment's end; none where that is less than a k-mer.
        whole_RP = (length_RP - offset_RP - self.k).div(self.kmer_stride, rounding_mode="floor") + 3
        whole_RP[(whole_RP < self._least) & (offset_RP > 0)] = 0
        token_RP = whole_RP.cumsum(dim=1) - whole_RP
        tokens_RP = torch.minimum(whole_RP, (self.row_tokens - token_RP).clamp(min=0))
        placed_RP = tokens_RP >= whole_RP.clamp(min=1, max=self._least)
        bases_RP = torch.where(
            tokens_RP == whole_RP, length_RP - offset_RP, self.window_bases(tokens_RP)
        )
        start_RP = self._start_G[segment_RP] + offset_RP
        reverse_RP = strand_RP < 0.5
        origin_RP = torch.where(reverse_RP, start_RP + bases_RP - 1, start_RP)

        keys_2R1 = row_keys(self.seed, _STREAM_MASKS, row_R1)
        fields = (origin_RP, 1 - 2 * reverse_RP.long(), tokens_RP, token_RP, *keys_2R1)
        fields = [field.expand_as(placed_RP)[placed_RP] for field in fields]
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
