"""The ledger: a JSON line per finished cell, never changed, only added to."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dnatk.errors import InputError
from dnatk.labelled.dataset import LabelledSet
from dnatk.training.metrics import score

Key = tuple[str, str, int, str]


def config_hash(config: Mapping) -> str:
    """The first 12 hexadecimal digits of the configuration's SHA-256."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def key(row: Mapping) -> Key:
    """What makes two cells the same: model, set, seed and configuration."""
    return row["model"], row["set"], row["seed"], row["config_hash"]


def read(path: str | Path) -> list[dict]:
    """All rows, oldest first; none where there is no file yet."""
    if not Path(path).exists():
        return []
    rows = []
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        try:
            rows.append(json.loads(line))
            key(rows[-1])
        except (ValueError, KeyError, TypeError):
            raise InputError("is no cell of a ledger", path=path, line=number) from None
    return rows


def append(path: str | Path, row: Mapping) -> None:
    """Add a row in one write, on the disk when this returns; other processes may add as well."""
    line = json.dumps(row, allow_nan=False) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def put_into(page: str, tables: str) -> str:
    """A page of the documentation with tables made from a ledger between its marks."""
    before, mark, rest = page.partition("<!-- table -->")
    _, end, after = rest.partition("<!-- /table -->")
    if not mark or not end:
        raise InputError("has no <!-- table --> .. <!-- /table -->")
    return f"{before}{mark}\n{tables}{end}{after}"


def rounded(data: LabelledSet, output_NC: np.ndarray) -> dict[str, float | None]:
    """All metrics with six decimals; None where one is undefined."""
    values = score(data.space, data.targets, output_NC)
    return {name: None if math.isnan(v) else round(v, 6) for name, v in values.items()}
