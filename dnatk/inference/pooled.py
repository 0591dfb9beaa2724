"""The readout of ``dnatk embed``: hidden states pooled into one vector a row, or kept.

Shapes: T tokens packed, S tiles, D hidden.
"""

from __future__ import annotations

import numpy as np

from dnatk.inference.engine import Row, Strand, Tile, kept_tokens, turned
from dnatk.kmers import Tokens
from dnatk.model.pooling import pool_tiles


class Pooled:
    """Pools each tile and adds the tiles of a row up.

    Args:
        pool: "mean", "max", "cls" or "none" (every token's vector).
        width: D.

    Where the other strand was run too, its tokens are turned round and averaged in first.
    """

    def __init__(self, tokens: Tokens, pool: str, width: int) -> None:
        self._tokens, self.pool, self.width = tokens, pool, width

    def results(self, strands: list[Strand]) -> list[np.ndarray]:
        """What each tile adds to its row: (D,) pooled, or the (n, D) tokens that it owns."""
        tiles, lengths, hidden_TD = strands[0].tiles, strands[0].lengths, strands[0].hidden_TD
        if len(strands) > 1:
            twin_TD = strands[1].hidden_TD.float()[turned(lengths, self._tokens)]
            hidden_TD = (hidden_TD.float() + twin_TD) / 2
        if self.pool == "none":
            starts = np.cumsum(lengths) - lengths + len(self._tokens.prefix)
            host = hidden_TD.float().cpu().numpy()
            return [
                host[start + tile.low : start + tile.high].copy()
                for tile, start in zip(tiles, starts, strict=True)
            ]
        kept_T = strands[0].kept(self._tokens)
        return list(pool_tiles(hidden_TD, lengths, kept_T, self.pool).cpu().numpy())

    def add(self, tile: Tile, result: np.ndarray) -> None:
        row = tile.row
        if self.pool == "none":
            row.parts.append(result)
            return
        kept = int(np.count_nonzero(kept_tokens(tile, self._tokens)))
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
