"""Label texts become a :class:`LabelSpace` and targets.

N examples, C classes or outputs, L_i bases of example i.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dnatk.errors import InputError
from dnatk.labelled.dataset import LabelSpace
from dnatk.labelled.rows import ReadOptions, Rows

MISSING = frozenset(("", ".", "na", "n/a", "#n/a", "<na>", "nan", "null"))
POSITIVE = frozenset(("1", "true", "positive", "yes", "pos"))
# More different whole numbers are values; those written with a decimal point (24.0) sooner.
MOST_CLASSES, MOST_DECIMAL_CLASSES = 100, 10
_LARGEST = float(np.finfo(np.float32).max)


def apply_labels(
    rows: Rows, options: ReadOptions, space: LabelSpace | None
) -> tuple[LabelSpace, np.ndarray]:
    """What the labels mean (``space``, where it is given) and the targets, see LabelledSet.

    Raises:
        InputError: a label that is missing or fits no class or target (with its line); labels
            that teach nothing: one class, one value.
    """
    if space is not None:
        rows = _fit_columns(rows, space)
    kind = space.kind if space else options.kind
    _check_present(rows, none_too=kind == "multilabel" and len(rows.columns) == 1)
    if space is None:
        space = _make_space(rows, options)
    if space.kind == "regression":
        return space, _numbers(rows)
    if space.kind == "multilabel":
        return space, _flags(rows, space)
    if space.kind == "per-base":
        return space, _base_classes(rows, space)
    index = _Index(rows.path, space)
    pairs = zip(rows.cells, rows.lines, strict=True)
    return space, np.array([index.of(cell, line) for (cell,), line in pairs], dtype=np.int64)


def infer_kind(rows: Rows) -> str:
    """The kind of label that texts look like.

    One column: two different labels are binary; numbers with a fraction, more than 100 different
    whole ones, or more than 10 that are written with a decimal point, regression; others and words
    multiclass. Several columns: multilabel if all are 0 and 1, else regression. Never per-base.
    """
    if len(rows.columns) > 1:
        flags = {as_number(text) for cells in rows.cells for text in cells} <= {0, 1}
        return "multilabel" if flags else "regression"
    texts = {class_text(cell) for (cell,) in rows.cells}
    if len(texts) <= 2:
        return "binary"
    numbers = {text: as_number(text) for text in texts}
    fractions = [x for x in numbers.values() if x is not None and x != int(x)]
    words = None in numbers.values()
    decimals = any("." in cell for (cell,) in rows.cells)
    most = MOST_DECIMAL_CLASSES if decimals else MOST_CLASSES
    if fractions or (len(texts) > most and not words):
        return "regression"
    if len(texts) > MOST_CLASSES:
        raise InputError(
            f"{len(texts)} different labels: too many for classes",
            path=rows.path,
            hint="is it the right column? --kind multiclass if it is",
        )
    return "multiclass"


def as_number(text: str) -> float | None:
    """The finite number that a text is; None where it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) and "_" not in text else None


def class_text(text: str) -> str:
    """A class as it is called: ``1`` where a table has ``1.0``, as pandas writes it beside gaps."""
    return re.sub(r"(?a)^(-?\d+)\.0*$", r"\1", text)


def sort_classes(texts: set[str]) -> list[str]:
    """Numbers by size, then words by the alphabet."""

    def key(text: str) -> tuple:
        value = as_number(text)
        return (value is None, value or 0.0, text)

    return sorted(texts, key=key)


def _make_space(rows: Rows, options: ReadOptions) -> LabelSpace:
    kind = options.kind or infer_kind(rows)
    if options.positive and kind != "binary":
        raise InputError(f"--positive names a class of binary labels; these are {kind}")
    if kind == "regression" or (kind == "multilabel" and len(rows.columns) > 1):
        for column, name in enumerate(rows.columns if kind == "regression" else ()):
            if len({cells[column] for cells in rows.cells}) == 1:
                raise InputError(
                    f"every '{name}' is {rows.cells[0][column]}: nothing to learn", path=rows.path
                )
        return LabelSpace(kind, rows.columns)
    if len(rows.columns) > 1:
        raise InputError(
            f"{len(rows.columns)} label columns make no {kind} labels",
            path=rows.path,
            hint="name one, or --kind multilabel or regression",
        )
    texts = {token for (cell,) in rows.cells for token in _tokens(cell, kind)}
    classes = sort_classes(texts)
    if len(classes) < (1 if kind == "multilabel" else 2):
        shown = f"every label is '{classes[0]}'" if classes else "no example has a label"
        raise InputError(shown, path=rows.path, hint="training needs two classes at least")
    if kind == "binary":
        if len(classes) > 2:
            shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
            raise InputError(
                f"{len(classes)} different labels ({shown}) are not binary",
                path=rows.path,
                hint="--kind multiclass",
            )
        classes = _positive_last(classes, class_text(options.positive), rows.path)
    return LabelSpace(kind, tuple(classes))


def _positive_last(classes: list[str], positive: str, path: str) -> list[str]:
    if positive and positive not in classes:
        raise InputError(f"no label '{positive}': they are {', '.join(classes)}", path=path)
    known = [name for name in classes if name.lower() in POSITIVE]
    last = positive or (known[0] if len(known) == 1 else classes[-1])
    return [*(name for name in classes if name != last), last]


