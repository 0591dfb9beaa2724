"""One seed of a fine-tuning run, from weights to a measured task in a directory.

Shapes: N examples, C outputs, P pooled.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dnatk.errors import TrainingError
from dnatk.inference.sequences import flat_outputs, pooled_sequences, score_sequences
from dnatk.labelled.dataset import LabelledSet
from dnatk.model.heads import Head, HeadConfig
from dnatk.model.memory import memory_told
from dnatk.model.placement import resolve_device, resolve_precision
from dnatk.progress import Progress
from dnatk.tasks.scorer import Scorer, load_scorer
from dnatk.tasks.task import Task
from dnatk.training.calibration import fit_temperature, thresholds
from dnatk.training.finetune_config import FinetuneConfig, TaskChoices
from dnatk.training.linear_probe import fit_probe
from dnatk.training.metrics import score
from dnatk.training.task_model import TaskModel
from dnatk.training.task_trainer import EncodedSet, History, KeepBest, TaskTrainer
from dnatk.training.trainer import training_arguments
from dnatk.training.trunks import Trunk

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
_RESTARTS = 2
_RESTART_STEP = 1000
# Fewer dev sequences than this may well be of one class by the model's honest judgement.
_FEWEST = 10


@dataclass(frozen=True)
class Run:
    """One seed's finished task, in a directory of its own.

    Attributes:
        logits: set -> (N, C), as the written task gives them.
        scores: set -> metric -> value.
        history: what the training logged.
    """

    seed: int
    task: Task
    logits: dict[str, np.ndarray]
    scores: dict[str, dict[str, float]]
    history: list[dict]


@dataclass(frozen=True)
class Fitting:
    """What all seeds of a run share."""

    config: FinetuneConfig
    sets: Mapping[str, LabelledSet]
    trunk: Trunk
    choices: TaskChoices
    length: int
    device: str
    progress: Progress

    def run(self, seed: int, staging: Path) -> Run:
        """Train one seed; a run that predicts one class for all is started again.

        Raises:
            TrainingError: it does so whatever the seed.
        """
        # A probe comes out the same whatever the seed.
        restarts = 0 if self.config.method == "probe" else _RESTARTS
        for restart in range(restarts + 1):
            actual = seed + restart * _RESTART_STEP
            directory = staging / f"seed-{actual}"
            directory.mkdir()
            task, history = self._train(actual, directory)
            # Measured by what users will run: the task as written, in dnatk's own encoder.
            dev_NC = self._logits(task, "dev")
            same = self._collapsed(dev_NC)
            if same is None:
                return self._measured(actual, task, dev_NC, history)
            log.warning("seed %d collapsed: %s", actual, same)
            shutil.rmtree(directory)
        raise TrainingError(
            f"{same}, with {restarts + 1} seed(s)",
            hint="try --class-weights balanced, --threshold mcc or a lower --lr, and look at the "
            "labels",
        )

    def _train(self, seed: int, directory: Path) -> tuple[Task, list[dict]]:
        """(uncalibrated task, history) of one seed; the weights lie in ``directory``."""
        space, head = self.sets["train"].space, self._head()
        torch.manual_seed(seed)
        mean_C, scale_C = self._target_scale()
        model = TaskModel(
            self.trunk.module(seed),
            Head(head, self.config.head_dropout),
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
        probed = self.config.linear_head and not head.per_base
        if probed:
            self.trunk.write(model, directory)
            begun = replace(task, trunk=self.trunk.written(directory))
            self._fit_probe(begun, model.head, seed)
        whole = probed and self.config.method == "probe"
        history = [] if whole else self._fit(task, model, seed)
        self.trunk.write(model, directory)
        return replace(task, trunk=self.trunk.written(directory)), history

    def _head(self) -> HeadConfig:
        config, trunk, space = self.config, self.trunk, self.sets["train"].space
        placed = config.pool == "positions" or config.token_counts
        tokens = trunk.tokens_of(self.length) if placed else 0
        return HeadConfig(
            hidden=trunk.hidden,
            outputs=space.n_outputs,
            pool=config.pool,
            dense=config.dense and not config.linear_head,
            per_base=space.kind == "per-base",
            k=trunk.reference.k or 1,
            kmer_stride=trunk.reference.kmer_stride or 1,
            tokens=tokens if config.pool == "positions" else 0,
            vocabulary=trunk.vocabulary if config.token_counts else 0,
            counted=tokens if config.token_counts else 0,
        )

    def _fit(self, task: Task, model: TaskModel, seed: int) -> list[dict]:
        config, place = self.config, resolve_device(self.device)
        train, dev = self.sets["train"], self.sets["dev"]
        tokens = self.trunk.tokens
        encoded = EncodedSet(
            train, tokens, _loss_targets(train, task), rc_augment=config.rc_augment, seed=seed
        )
        dev_targets = dev.flat_targets()

        def dev_score(logits_NC: np.ndarray) -> dict[str, float]:
            return score(dev.space, dev_targets, task.outputs(logits_NC))

        rows = config.rows(int(os.environ.get("WORLD_SIZE", "1")))
        steps = config.steps(len(train))
        every = max(1, steps // config.evaluations)
        history = History(
            task.directory / METRICS_FILE, self.progress, f"fine-tuning, seed {seed}", config.metric
        )
        best = KeepBest(config.metric, config.patience)
        trainer = TaskTrainer(
            model,
            training_arguments(
                task.directory,
                device=place,
                dtype=resolve_precision(config.precision, place),
                max_steps=steps,
                per_device_train_batch_size=rows,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                # The first step of a warm-up has a learning rate of 0: it must not be the only one.
                warmup_steps=min(math.ceil(config.warmup * steps), steps - 1),
                logging_steps=every,
                eval_strategy="steps",
                eval_steps=every,
                eval_on_start=config.head_start == "probe",  # the probe itself may remain the best
                save_strategy="no",
                # Models of other makes may hold a pooler that nothing reads.
                ddp_find_unused_parameters=not self.trunk.reference.native,
                seed=seed,
            ),
            train_dataset=encoded,
            eval_dataset=EncodedSet(dev, tokens, _loss_targets(dev, task)),
            score=dev_score,
            layer_decay=config.layer_decay,
            callbacks=[history, best],
        )
        with memory_told(resolve_device(self.device), "a smaller --batch-size, or --length"):
            trainer.train()
        best.restore(model)
        return [
            {**row, "kept": True} if (row["part"], row["step"]) == ("dev", best.step) else row
            for row in history.rows
        ]

    def _fit_probe(self, task: Task, head: Head, seed: int) -> None:
        scorer = self._scorer(task)
        features = {
            name: (
                pooled_sequences(scorer, self.sets[name].sequences, self.progress),
                _loss_targets(self.sets[name], task),
            )
            for name in ("train", "dev")
        }
        weights = self.config.class_weights
        fit_probe(head, task.kind, features, class_weights=weights, seed=seed)

    def _measured(self, seed: int, task: Task, dev_NC: np.ndarray, history: list[dict]) -> Run:
        """The task with temperature and thresholds from dev, and its metrics."""
        if task.kind != "regression":
            targets = self.sets["dev"].flat_targets()
            task = replace(task, temperature=fit_temperature(dev_NC, targets, task.kind))
        outputs_NC, targets = task.outputs(dev_NC), self.sets["dev"].flat_targets()
        limits = thresholds(task.kind, outputs_NC, targets, self.config.threshold)
        task = replace(task, thresholds=limits)
        logits = {"dev": dev_NC}
        if "test" in self.sets:
            logits["test"] = self._logits(task, "test")
        scores = {
            name: score(
                task.space,
                self.sets[name].flat_targets(),
                task.outputs(logits_NC),
                thresholds=task.limits(),
            )
            for name, logits_NC in logits.items()
        }
        return Run(seed, task, logits, scores, history)

    def _collapsed(self, dev_NC: np.ndarray) -> str | None:
        """How a model has collapsed: one answer for all of dev; None where it has not."""
        dev = self.sets["dev"]
        chosen_later = dev.space.kind == "binary" and self.config.threshold != "0.5"
        if dev.space.kind in ("regression", "multilabel") or chosen_later:
            # Rare labels may rightly be below one half everywhere: what counts is that scores
            # differ.
            same = (dev_NC.std(axis=0) < 1e-3).all()
            return "the model predicts the same for every dev sequence" if same else None
        if len(dev_NC) < _FEWEST:
            return None
        chosen = np.unique(dev_NC.argmax(axis=1))
        if len(chosen) > 1 or len(np.unique(dev.flat_targets())) == 1:
            return None
        what = "base" if dev.space.kind == "per-base" else "sequence"
        return f"the model predicts class '{dev.space.classes[chosen[0]]}' for every dev {what}"

    def _scorer(self, task: Task) -> Scorer:
        return load_scorer(
            task,
            device=self.device,
            precision=self.config.precision,
            trust_remote_code=self.config.trust_remote_code,
        )

    def _logits(self, task: Task, name: str) -> np.ndarray:
        scorer = self._scorer(task)
        outputs = score_sequences(
            scorer, self.sets[name].sequences, raw=True, progress=self.progress
        )
        return flat_outputs(task, outputs)

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


def _loss_targets(data: LabelledSet, task: Task) -> np.ndarray:
    """Targets as the loss takes them: values standardised."""
    if task.kind != "regression":
        return data.targets
    return ((data.targets - task.target_mean) / task.target_scale).astype(np.float32)
