"""The data doctor: what is wrong with labelled splits, found before training.

Shapes: N examples, C classes or outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dnatk.errors import InputError
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.places import Spans
from dnatk.labelled.twins import twin_groups

HEADER = (
    "split",
    "n",
    "balance",
    "length",
    "N",
    "duplicates",
    "rc_duplicates",
    "conflicts",
    "in_train",
)
# A largest class this many times the smallest is called unbalanced.
IMBALANCE = 2.0

_PLAIN = b"ACGT"


@dataclass(frozen=True)
class Report:
    """What :func:`examine` found.

    Attributes:
        header, rows: a short table, a row a split: examples; share of each class, or mean and
            standard deviation of each target; shortest, median and longest sequence; sequences
            with a letter other than A, C, G, T; sequences that stand there before, as they are
            or as the reverse complement; sequences with more than one label; sequences that stand
            in train.
        flaws: a sentence each, the split's name first.
        leaked: dev and test -> rows that stand in train too, on either strand.
    """

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    flaws: list[str]
    leaked: dict[str, np.ndarray]


def examine(sets: dict[str, LabelledSet]) -> Report:
    """Look over splits that belong together; "train" may be absent, and every other one."""
    group_of, turned_of, labels_of = _twins(sets)
    train_labels: dict[int, set] = {}
    if "train" in sets:
        train_labels = _labels_by_group(group_of["train"], labels_of["train"])
        strands = set(zip(group_of["train"].tolist(), turned_of["train"].tolist(), strict=True))
        spans = Spans(sets["train"].regions or ())
    rows, flaws, leaked = [], [], {}
    for name, data in sets.items():
        groups = group_of[name].tolist()
        own, found = _inside(name, data, group_of[name], turned_of[name], labels_of[name])
        flaws += found
        in_train = "."
        if name != "train" and "train" in sets:
            leaked[name] = np.flatnonzero([group in train_labels for group in groups])
            in_train = str(len(leaked[name]))
            turned = turned_of[name].tolist()
            same = [(groups[row], turned[row]) in strands for row in leaked[name]]
            other = [labels_of[name][row] not in train_labels[groups[row]] for row in leaked[name]]
            n_distinct = len(np.unique(group_of[name][leaked[name]]))
            flaws += _leak_flaws(name, len(data), n_distinct, same, other)
            if data.regions and sets["train"].regions:
                flaws += _overlap_flaws(name, spans.overlapping(data.regions))
        rows.append((name, *own, in_train))
    return Report(HEADER, rows, flaws, leaked)


def drop_leaks(sets: dict[str, LabelledSet]) -> tuple[dict[str, LabelledSet], int]:
    """Take out of train what stands in dev or test, on either strand; all else stays, in order.

    Returns:
        The splits, and how many sequences train lost.

    Raises:
        InputError: nothing is left to train on.
    """
    if "train" not in sets:
        return sets, 0
    group_of, _, _ = _twins(sets)
    held_out = [groups for name, groups in group_of.items() if name != "train"]
    leak_N = np.isin(group_of["train"], np.concatenate([np.empty(0, np.int64), *held_out]))
    if leak_N.all() and len(leak_N):
        raise InputError(
            "every training sequence stands in dev or test too", path=sets["train"].path
        )
    return {**sets, "train": sets["train"].take(~leak_N)}, int(leak_N.sum())


def _twins(
    sets: dict[str, LabelledSet],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, list]]:
    """By split: the group of twins of each sequence, whether it is turned, and its label's key."""
    sequences = [sequence for data in sets.values() for sequence in data.sequences]
    all_groups, all_turned = twin_groups(sequences)
    ends = np.cumsum([len(data) for data in sets.values()])[:-1]
    group_of = dict(zip(sets, np.split(all_groups, ends), strict=True))
    turned_of = dict(zip(sets, np.split(all_turned, ends), strict=True))
    return group_of, turned_of, {name: _labels(sets[name], turned_of[name]) for name in sets}


def _labels(data: LabelledSet, turned_N: np.ndarray) -> list:
    """N keys, equal where labels are; those of bases as the group's first strand reads them."""
    if data.space.kind == "per-base":
        pairs = zip(data.targets, turned_N.tolist(), strict=True)
        return [(target[::-1] if turned else target).tobytes() for target, turned in pairs]
    if data.targets.ndim == 1:
        return data.targets.tolist()
    return [row.tobytes() for row in data.targets]


def _labels_by_group(groups_N: np.ndarray, labels_N: Iterable) -> dict[int, set]:
    found: dict[int, set] = {}
    for group, label in zip(groups_N.tolist(), labels_N, strict=True):
        found.setdefault(group, set()).add(label)
    return found


