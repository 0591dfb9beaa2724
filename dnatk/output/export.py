"""Row files in the formats of other tools: tsv, npz, parquet, h5ad; in constant memory.

A file holds for each row (of per-token files: for each token) its region, then label, score and
the class columns of predictions, then the vector e0, e1, ... Of npz and h5ad only the matrix
streams, the regions are held in memory.
"""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from dnatk.errors import InputError, OutputError
from dnatk.output import layout
from dnatk.output.files import check_output, packed_by_name, written_whole
from dnatk.output.row_blocks import RowBlocks
from dnatk.output.table import NA, UNSAFE

FORMATS = ("tsv", "npz", "parquet", "h5ad")
# Row groups of a parquet file: a reader takes one at a time.
_GROUP_BYTES = 1 << 24
# Numbers as text take many times the memory.
_TEXT_BYTES = 1 << 18


def export(
    path: str | Path, output: str | Path | BinaryIO, format: str, *, force: bool = False
) -> int:
    """Write the rows of ``path`` in another format; the number of its rows (or tokens).

    Args:
        path: a complete row file.
        output: a file; for tsv also a binary stream.
        format: one of :data:`FORMATS`.

    Raises:
        InputError: no complete row file, or one that the format cannot hold.
        OutputError: the file cannot be written, or a library is missing.
    """
    target = None
    if isinstance(output, str | Path):
        target = check_output(output, force=force, inputs=(path,))
    _needed(format, target)
    with layout.open_rows(path) as file:
        with layout.damage_told(path):
            rows = RowBlocks(file, Path(path))
        if target is None:
            _tsv(rows, output)
        else:
            with written_whole(target) as partial, layout.write_failures_told():
                _write(rows, partial, target, format)
        return len(rows)


def _needed(format: str, output: Path | None) -> None:
    """Import what a format needs before any work is done."""
    name = {"parquet": "pyarrow.parquet", "h5ad": "anndata"}.get(format)
    try:
        if name:
            importlib.import_module(name)
    except ImportError:
        hint = "pip install 'dnatk[export]'"
        library = name.partition(".")[0]
        raise OutputError(f"{format} needs {library}", path=output, hint=hint) from None


def _write(rows: RowBlocks, path: Path, name: Path, format: str) -> None:
    if format == "tsv":
        with packed_by_name(path, name) as stream:
            _tsv(rows, stream)
    else:
        writers = {"npz": _npz, "parquet": _parquet, "h5ad": _h5ad}
        writers[format](rows, path)


def _tsv(rows: RowBlocks, stream: BinaryIO) -> None:
    names = [*rows.types, *rows.numbers, *rows.vectors]
    stream.write(("#" + "\t".join(names) + "\n").encode())
    text_of = {np.dtype(kind): _number_texts(np.dtype(kind)) for kind in ("f2", "f4")}
    for block in rows.blocks(_TEXT_BYTES):
        columns = [
            text_of[values.dtype](values) if values.dtype.kind == "f" else _texts(values)
            for values in block.columns.values()
        ]
        lines = ["\t".join(fields) for fields in zip(*columns, strict=True)]
        for matrix in (block.numbers, block.vectors):
            if matrix is not None:
                flat = text_of[matrix.dtype](matrix.ravel())
                width = matrix.shape[1]
                rests = ("\t".join(flat[i : i + width]) for i in range(0, len(flat), width))
                lines = ["\t".join(pair) for pair in zip(lines, rests, strict=True)]
        stream.write(("\n".join(lines) + "\n").encode())
    stream.flush()


def _texts(values: np.ndarray) -> list[str]:
    return [UNSAFE.sub("_", str(value)) for value in values.tolist()]


def _number_texts(dtype: np.dtype) -> Callable[[np.ndarray], list[str]]:
    """How numbers are written: the shortest text that reads back as the same one; NaN is NA."""
    if dtype == np.float16:  # there are only so many
        every = np.arange(1 << 16, dtype="u2").view("f2")
        table = np.array([NA if np.isnan(x) else str(x) for x in every], dtype=object)
        return lambda values: table[values.view("u2")].tolist()
    return lambda values: [NA if text == "nan" else text for text in map(str, values)]


def _npz(rows: RowBlocks, path: Path) -> None:
    columns, numbers = rows.table()
    arrays = {
        name: values.astype("U") if values.dtype == object else values
        for name, values in columns.items()
    }
    if numbers is not None:
        arrays["value" if rows.kind == "regression" else "probability"] = numbers
        arrays["class"] = np.array(rows.classes)
    arrays["attributes"] = np.array(json.dumps(rows.attributes))
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
        if rows.width:
            with archive.open("embedding.npy", "w", force_zip64=True) as member:
                shape = {"shape": (len(rows), rows.width), "fortran_order": False}
                header = {"descr": rows.dtype.str, **shape}
                np.lib.format.write_array_header_1_0(member, header)
                for vectors in rows.matrix():
                    member.write(np.ascontiguousarray(vectors).tobytes())


def _parquet(rows: RowBlocks, path: Path) -> None:
    # A column for each number, for that is what pandas, R and SQL can filter and plot; float32,
    # for many readers know no float16.
    import pyarrow as pa
    from pyarrow import parquet

    words = pa.dictionary(pa.int32(), pa.string())
    types = {
        name: pa.string() if kind.kind == "O" else pa.from_numpy_dtype(kind)
        for name, kind in rows.types.items()
    }
    types |= dict.fromkeys(("contig", "strand"), words)
    fields = [*types.items(), *((name, pa.float32()) for name in (*rows.numbers, *rows.vectors))]
    schema = pa.schema(fields, {"dnatk": json.dumps(rows.attributes)})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in rows.blocks(_GROUP_BYTES):
            arrays = list(block.columns.values())
            for matrix in (block.numbers, block.vectors):
                if matrix is not None:
                    arrays += list(np.ascontiguousarray(matrix.T, dtype="f4"))
            columns = [
                pa.array(values, type=kind)
                for values, (_, kind) in zip(arrays, fields, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _h5ad(rows: RowBlocks, path: Path) -> None:
    import pandas as pd
    from anndata import AnnData

    if rows.per_token:
        raise InputError(
            "has a vector for each token, h5ad has one for each region",
            path=rows.path,
            hint="export it as parquet or npz, or embed with --pool mean",
        )
    columns, numbers = rows.table()
    frame = pd.DataFrame(columns, index=np.arange(len(rows)).astype(str))
    if rows.width and numbers is not None:
        frame[rows.numbers] = numbers
    variables = pd.DataFrame(index=rows.vectors or rows.numbers)
    AnnData(obs=frame, var=variables, uns=rows.attributes).write_h5ad(path)
    # The matrix follows as anndata's format describes it, so that it need not fit into memory.
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        matrix = file.create_dataset("X", (len(rows), len(variables)), dtype="f4")
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        at = 0
        for values in rows.matrix() if rows.width else [numbers]:
            matrix[at : at + len(values)] = values
            at += len(values)
