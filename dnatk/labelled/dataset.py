"""What labelled data is, once read: sequences, targets and what the targets mean.

Shapes: N examples, C classes or outputs, L_i bases of example i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.regions import Region

KINDS = ("binary", "multiclass", "multilabel", "regression", "per-base")


@dataclass(frozen=True)
class LabelSpace:
    """The meaning of a model's outputs, in their order.

    Attributes:
        kind: one of :data:`KINDS`.
        classes: binary (negative, positive); multiclass and per-base: class names; multilabel:
            label names; regression: target names.

    Raises:
        InputError: an unknown kind, a name that stands twice, or too few classes for the kind.
    """

    kind: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"no kind of label '{self.kind}'", hint=f"one of {', '.join(KINDS)}")
        if len(set(self.classes)) != len(self.classes):
            raise InputError(f"a class stands twice: {', '.join(self.classes)}")
        least = {"binary": 2, "multiclass": 2, "per-base": 2}.get(self.kind, 1)
        if len(self.classes) < least or (self.kind == "binary" and len(self.classes) > 2):
            raise InputError(f"{len(self.classes)} class(es) make no {self.kind} labels")

    def __str__(self) -> str:
        return f"{self.kind} ({', '.join(self.classes)})"

    @property
    def n_outputs(self) -> int:
        """How many numbers a model gives an example (or base); 2 where binary."""
        return len(self.classes)

    @property
    def has_classes(self) -> bool:
        """Whether a target is one class out of several (binary, multiclass, per-base)."""
        return self.kind in ("binary", "multiclass", "per-base")


@dataclass
class LabelledSet:
    """N labelled sequences.

    Attributes:
        space: what the targets mean.
        sequences: N arrays (L_i,) of uint8 ASCII bases, as the strand reads them.
        targets: binary and multiclass (N,) int64 class numbers; multilabel (N, C) float32 of 0
            and 1; regression (N, C) float32; per-base (N,) objects, each (L_i,) int64.
        names: what each example is called.
        lines: the 1-based line of ``path`` that each came from (a FASTA header's; that of its
            positive, for a sampled negative).
        path: the file as given.
        regions: where each lies on its genome, 0-based half-open; None where that is unknown.
        cut: whether some of the file were longer and are cut to their middle.
    """

    space: LabelSpace
    sequences: list[np.ndarray]
    targets: np.ndarray
    names: list[str]
    lines: list[int]
    path: str
    regions: list[Region] | None = None
    cut: bool = False

    def __len__(self) -> int:
        return len(self.sequences)

    def take(self, index_N: Sequence[int] | np.ndarray) -> LabelledSet:
        """The examples at ``index_N`` (whole numbers, or a (len(self),) mask), in that order."""
        index_N = np.asarray(index_N)
        if index_N.dtype == bool:
            index_N = np.flatnonzero(index_N)
        index_N = index_N.astype(np.int64)
        rows = index_N.tolist()
        return replace(
            self,
            sequences=[self.sequences[i] for i in rows],
            targets=self.targets[index_N],
            names=[self.names[i] for i in rows],
            lines=[self.lines[i] for i in rows],
            regions=None if self.regions is None else [self.regions[i] for i in rows],
        )

    def lengths(self) -> np.ndarray:
        """(N,) bases of each sequence."""
        return np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)

    def flat_targets(self) -> np.ndarray:
        """Targets as metrics take them: per-base ones (sum of L_i,), one after another."""
        if self.space.kind != "per-base":
            return self.targets
        return np.concatenate([np.empty(0, np.int64), *self.targets])

    def target_groups(self) -> np.ndarray | None:
        """The example of each flat target where one has several (per base), else None."""
        if self.space.kind != "per-base":
            return None
        return np.repeat(np.arange(len(self)), self.lengths())

    def class_counts(self) -> np.ndarray:
        """(C,) examples of each class (bases where per-base, ones where multilabel).

        Regression targets have none: zeros.
        """
        if self.space.kind == "regression":
            return np.zeros(self.space.n_outputs, dtype=np.int64)
        if self.space.kind == "multilabel":
            return np.asarray(self.targets.sum(axis=0), dtype=np.int64)
        return np.bincount(self.flat_targets(), minlength=self.space.n_outputs)
