"""The data doctor on made-up flaws, and on the real sets whose flaws are known."""

import time

import numpy as np
import pytest
from conftest import random_bases
from test_labelled_splits import make_set

from dnatk.genome.regions import Region
from dnatk.labelled.dataset import LabelSpace
from dnatk.labelled.doctor import HEADER, drop_leaks, examine
from dnatk.labelled.read import ReadOptions, read_labelled


def row(report, name: str) -> dict[str, str]:
    return next(dict(zip(HEADER, r, strict=True)) for r in report.rows if r[0] == name)


def test_every_flaw_has_its_sentence():
    train = make_set(
        # A copy, a reverse complement with another label, a palindrome twice, an N, a length.
        ["AACC", "AACC", "GGTT", "ACGT", "ACGT", "ANCC", "AAAAA", "CCCC", "CACA", "GAGA"],
        [0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
    )
    test = make_set(["AACC", "GGGG", "TTGA", "TTGC"], [0, 0, 0, 1])
    report = examine({"train": train, "test": test})
    assert report.rows == [
        ("train", "10", "0 20.0%, 1 80.0%", "4/4/5", "1", "2", "1", "1", "."),
        ("test", "4", "0 75.0%, 1 25.0%", "4/4/4", "0", "0", "0", "0", "2"),
    ]
    assert report.flaws == [
        "train: classes are unbalanced: 8 of 10 sequences are '1', 2 '0'",
        "train: 1 of 10 sequences has another length than 4 (5)",
        "train: 1 of 10 sequences holds N or another letter that is not A, C, G or T",
        "train: 2 of 10 sequences repeat another one",
        "train: 1 of 10 sequences reads as the reverse complement of another one",
        "train: 1 of 10 sequences stands there with different labels (either strand)",
        "test: classes are unbalanced: 3 of 4 sequences are '0', 1 '1'",
        "test: 2 of 4 sequences stand in train too (1 as the reverse complement, "
        "1 with another label)",
    ]
    assert report.leaked["test"].tolist() == [0, 1]
    clean, n_dropped = drop_leaks({"train": train, "test": test})
    assert n_dropped == 4
    assert clean["train"].names == ["s3", "s4", "s5", "s6", "s8", "s9"]


def test_a_clean_set_has_no_flaw():
    sequences = [random_bases(30, i) for i in range(20)]
    sets = {
        "train": make_set(sequences[:10], [0, 1] * 5),
        "dev": make_set(sequences[10:], [0, 1] * 5),
    }
    report = examine(sets)
    assert report.flaws == []
    assert report.leaked["dev"].size == 0
    assert drop_leaks(sets)[1] == 0
    assert drop_leaks({"test": sets["dev"]})[1] == 0
    assert examine({"test": sets["dev"]}).leaked == {}


def test_regions_of_two_splits_that_overlap():
    sequences = [random_bases(9, i) for i in range(8)]
    sets = {}
    for name, shift in (("train", 0), ("dev", 8), ("test", 9)):
        part = make_set(
            sequences if name == "train" else [random_bases(9, 50 + shift + i) for i in range(8)],
            [0, 1] * 4,
        )
        part.regions = [Region("c", 100 * i + shift, 100 * i + shift + 9) for i in range(8)]
        sets[name] = part
    assert examine(sets).flaws == ["dev: 8 of 8 regions share bases of the genome with train"]


def test_targets_labels_and_bases():
    sequences = [random_bases(8, i) for i in range(4)]
    values = np.array([[0, 1], [2, 1], [4, 1], [6, 1]], dtype=np.float32)
    report = examine({"train": make_set(sequences, values, LabelSpace("regression", ("a", "b")))})
    assert row(report, "train")["balance"] == "a 3 sd 2.24, b 1 sd 0"
    assert report.flaws == ["train: every 'b' is the same"]
    flags = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], dtype=np.float32)
    report = examine({"train": make_set(sequences, flags, LabelSpace("multilabel", ("a", "b")))})
    assert row(report, "train")["balance"] == "a 100.0%, b 0.0%"
    assert report.flaws == ["train: no example of 'b'", "train: all have 'a'"]
    targets = np.empty(2, dtype=object)
    targets[:] = [np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])]
    space = LabelSpace("per-base", ("E", "I"))
    # The other strand has its labels in the other order: no conflict.
    report = examine({"train": make_set(["AACC", "GGTT"], targets, space)})
    assert row(report, "train")["conflicts"] == "0"
    assert row(report, "train")["rc_duplicates"] == "1"
    targets[1] = targets[0]
    report = examine({"train": make_set(["AACC", "GGTT"], targets, space)})
    assert row(report, "train")["conflicts"] == "1"


