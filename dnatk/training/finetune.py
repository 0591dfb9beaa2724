"""``dnatk finetune``: labelled sequences in, a task directory out.

Shapes: N examples, C outputs, P pooled.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import EarlyStoppingCallback

from dnatk import __version__
from dnatk.errors import InputError, OutputError, TrainingError
from dnatk.genome.fasta import sha256
from dnatk.inference.fit import Fit
from dnatk.inference.sequences import pooled_sequences, score_sequences
from dnatk.labelled.dataset import LabelledSet
from dnatk.model.heads import Head, HeadConfig
from dnatk.model.placement import resolve_device, resolve_precision
from dnatk.progress import NullProgress, Progress
from dnatk.tasks.scorer import load_scorer
from dnatk.tasks.task import TASK_FILE, Task
from dnatk.training.calibration import best_threshold, fit_temperature
from dnatk.training.card import write_card
from dnatk.training.finetune_config import FinetuneConfig
from dnatk.training.linear_probe import fit_probe
from dnatk.training.metrics import (
    HIGHER_IS_BETTER,
    PRIMARY,
    is_better,
    metrics_of,
    score,
    score_with_intervals,
)
from dnatk.training.report import draw_plots
from dnatk.training.task_model import TaskModel
from dnatk.training.task_trainer import EncodedSet, History, TaskTrainer
from dnatk.training.trainer import training_arguments
from dnatk.training.trunks import Trunk, require_sequence_head

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
_RESTARTS = 2
_RESTART_STEP = 1000


@dataclass(frozen=True)
class TaskChoices:
    """What a task says of itself, and how it treats regions; see :class:`Task`.

    Attributes:
        length: L; 0: the longest training sequence.
        class_names: in words, in the order of the classes; (): as in the data.
    """

    name: str = ""
    description: str = ""
    class_names: tuple[str, ...] = ()
    length: int = 0
    fit: str = "tile"
    combine: str = "mean"
    rc: str = "none"
    stranded: bool = False


@dataclass(frozen=True)
class _Run:
    """One seed's finished task in a directory of its own."""

    seed: int
    task: Task
    dev: dict[str, float]
    history: list[dict]


