"""What is in a row file, counted; as facts and as text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from dnatk.output import layout
from dnatk.output.status import Status
from dnatk.output.table import shown_classes

_ALREADY = ("format", "format_version", "complete", "kind", "command", "config")


def summary(path: str | Path) -> dict[str, object]:
    """Facts of a complete row file, ready for JSON: see docs/h5.md.

    Raises:
        InputError: no complete row file of dnatk, or a damaged one.
    """
    with layout.open_rows(path) as file, layout.damage_told(path):
        return _facts(file, Path(path))


def _facts(file: h5py.File, path: Path) -> dict[str, object]:
    contigs = layout.dataset(file, "contig/name", path)
    facts: dict[str, object] = {
        "file": str(path),
        "format": file.attrs["format"],
        "format_version": int(file.attrs["format_version"]),
        "rows": len(layout.dataset(file, "region/start", path)),
    }
    name = layout.vector_name(file)
    if name is not None:
        vectors = layout.dataset(file, name, path)
        tokens = {"tokens": len(vectors)} if layout.is_per_token(file) else {}
        facts |= {**tokens, "width": vectors.shape[1], "dtype": str(vectors.dtype)}
    if layout.is_prediction(file):
        facts["kind"] = str(file.attrs.get("kind"))
        facts["classes"] = layout.dataset(file, "prediction/class", path).asstr()[:].tolist()
        if facts["kind"] != "regression":
            space = _Space(facts["kind"], tuple(facts["classes"]))
            facts["labels"] = _labels(file, path, space)
    others = [key for key in file.attrs if key not in (*_ALREADY, *facts)]
    facts |= {key: layout.plain(file.attrs[key]) for key in others}
    facts["contigs"] = len(contigs)
    strands = _counts(layout.dataset(file, "region/strand", path))
    facts["strands"] = {each.decode(): n for each, n in sorted(strands.items())}
    status = _counts(layout.dataset(file, "region/status", path))
    facts["status"] = {_word(each): n for each, n in sorted(status.items())}
    facts["bytes"] = path.stat().st_size
    facts["command"] = layout.plain(file.attrs.get("command", ""))
    return facts


def as_text(facts: dict[str, object]) -> str:
    """A line for each fact, aligned; without a line end."""
    facts = {key: value for key, value in facts.items() if value not in ({}, "")}
    width = max(map(len, facts))
    return "\n".join(f"{key:<{width}}  {_shown(value)}" for key, value in facts.items())


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _word(status: int) -> str:
    known = {int(each): each.name.lower() for each in Status}
    return known.get(int(status), str(status))


def _counts(data: h5py.Dataset) -> Counter:
    counts: Counter = Counter()
    for _, values in layout.blocks(data, 0, len(data)):
        each, n = np.unique(values, return_counts=True)
        counts.update(dict(zip(each.tolist(), n.tolist(), strict=True)))
    return counts


class _Space(NamedTuple):
    """What labels may be."""

    kind: str
    classes: tuple[str, ...]


def _labels(file: h5py.File, path: Path, space: _Space) -> dict[str, int]:
    """How many rows have each label; classes first, as labels name them; rows not scored left out.

    A row counts for each of its labels.
    """
    counts: Counter = Counter(dict.fromkeys(shown_classes(space), 0))
    data = layout.dataset(file, "prediction/label", path)
    for at, labels in layout.blocks(data, 0, len(data)):
        scored = file["region/status"][at : at + len(labels)] == Status.SCORED
        for label in labels[scored]:
            text = label.decode(errors="replace")
            counts.update(text.split(",") if space.kind == "multilabel" else [text])
    return dict(counts)
