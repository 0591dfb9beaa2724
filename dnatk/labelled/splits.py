"""One labelled set into train, dev and test: at random, or by chromosome.

Shapes: N examples, G groups (of twins, or contigs), S strata (label classes).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.names import nearest
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.twins import twin_groups

HOW = ("auto", "random", "chromosome")
_TRAIN, _DEV, _TEST = range(3)
_NAMES = ("train", "dev", "test")
# Random choices of contigs of which the one that comes closest to the fractions is taken: so many
# of few contigs. Of thousands each comes close, and takes its time.
_CHOICES, _FEWEST_CHOICES, _CONTIGS_LOOKED_AT = 200, 5, 100_000


def split_set(
    data: LabelledSet,
    how: str = "auto",
    dev: float = 0.1,
    test: float = 0.1,
    seed: int = 42,
    dev_contigs: Sequence[str] = (),
    test_contigs: Sequence[str] = (),
) -> dict[str, LabelledSet]:
    """Split by ``how``: "random", "chromosome", or "auto" (chromosome where regions are known).

    Random keeps the share of each class, and a sequence with its copies and its reverse
    complement on one side. By chromosome, whole contigs go to dev and test: those named, else
    some chosen by ``seed`` so that sizes and classes come near the fractions ``dev`` and ``test``.

    Returns:
        {"train", "dev", "test"}, each in the order of ``data``; without the dev or test whose
        fraction is 0 and for which no contig is named.

    Raises:
        InputError: fractions that leave nothing to train on, a contig that no region has, a split
            that is empty or has one class only, or no regions to split by.

    >>> sets = dnatk.split_set(dnatk.read_labelled("train.csv"))
    >>> {name: len(part) for name, part in sets.items()}
    {'train': 64, 'dev': 8, 'test': 8}
    """
    if how not in HOW:
        raise InputError(f"no way to split '{how}'", hint=f"one of {', '.join(HOW)}")
    if not (0 <= dev < 1 and 0 <= test < 1 and dev + test < 1):
        raise InputError(f"dev {dev:g} and test {test:g} leave nothing to train on")
    named = bool(dev_contigs or test_contigs)
    how = way_of(how, data, named)
    if how == "random":
        if named:
            raise InputError("contigs are named for a random split", hint="--split chromosome")
        part_N = _random(data, dev, test, np.random.default_rng(seed))
    else:
        part_N = _by_contig(data, dev, test, seed, tuple(dev_contigs), tuple(test_contigs))
    wanted = {_TRAIN: True, _DEV: dev > 0 or dev_contigs, _TEST: test > 0 or test_contigs}
    parts = {_NAMES[part]: data.take(part_N == part) for part, want in wanted.items() if want}
    for name, part in parts.items():
        _check(name, part, how)
    return parts


def way_of(how: str, data: LabelledSet, named: bool) -> str:
    """What "auto" comes to: "chromosome" where places are known or contigs are named."""
    if how != "auto":
        return how
    return "random" if data.regions is None and not named else "chromosome"


def strata(data: LabelledSet) -> np.ndarray:
    """(N,) numbers 0..S-1 of what a split should keep the share of.

    The class, the combination of labels, or the fifth of the first target's range of ranks;
    labels of single bases make no strata.
    """
    kind = data.space.kind
    if kind == "per-base":
        return np.zeros(len(data), dtype=np.int64)
    if kind == "regression":
        ranks = np.argsort(np.argsort(data.targets[:, 0], kind="stable"), kind="stable")
        return ranks * 5 // max(len(data), 1)
    axis = 0 if kind == "multilabel" else None
    return np.unique(data.targets, axis=axis, return_inverse=True)[1].reshape(-1)


def _random(data: LabelledSet, dev: float, test: float, rng: np.random.Generator) -> np.ndarray:
    """(N,) part of each example."""
    group_N, _ = twin_groups(data.sequences)
    _, first_G, size_G = np.unique(group_N, return_index=True, return_counts=True)
    stratum_G = strata(data)[first_G]
    part_G = np.full(len(first_G), _TRAIN)
    # What rounding takes from one stratum the next one gets: rare labels add up too.
    owed = {_TEST: 0.0, _DEV: 0.0}
    by_stratum = np.argsort(stratum_G, kind="stable")
    for members in np.split(by_stratum, np.cumsum(np.bincount(stratum_G))[:-1]):
        groups = rng.permutation(members)
        total = size_G[groups].sum()
        for part, fraction in ((_TEST, test), (_DEV, dev)):
            owed[part] += fraction * total
            for group in groups:
                if part_G[group] == _TRAIN and size_G[group] <= owed[part] + 0.5:
                    part_G[group] = part
                    owed[part] -= size_G[group]
    part_N: np.ndarray = part_G[group_N]
    return part_N


def _by_contig(
    data: LabelledSet,
    dev: float,
    test: float,
    seed: int,
    dev_contigs: tuple[str, ...],
    test_contigs: tuple[str, ...],
) -> np.ndarray:
    """(N,) part of each example."""
    if data.regions is None:
        raise InputError(
            "has no coordinates to split by chromosome",
            path=data.path,
            hint="--split random, or columns chrom, start, end",
        )
    contigs, contig_N = np.unique([region.contig for region in data.regions], return_inverse=True)
    names = contigs.tolist()
    part_G = np.full(len(names), _TRAIN)
    for part, chosen in ((_DEV, dev_contigs), (_TEST, test_contigs)):
        for name in chosen:
            part_G[_contig(name, names, data.path)] = part
    both = sorted({*dev_contigs} & {*test_contigs})
    if both:
        raise InputError(f"contig '{both[0]}' is named for dev and for test")
    open_parts = {
        part: fraction
        for part, fraction, chosen in ((_DEV, dev, dev_contigs), (_TEST, test, test_contigs))
        if fraction > 0 and not chosen
    }
    free = np.flatnonzero(part_G == _TRAIN)
    if len(free) <= len(open_parts):
        needed = ", ".join(["train", *(_NAMES[part] for part in open_parts)])
        raise InputError(
            f"{len(free)} contig(s) for {needed}: a split by chromosome needs one each",
            path=data.path,
            hint="--split random, or name a dev and a test file",
        )
    stratum_N = strata(data)
    count_GS = np.zeros((len(names), stratum_N.max() + 1))
    np.add.at(count_GS, (contig_N, stratum_N), 1)
    share_GS = count_GS / count_GS.sum(axis=0)
    rng = np.random.default_rng(seed)
    tries = max(_FEWEST_CHOICES, min(_CHOICES, _CONTIGS_LOOKED_AT // len(free)))
    choices = [_choose(part_G, free, share_GS, open_parts, rng) for _ in range(tries)]
    _, part_G = min(choices, key=lambda choice: choice[0])
    return part_G[contig_N]


def _choose(
    part_G: np.ndarray,
    free: np.ndarray,
    share_GS: np.ndarray,
    open_parts: dict[int, float],
    rng: np.random.Generator,
) -> tuple[float, np.ndarray]:
    """A random choice of contigs and how far it is from the fractions, on the mean of strata.

    Each part takes contigs, in random order, while they bring it nearer to its fraction; one at
    least, and one is left to train on.
    """
    part_G, order = part_G.copy(), rng.permutation(free).tolist()
    away = 0.0
    waiting = len(open_parts)
    for part, fraction in open_parts.items():
        waiting -= 1
        part_G[order[0]] = part
        taken = share_GS[order.pop(0)]
        for contig in order[: len(order) - waiting - 1]:
            if taken.mean() >= fraction:
                break
            more = taken + share_GS[contig]
            if np.abs(more - fraction).mean() < np.abs(taken - fraction).mean():
                part_G[contig] = part
                taken = more
        order = [contig for contig in order if part_G[contig] == _TRAIN]
        away += float(np.abs(taken - fraction).mean())
    return away, part_G


def _contig(name: str, names: list[str], path: str) -> int:
    if name in names:
        return names.index(name)
    twin = nearest(name, names)
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise InputError(
        f"no region lies on contig '{name}'",
        path=path,
        hint=f"did you mean '{twin}'?" if twin else f"they lie on {shown}",
    )


def _check(name: str, part: LabelledSet, how: str) -> None:
    advice = "larger fractions, other contigs or another --seed"
    if how == "random":
        advice = "larger fractions"
    if not len(part):
        raise InputError(f"the {name} split is empty", path=part.path, hint=advice)
    if part.space.has_classes and (part.class_counts() > 0).sum() < 2:
        only = part.space.classes[int(part.class_counts().argmax())]
        raise InputError(
            f"the {name} split has one class only, '{only}'", path=part.path, hint=advice
        )
