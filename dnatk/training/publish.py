"""What a finished task says of itself: metrics with intervals, card, plots, task.json.

Shapes: N examples, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from dnatk import __version__
from dnatk.genome.fasta import sha256
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.doctor import examine
from dnatk.tasks.task import Task
from dnatk.training.card import write_card
from dnatk.training.finetune_config import FinetuneConfig, TaskChoices
from dnatk.training.fitting import Run
from dnatk.training.metrics import score_with_intervals
from dnatk.training.report import draw_plots


def publish(
    best: Run,
    runs: list[Run],
    sets: Mapping[str, LabelledSet],
    config: FinetuneConfig,
    choices: TaskChoices,
) -> Task:
    """Intervals, card and plots of the chosen seed; task.json last."""
    task = best.task
    part = "test" if "test" in sets else "dev"
    outputs_NC = task.outputs(best.logits[part])
    metrics = {
        name: {metric: {"value": value} for metric, value in values.items()}
        for name, values in best.scores.items()
    }
    metrics[part] = _intervals(config, task, sets[part], outputs_NC)
    leaked_N = _leaked(sets)
    unleaked = np.flatnonzero(~leaked_N)
    if len(unleaked) and leaked_N.any() and task.kind != "per-base":
        data = sets["test"].take(unleaked)
        metrics["test_unleaked"] = _intervals(config, task, data, outputs_NC[unleaked])
    details = {
        "dnatk_version": __version__,
        "seed": best.seed,
        "seeds": {str(run.seed): run.scores for run in runs},
        "config": asdict(config),
        "read_length": choices.length,  # what sequences were cut to as they were read; 0: none
        "split": choices.split,
        "data": {name: describe(data) for name, data in sets.items()},
    }
    task = replace(task, metrics=metrics, details=details)
    targets = sets[part].flat_targets()
    draw_plots(
        task.directory,
        task.shown,
        targets,
        outputs_NC,
        best.history,
        thresholds=task.limits(),
    )
    write_card(task)
    task.write()
    return task


def _intervals(
    config: FinetuneConfig, task: Task, data: LabelledSet, outputs_NC: np.ndarray
) -> dict:
    estimates = score_with_intervals(
        task.space,
        data.flat_targets(),
        outputs_NC,
        thresholds=task.limits(),
        group_N=data.target_groups(),
        seed=config.seed,
    )
    return {metric: asdict(estimate) for metric, estimate in estimates.items()}


def _leaked(sets: Mapping[str, LabelledSet]) -> np.ndarray:
    """(N,) bool, the test sequences that stand in train too, on either strand."""
    if "test" not in sets:
        return np.empty(0, dtype=bool)
    leaked_N = np.zeros(len(sets["test"]), dtype=bool)
    leaked_N[examine(dict(sets)).leaked["test"]] = True
    return leaked_N


def describe(data: LabelledSet) -> dict:
    """What a task remembers of a set."""
    path = Path(data.path)
    return {
        "file": path.name,
        "sha256": sha256(path) if path.is_file() else "",
        "examples": len(data),
        "classes": dict(zip(data.space.classes, data.class_counts().tolist(), strict=True)),
        "contigs": sorted({region.contig for region in data.regions or ()}),
    }
