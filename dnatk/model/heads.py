"""What stands on a trunk: hidden states to the outputs of a task.

Shapes: T tokens packed, S sequences, D hidden, P pooled (D, or 3 D for "all"), C outputs, B bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn import functional as F

from dnatk.errors import ModelError
from dnatk.kmers.vocab import MAX_K
from dnatk.model.attention import equal_parts
from dnatk.model.checked import FLAG, one_of, whole
from dnatk.model.pooling import pool_tiles

HEAD_POOLS = ("mean", "max", "cls", "all", "positions")

# What the fields of a HeadConfig in a file may be.
HEAD_RULES = {
    "hidden": whole(1),
    "outputs": whole(1),
    "pool": one_of(*HEAD_POOLS),
    "dense": FLAG,
    "per_base": FLAG,
    "k": whole(1, MAX_K),
    "kmer_stride": whole(1, MAX_K),
    "tokens": whole(0),
    "vocabulary": whole(0),
    "counted": whole(0),
}

# What a token keeps for itself where positions are pooled.
_CHANNELS = 8


@dataclass(frozen=True)
class HeadConfig:
    """A task's head.

    Attributes:
        hidden, outputs: D and C.
        pool: how the tokens of a sequence become one vector; "all" puts mean, max and the first
            token ([CLS]) side by side, "positions" adds a few numbers of every token in its
            place, for sequences that are cut round the same site.
        dense: a layer of D units before the outputs; without it the head is linear.
        per_base: outputs for every base instead of one for the sequence.
        k, kmer_stride: which bases a token covers (per base only).
        tokens: of the longest sequence, specials included ("positions" only).
        vocabulary, counted: with a vocabulary the outputs also get a weight for each token that
            is there, as a logistic regression on k-mer counts has (a wide path beside the deep
            one: Cheng et al. 2016, arXiv 1606.07792); ``counted`` tokens are a full window's.
    """

    hidden: int
    outputs: int
    pool: str = "mean"
    dense: bool = True
    per_base: bool = False
    k: int = 6
    kmer_stride: int = 1
    tokens: int = 0
    vocabulary: int = 0
    counted: int = 0

    @property
    def pools(self) -> tuple[str, ...]:
        """The vectors of D that are put side by side."""
        return ("mean", "max", "cls") if self.pool in ("all", "positions") else (self.pool,)

    @property
    def width(self) -> int:
        """P, the inputs of the first layer."""
        if self.per_base:
            return self.hidden
        return self.hidden * len(self.pools) + self.tokens * _CHANNELS

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the head by its name in :class:`Head`."""
        layers = {"out": (self.outputs, self.hidden if self.dense else self.width)}
        if self.dense:
            layers["dense"] = (self.hidden, self.width)
        if self.tokens:
            layers["narrow"] = (_CHANNELS, self.hidden)
        table = {f"{name}.weight": shape for name, shape in layers.items()}
        table |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
        return table | ({"wide.weight": (self.vocabulary, self.outputs)} if self.vocabulary else {})

    def as_dict(self) -> dict:
        return asdict(self)


class Head(nn.Module):
    """Pooling and a small classifier, always in fp32: it costs nothing and keeps digits."""

    def __init__(self, config: HeadConfig, dropout: float = 0.0) -> None:
        super().__init__()
        if config.pool not in HEAD_POOLS:
            raise ModelError(f"pool must be one of {', '.join(HEAD_POOLS)}, not '{config.pool}'")
        self.config = config
        width = config.width
        if config.tokens:
            self.narrow = nn.Linear(config.hidden, _CHANNELS)
        if config.dense:
            self.dense = nn.Linear(width, config.hidden)
            width = config.hidden
        self.out = nn.Linear(width, config.outputs)
        if config.vocabulary:
            self.wide = nn.Embedding(config.vocabulary, config.outputs)
            nn.init.zeros_(self.wide.weight)
        self.dropout = nn.Dropout(dropout)

    def pooled(
        self, hidden_TD: torch.Tensor, lengths: Sequence[int], kept_T: torch.Tensor
    ) -> torch.Tensor:
        """(S, P) fp32. ``kept_T`` (T,) bool: the tokens that count; a sequence needs one."""
        with torch.autocast(hidden_TD.device.type, enabled=False):
            hidden_TD = hidden_TD.float()
            parts = []
            for pool in self.config.pools:
                part_SD = pool_tiles(hidden_TD, lengths, kept_T, pool)
                if pool == "mean":
                    part_SD = part_SD / token_counts(kept_T, lengths)[:, None]
                parts.append(part_SD)
            if self.config.tokens:
                parts.append(self._in_place(hidden_TD, lengths, kept_T))
            return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _in_place(
        self, hidden_TD: torch.Tensor, lengths: Sequence[int], kept_T: torch.Tensor
    ) -> torch.Tensor:
        """(S, tokens * channels): tokens side by side, 0 where a sequence has none that counts."""
        narrow_TE = F.gelu(self.narrow(hidden_TD)) * kept_T[:, None]
        rows = [part_SLE.flatten(1) for part_SLE in equal_parts(narrow_TE, lengths)]
        width = self.config.tokens * _CHANNELS
        return torch.cat([F.pad(row, (0, width - row.shape[1])) for row in rows])

    def of_counts(self, ids_n: torch.Tensor, counts_S: torch.Tensor) -> torch.Tensor:
        """What the tokens themselves add to the logits (S, C), where there is a vocabulary.

        Args:
            ids_n: the tokens that count of all sequences, one after another.
            counts_S: how many each sequence has.
        """
        offset_S = counts_S.cumsum(0) - counts_S
        mean_SC = F.embedding_bag(ids_n, self.wide.weight, offset_S, mode="mean")
        return mean_SC.float() * self.config.counted

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (.., C) of pooled vectors (S, P), or of tokens (T, D) for per-base tasks."""
        with torch.autocast(features.device.type, enabled=False):
            features = self.dropout(features.float())
            if self.config.dense:
                features = self.dropout(F.gelu(self.dense(features)))
            return self.out(features)


def token_counts(kept_T: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """(S,) kept tokens of each sequence, at least 1."""
    counts = [kept_SL.sum(1) for kept_SL in equal_parts(kept_T, lengths)]
    return torch.cat(counts).clamp(min=1)


def base_logits(token_nC: torch.Tensor, n_bases: int, k: int, kmer_stride: int) -> torch.Tensor:
    """(n_bases, C): each base takes the mean over the tokens that cover it.

    Args:
        token_nC: (n, C) logits of a sequence's tokens, specials left out.

    Bases behind the last whole k-mer (non-overlapping k-mers only) take the last token's.
    """
    n = len(token_nC)
    start = torch.arange(n, device=token_nC.device) * kmer_stride
    rise = token_nC.new_zeros(n_bases + 1, token_nC.shape[1])
    rise = rise.index_add(0, start, token_nC)
    rise = rise.index_add(0, (start + k).clamp(max=n_bases), -token_nC)
    step = token_nC.new_zeros(n_bases + 1)
    step = step.index_add(0, start, step.new_ones(n))
    step = step.index_add(0, (start + k).clamp(max=n_bases), -step.new_ones(n))
    total_BC, count_B = rise.cumsum(0)[:n_bases], step.cumsum(0)[:n_bases].round()
    covered = int((n - 1) * kmer_stride + k)
    mean_BC = total_BC / count_B.clamp(min=1)[:, None]
    if covered >= n_bases:
        return mean_BC
    return torch.cat([mean_BC[:covered], token_nC[-1:].expand(n_bases - covered, -1)])