def finetune(
    config: FinetuneConfig,
    sets: Mapping[str, LabelledSet],
    output: str | Path,
    *,
    choices: TaskChoices | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> Task:
    """Train a task on ``sets["train"]``, choose by ``sets["dev"]``, measure on ``sets["test"]``.

    Args:
        sets: "train" and "dev", and "test" where there is one.
        output: the task directory to write; it appears whole or not at all.

    Returns:
        The task written, its metrics among them.

    Raises:
        InputError, ModelError, TrainingError, OutputError: nothing is left under ``output``.
    """
    choices = choices or TaskChoices()
    target = _check_target(Path(output), force)
    train, space = sets["train"], sets["train"].space
    config = replace(config, metric=config.metric or PRIMARY[space.kind])
    if config.metric not in metrics_of(space.kind):
        raise InputError(
            f"no metric '{config.metric}' for {space.kind} labels",
            hint=f"one of {', '.join(metrics_of(space.kind))}",
        )
    trunk = Trunk.find(config)
    require_sequence_head(trunk, space.kind)
    length = choices.length or int(max(train.lengths()))
    Fit.parse(choices.fit, length)
    for data in sets.values():
        trunk.check_fits(data, length)
        _check_tokens(data, trunk)
    staging = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    fitting = _Fitting(config, sets, trunk, choices, length, device, progress or NullProgress())
    try:
        runs = [fitting.run(config.seed + i, staging) for i in range(config.seeds)]
        best = runs[0]
        for run in runs[1:]:
            if is_better(config.metric, run.dev[config.metric], best.dev[config.metric]):
                best = run
        task = fitting.publish(best, runs)
        if target.exists():
            shutil.rmtree(target)
        os.replace(task.directory, target)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", path=target) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return task.at(target)


def _check_target(target: Path, force: bool) -> Path:
    if target.exists():
        if not force:
            raise OutputError("exists already", path=target, hint="--force replaces it")
        if not (target / TASK_FILE).exists():
            raise OutputError("is no task directory, so it is not replaced", path=target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {error.strerror}", path=target.parent) from None
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"its directory {target.parent} may not be written", path=target)
    return target


def _check_tokens(data: LabelledSet, trunk: Trunk) -> None:
    for line, sequence in zip(data.lines, data.sequences, strict=True):
        if not trunk.tokens.valid(trunk.tokens.encode(sequence)).any():
            raise InputError(
                "no k-mer free of N in this sequence",
                path=data.path,
                line=line,
                hint="take it out, or give a longer one",
            )


@dataclass(frozen=True)
class _Fitting:
    """What all seeds of a run share."""

    config: FinetuneConfig
    sets: Mapping[str, LabelledSet]
    trunk: Trunk
    choices: TaskChoices
    length: int
    device: str
    progress: Progress

    def run(self, seed: int, staging: Path) -> _Run:
        """Train one seed; a run that predicts one class for all is started again."""
        for restart in range(_RESTARTS + 1):
            actual = seed + restart * _RESTART_STEP
            directory = staging / f"seed-{actual}"
            directory.mkdir()
            task, logits, history = self._train(actual, directory)
            same = _collapsed(self.sets["dev"], logits)
            if same is None:
                return self._calibrated(actual, task, history)
            log.warning("seed %d collapsed: %s", actual, same)
            shutil.rmtree(directory)
        raise TrainingError(
            f"{same}, with {_RESTARTS + 1} seeds",
            hint="lower --lr, try --class-weights balanced, and look at the labels",
        )

    def _train(self, seed: int, directory: Path) -> tuple[Task, np.ndarray, list[dict]]:
        """(uncalibrated task, dev logits, history) of one seed."""
        space = self.sets["train"].space
        probe = self.config.method == "probe" and space.kind != "per-base"
        head = HeadConfig(
            hidden=self.trunk.hidden,
            outputs=space.n_outputs,
            pool=self.config.pool,
            dense=self.config.dense and self.config.method != "probe",
            per_base=space.kind == "per-base",
            k=self.trunk.reference.k or 1,
            kmer_stride=self.trunk.reference.kmer_stride or 1,
        )
        torch.manual_seed(seed)
        mean_C, scale_C = self._target_scale()
        model = TaskModel(
            self.trunk.module(seed),
            Head(head, self.config.dropout),
            space.kind,
            self._class_weights(),
        )
        task = Task(
            directory=directory,
            name=self.choices.name,
            kind=space.kind,
            classes=space.classes,
            class_names=self.choices.class_names or space.classes,
            method=self.config.method,
            trunk=self.trunk.reference,
            head=head.as_dict(),
            length=self.length,
            fit=self.choices.fit,
            combine=self.choices.combine,
            rc=self.choices.rc,
            stranded=self.choices.stranded,
            target_mean=tuple(mean_C.tolist()),
            target_scale=tuple(scale_C.tolist()),
            description=self.choices.description,
        )
        _ = task.shown  # names that do not fit the classes fail before hours of training
        history = [] if probe else self._fit(model, seed, directory, (mean_C, scale_C))
        self.trunk.write(model, directory)
        task = replace(task, trunk=self.trunk.written(directory))
        if probe:
            self._fit_probe(task, model.head, seed)
            self.trunk.write(model, directory)
        return task, self._logits(task, "dev"), history

    def _fit(
        self, model: TaskModel, seed: int, directory: Path, scale: tuple[np.ndarray, np.ndarray]
    ) -> list[dict]:
        config, place = self.config, resolve_device(self.device)
        train, dev = self.sets["train"], self.sets["dev"]
        tokens = self.trunk.tokens
        encoded = EncodedSet(
            train, tokens, _loss_targets(train, *scale), rc_augment=config.rc_augment, seed=seed
        )
        unscored = Task(
            directory, "", train.space.kind, train.space.classes, train.space.classes,
            config.method, self.trunk.reference, {}, self.length,
            target_mean=tuple(scale[0].tolist()), target_scale=tuple(scale[1].tolist()),
        )  # fmt: skip
        dev_targets = _flat(dev)

        def dev_score(logits_NC: np.ndarray) -> dict[str, float]:
            return score(dev.space, dev_targets, unscored.outputs(logits_NC))

        steps = math.ceil(len(train) / config.batch_size * config.epochs)
        steps = min(steps, config.max_steps or steps)
        every = max(1, steps // config.evaluations)
        history = History(
            directory / METRICS_FILE, self.progress, f"fine-tuning, seed {seed}", config.metric
        )
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        checkpoints = directory / "checkpoints"
        trainer = TaskTrainer(
            model,
            training_arguments(
                checkpoints,
                device=place,
                dtype=resolve_precision(config.precision, place),
                max_steps=steps,
                per_device_train_batch_size=max(1, config.batch_size // ranks),
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                warmup_steps=math.ceil(config.warmup * steps),
                logging_steps=every,
                eval_strategy="steps",
                eval_steps=every,
                save_strategy="best",
                save_only_model=True,
                load_best_model_at_end=True,
                metric_for_best_model=config.metric,
                greater_is_better=HIGHER_IS_BETTER[config.metric],
                seed=seed,
            ),
            train_dataset=encoded,
            eval_dataset=EncodedSet(dev, tokens, _loss_targets(dev, *scale)),
            score=dev_score,
            layer_decay=config.layer_decay,
            callbacks=[history, EarlyStoppingCallback(config.patience)],
        )
        trainer.train()
        shutil.rmtree(checkpoints, ignore_errors=True)
        return history.rows

    def _fit_probe(self, task: Task, head: Head, seed: int) -> None:
        self.progress.start("reading features", None, "sequences")
        scorer = load_scorer(task, device=self.device, precision=self.config.precision)
        features = {
            name: pooled_sequences(scorer, self.sets[name].sequences) for name in ("train", "dev")
        }
        self.progress.finish()
        scale = np.array(task.target_mean), np.array(task.target_scale)
        fit_probe(
            head,
            task.kind,
            {name: (features[name], _loss_targets(self.sets[name], *scale)) for name in features},
            class_weights=self.config.class_weights,
            seed=seed,
        )

    def _calibrated(self, seed: int, task: Task, history: list[dict]) -> _Run:
        """The task with temperature, thresholds and metrics, by the scores that users will get."""
        dev = self.sets["dev"]
        logits_NC = self._logits(task, "dev")
        if task.kind != "regression":
            task = replace(task, temperature=fit_temperature(logits_NC, _flat(dev), task.kind))
        task = replace(task, thresholds=self._thresholds(task, logits_NC))
        metrics = {
            name: score(
                task.space, _flat(self.sets[name]), task.outputs(self._logits(task, name)),
                thresholds=_thresholds(task),
            )
            for name in ("dev", "test") if name in self.sets
        }  # fmt: skip
        task = replace(task, metrics=metrics, details={"seed": seed})
        return _Run(seed, task, metrics["dev"], history)

    def publish(self, best: _Run, runs: list[_Run]) -> Task:
        """Intervals, card and plots of the chosen seed; task.json last."""
        task = best.task
        part = "test" if "test" in self.sets else "dev"
        data = self.sets[part]
        outputs_NC = task.outputs(self._logits(task, part))
        groups = None
        if task.kind == "per-base":
            groups = np.repeat(np.arange(len(data)), data.lengths())
        intervals = score_with_intervals(
            task.space, _flat(data), outputs_NC, thresholds=_thresholds(task), group_N=groups
        )
        metrics = {
            name: {metric: {"value": value} for metric, value in values.items()}
            for name, values in task.metrics.items()
        }
        metrics[part] = {metric: asdict(e) for metric, e in intervals.items()}
        details = {
            "dnatk_version": __version__,
            "seed": best.seed,
            "seeds": {str(run.seed): run.task.metrics for run in runs},
            "config": asdict(self.config),
            "data": {name: _describe(data) for name, data in self.sets.items()},
        }
        task = replace(task, metrics=metrics, details=details)
        draw_plots(task.directory, task.shown, _flat(data), outputs_NC, best.history)
        write_card(task)
        task.write()
        return task

    def _logits(self, task: Task, name: str) -> np.ndarray:
        scorer = load_scorer(task, device=self.device, precision=self.config.precision)
        outputs = score_sequences(
            scorer, self.sets[name].sequences, raw=True, progress=self.progress
        )
        return np.concatenate(outputs) if task.kind == "per-base" else np.stack(outputs)

    def _target_scale(self) -> tuple[np.ndarray, np.ndarray]:
        train = self.sets["train"]
        if train.space.kind != "regression":
            return np.empty(0), np.empty(0)
        scale_C = train.targets.std(axis=0)
        return train.targets.mean(axis=0), np.where(scale_C > 0, scale_C, 1.0)

    def _class_weights(self) -> torch.Tensor | None:
        train = self.sets["train"]
        if self.config.class_weights == "none" or not train.space.has_classes:
            return None
        count_C = train.class_counts()
        return torch.tensor(count_C.sum() / (len(count_C) * np.maximum(count_C, 1))).float()

    def _thresholds(self, task: Task, logits_NC: np.ndarray) -> tuple[float, ...]:
        if task.kind not in ("binary", "multilabel"):
            return ()
        columns = range(task.space.n_outputs) if task.kind == "multilabel" else [1]
        if self.config.threshold == "0.5":
            return tuple(0.5 for _ in columns)
        outputs_NC, targets = task.outputs(logits_NC), _flat(self.sets["dev"])
        return tuple(
            best_threshold(
                outputs_NC[:, column],
                targets[:, column] if task.kind == "multilabel" else targets,
                self.config.threshold,
            )
            for column in columns
        )


def _thresholds(task: Task) -> float | np.ndarray | None:
    """A task's thresholds as metrics take them."""
    if not task.thresholds:
        return None
    return np.array(task.thresholds) if task.kind == "multilabel" else task.thresholds[0]


def _flat(data: LabelledSet) -> np.ndarray:
    """Targets as metrics take them: per-base ones one after another."""
    return np.concatenate(data.targets) if data.space.kind == "per-base" else data.targets


def _loss_targets(data: LabelledSet, mean_C: np.ndarray, scale_C: np.ndarray) -> np.ndarray:
    """Targets as the loss takes them."""
    if data.space.kind != "regression":
        return data.targets
    return ((data.targets - mean_C) / scale_C).astype(np.float32)


def _collapsed(dev: LabelledSet, logits_NC: np.ndarray) -> str | None:
    """How a model has collapsed: one answer for every dev sequence; None where it has not."""
    if dev.space.kind == "regression":
        if (logits_NC.std(axis=0) < 1e-3).all():
            return "the model predicts one value for every dev sequence"
        return None
    if dev.space.kind == "multilabel":
        chosen = logits_NC > 0
        if len(np.unique(chosen, axis=0)) == 1 and len(np.unique(dev.targets, axis=0)) > 1:
            return "the model predicts the same labels for every dev sequence"
        return None
    chosen = np.unique(logits_NC.argmax(axis=1))
    if len(chosen) == 1 and len(np.unique(_flat(dev))) > 1:
        name = dev.space.classes[chosen[0]]
        return f"the model predicts class '{name}' for every dev sequence"
    return None


def _describe(data: LabelledSet) -> dict:
    """What a task remembers of a set."""
    path = Path(data.path)
    return {
        "file": path.name,
        "sha256": sha256(path) if path.is_file() else "",
        "examples": len(data),
        "classes": dict(zip(data.space.classes, data.class_counts().tolist(), strict=True)),
    }
