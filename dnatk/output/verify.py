"""Whether a row file is whole and says nothing impossible; read in blocks, in constant memory.

HDF5 keeps no checksums unless it is told to: a number that became another possible number in
transit is not seen. A digest of the file (sha256sum) is.

Shapes: N rows, T tokens, D hidden, C classes or targets. Rows and tokens are counted from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from dnatk.errors import InputError
from dnatk.output import layout
from dnatk.output.status import Status
from dnatk.output.table import NA, shown_classes

# float32 means of probabilities may end a little above 1.
_MOST = np.float32(1 + 1e-6)
_TYPES = {
    "region/contig": "u4", "region/start": "i8", "region/end": "i8", "region/strand": "S1",
    "region/name": "O", "region/status": "u1", "prediction/label": "O", "prediction/score": "f4",
    "prediction/probability": "f4", "prediction/value": "f4", "token/offset": "i8",
    "contig/name": "O", "contig/length": "i8", "prediction/class": "O",
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What :func:`verify` found: the rows of the file, and its problems, a line each."""

    rows: int
    problems: list[str]


def verify(path: str | Path) -> Report:
    """Check a row file: layout, lengths, coordinates, and that only unscored rows are NaN.

    Of one kind of problem the first place is told, and how many more there are.
    """
    checks = _Checks(path)
    try:
        with layout.open_rows(path, complete=False) as file, layout.damage_told(path):
            if not dict(file.attrs).get("complete"):  # all of them are read
                checks.say("is not complete: the run that wrote it was cut off")
            _check_datasets(file, checks)
            if not checks.problems():  # else there is nothing that could be read together
                _check_contents(file, checks)
    except InputError as error:
        checks.say(error.message)
    return Report(checks.rows, checks.problems())


