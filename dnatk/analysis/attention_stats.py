"""Where the layers of a model look: statistics of attention by layer and head.

Liang et al. (arXiv 2310.07644) see the attention of intermediate layers gather on very few tokens
after pre-training with overlapping k-mers.

Shapes: B windows of T tokens each, H heads, Q queries (tokens that stand for bases).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dnatk.analysis.subject import Subject, batches, find_subject
from dnatk.errors import InputError, ModelError
from dnatk.progress import NullProgress, Progress

METRICS = (
    "entropy_bits",
    "effective_tokens",
    "top1_share",
    "top5_share",
    "cls_share",
    "sep_share",
    "self_share",
    "neighbour_share",
    "received_effective_tokens",
    "received_effective_kmers",
    "received_top1_share",
    "received_top5_share",
    "distance_bases",
    "head_diversity",
)
# Elements of the attention of a batch, all layers: 256 MB.
_MOST = 1 << 26
# Rows of a window that heads are compared on.
_COMPARED = 64


def attention_numbers(
    model: str | Path | Subject,
    windows: Sequence[np.ndarray],
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict:
    """Means over ``windows`` (N arrays of bases) of :func:`statistics`, in fp32.

    Returns:
        ``layers``: metric -> mean over heads (one number a layer); ``heads``: metric -> numbers
        by layer and head; ``uniform``: what attention that is spread evenly would have (of the
        longest window); ``windows``, ``tokens`` (of the longest one), ``reach``.

    Raises:
        InputError: no windows.
        ModelError: the model shows no attention.
    """
    subject, progress = find_subject(model, device), progress or NullProgress()
    if not subject.shows_attention:
        raise ModelError("shows no attention", path=subject.directory)
    if not windows:
        raise InputError("no windows to look at")
    sequences = [subject.encode(window) for window in windows]
    sums = {name: np.zeros((subject.layers, subject.heads)) for name in METRICS}
    progress.start("attention", len(windows), "windows")

    def elements(tokens: int) -> int:
        return subject.layers * subject.heads * tokens**2

    for rows in batches(sequences, elements, _MOST, same=True):
        maps = subject.forward([sequences[row] for row in rows], attention=True).attentions
        centre_BQ = torch.stack([_centres(subject, sequences[row]) for row in rows])
        for layer, map_BHTT in enumerate(maps):
            found = statistics(map_BHTT, subject.inner, subject.reach, centre_BQ)
            for name, value_BH in found.items():
                sums[name][layer] += value_BH.cpu().double().sum(dim=0).numpy()
        progress.advance(len(rows))
    progress.finish()
    heads = {name: total / len(windows) for name, total in sums.items()}
    longest = max(sequences, key=len)
    even = torch.full((1, subject.heads, len(longest), len(longest)), 1 / len(longest))
    uniform = statistics(even, subject.inner, subject.reach, _centres(subject, longest)[None].cpu())
    return {
        "windows": len(windows),
        "tokens": len(longest),
        "reach": subject.reach,
        "layers": {name: value.mean(axis=1).tolist() for name, value in heads.items()},
        "heads": {name: value.tolist() for name, value in heads.items()},
        "uniform": {name: float(value[0].mean()) for name, value in uniform.items()},
    }


def attention_maps(subject: Subject, window: np.ndarray, layers: Sequence[int]) -> np.ndarray:
    """(layers, T, T) attention of one window, mean over heads; layers count from 0."""
    maps = subject.forward([subject.encode(window)], attention=True).attentions
    return np.stack([maps[layer][0].mean(dim=0).cpu().numpy() for layer in layers])


def _centres(subject: Subject, ids_T: np.ndarray) -> torch.Tensor:
    first_Q, end_Q = subject.spans(ids_T)
    return torch.from_numpy((first_Q + end_Q) / 2).float().to(subject.device)


def statistics(
    map_BHTT: torch.Tensor, inner: slice, reach: int, centre_BQ: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Each of :data:`METRICS` as (B, H), means over the queries ``inner``.

    ``entropy_bits`` of a row and ``effective_tokens``, 2 to that power; ``top1_share`` and
    ``top5_share``, what the most attended tokens of a row get; ``cls_share`` and ``sep_share``,
    what goes to special tokens before and after; ``self_share``; ``neighbour_share``, what goes to
    tokens up to ``reach`` on either side (which share bases with it). ``received_*``: of the mean
    over the rows, which says whether all look at the same few tokens; ``received_effective_kmers``
    among the tokens that stand for bases alone. ``distance_bases``, from centre to centre
    (``centre_BQ``), between tokens that stand for bases. ``head_diversity``: mean Jensen-Shannon
    divergence (bits, 0 to 1) from the other heads.

    Rows are queries, columns what they attend to; each row sums to 1.
    """
    rows_BHQT = map_BHTT[:, :, inner]
    own_BHQQ = rows_BHQT[..., inner]
    n_queries, tokens = rows_BHQT.shape[2:]
    entropy_BHQ = _bits(rows_BHQT)
    top_BHQ5 = rows_BHQT.topk(min(5, tokens), dim=-1).values
    received_BHT = rows_BHQT.mean(dim=2)
    top_BH5 = received_BHT.topk(min(5, tokens), dim=-1).values
    kmers_BHQ = received_BHT[..., inner]
    far_BQQ = (centre_BQ[:, :, None] - centre_BQ[:, None]).abs()
    near = sum(
        own_BHQQ.diagonal(offset, -2, -1).sum(dim=-1)
        for offset in range(-reach, reach + 1)
        if offset
    )
    first, last = inner.start or 0, inner.start + n_queries
    found = {
        "entropy_bits": entropy_BHQ.mean(dim=-1),
        "effective_tokens": entropy_BHQ.exp2().mean(dim=-1),
        "top1_share": top_BHQ5[..., 0].mean(dim=-1),
        "top5_share": top_BHQ5.sum(dim=-1).mean(dim=-1),
        "cls_share": received_BHT[..., :first].sum(dim=-1),
        "sep_share": received_BHT[..., last:].sum(dim=-1),
        "self_share": own_BHQQ.diagonal(0, -2, -1).mean(dim=-1),
        "neighbour_share": near / n_queries + torch.zeros_like(received_BHT[..., 0]),
        "received_effective_tokens": _bits(received_BHT).exp2(),
        "received_effective_kmers": _bits(
            kmers_BHQ / kmers_BHQ.sum(dim=-1, keepdim=True).clamp_min(1e-30)
        ).exp2(),
        "received_top1_share": top_BH5[..., 0],
        "received_top5_share": top_BH5.sum(dim=-1),
        "distance_bases": (own_BHQQ * far_BQQ[:, None]).sum(dim=(-2, -1))
        / own_BHQQ.sum(dim=(-2, -1)).clamp_min(1e-30),
        "head_diversity": _diversity(rows_BHQT),
    }
    return found


def _bits(p: torch.Tensor) -> torch.Tensor:
    """Entropy of the last dimension, in bits."""
    return torch.special.entr(p).sum(dim=-1) / math.log(2)


def _diversity(rows_BHQT: torch.Tensor) -> torch.Tensor:
    """(B, H) mean Jensen-Shannon divergence of each head from the others, over some rows."""
    n_heads, n_queries = rows_BHQT.shape[1:3]
    at = torch.linspace(0, n_queries - 1, min(n_queries, _COMPARED)).round().long()
    some_BHQT = rows_BHQT[:, :, at.to(rows_BHQT.device)]
    own_BHQ = _bits(some_BHQT)
    total_BH = torch.zeros_like(own_BHQ[..., 0])
    for one in range(n_heads):
        for two in range(one + 1, n_heads):
            mixed_BQ = _bits((some_BHQT[:, one] + some_BHQT[:, two]) / 2)
            apart_B = (mixed_BQ - (own_BHQ[:, one] + own_BHQ[:, two]) / 2).mean(dim=-1)
            total_BH[:, one] += apart_B
            total_BH[:, two] += apart_B
    return (total_BH / max(n_heads - 1, 1)).clamp_min(0)
