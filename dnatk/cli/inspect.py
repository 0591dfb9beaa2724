"""``dnatk inspect``."""

from __future__ import annotations

import click

from dnatk.cli.configured import Configured, record
from dnatk.cli.labelled import check_labelled, labelled_options, read_options
from dnatk.cli.options import SEED, device_option, threads_option


@click.command(
    "inspect",
    cls=Configured,
    short_help="Show what a pre-trained model has learnt, on one page.",
)
@click.argument("model", metavar="MODEL")
@click.argument("fasta", metavar="[FASTA]", default="")
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Directory for the page and its figures."
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Windows on which attention is looked at.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="BASES",
    help="Of each.  [default: what the model was trained on, 1024 at most]",
)
@click.option(
    "--labelled",
    default="",
    metavar="FILE",
    help="Labelled sequences, as dnatk finetune reads them: how well each layer tells the labels.",
)
@click.option(
    "--labelled-dev",
    default="",
    metavar="FILE",
    help="What that is measured on.  [default: a quarter of --labelled]",
)
@click.option("--no-tsne", is_flag=True, help="No t-SNE map, which takes longest.")
@click.option(
    "--seed",
    type=SEED,
    default=42,
    show_default=True,
    help="Of windows, probes, maps and drawn negatives.",
)
@click.option("--force", is_flag=True, help="Replace a DIR of an earlier run.")
@labelled_options
@device_option
@threads_option
@click.pass_obj
def command(
    console, model, fasta, output, windows, window, labelled, labelled_dev, no_tsne, seed, force,
    device, threads, **options,
):  # fmt: skip
    """Show what a pre-trained model has learnt: figures, numbers and one page.

    MODEL is a model directory or an installed model. DIR gets index.html, which needs nothing
    else, inspect.json with all numbers, and each figure as PNG and SVG: maps of the token
    embeddings, attention by layer and head, and what a linear probe reads from each layer.

    FASTA (plain, gzip or bgzip) gives the windows, and the k-mer frequencies. Without one the
    windows are random bases.

    \b
    Example:
      dnatk inspect dnatk-small genome.fa -o looked
      dnatk inspect model genome.fa -o looked --labelled train.csv --no-tsne
    """
    if fasta == "-":
        raise click.UsageError("the FASTA of inspect must be a file: it is read more than once.")
    if labelled_dev and not labelled:
        raise click.UsageError("--labelled-dev goes with --labelled.")
    check_labelled(labelled, labelled_dev)

    from dnatk.analysis.inspect import PAGE_FILE, InspectOptions, inspect
    from dnatk.analysis.inspect_summary import headline
    from dnatk.model.placement import prepare_cpu

    prepare_cpu(threads)
    with console.progress() as progress:
        numbers = inspect(
            model,
            fasta,
            output,
            options=InspectOptions(
                windows=windows,
                window=window or 0,
                labelled=labelled,
                labelled_dev=labelled_dev,
                tsne=not no_tsne,
                seed=seed,
                read=read_options(seed=seed, **options),
            ),
            record=record(),
            device=device,
            force=force,
            progress=progress,
        )
    said = headline(numbers)
    console.say(f"{output}/{PAGE_FILE}" + (f": {said}" if said else ""))
