"""Row files as pandas frames and matrices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from dnatk.output import hdf5, layout, predictions_hdf5

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = tuple(name.removeprefix("region/") for name in layout.REGION)


def read_embeddings(path: str | Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read an embedding file.

    Returns:
        (regions, vectors): a pandas frame with columns contig, start, end (0-based half-open),
        strand, name, status, and the (N, D) matrix of the same rows. For ``--pool none`` files
        the matrix is (T, D) and the frame has the columns token_start, token_end into it. The
        root's attributes are in ``regions.attrs``.

    Raises:
        InputError: no embedding file of dnatk, a damaged one, or one that was not finished.

    >>> summary = dnatk.embed("genome.fa", "genome.h5", model="dnatk-small")
    >>> regions, vectors = dnatk.read_embeddings("genome.h5")
    >>> list(regions.columns), len(regions) == len(vectors)
    (['contig', 'start', 'end', 'strand', 'name', 'status'], True)
    >>> regions.attrs["model"]
    'dnatk-small'
    """
    with layout.open_rows(path, only=hdf5.FORMAT) as file, layout.damage_told(path):
        regions = _frame(file, path)
        if layout.is_per_token(file):
            offset = layout.dataset(file, "token/offset", path)[:]
            regions["token_start"], regions["token_end"] = offset[:-1], offset[1:]
        name = layout.vector_name(file) or "embedding"
        return regions, layout.dataset(file, name, path)[:]


def read_predictions(path: str | Path) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Read a file of predictions.

    Returns:
        (predictions, vectors): a pandas frame with columns contig, start, end (0-based
        half-open), strand, name, status, label, score and a p_CLASS (regression: value_NAME) for
        each class, the root's attributes in ``predictions.attrs``; and the (N, D) matrix of the
        same rows, None where the file has none.

    Raises:
        InputError: no prediction file of dnatk, a damaged one, or one that was not finished.
    """
    with layout.open_rows(path, only=predictions_hdf5.FORMAT) as file, layout.damage_told(path):
        frame = _frame(file, path)
        frame["label"] = layout.dataset(file, "prediction/label", path).asstr()[:]
        frame["score"] = layout.dataset(file, "prediction/score", path)[:]
        name = layout.output_name(file)
        prefix = "value" if name == "prediction/value" else "p"
        output_NC = layout.dataset(file, name, path)[:]
        for i, label in enumerate(layout.dataset(file, "prediction/class", path).asstr()[:]):
            frame[f"{prefix}_{label}"] = output_NC[:, i]
        vectors = layout.vector_name(file)
        return frame, None if vectors is None else layout.dataset(file, vectors, path)[:]


def _frame(file: h5py.File, path: str | Path) -> pd.DataFrame:
    """/region, and the root's attributes in the frame's ``attrs``, as JSON has them."""
    import pandas as pd

    column = {name: layout.dataset(file, f"region/{name}", path) for name in _COLUMNS}
    contigs = layout.dataset(file, "contig/name", path).asstr()[:]
    frame = pd.DataFrame(
        {
            "contig": contigs[column["contig"][:]],
            "start": column["start"][:],
            "end": column["end"][:],
            "strand": column["strand"][:].astype("U1"),
            "name": column["name"].asstr()[:],
            "status": column["status"][:],
        }
    )
    frame.attrs.update({key: layout.plain(value) for key, value in file.attrs.items()})
    return frame
