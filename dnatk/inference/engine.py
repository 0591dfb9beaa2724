"""The engine: a stream of tiles in, finished rows out, in input order.

Tiles of any length are packed without padding up to a token budget; a row is finished with its
last tile, so a region of any length needs only its own sums in memory.

Shapes: T tokens packed, S tiles, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from dnatk.genome.regions import Region
from dnatk.kmers import Vocabulary
from dnatk.kmers.vocab import CLS, FIRST_KMER, SEP
from dnatk.model.encoder import Encoder
from dnatk.model.pooling import pool_tiles


@dataclass
class Row:
    """One output row on its way.

    Attributes:
        region: what it is of.
        status: see :class:`dnatk.output.hdf5.Status`.
        total: pooled so far (D,), fp32.
        weight: k-mers (or for "cls" tiles' k-mers) in ``total``.
        tokens: (n, D) of each tile, for pool "none".
    """

    region: Region
    status: int = 0
    total: np.ndarray | None = None
    weight: int = 0
    tokens: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class Tile:
    """A piece of a row that fits the model.

    Attributes:
        ids: (n,) k-mer ids without specials; empty for a row that cannot be scored.
        low, high: the k-mers of ``ids`` that this tile answers for.
        last: whether the row is finished with it.
    """

    row: Row
    ids: np.ndarray
    low: int
    high: int
    last: bool


class Engine:
    """Runs an encoder over tiles.

    Args:
        encoder: the model.
        vocabulary: of its k-mers.
        pool: "mean", "max", "cls" or "none" (every k-mer's vector).
        layer: as :meth:`Encoder.forward`.
        rc: "none", or "average": the other strand's tokens, turned round, are averaged in.
        batch_tokens: the token budget of one forward; one tile always fits.
    """

    def __init__(
        self,
        encoder: Encoder,
        vocabulary: Vocabulary,
        *,
        pool: str,
        layer: int,
        rc: str,
        batch_tokens: int,
    ) -> None:
        self._encoder, self._vocabulary = encoder, vocabulary
        self.pool, self._layer, self._rc = pool, layer, rc
        self._budget = max(1, batch_tokens // (2 if rc == "average" else 1))

    def run(self, tiles: Iterable[Tile]) -> Iterator[list[Row]]:
        """Finished rows, in the order of their tiles; a list for each forward."""
        batch: list[Tile] = []
        tokens = 0
        for tile in tiles:
            size = len(tile.ids) + 2
            if batch and tokens + size > self._budget:
                yield self._finish(batch)
                batch, tokens = [], 0
            batch.append(tile)
            tokens += size
        if batch:
            yield self._finish(batch)

    def _finish(self, batch: list[Tile]) -> list[Row]:
        # Equal lengths side by side run as one product; rows are added up in their own order.
        scored = [i for i, tile in enumerate(batch) if len(tile.ids)]
        order = sorted(scored, key=lambda i: len(batch[i].ids))
        if order:
            results = dict(zip(order, self._results([batch[i] for i in order]), strict=True))
            for i in scored:
                self._add(batch[i], results[i])
        return [tile.row for tile in batch if tile.last]

    def _results(self, tiles: list[Tile]) -> list[np.ndarray]:
        """What each tile adds to its row: (D,) pooled, or the (n, D) k-mers that it owns."""
        lengths = [len(tile.ids) + 2 for tile in tiles]
        hidden_TD = self._hidden([tile.ids for tile in tiles], lengths)
        if self.pool == "none":
            starts = np.cumsum(lengths) - lengths + 1
            host = hidden_TD.float().cpu().numpy()
            return [
                host[start + tile.low : start + tile.high].copy()
                for tile, start in zip(tiles, starts, strict=True)
            ]
        kept_T = torch.from_numpy(np.concatenate([_kept(tile) for tile in tiles]))
        return list(
            pool_tiles(hidden_TD, lengths, kept_T.to(hidden_TD.device), self.pool).cpu().numpy()
        )

    def _add(self, tile: Tile, result: np.ndarray) -> None:
        row = tile.row
        if self.pool == "none":
            row.tokens.append(result)
            return
        kept = int(np.count_nonzero(_kept(tile)))
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

    def _hidden(self, sequences: list[np.ndarray], lengths: list[int]) -> torch.Tensor:
        forward_TD = self._forward(sequences, lengths)
        if self._rc != "average":
            return forward_TD
        other = [self._vocabulary.reverse_complement(ids) for ids in sequences]
        other_TD = self._forward(other, lengths)
        return (forward_TD.float() + other_TD.float()[_turned(lengths)]) / 2

    def _forward(self, sequences: list[np.ndarray], lengths: list[int]) -> torch.Tensor:
        device = self._encoder.device
        ids_T = np.empty(sum(lengths), dtype=np.int64)
        start = 0
        for ids, length in zip(sequences, lengths, strict=True):
            ids_T[start], ids_T[start + length - 1] = CLS, SEP
            ids_T[start + 1 : start + length - 1] = ids
            start += length
        position_T = np.concatenate([np.arange(length) for length in lengths])
        return self._encoder(
            torch.from_numpy(ids_T).to(device),
            torch.from_numpy(position_T).to(device),
            lengths,
            self._layer,
        )

    def vector(self, row: Row) -> np.ndarray:
        """(D,) fp32 embedding of a finished row, NaN where it has none."""
        if row.total is None:
            return np.full(self._encoder.config.hidden, np.nan, dtype=np.float32)
        return row.total if self.pool == "max" else row.total / row.weight

    def no_tokens(self) -> np.ndarray:
        """(0, D): the tokens of a row that has none."""
        return np.empty((0, self._encoder.config.hidden), dtype=np.float32)


def _kept(tile: Tile) -> np.ndarray:
    """(n + 2,) bool: the valid k-mers that a tile answers for, among its tokens with specials."""
    mask = np.zeros(len(tile.ids) + 2, dtype=bool)
    mask[1 + tile.low : 1 + tile.high] = tile.ids[tile.low : tile.high] >= FIRST_KMER
    return mask


def _turned(lengths: list[int]) -> np.ndarray:
    """(T,) where each token's twin on the other strand stands: k-mers turned, specials kept."""
    parts, start = [], 0
    for length in lengths:
        part = np.arange(start, start + length)
        part[1:-1] = part[1:-1][::-1]
        parts.append(part)
        start += length
    return np.concatenate(parts)
