"""``dnatk finetune``: labelled sequences in, a task directory out.

Shapes: N examples, C outputs, P pooled.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dnatk.errors import InputError, OutputError
from dnatk.inference.fit import Fit
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.doctor import examine
from dnatk.output.files import check_directory
from dnatk.progress import NullProgress, Progress
from dnatk.tasks.task import TASK_FILE, Task
from dnatk.training.finetune_config import FinetuneConfig
from dnatk.training.fitting import Fitting, TaskChoices
from dnatk.training.metrics import (
    PRIMARY,
    is_better,
    metrics_of,
)
from dnatk.training.trunks import Trunk, require_sequence_head

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
_RESTARTS = 2
_RESTART_STEP = 1000


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
    target = check_directory(output, marker=TASK_FILE, force=force)
    space = sets["train"].space
    config = replace(config, metric=config.metric or PRIMARY[space.kind])
    if config.metric not in metrics_of(space.kind):
        raise InputError(
            f"no metric '{config.metric}' for {space.kind} labels",
            hint=f"one of {', '.join(metrics_of(space.kind))}",
        )
    trunk = Trunk.find(config)
    require_sequence_head(trunk, space.kind)
    length = choices.length or int(max(max(data.lengths()) for data in sets.values()))
    Fit.parse(choices.fit, length)
    for data in sets.values():
        trunk.check(data)
    if trunk.max_bases and length > trunk.max_bases:
        raise InputError(
            f"a task length of {length} bases is more than the model takes",
            hint=f"at most {trunk.max_bases}",
        )
    staging = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    fitting = Fitting(
        config, sets, trunk, choices, length, device, progress or NullProgress(), _leaked(sets)
    )
    try:
        runs = [fitting.run(config.seed + i, staging) for i in range(config.seeds)]
        best = runs[0]
        for run in runs[1:]:
            value, so_far = (each.scores["dev"][config.metric] for each in (run, best))
            if is_better(config.metric, value, so_far):
                best = run
        task = fitting.publish(best, runs)
        if int(os.environ.get("RANK", "0")):
            return task.at(target)  # every rank has the same; one writes it
        if target.exists():
            shutil.rmtree(target)
        os.replace(task.directory, target)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", path=target) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return task.at(target)


def _leaked(sets: Mapping[str, LabelledSet]) -> np.ndarray | None:
    """(N,) bool, the test sequences that stand in train too, on either strand."""
    if "test" not in sets:
        return None
    leaked_N = np.zeros(len(sets["test"]), dtype=bool)
    leaked_N[examine(dict(sets)).leaked["test"]] = True
    return leaked_N
