"""``dnatk evaluate``: a task's scores of labelled data, measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dnatk.errors import InputError
from dnatk.inference.sequences import flat_outputs, score_sequences
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.read import ReadOptions, read_labelled
from dnatk.progress import Progress
from dnatk.tasks.scorer import Scorer, as_scorer
from dnatk.tasks.task import Task
from dnatk.training.metrics import Estimate, score_with_intervals, undefined


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        metrics: name -> value and bootstrap interval.
        examples: scored; ``unscored`` had no k-mer free of N and count for nothing.
        notes: why a metric is undefined.
        targets, outputs: what was compared, as :func:`dnatk.training.metrics.score` takes it.
    """

    metrics: dict[str, Estimate]
    examples: int
    unscored: int
    notes: list[str]
    targets: np.ndarray = field(repr=False)
    outputs: np.ndarray = field(repr=False)


def read_for_task(path: str, task: Task, options: ReadOptions) -> LabelledSet:
    """Labelled data whose labels are the task's, by its own names or by those in words.

    What is read of them is what ``predict`` reads, so that the figures are those of its rows.

    Raises:
        InputError: as :func:`read_labelled`; an unknown class names those of the task.
    """
    stranded = task.needs_strand()
    options = replace(options, length=task.length, fit=task.fit, stranded=stranded, cut=False)
    try:
        return read_labelled(path, options, task.space)
    except InputError as error:
        if task.shown == task.space:
            raise
        try:
            return read_labelled(path, options, task.shown)
        except InputError as in_words:  # the names that most of the file goes by
            if (in_words.line or 0) > (error.line or 0):
                raise in_words from None
        raise


def evaluate(
    task: str | Path | Task | Scorer,
    data: str | Path | LabelledSet,
    *,
    options: ReadOptions | None = None,
    resamples: int = 1000,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    batch_tokens: int | None = None,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score labelled data with a task and measure; intervals are 95 % bootstrap over examples.

    Args:
        task: a task's name, its directory, the task, or a scorer of it.
        data: a file as :func:`read_labelled` takes it, or what that gave, with the task's classes.
        options: how the file is read, None: find out; kind, positive, length, fit, stranded and
            cut are the task's.
        resamples, seed: of the bootstrap.
        device, precision, trust_remote_code: of a task that is not yet a scorer.

    Raises:
        InputError: the data are not what the task is of, or nothing can be scored. ModelError.

    >>> measured = dnatk.evaluate("promoter", "test.csv", resamples=50, device="cpu")
    >>> measured.examples
    20
    >>> mcc = measured.metrics["mcc"]
    >>> -1 <= mcc.low <= mcc.value <= mcc.high <= 1
    True
    """
    scorer = as_scorer(
        task, device=device, precision=precision, trust_remote_code=trust_remote_code
    )
    task = scorer.task
    if not isinstance(data, LabelledSet):
        options = options or ReadOptions()
        data = read_for_task(str(data), task, replace(options, kind=task.kind))
    elif data.space not in (task.space, task.shown):
        raise InputError(
            f"{data.space} labels, where the task has {task.space}",
            path=data.path,
            hint="read_labelled(path, options, task.space) reads labels as the task's",
        )
    outputs = score_sequences(scorer, data.sequences, batch_tokens=batch_tokens, progress=progress)
    scored = {i: output for i, output in enumerate(outputs) if output is not None}
    if not scored:
        raise InputError("nothing can be scored: no sequence has a k-mer free of N", path=data.path)
    known = data.take(list(scored))
    targets = known.flat_targets()
    flat, group_N = flat_outputs(task, list(scored.values())), known.target_groups()
    if group_N is not None:
        # Bases of which no window could be scored are no predictions.
        scored_N = flat.any(axis=1)
        targets, flat, group_N = targets[scored_N], flat[scored_N], group_N[scored_N]
    metrics = score_with_intervals(
        task.space,
        targets,
        flat,
        thresholds=task.limits(),
        group_N=group_N,
        resamples=resamples,
        seed=seed,
    )
    notes = undefined(task.space, targets)
    return Evaluation(metrics, len(scored), len(data) - len(scored), notes, targets, flat)
