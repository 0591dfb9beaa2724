"""Attention over packed sequences: no padding, and no sequence sees another.

Shapes: T tokens of all sequences one after another, H heads, E values a head; S sequences of the
same length L. Training (registered with transformers) and inference share this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

import torch
from torch.nn import functional as F

# Scores of one product on a CPU (elements): enough work for two matrix products, and small
# enough to stay in cache between them.
_CPU_SCORES = 1 << 20


def equal_runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(start token, sequences, length) of each run of equally long neighbours."""
    start = 0
    for length, run in groupby(lengths):
        count = sum(1 for _ in run)
        yield start, count, length
        start += count * length


def equal_parts(x: torch.Tensor, lengths: Sequence[int]) -> list[torch.Tensor]:
    """(T, ..) as (S, L, ..) views, one for each run of equally long neighbours."""
    return _parts(x, [(count, length) for _, count, length in equal_runs(lengths)])


def _parts(x: torch.Tensor, shapes: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """(T, ..) as (S, L, ..) views, one for each (S, L) of ``shapes``."""
    # Split, for the gradient of a slice is as long as all tokens: zeros, and the slice.
    parts = x.split([count * length for count, length in shapes])
    return [part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True)]


def packed_attention(
    query_THE: torch.Tensor,
    key_THE: torch.Tensor,
    value_THE: torch.Tensor,
    lengths: Sequence[int],
    scaling: float,
    dropout: float = 0.0,
) -> torch.Tensor:
    """softmax(q k^T * scaling) v inside each sequence.

    Args:
        query_THE, key_THE, value_THE: (T, H, E), views are fine.
        lengths: tokens of each sequence, summing to T. Equal neighbours go in one product, so
            batches sorted by length are quickest.
        scaling: usually E ** -0.5.
        dropout: on the attention probabilities, for training.

    Returns:
        (T, H, E).
    """
    if not len(query_THE):
        return value_THE
    on_cpu = query_THE.device.type == "cpu"
    if _has_varlen(query_THE) and not dropout:
        return _varlen(query_THE, key_THE, value_THE, lengths, scaling)
    if on_cpu and not torch.is_grad_enabled():
        return _packed_cpu(query_THE, key_THE, value_THE, lengths, scaling)
    attend = _attend_products if on_cpu else _attend_sdpa
    shapes = [(n, length) for _, n, length in _slices(lengths, query_THE.shape[1] if on_cpu else 0)]
    parts = (_parts(x, shapes) for x in (query_THE, key_THE, value_THE))
    out = []
    for part in zip(*parts, strict=True):
        q, k, v = (x.transpose(1, 2) for x in part)
        out.append(attend(q, k, v, scaling, dropout).transpose(1, 2).flatten(0, 1))
    return out[0] if len(out) == 1 else torch.cat(out)


def _slices(lengths: Sequence[int], heads: int) -> Iterator[tuple[slice, int, int]]:
    """(tokens, sequences, length) of each product; ``heads`` bounds its scores, 0: no bound."""
    for start, count, length in equal_runs(lengths):
        if not length:
            continue
        most = max(1, _CPU_SCORES // (heads * length * length)) if heads else count
        for at in range(0, count, most):
            n = min(most, count - at)
            yield slice(start + at * length, start + (at + n) * length), n, length


def _packed_cpu(
    query_THE: torch.Tensor,
    key_THE: torch.Tensor,
    value_THE: torch.Tensor,
    lengths: Sequence[int],
    scaling: float,
) -> torch.Tensor:
    # torch's CPU SDPA does not use the bf16 matrix units; two plain products do, 2.1-2.5x faster.
    # The scores live in one buffer: fresh pages for every product cost as much as a softmax.
    heads = query_THE.shape[1]
    out_THE = torch.empty_like(query_THE, memory_format=torch.contiguous_format)
    slices = list(_slices(lengths, heads))
    most = max((n * length * length for _, n, length in slices), default=0)
    room = query_THE.new_empty(most * heads)
    for rows, n, length in slices:
        q, k, v = (
            x[rows].unflatten(0, (n, length)).transpose(1, 2).reshape(n * heads, length, -1)
            for x in (query_THE, key_THE, value_THE)
        )
        scores = room[: n * heads * length * length].view(n * heads, length, length)
        torch.baddbmm(scores, q, k.transpose(1, 2), beta=0, alpha=scaling, out=scores)
        torch.softmax(scores, dim=-1, out=scores)
        mixed = torch.bmm(scores, v).unflatten(0, (n, heads))
        out_THE[rows].unflatten(0, (n, length)).copy_(mixed.transpose(1, 2))
    return out_THE


def _attend_products(q_SHLE, k_SHLE, v_SHLE, scaling: float, dropout: float) -> torch.Tensor:
    # As _packed_cpu, with gradients.
    shape = q_SHLE.shape
    q, k, v = (x.flatten(0, 1) for x in (q_SHLE * scaling, k_SHLE, v_SHLE))
    probabilities = torch.bmm(q, k.transpose(1, 2)).softmax(dim=-1)
    if dropout:
        probabilities = torch.where(_kept(probabilities, dropout), probabilities, 0)
        v = v / (1 - dropout)
    return torch.bmm(probabilities, v).view(shape)


def _kept(x: torch.Tensor, dropout: float) -> torch.Tensor:
    """Which elements stay, to within 2^-17 of the chance: four for each 64-bit random number.

    torch's own dropout draws a double for each, which takes longer than both matrix products.
    """
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    least = round(dropout * 2**16) - 2**15
    return (bits.view(torch.int16)[: x.numel()] >= least).view(x.shape)


def _attend_sdpa(q_SHLE, k_SHLE, v_SHLE, scaling: float, dropout: float) -> torch.Tensor:
    return F.scaled_dot_product_attention(q_SHLE, k_SHLE, v_SHLE, dropout_p=dropout, scale=scaling)


def _has_varlen(x: torch.Tensor) -> bool:
    # Flash attention: Ampere and later, half precision.
    return (
        x.device.type == "cuda"
        and x.dtype in (torch.bfloat16, torch.float16)
        and torch.version.hip is None
        and torch.cuda.get_device_capability(x.device) >= (8, 0)
    )


def _varlen(query_THE, key_THE, value_THE, lengths, scaling: float) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    # It scales by E ** -0.5 itself; its own argument for that is younger than torch 2.10.
    factor = scaling * query_THE.shape[-1] ** 0.5
    query_THE = query_THE if abs(factor - 1) < 1e-6 else query_THE * factor
    bounds, longest = _bounds(tuple(lengths), query_THE.device)
    return varlen_attn(query_THE, key_THE, value_THE, bounds, bounds, longest, longest)


@lru_cache(maxsize=8)
def _bounds(lengths: tuple[int, ...], device: torch.device) -> tuple[torch.Tensor, int]:
    """(S + 1,) int32 where sequences begin and end, and the longest; once for all layers."""
    # A tensor made in inference mode could not be saved for a backward pass.
    with torch.inference_mode(False):
        ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return ends.to(device, non_blocking=True), max(lengths)
