"""The labelled sets of the comparison: ten yeast histone marks, yeast promoters, six GUE sets.

Every set has three parts: train, valid (chooses the checkpoint) and dev (is measured on, and
chooses nothing). GUE's own test files stay unread: they belong to the quality table.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from places import SeedIndex, overlapping

from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.read import ReadOptions, read_labelled
from dnatk.labelled.splits import split_set

EXAMPLES = Path(__file__).parents[1]
sys.path += [str(EXAMPLES), str(EXAMPLES / "quality")]

from sets import SETS as GUE_SETS  # noqa: E402
from sets import leaked  # noqa: E402
from shift_regions import shifted  # noqa: E402

MARKS = (
    "H3", "H3K14ac", "H3K36me3", "H3K4me1", "H3K4me2", "H3K4me3", "H3K79me3", "H3K9ac", "H4",
    "H4ac",
)  # fmt: skip
GUE = ("core-notata", "core-tata", "300-tata", "tf-0", "tf-2", "mouse-2")
YEAST = Path("yeast/sacCer3.fa.gz")
# Fixed, so that every arm and seed has the same parts.
_SPLIT_SEED = 1
_VALID_SHARE = 0.1

Parts = dict[str, LabelledSet]


def load(data: str | Path, name: str) -> tuple[Parts, dict[str, int]]:
    """The parts of a set, and what was done about leakage, counted.

    Args:
        data: the directory that holds emp/, yeast/ and gue/.
    """
    return LOADERS[name](Path(data))


def _mark(mark: str, data: Path) -> tuple[Parts, dict[str, int]]:
    """Training windows that share a base of the genome with a dev window are left out."""
    train, dev = _train_and_dev(data / "emp" / mark)
    found_N, unplaced = overlapping(_index(data / YEAST), train.sequences, dev.sequences)
    same_N = leaked(dev, train)
    parts = _with_valid(train.take(~(found_N | same_N)), dev)
    return parts, {"dropped": int((found_N | same_N).sum()), "unplaced": unplaced}


def _gue(name: str, data: Path) -> tuple[Parts, dict[str, int]]:
    """Training sequences that stand in dev, on either strand, are left out."""
    train, dev = _train_and_dev(data / "gue" / GUE_SETS[name].folder)
    same_N = leaked(dev, train)
    return _with_valid(train.take(~same_N), dev), {"dropped": int(same_N.sum()), "unplaced": 0}


def _yeast_promoters(data: Path) -> tuple[Parts, dict[str, int]]:
    """-250..+50 round start codons, against places of like GC content, by chromosome.

    chrXIV and chrXVI, which no arm was pre-trained on, are dev. Windows are moved by up to 50 bp:
    an ATG at a fixed place would give the label away.
    """
    regions = data / "yeast/promoters_geneStart_m250_p50.bed"
    with tempfile.TemporaryDirectory() as scratch:
        bed = Path(scratch, "promoters.bed")
        bed.write_text("".join(f"{line}\n" for line in shifted(regions, data / YEAST, 50, 1)))
        options = ReadOptions(genome=str(data / YEAST), positive="promoter")
        found = read_labelled(bed, options)
    dev = ("chrXIV", "chrXVI")
    parts = split_set(found, "chromosome", dev_contigs=("chrVIII",), test_contigs=dev)
    parts = {"train": parts["train"], "valid": parts["dev"], "dev": parts["test"]}
    return parts, {"dropped": 0, "unplaced": 0}


def _train_and_dev(folder: Path) -> tuple[LabelledSet, LabelledSet]:
    train = read_labelled(folder / "train.csv.gz", ReadOptions())
    return train, read_labelled(folder / "dev.csv.gz", ReadOptions(), train.space)


def _with_valid(train: LabelledSet, dev: LabelledSet) -> Parts:
    """``valid`` split off train; a sequence and its copies stay on one side."""
    parts = split_set(train, "random", dev=_VALID_SHARE, test=0.0, seed=_SPLIT_SEED)
    return {"train": parts["train"], "valid": parts["dev"], "dev": dev}


@lru_cache(maxsize=1)
def _index(fasta: Path) -> SeedIndex:
    return SeedIndex(fasta)


LOADERS: dict[str, Callable[[Path], tuple[Parts, dict[str, int]]]] = {
    **{mark: partial(_mark, mark) for mark in MARKS},
    "yeast-promoter": _yeast_promoters,
    **{name: partial(_gue, name) for name in GUE},
}
GROUPS = {"yeast marks": MARKS, "yeast promoters": ("yeast-promoter",), "GUE": GUE}
