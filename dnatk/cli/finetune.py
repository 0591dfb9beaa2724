"""``dnatk finetune``."""

from __future__ import annotations

import click

from dnatk.cli.configured import Configured, record
from dnatk.cli.labelled import check_labelled, labelled_options, read_options
from dnatk.cli.options import SEED, FiniteRange, device_option, precision_option, threads_option
from dnatk.cli.tables import aligned, metrics_table, seeds_line
from dnatk.cli.task_options import check_method, model_takes, task_options, told_of_cut


@click.command(
    "finetune",
    cls=Configured,
    exclusive=[("dev", "dev_contigs"), ("test", "test_contigs")],
    short_help="Train a task on labelled sequences or regions.",
)
@click.argument("data", metavar="DATA")
@click.option("-o", "--output", required=True, metavar="DIR", help="Task directory to write.")
@click.option("--dev", metavar="FILE", help="Labelled data to choose by, instead of a split.")
@click.option("--test", metavar="FILE", help="Labelled data to measure on, instead of a split.")
@click.option(
    "--split",
    type=click.Choice(["auto", "random", "chromosome"]),
    default="auto",
    show_default=True,
    help="How DATA is split; auto is by chromosome where coordinates are known.",
)
@click.option(
    "--dev-share",
    type=FiniteRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of DATA that becomes dev, where there is no --dev or --dev-contig.",
)
@click.option(
    "--test-share",
    type=FiniteRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of DATA that becomes test, where there is no --test or --test-contig.",
)
@click.option(
    "--dev-contig", "dev_contigs", multiple=True, metavar="CONTIG", help="This contig is dev."
)
@click.option(
    "--test-contig", "test_contigs", multiple=True, metavar="CONTIG", help="This contig is test."
)
@click.option(
    "--kind",
    type=click.Choice(["binary", "multiclass", "multilabel", "regression", "per-base"]),
    help="What the labels are.  [default: told by the labels, but for per-base]",
)
@click.option(
    "--positive",
    default="",
    metavar="LABEL",
    help="The positive class of binary labels.  [default: 1, true, positive, yes, or the last]",
)
@click.option(
    "--length",
    type=click.IntRange(min=1),
    default=None,
    metavar="BASES",
    help="Task length; longer sequences are cut to their middle.  [default: the longest sequence]",
)
@labelled_options
@click.option("--strict", is_flag=True, help="Stop if the data check finds a flaw.")
@click.option(
    "--drop-leaks", is_flag=True, help="Take dev and test sequences (either strand) out of train."
)
@click.option(
    "--model",
    default="dnatk-small",
    show_default=True,
    metavar="DIR|NAME",
    help="The trunk: an installed model, a directory, or a transformers model of a hub.",
)
@click.option(
    "--trust-remote-code", is_flag=True, help="Run a hub model's own code (wants --revision)."
)
@click.option("--revision", default="", metavar="SHA", help="The commit of a hub model.")
@click.option(
    "--method",
    type=click.Choice(["full", "lora", "probe"]),
    default="lora",
    show_default=True,
    help="Train all weights, small adapters, or a linear head on the frozen trunk.",
)
@click.option(
    "--pool",
    type=click.Choice(["mean", "max", "cls", "all", "positions"]),
    default="mean",
    show_default=True,
    help="How tokens become one vector for the head; all is the three side by side, positions adds "
    "every token in its place (for sequences cut round the same site).",
)
@click.option(
    "--head-start",
    type=click.Choice(["random", "probe"]),
    default="random",
    show_default=True,
    help="What the head starts from: probe fits a linear head to the frozen trunk first, which "
    "short trainings and few examples gain by.",
)
@click.option(
    "--token-counts",
    is_flag=True,
    help="Give the outputs a weight for each k-mer too, beside what the model makes of them (for "
    "motifs that may be anywhere).",
)
@click.option(
    "--epochs",
    type=FiniteRange(min=0, min_open=True),
    default=4,
    show_default=True,
    help="Passes over the training data.",
)
@click.option("--max-steps", type=click.IntRange(min=1), help="Stop after so many steps.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Sequences of one step, over all GPUs.",
)
@click.option(
    "--lr",
    type=FiniteRange(min=0, min_open=True),
    help="Peak learning rate.  [default: 3e-4 full, 1e-3 lora]",
)
@click.option(
    "--layer-decay",
    type=FiniteRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Factor on the learning rate from each layer to the one below.",
)
@click.option(
    "--kmer-stride",
    type=click.Choice(["1", "k"]),
    help="Bases from one k-mer to the next: 1 overlapping, k non-overlapping.  [default: as the "
    "model was pre-trained]",
)
@click.option("--lora-r", type=click.IntRange(min=1), default=16, show_default=True, help="Rank.")
@click.option(
    "--class-weights",
    type=click.Choice(["none", "balanced"]),
    default="none",
    show_default=True,
    help="Weigh classes by the inverse of their frequency.",
)
@click.option("--rc-augment", is_flag=True, help="Train on random strands.")
@click.option(
    "--metric",
    default="",
    metavar="NAME",
    help="Chooses checkpoint and seed on dev.  [default: mcc, auroc (multilabel) or pearson]",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Stop after so many looks at dev without a better metric.",
)
@click.option(
    "--threshold",
    type=click.Choice(["0.5", "mcc", "f1"]),
    default="0.5",
    show_default=True,
    help="Where a probability becomes a label (binary, multilabel): 0.5, or the best of dev by mcc "
    "or f1.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs; the best on dev is kept, mean and sd of all are told.",
)
@click.option(
    "--seed",
    type=SEED,
    default=42,
    show_default=True,
    help="Of the split, of drawn negatives and of the first run.",
)
@task_options
@click.option("--force", is_flag=True, help="Replace the task directory.")
@device_option
@precision_option
@threads_option
@click.pass_obj
def command(
    console, data, output, dev, test, split, dev_share, test_share, dev_contigs, test_contigs,
    kind, positive, length, strict, drop_leaks, name, description, class_names, fit, combine, rc,
    stranded, force, device, threads, max_steps, lr, sequence_column, label_columns, labels_from,
    header_label, genome, negatives, negative_ratio, kmer_stride, **options,
):  # fmt: skip
    """Train a task on labelled sequences or regions.

    DATA is a CSV or TSV table with the columns sequence and label, a FASTA with labels in its
    headers or in --labels-from, or a BED with --genome (with --label-column, or positives only).
    What is not given by --dev and --test is split off. The data are checked first. DIR receives
    the task: weights, card, plots; dnatk evaluate and dnatk predict read it.

    \b
    Example:
      dnatk finetune train.csv --dev dev.csv --test test.csv -o task
      dnatk finetune peaks.bed --genome genome.fa --length 300 -o peaks --seeds 3
      dnatk predict --task task regions.bed --genome genome.fa
    """
    check_method(options["method"], kind)
    check_labelled(data, dev, test)

    from pathlib import Path

    from dnatk.errors import InputError
    from dnatk.labelled.doctor import examine
    from dnatk.labelled.prepare import Files, Splitting, read_sets, split_in_words
    from dnatk.model.placement import prepare_cpu
    from dnatk.training.finetune_config import FinetuneConfig, TaskChoices

    if (dev and dev_contigs) or (test and test_contigs):
        raise click.UsageError("a file and a contig for the same split exclude each other.")
    config = FinetuneConfig(
        max_steps=max_steps or 0, lr=lr or 0.0, kmer_stride=kmer_stride or "", **options
    )
    files = Files(data, dev, test)
    splitting = Splitting(split, dev_share, test_share, dev_contigs, test_contigs, options["seed"])
    sets, report, dropped = read_sets(
        files,
        read_options(
            sequence_column=sequence_column,
            label_columns=label_columns,
            labels_from=labels_from,
            header_label=header_label,
            genome=genome,
            negatives=negatives,
            negative_ratio=negative_ratio,
            kind=kind or "",
            positive=positive,
            length=length or 0,
            fit=fit or "tile",
            stranded=stranded and rc != "average",
            seed=options["seed"],
        ),
        splitting,
        drop=drop_leaks,
        most=lambda: model_takes(config),
    )
    console.say(aligned(report.header, report.rows))
    if any(labelled.cut for labelled in sets.values()) and fit in ("", "tile"):
        console.say(told_of_cut(fit))
    for flaw in report.flaws:
        console.say(f"check: {flaw}")
    if dropped:
        console.say(f"{dropped} training sequence(s) that stand in dev or test dropped")
    flaws = examine(sets).flaws if dropped else report.flaws
    if strict and flaws:
        raise InputError(
            f"the data check found {len(flaws)} flaw(s)",
            path=data,
            hint="listed above; --drop-leaks removes leaks, without --strict they are only told",
        )

    from dnatk.training.finetune import finetune

    prepare_cpu(threads)
    choices = TaskChoices(
        name=name or Path(output).resolve().name,
        description=description,
        class_names=tuple(filter(None, (part.strip() for part in class_names.split(",")))),
        length=length or 0,
        fit=fit,
        combine=combine,
        rc=rc,
        stranded=stranded,
        split=split_in_words(files, splitting, sets, dropped),
    )
    with console.progress() as progress:
        task = finetune(
            config,
            sets,
            output,
            choices=choices,
            record=record(),
            device=device,
            force=force,
            progress=progress,
        )
    console.say(f"on {task.part}:")
    console.say(metrics_table(task.metrics[task.part]))
    if len(task.details["seeds"]) > 1:
        console.say(f"seed {task.details['seed']} is kept; {seeds_line(task)}")
    console.say(progress.closing(f"task in {output}: {len(sets['train']):,} training sequences"))
