"""Row files made one, block by block in constant memory.

The result is what a writer would have made of the same rows in one go: values, types, shapes and
chunks of every dataset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from dnatk.errors import InputError
from dnatk.output import layout
from dnatk.output.files import sync
from dnatk.output.hdf5 import TEXT, Column, create

# Of the 1024 files that a process may open by default.
_MOST_OPEN = 200


@dataclass(frozen=True)
class Piece:
    """Rows [start, stop) of a complete row file; stop None: to its end."""

    path: Path
    start: int = 0
    stop: int | None = None


def merge_rows(
    pieces: Sequence[Piece],
    output: Path,
    *,
    contigs: Mapping[str, int] | None = None,
    attributes: Mapping[str, object] | None = None,
) -> int:
    """Write the rows of ``pieces``, one after another, as one file of the same layout.

    A file that many pieces name is opened once. The result is on the disk when this returns.

    Args:
        pieces: at least one; all of one format, and alike in what they hold.
        output: the file, overwritten.
        contigs: the first ones of /contig, with their lengths; others follow as they are met.
        attributes: of the root, over those of the first piece; None takes one away.

    Returns:
        The number of rows written.

    Raises:
        InputError: a piece is no complete row file, is damaged or unlike the first; or two give
            a contig different lengths.
        OSError: the output cannot be written.
    """
    if not pieces:
        raise ValueError("no pieces to merge")
    known = _Contigs(contigs or {})
    with _Sources(pieces, known) as sources:
        first = sources.take(pieces[0].path)
        root = {**first.attributes, **(attributes or {})}
        with layout.write_failures_told(), _created(output, root) as file:
            target = _Target(file, first)
            for piece in pieces:
                target.append(sources.take(piece.path), piece)
                sources.done(piece.path)
            target.finish(known)
    sync(output)
    return target.rows


class _Contigs:
    """/contig of the result."""

    def __init__(self, contigs: Mapping[str, int]) -> None:
        self.names = {name: i for i, name in enumerate(contigs)}
        self.lengths = list(contigs.values())

    def add(self, name: str, length: int, path: Path) -> int:
        """The index of a contig that the file at ``path`` has."""
        index = self.names.setdefault(name, len(self.lengths))
        if index == len(self.lengths):
            self.lengths.append(length)
        elif self.lengths[index] < 0:
            self.lengths[index] = length
        elif length >= 0 and length != self.lengths[index]:
            raise InputError(
                f"its contig {name} has {length} bases, elsewhere {self.lengths[index]}",
                path=path,
                hint="the files are of different genomes",
            )
        return index


class _Source:
    """A file that is read, and where its contigs are in the result."""

    def __init__(self, file: h5py.File, path: Path, contigs: _Contigs) -> None:
        self.file, self.path, self._contigs = file, path, contigs
        self.attributes = dict(file.attrs)
        self.columns = layout.row_columns(self.file)
        self.per_token = layout.is_per_token(self.file)
        names = ["token/embedding", "token/offset"] if self.per_token else []
        self.datasets = {name: self.dataset(name) for name in (*self.columns, *names)}
        self.rows = len(self.datasets["region/start"])
        predicts = layout.is_prediction(file)
        self.classes = self.dataset("prediction/class")[:] if predicts else None
        self._names = self.dataset("contig/name").asstr()[:]
        self._lengths = self.dataset("contig/length")[:]
        self._index = np.zeros(len(self._names), dtype="u4")
        self._met = 0

    def dataset(self, name: str) -> h5py.Dataset:
        """A dataset that must be there."""
        return layout.dataset(self.file, name, self.path)

    def blocks(self, name: str, start: int, stop: int) -> Iterator[np.ndarray]:
        """A dataset's rows [start, stop), some at a time."""
        with layout.damage_told(self.path):
            for _, values in layout.blocks(self.datasets[name], start, stop):
                yield values

    def merged_contigs(self, index_N: np.ndarray) -> np.ndarray:
        """The numbers in the result of contigs numbered as in this file."""
        # Those before it count as met too, so the order is that of a file written in one go.
        self.meet(int(index_N.max()) + 1)
        return self._index[index_N]

    def meet(self, count: int | None = None) -> None:
        """Add the first ``count`` contigs, all without it, to the result."""
        count = len(self._names) if count is None else count
        if count > len(self._names):
            raise InputError(f"has no contig {count - 1}, but a row of it", path=self.path)
        for i in range(self._met, count):
            name, length = self._names[i], int(self._lengths[i])
            self._index[i] = self._contigs.add(name, length, self.path)
        self._met = max(self._met, count)


