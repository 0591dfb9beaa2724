"""dnatk's HDF5 layout for embeddings, written row by row in constant memory.

Files of predictions have the same /region and /contig (:mod:`dnatk.output.predictions_hdf5`).

    /embedding (N, D) float16 or float32
    /region/contig (N,) uint32, an index into /contig/name
    /region/start, /region/end (N,) int64, 0-based half-open, forward strand
    /region/strand (N,) S1; /region/name (N,) utf-8
    /region/status (N,) uint8, a :class:`dnatk.output.status.Status` (4 and 5: predictions only)
    /contig/name (C,) utf-8; /contig/length (C,) int64 (-1: contig unknown to the FASTA)
    /token/embedding (T, D), /token/offset (N+1,) int64: instead of /embedding for --pool none;
        row i has tokens offset[i] .. offset[i+1]

Attributes of the root: format, format_version, complete, dnatk_version, command, model,
model_sha256, k, kmer_stride, window, stride, pool, layer, rc, precision; config, where the command
line wrote it (all options, as TOML).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np

from dnatk.genome.regions import Region
from dnatk.output.provenance import printable

FORMAT = "dnatk-embedding"
FORMAT_VERSION = 1
_CHUNK_BYTES = 1 << 17
TEXT = h5py.string_dtype("utf-8")
_REGION = {"contig": "u4", "start": "i8", "end": "i8", "strand": "S1", "status": "u1"}


class Column:
    """A dataset of rows that grows by whole chunks (misaligned appends cost four times as much)."""

    def __init__(self, file: h5py.File, name: str, dtype: Any, width: int | None = None) -> None:
        row_bytes = np.dtype(dtype).itemsize * (width or 1) if dtype != TEXT else 16
        self._rows = max(1, min(_CHUNK_BYTES // row_bytes, 1 << 12))
        tail = () if width is None else (width,)
        self._data = file.create_dataset(
            name, (0, *tail), maxshape=(None, *tail), chunks=(self._rows, *tail), dtype=dtype
        )
        self._parts: list[np.ndarray] = []
        self._waiting = 0

    def append(self, rows: np.ndarray) -> None:
        self._parts.append(rows)
        self._waiting += len(rows)
        if self._waiting >= self._rows:
            whole = self._waiting // self._rows * self._rows
            joined = np.concatenate(self._parts)
            self._write(joined[:whole])
            self._parts = [joined[whole:].copy()]
            self._waiting -= whole

    def flush(self) -> None:
        if self._waiting:
            self._write(np.concatenate(self._parts))
        self._parts, self._waiting = [], 0

    def _write(self, rows: np.ndarray) -> None:
        at = len(self._data)
        self._data.resize(at + len(rows), axis=0)
        self._data[at:] = rows


class RegionColumns:
    """The groups /region and /contig of a file; rows come in output order.

    Args:
        contigs: those that stand first, with their lengths; others follow as they are met.
        lengths: where the lengths of others are looked up when they are met.
    """

    def __init__(
        self, file: h5py.File, contigs: Mapping[str, int], lengths: Mapping[str, int]
    ) -> None:
        self._file, self._lookup = file, lengths
        self._columns = {
            name: Column(file, f"region/{name}", kind) for name, kind in _REGION.items()
        }
        self._names = Column(file, "region/name", TEXT)
        self._contigs = {name: i for i, name in enumerate(contigs)}
        self._lengths = list(contigs.values())

    def append(self, regions: Sequence[Region], status_N: Sequence[int] | np.ndarray) -> None:
        """Append N rows."""
        columns = {
            "contig": [self._contig(r.contig) for r in regions],
            "start": [r.start for r in regions],
            "end": [r.end for r in regions],
            "strand": [r.strand.encode() for r in regions],
            "status": status_N,
        }
        for name, values in columns.items():
            self._columns[name].append(np.asarray(values, dtype=_REGION[name]))
        self._names.append(np.array([r.name for r in regions], dtype=object))

    def _contig(self, name: str) -> int:
        if name not in self._contigs:
            self._contigs[name] = len(self._lengths)
            self._lengths.append(self._lookup.get(name, -1))
        return self._contigs[name]

    def finish(self) -> None:
        """Write what is left, and the contigs."""
        for column in (*self._columns.values(), self._names):
            column.flush()
        names = np.array(list(self._contigs), dtype=object)
        self._file.create_dataset("contig/name", data=names, dtype=TEXT)
        self._file.create_dataset("contig/length", data=np.array(self._lengths, dtype="i8"))


def create(
    path: Path, file_format: str, version: int, attributes: Mapping[str, object]
) -> h5py.File:
    """A new file of a format, marked as not complete.

    Raises:
        OSError: it cannot be made.
    """
    try:
        # Chunks are written whole and never read back: a cache of them only fills memory.
        file = h5py.File(path, "w", rdcc_nbytes=0)
    except OSError:
        # Of a directory that vanishes between two of its steps h5py tells nothing; stat does.
        path.absolute().parent.stat()
        raise
    root = {"format": file_format, "format_version": version, "complete": False, **attributes}
    for key, value in root.items():
        file.attrs[key] = printable(value) if isinstance(value, str) else value
    return file


class RowFile:
    """A file of rows that each belong to a region; it grows until it is finished.

    Args:
        path: the file, overwritten.
        contigs, lengths: as of :class:`RegionColumns`.
        attributes: of the root, beside format and complete.
    """

    def __init__(
        self,
        path: Path,
        file_format: str,
        version: int,
        contigs: Mapping[str, int],
        lengths: Mapping[str, int],
        attributes: Mapping[str, object],
    ) -> None:
        self._file = create(path, file_format, version, attributes)
        self._regions = RegionColumns(self._file, contigs, lengths)
        self._columns: list[Column] = []

    def _column(self, name: str, dtype: Any, width: int | None = None) -> Column:
        """A new column, written out when the file is finished."""
        self._columns.append(Column(self._file, name, dtype, width))
        return self._columns[-1]

    def finish(self) -> None:
        """Write what is left and mark the file complete."""
        self._regions.finish()
        for column in self._columns:
            column.flush()
        self._file.attrs["complete"] = True
        self.close()

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()


class EmbeddingWriter(RowFile):
    """Writes one embedding file; rows come in output order.

    Args:
        path: the file, overwritten.
        width: D.
        dtype: "float16" or "float32".
        per_token: write /token instead of /embedding.
        contigs, lengths: as of :class:`RegionColumns`.
        attributes: of the root, beside format and complete.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        dtype: str,
        per_token: bool,
        contigs: Mapping[str, int] = MappingProxyType({}),
        lengths: Mapping[str, int] = MappingProxyType({}),
        attributes: Mapping[str, object],
    ) -> None:
        super().__init__(path, FORMAT, FORMAT_VERSION, contigs, lengths, attributes)
        self._dtype = np.dtype(dtype)
        name = "token/embedding" if per_token else "embedding"
        self._vectors = self._column(name, self._dtype, width)
        self._offset = self._column("token/offset", "i8") if per_token else None
        self._end = 0
        if self._offset is not None:
            self._offset.append(np.zeros(1, dtype="i8"))

    def append(
        self,
        regions: list[Region],
        status_N: np.ndarray,
        vectors: np.ndarray,
        tokens_N: np.ndarray | None = None,
    ) -> None:
        """Append rows: vectors (N, D), or with ``tokens_N`` (N,) their tokens (sum, D)."""
        self._regions.append(regions, status_N)
        self._vectors.append(vectors.astype(self._dtype, copy=False))
        if self._offset is not None and tokens_N is not None:
            self._offset.append(self._end + np.cumsum(tokens_N))
            self._end += int(np.sum(tokens_N))