class _Checks:
    """Problems found, each kind once."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.rows = path, 0
        self._said: list[str] = []
        self._found: dict[str, list] = {}

    def say(self, problem: str) -> None:
        """A problem of the whole file."""
        self._said.append(problem)

    def rows_are(self, good: np.ndarray, problem: str, at: int, *values, what: str = "row") -> None:
        """Rows from ``at`` on must be good, (n,); else the problem, formatted with the values."""
        bad = np.flatnonzero(~good)
        if len(bad):
            first = int(bad[0])
            shown = [_plain(value[first]) for value in values]
            text = f"{what} {at + first}: {problem.format(*shown)}"
            entry = self._found.setdefault(f"{what} {problem}", [text, 0])
            entry[1] += len(bad)

    def problems(self) -> list[str]:
        """All of them."""
        more = [
            f" (and {count - 1} more)" if count > 1 else "" for _, count in self._found.values()
        ]
        texts = (text for text, _ in self._found.values())
        return self._said + [text + rest for text, rest in zip(texts, more, strict=True)]


def _plain(value: object) -> object:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _check_datasets(file: h5py.File, checks: _Checks) -> None:
    """All datasets of the layout are there, of its types, with lengths that agree."""
    vectors = "token/embedding" if layout.is_per_token(file) else "embedding"
    rows = dict.fromkeys(layout.row_columns(file))
    names = [*rows, "contig/name", "contig/length"]
    if layout.is_per_token(file):
        names += [vectors, "token/offset"]
    if layout.is_prediction(file):
        names.append("prediction/class")
    found = {name: file.get(name) for name in names}
    missing = [name for name in names if not isinstance(found[name], h5py.Dataset)]
    for name in missing:
        checks.say(f"has no dataset /{name}")
    if missing:
        return
    checks.rows = len_of = found["region/start"].shape[0] if found["region/start"].shape else 0
    lengths = dict.fromkeys(rows, len_of)
    lengths |= {"token/offset": len_of + 1, "contig/length": len(found["contig/name"])}
    for name, data in found.items():
        matrix = name in (vectors, "prediction/probability", "prediction/value")
        wanted = (_TYPES[name],) if name in _TYPES else ("f2", "f4")
        if data.dtype not in [np.dtype(each) for each in wanted]:
            checks.say(f"/{name} is {data.dtype}, no {np.dtype(wanted[-1])}")
        elif data.ndim != 1 + matrix:
            checks.say(f"/{name} has {data.ndim} dimension(s), not {1 + matrix}")
        elif layout.is_impossible(data):
            checks.say(f"/{name} is said to be larger than the file")
        elif name in lengths and len(data) != lengths[name]:
            checks.say(f"/{name} has the length {len(data)}, not {lengths[name]}")
    if layout.is_prediction(file) and not checks.problems():
        output, classes = found[layout.output_name(file)], len(found["prediction/class"])
        if output.shape[1] != classes:
            checks.say(f"{output.name} has {output.shape[1]} columns for {classes} classes")


def _check_contents(file: h5py.File, checks: _Checks) -> None:
    names = [name.decode() for name in file["contig/name"][:]]
    if len(set(names)) < len(names):
        checks.say("/contig/name has a name twice")
    lengths_C = file["contig/length"][:]
    checks.rows_are(lengths_C >= -1, "its length is {}", 0, lengths_C, what="contig")
    columns = {name: file[name] for name in layout.row_columns(file)}
    labels = _Labels(file) if layout.is_prediction(file) else None
    step = min(layout.step_of(data, layout.BLOCK_BYTES) for data in columns.values())
    for at in range(0, checks.rows, step):
        block = {name: data[at : at + step] for name, data in columns.items()}
        _check_regions(block, at, lengths_C, checks)
        scored = block["region/status"] == Status.SCORED
        for name in set(block) - set(layout.REGION) - {"prediction/label"}:
            _check_numbers(block[name], scored, name, at, checks)
        if labels is not None:
            labels.check(block, scored, at, checks)
    if layout.is_per_token(file):
        _check_tokens(file, checks)


def _check_regions(block: dict, at: int, lengths_C: np.ndarray, checks: _Checks) -> None:
    contig, start, end, strand, name, status = (block[key] for key in layout.REGION)
    checks.rows_are(np.isin(status, list(Status)), "its status {} is unknown", at, status)
    known = contig < len(lengths_C)
    checks.rows_are(known, "there is no contig {}", at, contig)
    checks.rows_are(start >= 0, "its start is {}", at, start)
    checks.rows_are(end >= start, "its end {} is before its start {}", at, end, start)
    if len(lengths_C):
        length = np.where(known, lengths_C[np.where(known, contig, 0)], -1)
        within = (length < 0) | (end <= length) | (status == Status.OUT_OF_BOUNDS)
        checks.rows_are(within, "its end {} is past its contig's, {}", at, end, length)
    checks.rows_are(np.isin(strand, [b"+", b"-", b"."]), "its strand is '{}'", at, strand)
    checks.rows_are(_each(name, _is_utf8), "its name is not utf-8", at)


def _check_numbers(
    values: np.ndarray, scored: np.ndarray, name: str, at: int, checks: _Checks
) -> None:
    rows = values.reshape(len(values), -1)
    finite = np.isfinite(rows).all(axis=1)
    checks.rows_are(finite | ~scored, f"/{name} is not finite, but its status is 0", at)
    nan = np.isnan(rows).all(axis=1)
    checks.rows_are(nan | scored, f"/{name} is not NaN, but its status says so", at)


def _check_tokens(file: h5py.File, checks: _Checks) -> None:
    offset, tokens = file["token/offset"], file["token/embedding"]
    if offset[0] != 0:
        checks.say(f"/token/offset begins with {offset[0]}, not 0")
    if offset[-1] != len(tokens):
        checks.say(f"/token/offset ends with {offset[-1]}, there are {len(tokens)} tokens")
    step = layout.step_of(offset, layout.BLOCK_BYTES)
    for at in range(0, checks.rows, step):
        count = np.diff(offset[at : at + step + 1])
        checks.rows_are(count >= 0, "its tokens end before they begin", at)
        scored = file["region/status"][at : at + step] == Status.SCORED
        checks.rows_are((count <= 0) | scored, "has {} tokens, but is not scored", at, count)
    for at, vectors in layout.blocks(tokens, 0, len(tokens)):
        finite = np.isfinite(vectors).all(axis=1)
        checks.rows_are(finite, "its vector is not finite", at, what="token")


class _Labels:
    """What a prediction may say."""

    def __init__(self, file: h5py.File) -> None:
        self.kind = str(file.attrs.get("kind"))
        self.classes = tuple(file["prediction/class"].asstr()[:])
        self._output = layout.output_name(file)
        self._known = set(shown_classes(self))

    def check(self, block: dict, scored: np.ndarray, at: int, checks: _Checks) -> None:
        """Labels, and that probabilities are some; of one block of rows."""
        label = block["prediction/label"]
        fits = _each(label, self._fits)
        checks.rows_are(fits | ~scored, "its label '{}' is no class", at, label)
        none = label == NA.encode()
        checks.rows_are(none | scored, "its label is '{}', but it is not scored", at, label)
        for name in ("prediction/score", self._output):
            if self.kind == "regression":
                continue
            values = block[name].reshape(len(label), -1)
            outside = ((values < 0) | (values > _MOST)).any(axis=1)
            checks.rows_are(~(outside & scored), f"/{name} is outside of [0, 1]", at)

    def _fits(self, label: bytes) -> bool:
        return all(name in self._known for name in self._names(label.decode(errors="replace")))

    def _names(self, label: str) -> Iterator[str]:
        if label == "." and self.kind in ("regression", "multilabel"):
            return iter(())
        return iter(label.split(",") if self.kind == "multilabel" else [label])


def _each(texts: np.ndarray, test) -> np.ndarray:
    return np.fromiter(map(test, texts), dtype=bool, count=len(texts))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
