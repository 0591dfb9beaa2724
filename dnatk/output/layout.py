"""What is in a row file: the one description that merge, verify, export and info go by.

A row file is one of embeddings (:mod:`dnatk.output.hdf5`) or of predictions
(:mod:`dnatk.output.predictions_hdf5`).

Shapes: N rows, T tokens of per-token files, D hidden, C classes or targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from dnatk.errors import InputError
from dnatk.output import hdf5, predictions_hdf5

# What one step of a copy or a check holds in memory.
BLOCK_BYTES = 1 << 21
REGION = tuple(f"region/{name}" for name in ("contig", "start", "end", "strand", "name", "status"))
FORMATS = {
    hdf5.FORMAT: hdf5.FORMAT_VERSION,
    predictions_hdf5.FORMAT: predictions_hdf5.FORMAT_VERSION,
}

_CALLED = {hdf5.FORMAT: "an embedding file", predictions_hdf5.FORMAT: "a prediction file"}
# No packing of HDF5's own makes more of a byte: deflate 1032.
_MOST_PACKED = 1100


def open_rows(path: str | Path, *, complete: bool = True, only: str = "") -> h5py.File:
    """A row file of either format, open for reading; it is a context manager.

    Args:
        complete: refuse a file that was not finished.
        only: the one format that is wanted.

    Raises:
        InputError: no row file of this version of the layout.
    """
    try:
        # Rows are read once, in order: a cache of chunks only fills memory.
        file = h5py.File(path, "r", rdcc_nbytes=0)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except IsADirectoryError:
        raise InputError("is a directory", path=path) from None
    except PermissionError:
        raise InputError("may not be read", path=path) from None
    except OSError as error:
        raise InputError("is no HDF5 file, or a damaged one", path=path) from error
    try:
        with damage_told(path):
            _check_format(file, path, complete, only)
    except BaseException:
        file.close()
        raise
    return file


def _check_format(file: h5py.File, path: str | Path, complete: bool, only: str) -> None:
    found = file.attrs.get("format")
    if only and found != only:
        raise InputError(f"is not {_CALLED[only]} of dnatk", path=path)
    if not isinstance(found, str) or found not in FORMATS:
        raise InputError("is no embedding or prediction file of dnatk", path=path)
    version = file.attrs.get("format_version")
    if version != FORMATS[found]:
        raise InputError(
            f"has version {version} of {found}, this dnatk reads {FORMATS[found]}", path=path
        )
    if complete and not file.attrs.get("complete"):
        raise InputError("is not complete", path=path, hint="the run that wrote it was cut off")


@contextmanager
def damage_told(path: str | Path) -> Iterator[None]:
    """What h5py says of a damaged file becomes :class:`InputError`; for reading, not writing."""
    try:
        yield
    except (OSError, RuntimeError, LookupError, ValueError) as error:
        raise InputError("is a damaged HDF5 file", path=path) from error


@contextmanager
def write_failures_told() -> Iterator[None]:
    """For writing: a file that h5py cannot close (RuntimeError, a full disk) is an OSError."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error)) from error


def is_prediction(file: h5py.File) -> bool:
    """Whether it is a file of predictions."""
    return file.attrs["format"] == predictions_hdf5.FORMAT


def output_name(file: h5py.File) -> str:
    """Where a prediction file holds its (N, C) numbers."""
    regression = file.attrs.get("kind") == "regression"
    return "prediction/value" if regression else "prediction/probability"


def row_columns(file: h5py.File) -> list[str]:
    """Names of the datasets of N rows, /region first; a prediction's /embedding where there."""
    names = list(REGION)
    if is_prediction(file):
        names += ["prediction/label", "prediction/score", output_name(file)]
        return [*names, "embedding"] if "embedding" in file else names
    return names if is_per_token(file) else [*names, "embedding"]


def is_per_token(file: h5py.File) -> bool:
    """Whether it holds /token instead of /embedding."""
    return "token" in file


def vector_name(file: h5py.File) -> str | None:
    """Where the vectors are; None: a prediction file without them."""
    name = "token/embedding" if is_per_token(file) else "embedding"
    return name if name in file else None


def dataset(file: h5py.File, name: str, path: str | Path) -> h5py.Dataset:
    """A dataset that must be there, else :class:`InputError`."""
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"has no dataset /{name}", path=path)
    if is_impossible(found):
        raise InputError("is a damaged HDF5 file", path=path)
    return found


def is_impossible(data: h5py.Dataset) -> bool:
    """Whether it says to be larger than its file can hold: it would be read for ever."""
    packed = data.id.get_create_plist().get_nfilters() > 0
    return data.nbytes > data.file.id.get_filesize() * (_MOST_PACKED if packed else 1)


def plain(value: object) -> object:
    """An attribute as JSON has it."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def is_text(data: h5py.Dataset) -> bool:
    """Whether it holds texts of any length (a strand is one byte)."""
    return data.dtype.kind == "O"


def step_of(data: h5py.Dataset, size: int) -> int:
    """How many of its rows have about ``size`` bytes; at least one."""
    # A text's length is not known: a hundred bytes are more than most names have.
    item = 100 if is_text(data) else data.dtype.itemsize
    return max(1, size // max(1, item * int(np.prod(data.shape[1:], dtype=int))))


def blocks(data: h5py.Dataset, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """(position, values) of a dataset's rows [start, stop), in blocks of about 2 MB."""
    step = step_of(data, BLOCK_BYTES)
    for at in range(start, stop, step):
        yield at, data[at : min(at + step, stop)]
