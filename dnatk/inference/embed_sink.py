"""Part files of embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dnatk.inference.batches import Row
from dnatk.inference.embed_options import EmbedOptions
from dnatk.inference.pooled import Pooled, not_finite
from dnatk.output.hdf5 import EmbeddingWriter
from dnatk.output.part_store import PartStore


class EmbedSink:
    """Writes finished rows into part files.

    Args:
        contigs: lengths of contigs, looked up as they are met.
        facts: the root attributes.
    """

    suffixes: tuple[str, ...] = (".h5",)

    def __init__(
        self,
        store: PartStore,
        contigs: Mapping[str, int],
        facts: Mapping[str, object],
        pooled: Pooled,
        options: EmbedOptions,
    ) -> None:
        self._store, self._contigs, self._facts = store, contigs, facts
        self._pooled, self._options = pooled, options
        self._writer: EmbeddingWriter | None = None

    def _open(self, path: Path) -> EmbeddingWriter:
        return EmbeddingWriter(
            path,
            width=self._pooled.width,
            dtype=self._options.dtype,
            per_token=self._options.pool == "none",
            lengths=self._contigs,
            attributes={**self._facts, **self._store.asked},
        )

    def write(self, part: int, rows: list[Row]) -> None:
        if self._writer is None:
            self._writer = self._open(self._store.path(part, ".h5"))
        if not rows:
            return
        regions = [row.region for row in rows]
        status_N = np.array([row.status for row in rows])
        if self._pooled.pool == "none":
            tokens = [piece for row in rows for piece in row.pieces]
            tokens_N = np.array([sum(map(len, row.pieces)) for row in rows])
            vectors = np.concatenate(tokens) if tokens else self._pooled.no_tokens()
            self._writer.append(regions, status_N, vectors, tokens_N)
        else:
            vectors = self._vectors(rows)
            self._writer.append(regions, status_N, vectors)

    def _vectors(self, rows: list[Row]) -> np.ndarray:
        with np.errstate(over="ignore"):  # told of below
            vectors = np.stack([self._pooled.vector(row) for row in rows])
            vectors = vectors.astype(self._options.dtype)
        for row, finite in zip(rows, np.isfinite(vectors).all(axis=1), strict=True):
            if not (finite or row.status):
                raise not_finite(row)
        return vectors

    def end(self) -> None:
        self._writer.finish()
        self._writer = None

    def made(self, part: int) -> None:
        """Its file lies there."""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def empty(self, path: Path) -> None:
        """Write a file without a row."""
        self._open(path).finish()