def test_fifty_thousand_sequences_in_seconds():
    rng = np.random.default_rng(0)
    bases = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(4, size=(50_000, 300))]
    data = make_set([], [])
    data.sequences, data.targets = list(bases), rng.integers(2, size=50_000)
    start = time.perf_counter()
    assert examine({"train": data}).flaws == []
    assert time.perf_counter() - start < 6  # about 0.8 s on an idle core


def read_splits(folder):
    sets, space = {}, None
    for name in ("train", "dev", "test"):
        path = folder / f"{name}.csv.gz"
        if path.exists():
            sets[name] = read_labelled(path, ReadOptions(), space)
            space = sets[name].space
    return sets


@pytest.mark.parametrize(
    ("name", "n_rows", "n_distinct"),
    [("core_all", 43, 42), ("core_notata", 30, 29), ("core_tata", 16, 16), ("300_tata", 6, 6)],
)
def test_test_sequences_in_the_training_part_of_gue(data_dir, name, n_rows, n_distinct):
    sets = read_splits(data_dir / f"gue/prom/prom_{name}")
    report = examine(sets)
    assert row(report, "test")["in_train"] == str(n_rows) == str(len(report.leaked["test"]))
    leaked = {sets["test"].sequences[i].tobytes() for i in report.leaked["test"]}
    assert len(leaked) == n_distinct
    sentence = next(f for f in report.flaws if f.startswith("test:") and "stand in train" in f)
    assert n_distinct == n_rows or f"({n_distinct} different ones" in sentence
    clean, n_dropped = drop_leaks(sets)
    assert n_dropped > 0
    assert len(clean["train"]) == len(sets["train"]) - n_dropped
    assert not any("in train too" in flaw for flaw in examine(clean).flaws)


# tf/1, which the data's README counts in, has no sequence twice in train: two of its test
# sequences stand there instead.
@pytest.mark.parametrize(("name", "repeats"), [("0", 8), ("1", 0), ("2", 185)])
def test_duplicates_inside_the_training_part_of_tf(data_dir, name, repeats):
    report = examine(read_splits(data_dir / "gue/tf" / name))
    assert row(report, "train")["duplicates"] == str(repeats)
    assert row(report, "test")["in_train"] == {"0": "0", "1": "2", "2": "0"}[name]


@pytest.mark.parametrize(
    ("folder", "flaw"),
    [
        ("gue/splice/reconstructed", "dev: classes are unbalanced: 2574 of 4562 sequences are '2'"),
        ("gue/prom/prom_300_all", "dev: 1 of 5920 sequences holds N"),
        ("emp/H3", "train: 2 of 2420 sequences have another length than 500 (290, 310)"),
        ("emp/H4ac", "train: 2 of 5502 sequences have another length than 500 (290, 449)"),
    ],
)
def test_other_flaws_of_real_sets(data_dir, folder, flaw):
    report = examine(read_splits(data_dir / folder))
    assert any(sentence.startswith(flaw) for sentence in report.flaws)


def test_clean_real_sets_have_no_flaw(data_dir):
    for name in ("0", "2"):
        assert examine(read_splits(data_dir / "gue/mouse" / name)).flaws == []
