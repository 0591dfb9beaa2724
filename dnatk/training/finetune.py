"""``dnatk finetune``: labelled sequences in, a task directory out.

Shapes: N examples, C outputs, P pooled.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dnatk.errors import InputError, OutputError
from dnatk.genome.fit import Fit
from dnatk.inference.ranks import Ranks
from dnatk.labelled.dataset import LabelledSet, LabelSpace
from dnatk.output.files import check_directory, put_in_place, staging_of
from dnatk.progress import NullProgress, Progress
from dnatk.settings import CONFIG_FILE
from dnatk.tasks.places import TASK_FILE
from dnatk.tasks.task import Task
from dnatk.training.finetune_config import FinetuneConfig, TaskChoices
from dnatk.training.fitting import Fitting
from dnatk.training.metrics import PRIMARY, is_better, metrics_of, score, undefined
from dnatk.training.publish import publish
from dnatk.training.trunks import Trunk, require_sequence_head

log = logging.getLogger(__name__)


def finetune(
    config: FinetuneConfig,
    sets: Mapping[str, LabelledSet],
    output: str | Path,
    *,
    choices: TaskChoices | None = None,
    record: str = "",
    device: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> Task:
    """Train a task on ``sets["train"]``, choose by ``sets["dev"]``, measure on ``sets["test"]``.

    Args:
        sets: "train" and "dev", and "test" where there is one.
        output: the task directory to write; it appears whole or not at all.
        record: what is written to its config.toml; "" writes none.

    Returns:
        The task written, its metrics among them.

    Raises:
        InputError, ModelError, TrainingError, OutputError: nothing is left under ``output``.

    >>> sets = dnatk.split_set(dnatk.read_labelled("train.csv"), seed=1)
    >>> config = dnatk.FinetuneConfig(method="probe")
    >>> task = dnatk.finetune(config, sets, "task", device="cpu")
    >>> task.kind, task.classes, sorted(task.metrics)
    ('binary', ('0', '1'), ['dev', 'test'])
    """
    choices = choices or TaskChoices()
    device = Ranks.from_environment().device(device)
    target = check_directory(
        output,
        marker=TASK_FILE,
        force=force,
        inputs=[config.model, *(data.path for data in sets.values())],
    )
    space = sets["train"].space
    for data in sets.values():
        if data.space != space:
            raise InputError(
                f"{data.space} labels, where the training data have {space}",
                path=data.path,
                hint="read_labelled(path, options, space) reads labels as those of others",
            )
    config = replace(config, metric=config.metric or PRIMARY[space.kind])
    if config.metric not in metrics_of(space.kind):
        raise InputError(
            f"no metric '{config.metric}' for {space.kind} labels",
            hint=f"one of {', '.join(metrics_of(space.kind))}",
        )
    weighted = space.has_classes or (space.kind == "multilabel" and config.linear_head)
    if config.class_weights != "none" and not weighted:
        raise InputError(
            f"{space.kind} labels have no classes to weigh here", hint="--class-weights none"
        )
    if config.threshold != "0.5" and space.kind not in ("binary", "multilabel"):
        raise InputError(
            f"{space.kind} labels have no threshold to choose", hint="leave --threshold away"
        )
    _check_dev(sets["dev"], config.metric)
    _check_names(choices.class_names, space)
    trunk = Trunk.find(config)
    require_sequence_head(trunk, space.kind)
    if space.kind == "per-base" and config.head_start == "probe":
        raise InputError(
            "labels of single bases have no probe to start from", hint="--head-start random"
        )
    if space.kind == "per-base" and (config.pool != "mean" or config.token_counts):
        raise InputError(
            "labels of single bases are told by their own tokens, which nothing pools or counts",
            hint="leave --pool and --token-counts away",
        )
    length = choices.length or int(max(max(data.lengths()) for data in sets.values()))
    as_trained = "center" if any(data.cut for data in sets.values()) else "tile"
    choices = replace(choices, fit=choices.fit or as_trained)
    Fit.parse(choices.fit, length)
    for data in sets.values():
        trunk.check(data)
    if trunk.max_bases and length > trunk.max_bases:
        raise InputError(
            f"a task length of {length} bases is more than the model takes",
            hint=f"at most {trunk.max_bases}",
        )
    if trunk.trained_bases and length > trunk.trained_bases:
        log.warning(
            "%s was trained on windows of %d bases, the task's are %d: --length cuts them",
            *(config.model, trunk.trained_bases, length),
        )
    staging = staging_of(target)
    fitting = Fitting(config, sets, trunk, choices, length, device, progress or NullProgress())
    try:
        staging.mkdir(parents=True)
        runs = [fitting.run(config.seed + i, staging) for i in range(config.seeds)]
        best = runs[0]
        for run in runs[1:]:
            value, so_far = (each.scores["dev"][config.metric] for each in (run, best))
            if is_better(config.metric, value, so_far):
                best = run
        task = publish(best, runs, sets, config, choices)
        if int(os.environ.get("RANK", "0")):
            return task.at(target)  # every rank has the same; one writes it
        if record:
            (task.directory / CONFIG_FILE).write_text(record, "utf-8")
        put_in_place(task.directory, target, replace=force)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", path=target) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return task.at(target)


def _check_dev(dev: LabelledSet, metric: str) -> None:
    """Refuse a dev set by which nothing can be chosen, whatever is predicted."""
    space, targets = dev.space, dev.flat_targets()
    output_NC = np.random.default_rng(0).random((len(targets), space.n_outputs))
    if math.isnan(score(space, targets, output_NC)[metric]):
        raise InputError(
            (undefined(space, targets) or [f"{metric} is undefined"])[0],
            path=dev.path,
            hint=f"dev chooses by {metric}: give another dev set, or another --metric",
        )


def _check_names(names: tuple[str, ...], space: LabelSpace) -> None:
    if names and len(names) != space.n_outputs:
        raise InputError(
            f"{len(names)} class names for {space.n_outputs} classes",
            hint=f"in the order of {', '.join(space.classes)}",
        )
