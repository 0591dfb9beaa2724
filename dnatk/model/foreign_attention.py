"""transformers' own models over packed sequences: their attention replaced by dnatk's.

One row of tokens goes through the model, and ``packed_lengths``, a keyword of its forward that
reaches each attention, says where sequences end.

Shapes: T tokens of all sequences one after another, H heads, E values a head; N blocks of B
queries, each with the W keys round it.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from itertools import groupby

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AttentionInterface

from dnatk.errors import ModelError
from dnatk.model.attention import packed_attention

ATTENTION = "dnatk_varlen"

# Queries of a block, at least: a narrow window would make products too small.
_BLOCK = 32
# Scores at a time (elements): on a CPU what stays in cache, elsewhere what memory is.
_CPU_SCORES, _DEVICE_SCORES = 1 << 20, 1 << 25


def attention_of(model: nn.Module) -> str:
    """The name of the attention that ``model`` runs with."""
    return model.config._attn_implementation


def set_attention(model: nn.Module, name: str) -> None:
    """Make ``model`` run with the attention ``name``: transformers' own, or :data:`ATTENTION`.

    Raises:
        ModelError: its attention or its positions cannot be replaced.
    """
    packed = name == ATTENTION
    if model.config.model_type == "roformer":
        from dnatk.model.foreign_roformer import replace_layers

        replace_layers(model, packed=packed)
        model.config._attn_implementation = name  # no mask of T x T
        return
    if packed and "position_ids" not in signature(model.forward).parameters:
        raise ModelError("takes no position_ids")
    model.set_attn_implementation(name)
    if attention_of(model) != name:
        raise ModelError(f"its attention cannot be set to '{name}'")


def windowed_attention(
    query_THE: torch.Tensor,
    key_THE: torch.Tensor,
    value_THE: torch.Tensor,
    lengths: Sequence[int],
    scaling: float,
    dropout: float,
    reach: int,
) -> torch.Tensor:
    """As :func:`dnatk.model.attention.packed_attention`, to ``reach`` tokens on either side."""
    parts, end = [], 0
    for narrow, run in groupby(lengths, key=lambda length: length > reach + 1):
        own = tuple(run)
        rows = slice(end, end := end + sum(own))
        packed = query_THE[rows], key_THE[rows], value_THE[rows], own, scaling, dropout
        parts.append(_banded(*packed, reach) if narrow else packed_attention(*packed))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _banded(query_THE, key_THE, value_THE, lengths, scaling, dropout, reach) -> torch.Tensor:
    """Blocks of queries against the keys in their reach; sequences may begin within a block."""
    total, heads, _ = query_THE.shape
    block = max(_BLOCK, reach)
    width, spare = block + 2 * reach, -total % block
    query_HNBE = F.pad(query_THE, (0, 0, 0, 0, 0, spare)).unflatten(0, (-1, block))
    query_HNBE = query_HNBE.permute(2, 0, 1, 3) * scaling
    key_HNEW, value_HNEW = (
        F.pad(x, (0, 0, 0, 0, reach, reach + spare)).transpose(0, 1).unfold(1, width, block)
        for x in (key_THE, value_THE)
    )
    unseen_NBW = _unseen(lengths, spare, block, reach, query_THE.device)
    most = _CPU_SCORES if query_THE.device.type == "cpu" else _DEVICE_SCORES
    step = max(1, most // (heads * block * width))
    parts = []
    for at in range(0, unseen_NBW.shape[0], step):
        some = slice(at, at + step)
        scores_HNBW = query_HNBE[:, some] @ key_HNEW[:, some]
        # Not -inf: the spare queries see nothing, and must not make gradients NaN.
        lowest = torch.finfo(scores_HNBW.dtype).min
        probabilities = scores_HNBW.masked_fill(unseen_NBW[some], lowest).softmax(dim=-1)
        if dropout:
            probabilities = F.dropout(probabilities, dropout)
        parts.append(probabilities @ value_HNEW[:, some].transpose(2, 3))
    return torch.cat(parts, dim=1).flatten(1, 2).transpose(0, 1)[:total]


def _unseen(lengths, spare: int, block: int, reach: int, device) -> torch.Tensor:
    """(N, B, W) bool: keys of another sequence, or too far away."""
    length_S = torch.tensor(lengths, device=device)
    end_T = length_S.cumsum(0).repeat_interleave(length_S, output_size=sum(lengths))
    start_T = end_T - length_S.repeat_interleave(length_S, output_size=sum(lengths))
    at_T = torch.arange(len(end_T), device=device)
    first_NB1, last_NB1 = (
        F.pad(bound_T, (0, spare)).view(-1, block, 1)
        for bound_T in (
            torch.maximum(start_T, at_T - reach),
            torch.minimum(end_T - 1, at_T + reach),
        )
    )
    start_N11 = torch.arange(0, len(end_T) + spare, block, device=device).view(-1, 1, 1)
    key_N1W = start_N11 + torch.arange(-reach, block + reach, device=device)
    return (key_N1W < first_NB1) | (key_N1W > last_NB1)


def _attention(
    module,
    query,
    key,
    value,
    attention_mask,
    scaling=None,
    dropout=0.0,
    sliding_window=None,
    *,
    packed_lengths,
    **_,
):
    # transformers hands over (1, H, T, E) and wants (1, T, H, E).
    query_THE, key_THE, value_THE = (x[0].transpose(0, 1) for x in (query, key, value))
    groups = query_THE.shape[1] // key_THE.shape[1]
    if groups > 1:
        key_THE, value_THE = (x.repeat_interleave(groups, dim=1) for x in (key_THE, value_THE))
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    dropout = dropout if module.training else 0.0
    packed = query_THE, key_THE, value_THE, packed_lengths, scaling, dropout
    if sliding_window is None:
        return packed_attention(*packed)[None], None
    # Counted as flash attention does: with the token itself.
    return windowed_attention(*packed, reach=sliding_window - 1)[None], None


AttentionInterface.register(ATTENTION, _attention)
