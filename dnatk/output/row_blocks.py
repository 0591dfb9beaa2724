"""The rows of a row file as columns, block by block: what every export is made of.

Shapes: N regions, n rows of a block, D hidden, C classes or targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from dnatk.errors import InputError
from dnatk.output import layout
from dnatk.output.table import shown_classes


@dataclass(frozen=True)
class Block:
    """Some rows.

    Attributes:
        columns: name -> (n,), texts as objects: contig, start, end, strand, name, status; token of
            per-token files; label and score of predictions.
        numbers: (n, C) probabilities or values.
        vectors: (n, D).
    """

    columns: dict[str, np.ndarray]
    numbers: np.ndarray | None = None
    vectors: np.ndarray | None = None


class RowBlocks:
    """A complete row file, read as blocks of rows.

    In per-token files a row is a token, ``token`` its number within the region; a region without
    tokens is one row with the token -1 and NaN.

    Attributes:
        names: of the columns; numbers: p_CLASS or value_NAME; vectors: e0, e1, ...
        types: of the columns; "O" are texts.

    Raises:
        InputError: a dataset is missing, or not as long as the others.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._file = file
        self.path = path
        self.attributes = {key: layout.plain(value) for key, value in file.attrs.items()}
        self._columns = {
            name.removeprefix("region/"): self._dataset(name) for name in layout.REGION
        }
        self._contigs = self._dataset("contig/name").asstr()[:]
        self._numbers = self._vectors = None
        self.numbers: list[str] = []
        if layout.is_prediction(file):
            for name in ("label", "score"):
                self._columns[name] = self._dataset(f"prediction/{name}")
            self._numbers = self._dataset(layout.output_name(file))
            self.kind = str(file.attrs.get("kind"))
            self.classes = tuple(self._dataset("prediction/class").asstr()[:])
            prefix = "value" if self.kind == "regression" else "p"
            self.numbers = [f"{prefix}_{name}" for name in shown_classes(self)]
        if layout.vector_name(file) is not None:
            self._vectors = self._dataset(layout.vector_name(file))
        self.width = 0 if self._vectors is None else self._vectors.shape[1]
        self.vectors = [f"e{i}" for i in range(self.width)]
        self.dtype = None if self._vectors is None else self._vectors.dtype
        self._end_N = self._ends() if layout.is_per_token(file) else None
        self._check_lengths()
        self.types = {
            name: np.dtype("O") if data.dtype.kind == "S" or name == "contig" else data.dtype
            for name, data in self._columns.items()
        }
        if self._end_N is not None:
            self.types["token"] = np.dtype("i8")

    @property
    def per_token(self) -> bool:
        """Whether a row is a token."""
        return self._end_N is not None

    def __len__(self) -> int:
        """Rows of all blocks."""
        if self._end_N is None:
            return len(self._columns["start"])
        return int(self._end_N[-1]) if len(self._end_N) else 0

    def blocks(self, size: int | None = None, *, vectors: bool = True) -> Iterator[Block]:
        """All rows in their order, in blocks of about ``size`` bytes; or all but the vectors."""
        size = layout.BLOCK_BYTES if size is None else size
        datasets = [*self._columns.values(), self._numbers, self._vectors if vectors else None]
        step = min(layout.step_of(data, size) for data in datasets if data is not None)
        read = self._rows if self._end_N is None else self._tokens
        with layout.damage_told(self.path):
            for at in range(0, len(self), step):
                yield read(at, min(at + step, len(self)), vectors)

    def table(self) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Columns and (N, C) numbers of all rows, in memory."""
        parts = list(self.blocks(vectors=False))
        columns = {
            name: np.concatenate([np.zeros(0, kind), *(part.columns[name] for part in parts)])
            for name, kind in self.types.items()
        }
        if self._numbers is None:
            return columns, None
        none = np.zeros((0, len(self.numbers)), self._numbers.dtype)
        return columns, np.concatenate([none, *(part.numbers for part in parts)])

    def matrix(self) -> Iterator[np.ndarray]:
        """The vectors of all rows, some (n, D) at a time."""
        return (block.vectors for block in self.blocks())

    def _dataset(self, name: str) -> h5py.Dataset:
        return layout.dataset(self._file, name, self.path)

    def _check_lengths(self) -> None:
        """The rows that columns of different lengths have in common are not those of the file."""
        vectors = self._vectors if self._end_N is None else self._end_N
        rows = (*self._columns.values(), self._numbers, vectors)
        if len({data.shape[:1] for data in rows if data is not None}) > 1:
            raise InputError(
                "its columns are not equally long",
                path=self.path,
                hint="dnatk h5 verify says which",
            )

    def _ends(self) -> np.ndarray:
        """(N,) where each region's rows end, one for those without tokens."""
        self._offset = self._dataset("token/offset")[:]
        return np.cumsum(np.maximum(np.diff(self._offset), 1))

    def _rows(self, start: int, stop: int, vectors: bool) -> Block:
        columns = {name: _texts(data[start:stop]) for name, data in self._columns.items()}
        columns["contig"] = self._contigs[columns["contig"]]
        numbers = None if self._numbers is None else self._numbers[start:stop]
        wanted = vectors and self._vectors is not None
        return Block(columns, numbers, self._vectors[start:stop] if wanted else None)

    def _tokens(self, start: int, stop: int, vectors: bool) -> Block:
        """Rows [start, stop) of a per-token file; a region's tokens may lie in several blocks."""
        at = np.arange(start, stop)
        region = np.searchsorted(self._end_N, at, side="right")
        first, last = int(region[0]), int(region[-1]) + 1
        count = np.diff(self._offset[first : last + 1])
        begin = self._end_N[first:last] - np.maximum(count, 1)
        there = count[region - first] > 0
        token = np.where(there, at - begin[region - first], -1)
        columns = self._rows(first, last, False).columns
        columns = {name: values[region - first] for name, values in columns.items()}
        columns["token"] = token
        if not vectors:
            return Block(columns)
        vectors_nD = np.full((len(at), self.width), np.nan, dtype=self.dtype)
        if there.any():  # they lie one after another
            place = (self._offset[region] + token)[there]
            vectors_nD[there] = self._vectors[int(place[0]) : int(place[-1]) + 1]
        return Block(columns, None, vectors_nD)


def _texts(values: np.ndarray) -> np.ndarray:
    """Bytes as str."""
    if values.dtype.kind == "S":
        return values.astype("U1").astype(object)
    if values.dtype.kind == "O":
        return np.array([text.decode(errors="replace") for text in values], dtype=object)
    return values
