"""Splits: whole, without leaks, and near the fractions asked for."""

import numpy as np
import pytest
from conftest import random_bases
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.regions import Region
from dnatk.kmers import reverse_complement
from dnatk.labelled import splits
from dnatk.labelled.dataset import LabelledSet, LabelSpace
from dnatk.labelled.doctor import drop_leaks, examine
from dnatk.labelled.splits import split_set
from dnatk.labelled.twins import canonical


def make_set(sequences, targets, space=None, contigs=None) -> LabelledSet:
    arrays = [np.frombuffer(text.encode(), dtype=np.uint8) for text in sequences]
    regions = None
    if contigs is not None:
        regions = [Region(contig, 50 * i, 50 * i + 9) for i, contig in enumerate(contigs)]
    names = [f"s{i}" for i in range(len(arrays))]
    space = space or LabelSpace("binary", ("0", "1"))
    lines = list(range(2, len(arrays) + 2))
    return LabelledSet(space, arrays, np.asarray(targets), names, lines, "x.csv", regions)


def balanced(n: int, contigs=None) -> LabelledSet:
    sequences = [random_bases(30, i) for i in range(n)]
    return make_set(sequences, np.random.default_rng(n).permutation(n) % 2, contigs=contigs)


# Words so short that copies and reverse complements abound.
words = st.lists(st.text("ACGT", min_size=1, max_size=4), min_size=1, max_size=60)


@settings(deadline=None)
@given(words, st.integers(0, 99), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from([0.0, 0.3]))
def test_random_splits_part_the_set_and_never_twins(sequences, seed, dev, test):
    values = np.arange(len(sequences), dtype=np.float32)[:, None]
    data = make_set(sequences, values, LabelSpace("regression", ("y",)))
    try:
        parts = split_set(data, "random", dev, test, seed)
    except InputError:  # too few groups for all splits
        return
    assert list(parts) == ["train", *["dev"] * (dev > 0), *["test"] * (test > 0)]
    names = [name for part in parts.values() for name in part.names]
    assert sorted(names) == sorted(data.names)
    kinds = [{canonical(s) for s in part.sequences} for part in parts.values()]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    for part in parts.values():
        assert part.targets[:, 0].tolist() == sorted(part.targets[:, 0].tolist())  # order kept


@settings(deadline=None)
@given(words, words, words)
def test_dropping_leaks_leaves_no_twin(train, dev, test):
    def part(sequences):
        return make_set(sequences, np.zeros(len(sequences), dtype=np.int64))

    sets = {"train": part(train), "dev": part(dev), "test": part(test)}
    held_out = {canonical(s) for name in ("dev", "test") for s in sets[name].sequences}
    kept = [
        n
        for n, s in zip(sets["train"].names, sets["train"].sequences, strict=True)
        if canonical(s) not in held_out
    ]
    if not kept:
        with pytest.raises(InputError, match="every training sequence"):
            drop_leaks(sets)
        return
    clean, n_dropped = drop_leaks(sets)
    assert clean["train"].names == kept
    assert n_dropped == len(train) - len(kept)
    assert clean["dev"] is sets["dev"]
    report = examine(clean)
    assert [len(rows) for rows in report.leaked.values()] == [0, 0]


def test_random_splits_keep_shares_and_depend_on_the_seed():
    data = balanced(1000)
    parts = split_set(data, "random")
    assert [len(part) for part in parts.values()] == [800, 100, 100]
    assert all(abs(part.class_counts()[1] / len(part) - 0.5) < 0.01 for part in parts.values())
    assert parts["test"].names == split_set(data, "random")["test"].names
    assert parts["test"].names != split_set(data, "random", seed=1)["test"].names


def test_rare_labels_add_up():
    space = LabelSpace("multilabel", tuple("abcde"))
    flags = np.array([[i >> bit & 1 for bit in range(5)] for i in range(32)] * 4, dtype=np.float32)
    data = make_set([random_bases(30, i) for i in range(128)], flags, space)
    sizes = [len(part) for part in split_set(data, "random").values()]
    assert sizes[1:] == [13, 13]


def test_a_draft_assembly_is_split_as_well(monkeypatch):
    """Thousands of contigs, by few tries: sizes and classes come near all the same."""
    tries, choose = [], splits._choose
    monkeypatch.setattr(splits, "_choose", lambda *of: tries.append(1) or choose(*of))
    parts = split_set(balanced(6000, [f"contig{i // 2}" for i in range(6000)]))
    assert len(tries) == 33
    for name in ("dev", "test"):
        assert 580 <= len(parts[name]) <= 620
        assert abs(parts[name].class_counts() / len(parts[name]) - 0.5).max() < 0.02


def test_chromosome_splits_take_whole_contigs():
    contigs = [f"chr{1 + i % 12}" for i in range(600)]
    data = balanced(600, contigs)
    parts = split_set(data)  # auto: coordinates are known
    found = [{region.contig for region in part.regions} for part in parts.values()]
    assert sum(map(len, found)) == 12 == len(set().union(*found))
    assert sum(map(len, parts.values())) == 600
    assert all(40 <= len(parts[name]) <= 110 for name in ("dev", "test"))
    named = split_set(data, dev_contigs=["chr3"], test_contigs=["chr1", "chr2"])
    assert {region.contig for region in named["dev"].regions} == {"chr3"}
    assert {region.contig for region in named["test"].regions} == {"chr1", "chr2"}
    only = split_set(data, test=0)
    assert list(only) == ["train", "dev"]
    half = split_set(data, test_contigs=["chr1"])
    assert {region.contig for region in half["test"].regions} == {"chr1"}
    assert 30 <= len(half["dev"]) <= 110


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": "x"}, "no way to split 'x'"),
        ({"dev": 0.5, "test": 0.5}, "leave nothing to train on"),
        ({"dev_contigs": ["3"]}, "no region lies on contig '3' (did you mean 'chr3'?)"),
        ({"dev_contigs": ["chr3"], "test_contigs": ["chr3"]}, "named for dev and for test"),
        ({"how": "random", "dev_contigs": ["chr3"]}, "contigs are named for a random split"),
        ({"test_contigs": ["chr1", "chr2"]}, "1 contig(s) for train, dev: a split by"),
        ({"dev_contigs": ["chr3"], "test_contigs": ["chr1", "chr2"]}, "0 contig(s) for train: "),
    ],
)
def test_splits_that_cannot_be(options, message):
    data = balanced(60, [f"chr{1 + i % 3}" for i in range(60)])
    with pytest.raises(InputError) as error:
        split_set(data, **options)
    assert message in str(error.value)


def test_splits_that_teach_nothing():
    with pytest.raises(InputError, match="has no coordinates"):
        split_set(balanced(60), "chromosome")
    with pytest.raises(InputError, match="the dev split is empty"):
        split_set(balanced(40), "random", dev=0.001)
    lopsided = make_set([random_bases(30, i) for i in range(40)], [0] * 39 + [1])
    with pytest.raises(InputError, match="has one class only, '0'"):
        split_set(lopsided, "random")


def test_labels_of_bases_are_split_too():
    targets = np.empty(20, dtype=object)
    targets[:] = [np.arange(30) % 2 for _ in range(20)]
    data = make_set(
        [random_bases(30, i) for i in range(20)], targets, LabelSpace("per-base", ("E", "I"))
    )
    assert [len(part) for part in split_set(data).values()] == [16, 2, 2]


def test_a_twin_is_the_reverse_complement():
    bases = np.frombuffer(b"AACGN", dtype=np.uint8)
    assert canonical(bases) == canonical(reverse_complement(bases)) == b"AACGN"
