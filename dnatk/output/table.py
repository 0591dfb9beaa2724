"""Predictions as text: BED, TSV or JSON lines, a row for each region, in input order.

``##dnatk`` lines and a ``#`` header stand above the rows of bed and tsv; jsonl has neither, so
that every line is a row of the same keys. Same input, same bytes.

bed and tsv differ in one word: the first column of sequences is ``chrom`` in bed, ``name`` in
tsv. Results stand after the input's own columns: label, score, note, then one column for each
probability (p_CLASS) or target (value_NAME).

Shapes: C classes or targets, D hidden, B bases of a region (per-base tasks).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.regions import Region

FORMATS = ("bed", "tsv", "jsonl")
NA = "NA"
_BED6 = ("chrom", "start", "end", "name", "bed_score", "strand")
_RESULT = ("label", "score", "note")
# What would end a line or a column.
UNSAFE = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")
# A number as JSON writes it: 007 and 1_000 are text.
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class Labels(Protocol):
    """What is needed of :class:`dnatk.labelled.dataset.LabelSpace`."""

    @property
    def kind(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Prediction:
    """What is said about one region.

    Attributes:
        region: as it was given; of a sequence the contig is its name, [start, end) within it.
        label: the class; several with commas for multilabel; "." for regression; per base the
            runs along the strand that was read, as exon:120,intron:60.
        score: the calibrated probability of the positive class (binary), of the chosen class
            (multiclass; its mean per base) or the highest (multilabel); the value of the first
            target (regression).
        note: ".", or why the row is NA: a :attr:`dnatk.output.status.Status.note`.
        probability: (C,) of each class, the mean over the bases if per base; regression: the value
            of each target.
        vector: (D,) embedding.
    """

    region: Region
    label: str
    score: float
    note: str = "."
    probability: np.ndarray | None = None
    vector: np.ndarray | None = None

    @classmethod
    def unscored(cls, region: Region, note: str) -> Prediction:
        """A row that is NA, and why."""
        return cls(region, NA, math.nan, note)


def shown_classes(space: Labels) -> list[str]:
    """Class names that fit a table: no tab or line end; no comma where labels are joined by one."""
    names = [UNSAFE.sub("_", name) for name in space.classes]
    joined = space.kind in ("multilabel", "per-base")
    return [name.replace(",", "_") for name in names] if joined else names


class Labeller:
    """Turns a model's output of a region, (C,) or per base (B, C), into its :class:`Prediction`.

    Args:
        space: kind and classes of the outputs.
        thresholds: binary: at which probability of the positive class the label is positive;
            multilabel: at which each label is given (one number, or C). None: 0.5.
    """

    def __init__(self, space: Labels, thresholds: float | Sequence[float] | None = None) -> None:
        self._kind, self._classes = space.kind, shown_classes(space)
        self._threshold = np.asarray(0.5 if thresholds is None else thresholds, dtype=np.float64)

    def __call__(
        self, region: Region, output_C: np.ndarray, vector_D: np.ndarray | None = None
    ) -> Prediction:
        """The label and score of calibrated probabilities, or of values (regression).

        Per base, a row of zeros is a base that was not scored.
        """
        if self._kind == "per-base":
            return self._per_base(region, output_C, vector_D)
        if self._kind == "regression":
            label, score = ".", output_C[0]
        elif self._kind == "binary":
            label = self._classes[int(float(output_C[1]) >= self._threshold.item())]
            score = output_C[1]
        elif self._kind == "multilabel":
            given_C = np.broadcast_to(output_C >= self._threshold, output_C.shape)
            named = [name for name, given in zip(self._classes, given_C, strict=True) if given]
            label, score = ",".join(named) or ".", output_C.max()
        else:
            best = int(output_C.argmax())
            label, score = self._classes[best], output_C[best]
        return Prediction(region, label, float(score), probability=output_C, vector=vector_D)

    def _per_base(
        self, region: Region, output_BC: np.ndarray, vector_D: np.ndarray | None
    ) -> Prediction:
        scored_B = output_BC.any(axis=1)
        best_B = np.where(scored_B, output_BC.argmax(axis=1), -1)
        starts = np.flatnonzero(np.diff(best_B, prepend=-2))
        lengths = np.diff(starts, append=len(best_B))
        names = [*self._classes, NA]
        label = ",".join(
            f"{names[best]}:{n}" for best, n in zip(best_B[starts], lengths, strict=True)
        )
        scored_BC = output_BC[scored_B]
        score = float(scored_BC.max(axis=1).mean())
        return Prediction(region, label, score, ".", scored_BC.mean(axis=0), vector_D)


class Table:
    """Predictions as lines of text.

    The columns of BED input are those of its first row, untouched (the first six get BED's names,
    the others col7, col8, ...). A shorter row is filled up with "."; a longer one is refused,
    for its surplus would stand in the results' columns.

    Args:
        first: the first region of the input.
        space: kind and classes of the task.
        format: one of :data:`FORMATS`.
        source: "bed" or "fasta": what the regions were read from.
        probabilities: add a column p_CLASS for each class.

    Attributes:
        columns: their names.

    Raises:
        InputError: probabilities of a regression are asked for.
    """

    def __init__(
        self,
        first: Region,
        *,
        space: Labels,
        format: str = "bed",
        source: str = "bed",
        probabilities: bool = False,
    ) -> None:
        regression = space.kind == "regression"
        if probabilities and regression:
            raise InputError("a regression task gives values, no probabilities")
        self._format, self._source = format, source
        # Values are wanted to 6 digits, probabilities are not good to more than 4 decimals.
        self._number = ".6g" if regression else ".4f"
        several = regression and len(space.classes) > 1
        self._more = []
        if probabilities or several:
            prefix = "value" if regression else "p"
            self._more = [f"{prefix}_{name}" for name in shown_classes(space)]
        self._n_input = len(_fields(first)) if source == "bed" else 3
        if source == "bed":
            extra = [f"col{i}" for i in range(len(_BED6) + 1, self._n_input + 1)]
            inputs = [*_BED6[: self._n_input], *extra]
        else:
            inputs = ["chrom" if format == "bed" else "name", "start", "end"]
        self.columns = [*inputs, *_RESULT, *self._more]

    def head(self, *, header: bool = True, provenance: Sequence[str] = ()) -> str:
        """What stands above the rows: ``##dnatk`` lines and the ``#`` line; nothing in jsonl."""
        if self._format == "jsonl":
            return ""
        names = ["#" + "\t".join(self.columns)] if header else []
        return "".join(f"{line}\n" for line in [*provenance, *names])

    def rows(self, predictions: Iterable[Prediction]) -> Iterator[str]:
        """A line for each prediction.

        Raises:
            InputError: a BED row with more columns than the first.
        """
        for prediction in predictions:
            row = [*self._inputs(prediction.region), *self._results(prediction)]
            jsonl = self._format == "jsonl"
            yield (self._json(prediction.region, row) if jsonl else "\t".join(row)) + "\n"

    def _inputs(self, region: Region) -> Sequence[str]:
        if self._source != "bed":
            return region.contig, str(region.start), str(region.end)
        fields = _fields(region)
        check_columns(region, self._n_input)
        missing = self._n_input - len(fields)
        return (*fields, *["."] * missing)

    def _results(self, prediction: Prediction) -> list[str]:
        note = prediction.note
        if note != ".":
            return [NA, NA, note, *[NA] * len(self._more)]
        label = UNSAFE.sub("_", prediction.label)
        row = [label, _fixed(prediction.score, self._number), note]
        if self._more and prediction.probability is None:
            row += [NA] * len(self._more)
        elif self._more:
            row += [_fixed(value, self._number) for value in prediction.probability]
        return row

    def _json(self, region: Region, row: list[str]) -> str:
        """start, end, scores and probabilities are numbers, NA is null, other columns are text."""
        values: dict[str, object] = dict(zip(self.columns, row, strict=True))
        values["start"], values["end"] = region.start, region.end
        for name in ("score", *self._more):
            values[name] = _number(values[name])
        if "bed_score" in values:
            values["bed_score"] = _number(values["bed_score"])
        if values["label"] == NA and values["note"] != ".":
            values["label"] = None
        return json.dumps(values, ensure_ascii=False, allow_nan=False)


def check_columns(region: Region, most: int) -> None:
    """Raise :class:`InputError` where a BED row has more columns than the first one."""
    if len(region.fields) > most:
        raise InputError(
            f"has {len(region.fields)} columns, the first region has {most}",
            path=region.source or None,
            line=region.line,
            hint="the lines of a BED file have equally many",
        )


def _fields(region: Region) -> tuple[str, ...]:
    """The columns of a BED line, or those of a region that was made otherwise."""
    made = (region.contig, str(region.start), str(region.end), region.name, ".", region.strand)
    return region.fields or made


def _fixed(value: float, form: str) -> str:
    """A number in a fixed form; no minus before a zero."""
    if math.isnan(value):
        return NA
    text = format(float(value), form)
    return text if float(text) else text.lstrip("-")


def _number(text: str) -> int | float | str | None:
    """The JSON value of a number's text: null for NA, "." and what JSON cannot write."""
    if text in (NA, ".", "inf", "-inf"):
        return None
    if not _NUMBER.fullmatch(text):
        return text
    value = json.loads(text)
    return value if math.isfinite(value) else text
