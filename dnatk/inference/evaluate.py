"""``dnatk evaluate``: a task's scores of labelled data, measured."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from dnatk.errors import InputError
from dnatk.inference.sequences import flat_outputs, score_sequences
from dnatk.labelled.dataset import LabelledSet, LabelSpace
from dnatk.labelled.read import ReadOptions, read_labelled
from dnatk.progress import Progress
from dnatk.tasks.scorer import Scorer
from dnatk.tasks.task import Task
from dnatk.training.metrics import Estimate, score_with_intervals, undefined


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        metrics: name -> value and bootstrap interval.
        examples: scored; ``unscored`` had no k-mer free of N and count for nothing.
        notes: why a metric is undefined.
    """

    metrics: dict[str, Estimate]
    examples: int
    unscored: int
    notes: list[str]


def read_for_task(path: str, task: Task, options: ReadOptions) -> LabelledSet:
    """Labelled data whose labels are the task's, by its own names or by those in words.

    Sequences and regions are brought to the length that the training data were brought to.

    Raises:
        InputError: as :func:`read_labelled`; an unknown class names those of the task.
    """
    options = replace(options, length=options.length or task.details.get("read_length", 0))
    try:
        return read_labelled(path, options, task.space)
    except InputError:
        if task.class_names == task.classes:
            raise
        with suppress(InputError):
            return read_labelled(path, options, LabelSpace(task.kind, task.class_names))
        raise


def evaluate(
    scorer: Scorer,
    data: LabelledSet,
    *,
    resamples: int = 1000,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score ``data`` and measure; intervals are 95 % percentile bootstrap over examples."""
    task = scorer.task
    outputs = score_sequences(scorer, data.sequences, batch_tokens=batch_tokens, progress=progress)
    scored = [i for i, output in enumerate(outputs) if output is not None]
    if not scored:
        raise InputError("nothing could be scored: no k-mer free of N", path=data.path)
    known = data.take(scored)
    targets = known.flat_targets()
    metrics = score_with_intervals(
        task.space,
        targets,
        flat_outputs(task, [outputs[i] for i in scored]),
        thresholds=task.limits(),
        group_N=known.target_groups(),
        resamples=resamples,
        seed=seed,
    )
    return Evaluation(metrics, len(scored), len(data) - len(scored), undefined(task.space, targets))
