"""The engine: a stream of tiles in, finished rows out, in input order.

Tiles of any length are packed without padding up to a token budget; a row is finished with its
last tile, so a region of any length needs only its own sums in memory. What is read off the
hidden states (an embedding, a prediction) is the readout's affair.

A batch takes three steps, so that they may overlap: it is packed (:func:`batches`), run on the
device, and what came out is added up on the host once the device has it.

Shapes: T tokens packed, S tiles, D hidden.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from dnatk.errors import ModelError
from dnatk.inference.batches import Batch, Row, Strand, Tile, batches
from dnatk.kmers import Tokens
from dnatk.model.memory import is_out_of_memory
from dnatk.model.placement import quick_products, to_device

log = logging.getLogger(__name__)

# One forward on a CPU stays near its cache; a GPU wants many tokens at once.
BATCH_TOKENS = {"cpu": 4096, "cuda": 131_072, "mps": 32_768}


class Readout(Protocol):
    """What is made of hidden states."""

    def compute(self, strands: list[Strand], hidden: list[torch.Tensor]) -> list[torch.Tensor]:
        """Tensors on the device, made of the hidden states (T, D) of each strand; no waiting."""

    def results(self, strands: list[Strand], arrays: list[np.ndarray]) -> list:
        """A result for each tile of the first strand, of what :meth:`compute` gave."""

    def add(self, tile: Tile, result) -> None:
        """Put a tile's result into its row; called in the order of the tiles."""


@dataclass(frozen=True)
class Launched:
    """A batch on its way through the device: for each piece its strands and what comes out."""

    batch: Batch
    pieces: list[tuple[list[Strand], list[torch.Tensor]]]
    done: torch.cuda.Event | None

    def arrays(self) -> Iterator[tuple[list[Strand], list[np.ndarray]]]:
        """What came out, once the device is done."""
        if self.done is not None:
            self.done.synchronize()
        for strands, tensors in self.pieces:
            yield strands, [tensor.numpy() for tensor in tensors]


class Engine:
    """Runs an encoder over tiles.

    Args:
        encoder: the model, called as :class:`dnatk.model.encoder.Encoder`.
        tokens: its tokenizer.
        readout: what to make of its hidden states.
        layer: as :meth:`Encoder.forward`.
        rc: "none", or "average": the other strand is run too and handed to the readout.
        batch_tokens: the token budget of one forward, None: by the device; one tile always fits.

    Where a device runs out of memory, batches are halved until they fit; that is logged once.
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
        self._layer, self._both = layer, rc == "average"
        self.batch_tokens = batch_tokens or BATCH_TOKENS[encoder.device.type]
        self._most: int | None = None

    def batches(
        self,
        tiles: Iterable[Tile],
        made: Mapping[int, str] | None = None,
        contigs: Mapping[str, int] | None = None,
    ) -> Iterator[Batch]:
        """Tiles packed for :meth:`launch`; ``made`` and ``contigs`` as of :func:`batches`."""
        budget = max(1, self.batch_tokens // (2 if self._both else 1))
        return batches(
            tiles,
            self._tokens,
            budget,
            both_strands=self._both,
            longest=self._encoder.max_tokens,
            made=made,
            contigs=contigs,
        )

    @torch.inference_mode()
    def launch(self, batch: Batch) -> Launched:
        """Run a batch; on CUDA this returns while the device still works."""
        device, done = self._encoder.device, None
        # Streams, events and pinned memory are the current GPU's, which need not be this one.
        here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
        with here, quick_products(device, self._encoder.dtype):
            pieces = self._fitting(batch.strands) if batch.strands else []
            if device.type == "cuda" and pieces:
                done = torch.cuda.Event()
                done.record()
        return Launched(batch, pieces, done)

    def finish(self, launched: Launched) -> list[Row]:
        """The rows that are finished with a batch; for batches in their order."""
        results = {}
        for strands, arrays in launched.arrays():
            found = self._readout.results(strands, arrays)
            results |= {id(t): r for t, r in zip(strands[0].tiles, found, strict=True)}
        for tile in launched.batch.tiles:
            if len(tile.ids):
                self._readout.add(tile, results[id(tile)])
        return [tile.row for tile in launched.batch.tiles if tile.last]

    def run(self, tiles: Iterable[Tile]) -> Iterator[list[Row]]:
        """Finished rows, in the order of their tiles; a list for each batch."""
        for batch in self.batches(tiles):
            yield self.finish(self.launch(batch))

    def _fitting(self, strands: list[Strand]) -> list[tuple[list[Strand], list[torch.Tensor]]]:
        """A batch's strands and what came out, in as many pieces as fit the device's memory."""
        size, n_tiles = len(strands[0].ids_T), len(strands[0].tiles)
        if self._most is None or size <= self._most or n_tiles == 1:
            try:
                return [(strands, self._forward(strands))]
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(size, n_tiles)
        at = strands[0].middle()
        halves = zip(*(strand.split(at) for strand in strands), strict=True)
        return [piece for half in halves for piece in self._fitting(list(half))]

    def _shrink(self, size: int, n_tiles: int) -> None:
        device = self._encoder.device
        if n_tiles == 1:
            raise ModelError(
                f"{device} has not memory enough for one window of {size} tokens",
                hint="a smaller model, embed --window or finetune --length, or --device cpu",
            )
        if self._most is None:
            log.warning(
                "%s is out of memory at %d tokens: going on with half as many at a time "
                "(--batch-tokens sets it)", device, size,
            )  # fmt: skip
        self._most = size // 2
        if device.type == "cuda":
            torch.cuda.empty_cache()

    def _forward(self, strands: list[Strand]) -> list[torch.Tensor]:
        device = self._encoder.device
        hidden = []
        for strand in strands:
            ids_T, position_T = (
                to_device(torch.from_numpy(array), device)
                for array in (strand.ids_T, strand.position_T)
            )
            hidden.append(self._encoder(ids_T, position_T, strand.lengths, self._layer))
        return [_to_host(tensor) for tensor in self._readout.compute(strands, hidden)]


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the host, which on CUDA is there when an event recorded after it has passed."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
