"""The nine GUE sets, where their files lie, and what was published about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnatk.errors import InputError
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.read import ReadOptions, read_labelled
from dnatk.labelled.twins import canonical


@dataclass(frozen=True)
class GueSet:
    """A set as DNABERT-2's GUE release has it.

    Attributes:
        folder: below the GUE directory, with train, dev and test as .csv or .csv.gz.
        aligned: every sequence reads along its strand with the TSS at one place; the others are
            regions of either strand with the site somewhere inside.
    """

    folder: str
    aligned: bool


SETS = {
    "core-all": GueSet("prom/prom_core_all", aligned=True),
    "core-notata": GueSet("prom/prom_core_notata", aligned=True),
    "core-tata": GueSet("prom/prom_core_tata", aligned=True),
    "300-tata": GueSet("prom/prom_300_tata", aligned=True),
    "tf-0": GueSet("tf/0", aligned=False),
    "tf-1": GueSet("tf/1", aligned=False),
    "tf-2": GueSet("tf/2", aligned=False),
    "mouse-0": GueSet("mouse/0", aligned=False),
    "mouse-2": GueSet("mouse/2", aligned=False),
}

# MCC in percent: DNABERT-2 paper (arXiv 2306.15006), table 4, in the order of SETS.
PUBLISHED = {
    "DNABERT 6-mer": (68.90, 70.47, 76.06, 61.56, 66.84, 70.14, 61.03, 44.42, 71.44),
    "DNABERT-2": (69.37, 68.04, 74.17, 71.59, 71.99, 76.06, 66.52, 56.76, 79.32),
}


def load(data: str | Path, name: str) -> dict[str, LabelledSet]:
    """train, dev and test of a set; ``data`` is the GUE directory or the one that holds gue/."""
    root = Path(data)
    root = root / "gue" if (root / "gue").is_dir() else root
    folder = root / SETS[name].folder
    parts: dict[str, LabelledSet] = {}
    for part in ("train", "dev", "test"):
        paths = [folder / f"{part}.csv", folder / f"{part}.csv.gz"]
        found = [path for path in paths if path.exists()]
        if not found:
            raise InputError("no such file", path=paths[0], hint="nor .gz; see the README")
        space = parts["train"].space if parts else None
        parts[part] = read_labelled(found[0], ReadOptions(), space)
    return parts


def leaked(train: LabelledSet, test: LabelledSet) -> np.ndarray:
    """(N,) which test sequences, or their reverse complements, stand in train."""
    known = {canonical(sequence) for sequence in train.sequences}
    return np.array([canonical(sequence) in known for sequence in test.sequences], dtype=bool)
