"""What a finished task says of itself: metrics with intervals, card, plots, report, task.json.

Shapes: N examples, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from dnatk import __version__
from dnatk.genome.fasta import sha256
from dnatk.inference.evaluate import Evaluation
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.doctor import Report, examine
from dnatk.output.files import written_whole
from dnatk.tasks.task import Task
from dnatk.training.card import write_card
from dnatk.training.finetune_config import FinetuneConfig, TaskChoices
from dnatk.training.fitting import Run
from dnatk.training.metrics import score_with_intervals
from dnatk.training.report import draw_plots
from dnatk.training.task_page import REPORT_FILE, evaluation_page, task_page


def publish(
    best: Run,
    runs: list[Run],
    sets: Mapping[str, LabelledSet],
    config: FinetuneConfig,
    choices: TaskChoices,
) -> Task:
    """Intervals, card, plots and report of the chosen seed; task.json last."""
    task = best.task
    part = "test" if "test" in sets else "dev"
    outputs_NC = task.outputs(best.logits[part])
    metrics = {
        name: {metric: {"value": value} for metric, value in values.items()}
        for name, values in best.scores.items()
    }
    metrics[part] = _intervals(config, task, sets[part], outputs_NC)
    check = examine(dict(sets))
    leaked_N = _leaked(sets, check)
    unleaked = np.flatnonzero(~leaked_N)
    if len(unleaked) and leaked_N.any() and task.kind != "per-base":
        data = sets["test"].take(unleaked)
        metrics["test_unleaked"] = _intervals(config, task, data, outputs_NC[unleaked])
    details = {
        "dnatk_version": __version__,
        "seed": best.seed,
        "seeds": {str(run.seed): run.scores for run in runs},
        "config": asdict(config),
        "split": choices.split,
        "data": {name: describe(data) for name, data in sets.items()},
        "check": {"rows": check.rows, "flaws": check.flaws},
    }
    task = replace(task, metrics=metrics, details=details)
    targets = sets[part].flat_targets()
    plots = draw_plots(
        task.directory,
        task.shown,
        targets,
        outputs_NC,
        best.history,
        metric=config.metric,
        thresholds=task.limits(),
    )
    write_card(task)
    (task.directory / REPORT_FILE).write_text(task_page(task, plots), encoding="utf-8")
    task.write()
    return task


def write_evaluation(path: Path, task: Task, data: LabelledSet, evaluation: Evaluation) -> None:
    """The page of an evaluation of ``task`` on ``data``, whole or not at all."""
    plots = draw_plots(
        None,
        task.shown,
        evaluation.targets,
        evaluation.outputs,
        [],
        thresholds=task.limits(),
    )
    text = evaluation_page(
        task,
        {metric: asdict(estimate) for metric, estimate in evaluation.metrics.items()},
        plots,
        data=describe(data),
        unscored=evaluation.unscored,
        notes=evaluation.notes,
    )
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


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


def _leaked(sets: Mapping[str, LabelledSet], check: Report) -> np.ndarray:
    """(N,) bool, the test sequences that stand in train too, on either strand."""
    if "test" not in sets:
        return np.empty(0, dtype=bool)
    leaked_N = np.zeros(len(sets["test"]), dtype=bool)
    leaked_N[check.leaked["test"]] = True
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
