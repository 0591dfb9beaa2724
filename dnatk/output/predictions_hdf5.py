"""dnatk's HDF5 layout for predictions, written row by row in constant memory.

    /region/..., /contig/...: as in files of embeddings (:mod:`dnatk.output.hdf5`)
    /prediction/class (C,) utf-8: class, label or target names, in the order of the columns
    /prediction/label (N,) utf-8 and /prediction/score (N,) float32: as in the table
    /prediction/probability (N, C) float32; regression: /prediction/value (N, C)
    /embedding (N, D) float16 or float32: where asked for

A row that could not be scored has the label NA, NaN for each number, and its reason in
/region/status. Attributes of the root: format, format_version, complete, kind, and those given.

Shapes: N rows, C classes or targets, D hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from dnatk.output.hdf5 import TEXT, RowFile
from dnatk.output.status import Status
from dnatk.output.table import NA, Labels, Prediction

FORMAT = "dnatk-prediction"
FORMAT_VERSION = 1


class PredictionWriter(RowFile):
    """Writes one file of predictions; rows come in output order.

    Args:
        path: the file, overwritten.
        space: kind and classes of the task.
        contigs, lengths: as of :class:`dnatk.output.hdf5.RegionColumns`.
        attributes: of the root, beside format, complete and kind.
        width: D, to write each prediction's vector too; None: no /embedding.
        dtype: "float16" or "float32", of the vectors.
    """

    def __init__(
        self,
        path: Path,
        *,
        space: Labels,
        contigs: Mapping[str, int] = MappingProxyType({}),
        lengths: Mapping[str, int] = MappingProxyType({}),
        attributes: Mapping[str, object],
        width: int | None = None,
        dtype: str = "float16",
    ) -> None:
        attributes = {"kind": space.kind, **attributes}
        super().__init__(path, FORMAT, FORMAT_VERSION, contigs, lengths, attributes)
        self._n_classes = len(space.classes)
        names = np.array(space.classes, dtype=object)
        self._file.create_dataset("prediction/class", data=names, dtype=TEXT)
        self._label = self._column("prediction/label", TEXT)
        self._score = self._column("prediction/score", "f4")
        name = "value" if space.kind == "regression" else "probability"
        self._output = self._column(f"prediction/{name}", "f4", self._n_classes)
        self._width, self._dtype = width, np.dtype(dtype)
        self._vectors = self._column("embedding", self._dtype, width) if width else None

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Append rows; each with its ``probability``, and its ``vector`` where they are written."""
        scored = [p.note == "." for p in predictions]
        status = [0 if p.note == "." else Status[p.note.upper()] for p in predictions]
        self._regions.append([p.region for p in predictions], status)
        labels = [p.label if s else NA for p, s in zip(predictions, scored, strict=True)]
        scores = [p.score if s else np.nan for p, s in zip(predictions, scored, strict=True)]
        self._label.append(np.array(labels, dtype=object))
        self._score.append(np.array(scores, dtype="f4"))
        output_NC = np.full((len(predictions), self._n_classes), np.nan, dtype="f4")
        for i, prediction in enumerate(predictions):
            if scored[i]:
                output_NC[i] = prediction.probability
        self._output.append(output_NC)
        if self._vectors is not None:
            vector_ND = np.full((len(predictions), self._width or 0), np.nan, dtype=self._dtype)
            for i, prediction in enumerate(predictions):
                if scored[i]:
                    vector_ND[i] = prediction.vector
            self._vectors.append(vector_ND)
