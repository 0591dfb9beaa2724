"""The readout of ``dnatk embed``: hidden states pooled into one vector a row, or kept.

Shapes: T tokens packed, S tiles, D hidden.
"""

from __future__ import annotations

import numpy as np
import torch

from dnatk.errors import ModelError
from dnatk.inference.batches import Row, Strand, Tile
from dnatk.kmers import Tokens
from dnatk.model.placement import to_device
from dnatk.model.pooling import pool_tiles


class Pooled:
    """Pools each tile and adds the tiles of a row up.

    Args:
        pool: "mean", "max", "cls" or "none" (every token's vector).
        width: D.
        dtype: of every token's vector, "float16" or "float32"; sums are fp32 in any case.

    Where the other strand was run too, its tokens are turned round and averaged in first; where
    these are other tokens (of text), each strand is pooled and then the two are averaged.
    """

    def __init__(self, tokens: Tokens, pool: str, width: int, dtype: str = "float32") -> None:
        self._tokens, self.pool, self.width = tokens, pool, width
        self._dtype = getattr(torch, dtype)

    def compute(self, strands: list[Strand], hidden: list[torch.Tensor]) -> list[torch.Tensor]:
        """[(S, D) fp32 that each tile adds to its row], or [(T, D), whether all are finite]."""
        hidden_TD, lengths = hidden[0], strands[0].lengths
        if len(strands) > 1 and not self._tokens.aligned:
            return [self._averaged(strands, hidden)]
        if len(strands) > 1:
            twin_T = to_device(torch.from_numpy(turned(lengths, self._tokens)), hidden_TD.device)
            hidden_TD = (hidden_TD.float() + hidden[1].float()[twin_T]) / 2
        if self.pool == "none":
            stored_TD = hidden_TD.to(self._dtype)
            return [stored_TD, torch.isfinite(stored_TD).all()]
        return [self._pooled(strands[0], hidden_TD)]

    def _pooled(self, strand: Strand, hidden_TD: torch.Tensor) -> torch.Tensor:
        kept_T = to_device(torch.from_numpy(strand.kept_T), hidden_TD.device)
        return pool_tiles(hidden_TD, strand.lengths, kept_T, self.pool)

    def _averaged(self, strands: list[Strand], hidden: list[torch.Tensor]) -> torch.Tensor:
        """(S, D): sums of as many tokens as the first strand has, as :func:`pool_tiles` gives."""
        one_SD, two_SD = (self._pooled(*pair) for pair in zip(strands, hidden, strict=True))
        if self.pool == "mean":
            one_S, two_S = (
                to_device(torch.tensor([_n_kept(t, self._tokens) for t in s.tiles]), one_SD.device)
                for s in strands
            )
            two_SD = two_SD * (one_S / two_S.clamp(min=1))[:, None]
        return (one_SD + two_SD) / 2

    def results(self, strands: list[Strand], arrays: list[np.ndarray]) -> list:
        """What each tile adds to its row: (D,) pooled, or the (n, D) tokens that it owns.

        These with whether all tokens beside it are finite, too: if not, :meth:`add` looks.
        """
        if self.pool != "none":
            return list(arrays[0])
        tiles, lengths = strands[0].tiles, strands[0].lengths
        starts = np.cumsum(lengths) - lengths + len(self._tokens.prefix)
        return [
            (arrays[0][start + tile.low : start + tile.high], bool(arrays[1]))
            for tile, start in zip(tiles, starts, strict=True)
        ]

    def add(self, tile: Tile, result) -> None:
        row = tile.row
        if self.pool == "none":
            tokens_nD, finite = result
            if not (finite or np.isfinite(tokens_nD).all()):
                raise not_finite(row)
            row.pieces.append(tokens_nD)
            return
        kept = _n_kept(tile, self._tokens)
        if not kept:
            return
        if self.pool == "cls":
            result = result * kept
        if row.total is None:
            row.total = result
        elif self.pool == "max":
            row.total = np.maximum(row.total, result)
        else:
            row.total = row.total + result
        row.weight += kept

    def vector(self, row: Row) -> np.ndarray:
        """(D,) fp32 embedding of a finished row, NaN where it has none."""
        if row.total is None:
            return np.full(self.width, np.nan, dtype=np.float32)
        return row.total if self.pool == "max" else row.total / row.weight

    def no_tokens(self) -> np.ndarray:
        """(0, D): the tokens of a row that has none."""
        return np.empty((0, self.width), dtype=np.float32)


def _n_kept(tile: Tile, tokens: Tokens) -> int:
    return int(np.count_nonzero(tile.kept(tokens)))


def not_finite(row: Row) -> ModelError:
    """What to raise where a model gives a row, or one soon after it, infinity or no number."""
    return ModelError(
        f"the model gives numbers that are not finite, at or after {row.region.name}",
        hint="are its weights damaged, or too large for this --precision or --dtype?",
    )


def turned(lengths: list[int], tokens: Tokens) -> np.ndarray:
    """(T,) where each token's twin on the other strand stands: tokens turned, specials kept."""
    parts, start = [], 0
    first, last = len(tokens.prefix), len(tokens.suffix)
    for length in lengths:
        part = np.arange(start, start + length)
        part[first : length - last] = part[first : length - last][::-1].copy()
        parts.append(part)
        start += length
    return np.concatenate(parts)
