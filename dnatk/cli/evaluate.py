"""``dnatk evaluate``."""

from __future__ import annotations

import json

import click

from dnatk.cli.configured import Configured
from dnatk.cli.labelled import check_labelled, labelled_options, read_options
from dnatk.cli.options import (
    SEED,
    device_option,
    precision_option,
    remote_code_option,
    threads_option,
)
from dnatk.cli.tables import metrics_table
from dnatk.undefined import as_null


@click.command(
    "evaluate", cls=Configured, short_help="Measure a task on labelled sequences or regions."
)
@click.argument("task", metavar="TASK")
@click.argument("data", metavar="DATA")
@labelled_options
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of a table.")
@click.option("--report", metavar="FILE", help="Write a page (HTML) with metrics and figures too.")
@click.option("--force", is_flag=True, help="Overwrite the report.")
@click.option(
    "--resamples",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Bootstrap resamples behind the intervals.",
)
@click.option(
    "--seed", type=SEED, default=42, show_default=True, help="Of resamples and drawn negatives."
)
@remote_code_option
@device_option
@precision_option
@threads_option
@click.pass_obj
def command(
    console, task, data, as_json, report, force, resamples, seed, device, precision, threads,
    trust_remote_code, **options,
):  # fmt: skip
    """Measure a task on labelled sequences or regions.

    TASK is a task's name or directory, DATA as dnatk finetune reads it, its labels those of the
    task. Class tasks get accuracy, F1, MCC, AUROC, AUPRC, Brier, ECE and log loss, values Pearson,
    Spearman, R2 and MSE, with 95 % bootstrap intervals.

    \b
    Example:
      dnatk evaluate promoter test.csv.gz
      dnatk evaluate task peaks.bed --genome genome.fa --json
      dnatk evaluate task test.csv --report test.html
    """
    check_labelled(data)

    from dataclasses import asdict

    from dnatk.inference.evaluate import evaluate, read_for_task
    from dnatk.model.placement import prepare_cpu
    from dnatk.output.files import check_output
    from dnatk.tasks.registry import find_task
    from dnatk.tasks.scorer import load_scorer

    if report is not None:
        inputs = (data, options["genome"], options["labels_from"])
        report = check_output(report, force=force, inputs=inputs)
    prepare_cpu(threads)
    found = find_task(task)
    labelled = read_for_task(data, found, read_options(kind=found.kind, seed=seed, **options))
    with console.progress() as progress:
        result = evaluate(
            load_scorer(
                found,
                device=device,
                precision=precision,
                trust_remote_code=trust_remote_code,
            ),
            labelled,
            resamples=resamples,
            seed=seed,
            progress=progress,
        )
    if as_json:
        metrics = as_null({k: asdict(v) for k, v in result.metrics.items()})
        facts = {
            "task": found.name,
            "task_sha256": found.sha256(),
            "data": data,
            "examples": result.examples,
            "unscored": result.unscored,
            "metrics": metrics,
        }
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(metrics_table({k: asdict(v) for k, v in result.metrics.items()}))
    console.say(progress.closing(f"{result.examples:,} examples, 95 % bootstrap intervals"))
    if result.unscored:
        console.say(f"{result.unscored} example(s) left out: no k-mer free of N")
    for note in result.notes:
        console.say(note)
    if report is not None:
        from dnatk.training.publish import write_evaluation

        write_evaluation(report, found, labelled, result)
        console.say(f"{report}")