def _inside(
    name: str, data: LabelledSet, group_N: np.ndarray, turned_N: np.ndarray, labels_N: list
) -> tuple[tuple[str, ...], list[str]]:
    """The cells of a split's row, n to conflicts, and the flaws behind them."""
    n = len(data)
    if not n:
        return ("0", *["."] * (len(HEADER) - 3)), [f"{name}: no sequence"]
    lengths = data.lengths()
    n_strange = sum(
        bool(bases.tobytes().upper().translate(None, _PLAIN)) for bases in data.sequences
    )
    n_strings = len(np.unique(group_N * 2 + turned_N))
    n_groups = len(np.unique(group_N))
    conflicts = sum(len(found) > 1 for found in _labels_by_group(group_N, labels_N).values())
    cells = (
        str(n),
        _balance(data),
        "/".join(f"{x:g}" for x in (lengths.min(), np.median(lengths), lengths.max())),
        str(n_strange),
        str(n - n_strings),
        str(n_strings - n_groups),
        str(conflicts),
    )
    flaws = [*_class_flaws(data), *_length_flaws(lengths)]
    for count, verb, text in (
        (n_strange, "hold", "N or another letter that is not A, C, G or T"),
        (n - n_strings, "repeat", "another one"),
        (n_strings - n_groups, "read", "as the reverse complement of another one"),
        (conflicts, "stand", "there with different labels (either strand)"),
    ):
        if count:
            flaws.append(f"{count} of {n} sequences {_agree(verb, count)} {text}")
    return cells, [f"{name}: {flaw}" for flaw in flaws]


def _balance(data: LabelledSet) -> str:
    if data.space.kind == "regression":
        stats = zip(data.space.classes, data.targets.mean(0), data.targets.std(0), strict=True)
        shown = [f"{target} {mean:.3g} sd {sd:.3g}" for target, mean, sd in stats]
    else:
        counts = data.class_counts()
        total = len(data) if data.space.kind == "multilabel" else max(counts.sum(), 1)
        pairs = zip(data.space.classes, 100 * counts / total, strict=True)
        shown = [f"{label} {share:.1f}%" for label, share in pairs]
    return ", ".join(shown[:4]) + (f", {len(shown) - 4} more" if len(shown) > 4 else "")


def _class_flaws(data: LabelledSet) -> list[str]:
    kind, classes = data.space.kind, data.space.classes
    if kind == "regression":
        constant = (data.targets == data.targets[0]).all(axis=0)
        return [f"every '{classes[c]}' is the same" for c in np.flatnonzero(constant)]
    counts = data.class_counts()
    flaws = [f"no example of '{classes[c]}'" for c in np.flatnonzero(counts == 0)]
    if kind == "multilabel":
        return flaws + [f"all have '{classes[c]}'" for c in np.flatnonzero(counts == len(data))]
    most, least = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max()).argmin())
    if counts[most] >= IMBALANCE * counts[least]:
        what = "bases" if kind == "per-base" else "sequences"
        flaws.append(
            f"classes are unbalanced: {counts[most]} of {counts.sum()} {what} are "
            f"'{classes[most]}', {counts[least]} '{classes[least]}'"
        )
    return flaws


def _length_flaws(lengths_N: np.ndarray) -> list[str]:
    """Sequences that differ from a length that most have."""
    values, counts = np.unique(lengths_N, return_counts=True)
    usual, n_usual = values[counts.argmax()], counts.max()
    n_other = len(lengths_N) - n_usual
    if not n_other or 2 * n_usual <= len(lengths_N):
        return []
    others = [str(value) for value in values if value != usual]
    shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
    have = "has" if n_other == 1 else "have"
    return [f"{n_other} of {len(lengths_N)} sequences {have} another length than {usual} ({shown})"]


def _leak_flaws(
    name: str, n: int, n_distinct: int, same: list[bool], other_label: list[bool]
) -> list[str]:
    """What to say of the sequences of a split that stand in train: a flag a sequence."""
    if not same:
        return []
    details = [
        f"{count} {what}"
        for count, what in (
            (n_distinct if n_distinct < len(same) else 0, "different ones"),
            (same.count(False), "as the reverse complement"),
            (other_label.count(True), "with another label"),
        )
        if count
    ]
    text = f"{name}: {len(same)} of {n} sequences {_agree('stand', len(same))} in train too"
    return [f"{text} ({', '.join(details)})" if details else text]


def _overlap_flaws(name: str, overlaps_N: np.ndarray) -> list[str]:
    count, n = int(overlaps_N.sum()), len(overlaps_N)
    text = f"{count} of {n} regions {_agree('share', count)} bases of the genome with train"
    return [f"{name}: {text}"] if count else []


def _agree(verb: str, count: int) -> str:
    return f"{verb}s" if count == 1 else verb
