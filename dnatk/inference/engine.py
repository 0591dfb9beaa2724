"""The engine: a stream of tiles in, finished rows out, in input order.

Tiles of any length are packed without padding up to a token budget; a row is finished with its
last tile, so a region of any length needs only its own sums in memory. What is read off the
hidden states (an embedding, a prediction) is the readout's affair.

Shapes: T tokens packed, S tiles, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from dnatk.genome.regions import Region
from dnatk.kmers import Tokens, pack

# One forward on a CPU stays near its cache; a GPU wants many tokens at once.
BATCH_TOKENS = {"cpu": 4096, "cuda": 131_072, "mps": 32_768}


@dataclass
class Row:
    """One output row on its way.

    Attributes:
        region: what it is of.
        status: see :class:`dnatk.output.hdf5.Status`.
        total, weight: what tiles have added up so far, and what to divide it by.
        vector: a second sum, of tiles' embeddings beside their predictions.
        parts: what tiles gave where it is not added up.
    """

    region: Region
    status: int = 0
    total: np.ndarray | None = None
    weight: int = 0
    vector: np.ndarray | None = None
    parts: list = field(default_factory=list)


@dataclass(frozen=True)
class Tile:
    """A piece of a row that fits the model.

    Attributes:
        ids: (n,) token ids without specials; empty for a row that cannot be scored.
        low, high: the tokens of ``ids`` that this tile answers for.
        last: whether the row is finished with it.
        start, bases: the tile's first base, counted from the row's along its reading direction,
            and how many it has.
    """

    row: Row
    ids: np.ndarray
    low: int
    high: int
    last: bool
    start: int = 0
    bases: int = 0


@dataclass(frozen=True)
class Strand:
    """Tiles as one strand reads them, the tokens of each (specials too) and their states."""

    tiles: list[Tile]
    lengths: list[int]
    hidden_TD: torch.Tensor

    def kept(self, tokens: Tokens) -> torch.Tensor:
        """(T,) bool, the tokens that count, where the states are."""
        kept_T = np.concatenate([kept_tokens(tile, tokens) for tile in self.tiles])
        return torch.from_numpy(kept_T).to(self.hidden_TD.device)


class Readout(Protocol):
    """What is made of hidden states."""

    def results(self, strands: list[Strand]) -> list:
        """A result for each tile of the first strand; a second one is the other strand."""

    def add(self, tile: Tile, result) -> None:
        """Put a tile's result into its row; called in the order of the tiles."""


class Engine:
    """Runs an encoder over tiles.

    Args:
        encoder: the model, called as :class:`dnatk.model.encoder.Encoder`.
        tokens: its tokenizer.
        readout: what to make of its hidden states.
        layer: as :meth:`Encoder.forward`.
        rc: "none", or "average": the other strand is run too and handed to the readout.
        batch_tokens: the token budget of one forward, None: by the device; one tile always fits.
    """

    def __init__(
        self,
        encoder,
        tokens: Tokens,
        readout: Readout,
        *,
        layer: int = -1,
        rc: str = "none",
        batch_tokens: int | None = None,
    ) -> None:
        self._encoder, self._tokens, self._readout = encoder, tokens, readout
        self._layer, self._rc = layer, rc
        budget = batch_tokens or BATCH_TOKENS[encoder.device.type]
        self._budget = max(1, budget // (2 if rc == "average" else 1))
        self._specials = len(tokens.prefix) + len(tokens.suffix)

    def run(self, tiles: Iterable[Tile]) -> Iterator[list[Row]]:
        """Finished rows, in the order of their tiles; a list for each forward."""
        batch: list[Tile] = []
        size = 0
        for tile in tiles:
            tokens = len(tile.ids) + self._specials
            if batch and size + tokens > self._budget:
                yield self._finish(batch)
                batch, size = [], 0
            batch.append(tile)
            size += tokens
        if batch:
            yield self._finish(batch)

    def _finish(self, batch: list[Tile]) -> list[Row]:
        # Equal lengths side by side run as one product; rows are added up in their own order.
        scored = [i for i, tile in enumerate(batch) if len(tile.ids)]
        order = sorted(scored, key=lambda i: len(batch[i].ids))
        if order:
            tiles = [batch[i] for i in order]
            results = dict(zip(order, self._results(tiles), strict=True))
            for i in scored:
                self._readout.add(batch[i], results[i])
        return [tile.row for tile in batch if tile.last]

    def _results(self, tiles: list[Tile]) -> list:
        strands = [self._forward(tiles)]
        if self._rc == "average":
            strands.append(self._forward([self._turned(tile) for tile in tiles]))
        return self._readout.results(strands)

    def _turned(self, tile: Tile) -> Tile:
        # Tokenizers of text may make more or fewer tokens of the other strand.
        ids = self._tokens.reverse_complement(tile.ids)
        return replace(tile, ids=ids, low=len(tile.ids) - tile.high, high=len(ids) - tile.low)

    @torch.inference_mode()
    def _forward(self, tiles: list[Tile]) -> Strand:
        device = self._encoder.device
        ids_T, position_T, lengths = pack(self._tokens, [tile.ids for tile in tiles])
        ids, position = torch.from_numpy(ids_T).to(device), torch.from_numpy(position_T).to(device)
        return Strand(tiles, lengths, self._encoder(ids, position, lengths, self._layer))


def kept_tokens(tile: Tile, tokens: Tokens) -> np.ndarray:
    """(n + specials,) bool: the valid tokens that a tile answers for, among all of its tokens."""
    first = len(tokens.prefix)
    mask = np.zeros(first + len(tile.ids) + len(tokens.suffix), dtype=bool)
    mask[first + tile.low : first + tile.high] = tokens.valid(tile.ids[tile.low : tile.high])
    return mask


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
