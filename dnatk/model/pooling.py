"""From hidden states of tokens to one vector a tile.

Shapes: T tokens packed, S tiles, D hidden, L tokens of a tile ([CLS] and [SEP] included).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dnatk.model.attention import equal_parts
from dnatk.model.placement import to_device

POOLS = ("mean", "max", "cls", "none")


def pool_tiles(
    hidden_TD: torch.Tensor, lengths: Sequence[int], kept_T: torch.Tensor, pool: str
) -> torch.Tensor:
    """(S, D) fp32: what each tile adds to its row.

    Args:
        kept_T: (T,) bool, the tokens that count: valid k-mers that the tile answers for.
        pool: "mean" gives the *sum* over kept tokens (tiles of a row add up, then are divided by
            their count), "max" the maximum (-inf where none is kept), "cls" the [CLS] state.
    """
    if hidden_TD.device.type == "cuda":  # others have no segment_reduce
        return _pool_segments(hidden_TD, lengths, kept_T, pool)
    out = []
    parts = (equal_parts(x, lengths) for x in (hidden_TD, kept_T))
    for hidden_SLD, kept_SL in zip(*parts, strict=True):
        if pool == "cls":
            out.append(hidden_SLD[:, 0].float())
            continue
        if pool == "mean":
            out.append(torch.bmm(kept_SL[:, None].float(), hidden_SLD.float())[:, 0])
        else:
            masked = hidden_SLD.float().masked_fill(~kept_SL[..., None], float("-inf"))
            out.append(masked.amax(dim=1))
    return torch.cat(out)


def _pool_segments(
    hidden_TD: torch.Tensor, lengths: Sequence[int], kept_T: torch.Tensor, pool: str
) -> torch.Tensor:
    """As :func:`pool_tiles` in three operations, however many lengths there are: a device is
    quick at each, but slow to begin one.
    """
    length_S = to_device(torch.tensor(lengths), hidden_TD.device)
    if pool == "cls":
        return hidden_TD[length_S.cumsum(0) - length_S].float()
    left_out, reduce = (0.0, "sum") if pool == "mean" else (float("-inf"), "max")
    kept_TD = hidden_TD.float().masked_fill(~kept_T[:, None], left_out)
    # unsafe: the lengths are not checked, for which the host would wait.
    return torch.segment_reduce(kept_TD, reduce, lengths=length_S, axis=0, unsafe=True)
