"""A task directory: what ``dnatk finetune`` writes, and ``evaluate`` and ``predict`` read.

    task.json            everything but weights, see Task
    head.safetensors     the head
    adapter_config.json, adapter_model.safetensors   the adapter in peft's own format (lora)
    config.json, model.safetensors, vocab.txt, ...   the whole trunk, a model directory (full)
    trunk/               the trunk, where ``dnatk tasks export`` packed it in
    README.md, *.png     the card and its plots; metrics.jsonl the training log
    report.html          all that is known of the training on one page

task.json is written last: a directory without it is no task.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dnatk import __version__
from dnatk.errors import InputError, ModelError
from dnatk.kmers.vocab import MAX_K
from dnatk.labelled.dataset import KINDS, LabelSpace
from dnatk.model.checked import (
    FLAG,
    LINE,
    NUMBER,
    OBJECT,
    POSITIVE,
    TEXT,
    check,
    check_version,
    list_of,
    one_of,
    read_json,
    whole,
)
from dnatk.model.heads import HEAD_RULES, HeadConfig
from dnatk.model.places import shipped_models
from dnatk.tasks.places import TASK_FILE
from dnatk.undefined import as_nan, as_null

HEAD_FILE = "head.safetensors"
ADAPTER_CONFIG, ADAPTER_FILE = "adapter_config.json", "adapter_model.safetensors"
TRUNK_DIRECTORY = "trunk"
FORMAT = "dnatk-task"
FORMAT_VERSION = 1
METHODS = ("full", "lora", "probe")
COMBINES = ("mean", "max", "tiles")

# What task.json may say.
_TRUNK = {
    "name": LINE,
    "sha256": LINE,
    "native": FLAG,
    "k": whole(0, MAX_K),
    "kmer_stride": whole(0, MAX_K),
    "revision": LINE,
    "remote_code": FLAG,
}
_TASK = {
    "name": LINE,
    "kind": one_of(*KINDS),
    "classes": list_of(TEXT),
    "class_names": list_of(TEXT),
    "method": one_of(*METHODS),
    "trunk": OBJECT,
    "head": OBJECT,
    "length": whole(1),
    "fit": LINE,
    "combine": one_of(*COMBINES),
    "rc": one_of("none", "average"),
    "stranded": FLAG,
    "temperature": POSITIVE,
    "thresholds": list_of(NUMBER),
    "target_mean": list_of(NUMBER),
    "target_scale": list_of(NUMBER),
    "description": TEXT,
    "metrics": OBJECT,
    "details": OBJECT,
}


@dataclass(frozen=True)
class TrunkReference:
    """Which model a task stands on.

    Attributes:
        name: a shipped model's name, a directory or a hub name.
        sha256: of its weights file (of its weights, for models of other makes).
        native: whether dnatk's own encoder runs it.
        k, kmer_stride: of the task's tokens, 0 where the trunk has its own tokenizer.
        revision: the commit of a hub's model.
        remote_code: whether the model's own code was trusted in training.
    """

    name: str
    sha256: str
    native: bool = True
    k: int = 6
    kmer_stride: int = 1
    revision: str = ""
    remote_code: bool = False


@dataclass(frozen=True)
class Task:
    """A trained task.

    Attributes:
        directory: where it lies.
        kind, classes: as :class:`LabelSpace`; the names as the training data had them.
        class_names: the same in words, for people; output shows these.
        method: full, lora or probe.
        head: keyword arguments of :class:`dnatk.model.heads.HeadConfig`.
        length: L, the bases of a window that the task scores.
        fit, combine, rc: how regions are brought to L, how windows' scores become one, and
            whether both strands are averaged; ``predict`` may override them.
        stranded: whether a region without strand cannot be scored (but for rc "average"; a tss fit
            needs strands in any case).
        temperature: logits are divided by it, so that probabilities are calibrated.
        thresholds: of the positive class (binary), or of each label (multilabel).
        target_mean, target_scale: of regression targets; outputs are scaled back.
        metrics: {"dev", "test" or "test_unleaked": {name: {"value", "low", "high"}}}; dev beside
            a test has values alone.
        details: training, data and checksums, for the card.
    """

    directory: Path
    name: str
    kind: str
    classes: tuple[str, ...]
    class_names: tuple[str, ...]
    method: str
    trunk: TrunkReference
    head: dict[str, Any]
    length: int
    fit: str = "tile"
    combine: str = "mean"
    rc: str = "none"
    stranded: bool = False
    temperature: float = 1.0
    thresholds: tuple[float, ...] = (0.5,)
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    description: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def space(self) -> LabelSpace:
        """The labels as the training data names them."""
        return LabelSpace(self.kind, self.classes)

    @property
    def shown(self) -> LabelSpace:
        """The labels as output names them."""
        return LabelSpace(self.kind, self.class_names)

    def outputs(self, logits_NC: np.ndarray) -> np.ndarray:
        """(N, C) calibrated probabilities, or values in the targets' own unit."""
        if self.kind == "regression":
            return np.asarray(logits_NC * np.array(self.target_scale) + np.array(self.target_mean))
        from dnatk.training.calibration import probabilities

        return probabilities(logits_NC, self.kind, self.temperature)

    def needs_strand(self, rc: str = "") -> bool:
        """Whether a region without a strand cannot be scored, whatever the fit.

        Args:
            rc: in place of the task's; averaged over both strands a window reads alike.
        """
        return self.stranded and (rc or self.rc) != "average"

    def limits(self) -> float | np.ndarray | None:
        """The thresholds as metrics take them."""
        if not self.thresholds:
            return None
        return np.array(self.thresholds) if self.kind == "multilabel" else self.thresholds[0]

    @property
    def part(self) -> str:
        """What its figures are of: test where there is one, else dev."""
        return "test" if "test" in self.metrics else "dev"

    def measured(self) -> tuple[str, str, float] | None:
        """(part, metric, value) of the metric that chose the task.

        None where task.json does not say.
        """
        try:
            metric = self.details["config"]["metric"]
            return self.part, metric, float(self.metrics[self.part][metric]["value"])
        except (KeyError, TypeError, ValueError):
            return None

    def write(self) -> None:
        """Write task.json."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, "dnatk": __version__}
        content |= {k: v for k, v in asdict(self).items() if k != "directory"}
        text = json.dumps(as_null(content), indent=2, allow_nan=False)
        (self.directory / TASK_FILE).write_text(text + "\n")

    @classmethod
    def read(cls, directory: Path) -> Task:
        """The task in ``directory``.

        Raises:
            ModelError: no task, an unfinished one, or one of a newer dnatk.
        """
        path = directory / TASK_FILE
        if not path.exists():
            raise ModelError(
                f"is no task: it has no {TASK_FILE}",
                path=directory,
                hint="was its training interrupted? run dnatk finetune again",
            )
        content = read_json(path, what="task file of dnatk")
        if content.get("format") != FORMAT:
            raise ModelError("is no task file of dnatk", path=path)
        check_version(content, FORMAT_VERSION, path)
        check(content, _TASK, path)
        check(content.get("trunk", {}), _TRUNK, path, "trunk.")
        check(content.get("head", {}), HEAD_RULES, path, "head.")
        try:
            known = {k: content[k] for k in cls.__dataclass_fields__ if k in content}
            known["trunk"] = TrunkReference(**known["trunk"])
            for name in ("classes", "class_names", "thresholds", "target_mean", "target_scale"):
                known[name] = tuple(known[name])
            known["metrics"] = as_nan(known["metrics"])
            if "seeds" in known["details"]:
                known["details"] |= {"seeds": as_nan(known["details"]["seeds"])}
            task = cls(directory=directory, **known)
            task._check()
        except (KeyError, TypeError, InputError) as error:
            raise ModelError(f"is damaged: {error}", path=path) from None
        return task

    def _check(self) -> None:
        """Raise InputError or TypeError for values that do not go together."""
        head, n = HeadConfig(**self.head), self.space.n_outputs
        kmers = (self.trunk.k or 1, self.trunk.kmer_stride or 1)
        kmer_strides = (1, self.trunk.k) if self.trunk.native else (0,)
        limits = {"binary": 1, "multilabel": n}.get(self.kind)
        scales = {len(self.target_mean), len(self.target_scale)}
        for together, what in (
            (self.shown.n_outputs == head.outputs == n, "classes, class_names and head.outputs"),
            (not limits or len(self.thresholds) in (0, limits), "classes and thresholds"),
            (self.kind != "regression" or scales == {n}, "classes, target_mean and target_scale"),
            (head.per_base == (self.kind == "per-base"), "kind and head.per_base"),
            (not head.per_base or (head.k, head.kmer_stride) == kmers, "k-mers of trunk and head"),
            (self.trunk.kmer_stride in kmer_strides, "trunk.native, trunk.k and trunk.kmer_stride"),
        ):
            if not together:
                raise InputError(f"{what} do not go together")

    def sha256(self) -> str:
        """Hexadecimal sha256 over everything that decides what the task says."""
        digest = hashlib.sha256()
        for name in (TASK_FILE, HEAD_FILE, ADAPTER_CONFIG, ADAPTER_FILE):
            path = self.directory / name
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()

    def trunk_directory(self) -> str:
        """Where the trunk lies: in the task itself, in the installation, or where it was."""
        if self.method == "full":
            return str(self.directory)
        inside = self.directory / TRUNK_DIRECTORY
        return str(inside) if inside.is_dir() else self.trunk.name

    def check_trunk(self, sha256: str, k: int) -> None:
        """Raise :class:`ModelError` unless the trunk found is the one the task was trained on."""
        if k != self.trunk.k:
            raise ModelError(
                f"was trained on {self.trunk.k}-mers, '{self.trunk_directory()}' has {k}-mers",
                path=self.directory,
            )
        if sha256 != self.trunk.sha256:
            shipped = self.trunk.name in shipped_models()
            raise ModelError(
                f"was trained on other weights of '{self.trunk.name}' "
                f"(sha256 {self.trunk.sha256[:12]}, found {sha256[:12]})",
                path=self.directory,
                hint="train it again, or install the dnatk it was trained with"
                if shipped
                else "point it at the model that it was trained on",
            )

    def at(self, directory: Path) -> Task:
        """The same task, in another directory."""
        return replace(self, directory=directory)