class _Sources:
    """The files of the pieces, each open from its first piece to its last."""

    def __init__(self, pieces: Sequence[Piece], contigs: _Contigs) -> None:
        self._left = Counter(piece.path for piece in pieces)
        self._open: dict[Path, _Source] = {}
        self._contigs = contigs

    def __enter__(self) -> _Sources:
        return self

    def __exit__(self, *_) -> None:
        for source in self._open.values():
            source.file.close()

    def take(self, path: Path) -> _Source:
        """The file, opened where it is not."""
        source = self._open.pop(path, None)
        if source is None:
            source = self._opened(path)
        self._open[path] = source  # the last one: it was used last
        if len(self._open) > _MOST_OPEN:
            self._open.pop(next(iter(self._open))).file.close()
        return source

    def _opened(self, path: Path) -> _Source:
        file = layout.open_rows(path)
        try:
            with layout.damage_told(path):
                return _Source(file, path, self._contigs)
        except BaseException:
            file.close()
            raise

    def done(self, path: Path) -> None:
        """One of its pieces was copied."""
        self._left[path] -= 1
        if not self._left[path]:
            source = self._open.pop(path)
            source.meet()
            source.file.close()


def _created(path: Path, attributes: Mapping[str, object]) -> h5py.File:
    """A new file with these attributes, but not complete."""
    root = {**attributes, "complete": None}
    root = {name: value for name, value in root.items() if value is not None}
    return create(path, root.pop("format"), root.pop("format_version"), root)


class _Target:
    """The result, laid out as the first piece is."""

    def __init__(self, file: h5py.File, first: _Source) -> None:
        self.rows = 0
        self._end = 0
        self._file, self._first = file, first.path
        self._like = _shapes(first)
        self._columns = {
            name: Column(file, name, dtype, *tail) for name, (dtype, *tail) in self._like.items()
        }
        if first.per_token:
            self._columns["token/offset"].append(np.zeros(1, dtype="i8"))
        if first.classes is not None:
            file.create_dataset("prediction/class", data=first.classes, dtype=TEXT)

    def append(self, source: _Source, piece: Piece) -> None:
        """Append the rows of a piece, dataset by dataset."""
        if _shapes(source) != self._like:
            raise InputError(f"is not laid out as {self._first} is", path=source.path)
        start, stop = piece.start, source.rows if piece.stop is None else piece.stop
        if not 0 <= start <= stop <= source.rows:
            raise ValueError(f"{source.path} has {source.rows} rows: no [{start}, {stop})")
        for name in source.columns:
            for values in source.blocks(name, start, stop):
                if name == "region/contig":
                    values = source.merged_contigs(values)
                self._columns[name].append(values)
        if source.per_token:
            self._append_tokens(source, start, stop)
        self.rows += stop - start

    def _append_tokens(self, source: _Source, start: int, stop: int) -> None:
        first = last = int(source.datasets["token/offset"][start])
        for offset in source.blocks("token/offset", start + 1, stop + 1):
            self._columns["token/offset"].append(offset - first + self._end)
            last = int(offset[-1])
        for vectors in source.blocks("token/embedding", first, last):
            self._columns["token/embedding"].append(vectors)
        self._end += last - first

    def finish(self, contigs: _Contigs) -> None:
        """Write what is left and mark the file complete."""
        for column in self._columns.values():
            column.flush()
        names = np.array(list(contigs.names), dtype=object)
        self._file.create_dataset("contig/name", data=names, dtype=TEXT)
        self._file.create_dataset("contig/length", data=np.array(contigs.lengths, dtype="i8"))
        self._file.attrs["complete"] = True


def _shapes(source: _Source) -> dict[str, tuple]:
    """Type and, of matrices, width of each dataset that grows with the rows."""
    return {
        name: (TEXT if layout.is_text(data) else data.dtype, *data.shape[1:])
        for name, data in source.datasets.items()
    }
