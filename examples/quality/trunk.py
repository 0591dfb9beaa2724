"""The trunk models: its architecture from scratch, and the shipped trunk in full, LoRA and probe.

A cell is one call of `dnatk finetune` (as a library): batches of 32, the best of eight looks at
dev by MCC, test scored once by the task as it was written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sets import SETS

from dnatk.errors import DnatkError
from dnatk.inference.sequences import score_sequences
from dnatk.labelled.dataset import LabelledSet
from dnatk.model.loading import read_model
from dnatk.tasks.scorer import load_scorer
from dnatk.tasks.task import Task

TRUNK = "dnatk-small"
# Optimizer steps of 32 sequences, by set: what a laptop does in minutes. Published figures come
# from 2 to 10 passes over the data; here the large sets are not seen once in full.
STEPS = {
    "core-all": 600,
    "core-notata": 600,
    "core-tata": 400,
    "300-tata": 250,
    "tf-0": 400,
    "tf-1": 400,
    "tf-2": 400,
    "mouse-0": 400,
    "mouse-2": 300,
}
# `--tasks DIR` of run.py: tasks are kept there, and taken from there where one was trained with
# the same configuration on the same files.
kept_tasks: Path | None = None


def configuration(model: str, name: str) -> dict:
    """Of ``model`` (scratch, full, lora, probe) on a set: arguments of FinetuneConfig, and the
    sha256 of the trunk, so that another trunk makes other cells. "rc" is how strands are scored."""
    config = {"model": TRUNK, "pool": "all", "trunk_sha256": read_model(TRUNK).sha256}
    if model == "probe":
        return {**config, "method": "probe"}
    # Where the site is at one place, every token counts in its own; elsewhere strands are alike.
    unaligned = {"rc_augment": True, "rc": "average"}
    where = {"pool": "positions"} if SETS[name].aligned else unaligned
    config |= {"token_counts": True, **where}
    config |= {"epochs": 20.0, "max_steps": STEPS[name]}
    return {
        "scratch": {**config, "method": "full", "from_scratch": True, "lr": 5e-4},
        "full": {**config, "method": "full", "lr": 5e-4},
        "lora": {**config, "method": "lora", "lr": 1e-3},
    }[model]


def train_and_predict(
    train: LabelledSet, dev: LabelledSet, test: LabelledSet, seed: int, config: Mapping
) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) calibrated probabilities of dev and of test."""
    with tempfile.TemporaryDirectory() as scratch:
        task = _task({"train": train, "dev": dev, "test": test}, seed, config, Path(scratch))
        scorer = load_scorer(task)
        return tuple(np.stack(score_sequences(scorer, data.sequences)) for data in (dev, test))


def _task(sets: dict[str, LabelledSet], seed: int, config: Mapping, scratch: Path) -> Task:
    from dnatk.training.finetune import finetune
    from dnatk.training.finetune_config import FinetuneConfig, TaskChoices
    from dnatk.training.publish import describe

    options = {k: v for k, v in config.items() if k not in ("trunk_sha256", "rc")}
    choices = TaskChoices(rc=config.get("rc", "none"))
    wanted = FinetuneConfig(**options, seed=seed, metric="mcc")
    directory = scratch / "task"
    if kept_tasks is not None:
        folder = "-".join(Path(sets["train"].path).parts[-3:-1])
        model = "scratch" if wanted.from_scratch else wanted.method
        directory = kept_tasks / f"{folder}-{model}-{seed}"
        try:
            task = Task.read(directory)
        except DnatkError:
            task = None
        if task is not None and _same(task, wanted, sets, describe) and task.rc == choices.rc:
            return task
    return finetune(wanted, sets, directory, choices=choices, force=True)


def _same(task: Task, wanted, sets: Mapping[str, LabelledSet], describe) -> bool:
    from dataclasses import asdict

    data = {name: describe(data) for name, data in sets.items()}
    return task.details["config"] == asdict(wanted) and task.details["data"] == data