def _fit_columns(rows: Rows, space: LabelSpace) -> Rows:
    """The label columns in the order of a known space; an error where it needs others."""
    known = {"regression": {space.n_outputs}, "multilabel": {1, space.n_outputs}}
    allowed = known.get(space.kind, {1})
    if len(rows.columns) not in allowed:
        raise InputError(
            f"{len(rows.columns)} label column(s) where the task has {space.kind} "
            f"{', '.join(space.classes)}",
            path=rows.path,
            hint="name them with --label-column, in that order",
        )
    if rows.columns == space.classes or set(rows.columns) != set(space.classes):
        return rows
    order = [rows.columns.index(name) for name in space.classes]
    cells = [tuple(texts[column] for column in order) for texts in rows.cells]
    return replace(rows, columns=space.classes, cells=cells)


def _check_present(rows: Rows, none_too: bool) -> None:
    """Refuse what stands for a missing label; ``none_too``: an empty cell is a set of no labels."""
    for cells, line in zip(rows.cells, rows.lines, strict=True):
        for name, text in zip(rows.columns, cells, strict=True):
            if text.lower() in MISSING and (text or not none_too):
                shown = f"the label is '{text}'" if text else "no label"
                raise InputError(
                    f"{shown} in '{name}'",
                    path=rows.path,
                    line=line,
                    hint="leave it empty if no class is right, else fill it in or remove the row"
                    if none_too
                    else "fill it in or remove the row",
                )


def _tokens(cell: str, kind: str) -> Sequence[str]:
    """The class texts in one cell."""
    if kind == "multilabel":
        return [text for text in map(str.strip, cell.split(";")) if text]
    if kind != "per-base":
        return [class_text(cell)]
    return cell.replace(",", " ").split() if "," in cell or " " in cell else cell


class _Index:
    """Class text -> class number, or an error that names the line."""

    def __init__(self, path: str, space: LabelSpace) -> None:
        self._path, self._space = path, space
        self._numbers = {name: number for number, name in enumerate(space.classes)}

    def of(self, text: str, line: int) -> int:
        number = self._numbers.get(text, self._numbers.get(class_text(text)))
        if number is None:
            shown = ", ".join(self._space.classes[:10])
            more = ", ..." if self._space.n_outputs > 10 else ""
            values = as_number(text) is not None and self._space.kind == "multiclass"
            raise InputError(
                f"unknown class '{text}'",
                path=self._path,
                line=line,
                hint=f"known: {shown}{more}{'; for values train with --kind regression' * values}",
            )
        return number

    def all_of(self, texts: Sequence[str], line: int) -> list[int]:
        try:
            return [self._numbers[text] for text in texts]
        except KeyError:
            return [self.of(text, line) for text in texts]


def _numbers(rows: Rows) -> np.ndarray:
    values_NC = np.empty((len(rows.cells), len(rows.columns)), dtype=np.float32)
    for row, (cells, line) in enumerate(zip(rows.cells, rows.lines, strict=True)):
        for column, text in enumerate(cells):
            value = as_number(text)
            if value is None:
                raise InputError(
                    f"'{text}' in '{rows.columns[column]}' is no number",
                    path=rows.path,
                    line=line,
                    hint="regression needs numbers; --kind multiclass if these are classes",
                )
            if abs(value) > _LARGEST:
                raise InputError(
                    f"'{text}' in '{rows.columns[column]}' is beyond single precision",
                    path=rows.path,
                    line=line,
                    hint="give the column in another unit, or its logarithm",
                )
            values_NC[row, column] = value
    return values_NC


def _flags(rows: Rows, space: LabelSpace) -> np.ndarray:
    flags_NC = np.zeros((len(rows.cells), space.n_outputs), dtype=np.float32)
    index = _Index(rows.path, space)
    for row, (cells, line) in enumerate(zip(rows.cells, rows.lines, strict=True)):
        if len(cells) == 1:
            flags_NC[row, index.all_of(_tokens(cells[0], "multilabel"), line)] = 1
            continue
        for column, text in enumerate(cells):
            if as_number(text) not in (0, 1):
                raise InputError(
                    f"'{text}' in '{rows.columns[column]}' is neither 0 nor 1",
                    path=rows.path,
                    line=line,
                )
            flags_NC[row, column] = as_number(text)
    return flags_NC


def _base_classes(rows: Rows, space: LabelSpace) -> np.ndarray:
    index = _Index(rows.path, space)
    targets = np.empty(len(rows.cells), dtype=object)
    for row, ((cell,), line) in enumerate(zip(rows.cells, rows.lines, strict=True)):
        tokens = _tokens(cell, "per-base")
        if len(tokens) != len(rows.sequences[row]):
            raise InputError(
                f"{len(tokens)} label(s) for {len(rows.sequences[row])} bases",
                path=rows.path,
                line=line,
                hint="one character a base, or whole numbers separated by spaces",
            )
        targets[row] = np.array(index.all_of(tokens, line), dtype=np.int64)
    return targets
