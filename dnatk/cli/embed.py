"""``dnatk embed``."""

from __future__ import annotations

from pathlib import Path

import click

from dnatk.cli.configured import Configured, command_line, is_typed, record
from dnatk.cli.options import (
    batch_tokens_option,
    check_run_options,
    device_option,
    precision_option,
    run_options,
    threads_option,
)
from dnatk.cli.plots import map_options


@click.command(
    "embed",
    cls=Configured,
    exclusive=[("bed", "regions")],
    short_help="Embed a genome, sequences or BED regions into an HDF5 file.",
)
@click.argument("fasta", metavar="FASTA")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="HDF5 file to write.  [default: FASTA.embeddings.h5, beside the input]",
)
@click.option("--bed", metavar="BED", help="One row for each region of this BED file (- is stdin).")
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="CHR:START-END",
    help="One row for this region, 1-based inclusive. Repeatable.",
)
@click.option(
    "--model",
    default="dnatk-small",
    show_default=True,
    metavar="DIR|NAME",
    help="A model directory, or an installed model.",
)
@click.option(
    "--pool",
    type=click.Choice(["mean", "max", "cls", "none"]),
    default="mean",
    show_default=True,
    help="How k-mers become a row; none keeps the vector of every k-mer.",
)
@click.option(
    "--layer",
    type=int,
    default=-1,
    show_default=True,
    help="Hidden states to take: 0 the embeddings, n after layer n, -1 the last.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="BASES",
    help="Longest piece given to the model.  [default: what it was trained on, 515 of dnatk-small]",
)
@click.option(
    "--stride",
    type=click.IntRange(min=1),
    metavar="BASES",
    help="From one piece to the next.  [default: each k-mer once]",
)
@click.option(
    "--rc",
    type=click.Choice(["none", "average"]),
    default="none",
    show_default=True,
    help="Average with the embedding of the other strand.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Of the numbers in the file.",
)
@click.option(
    "--on-error",
    type=click.Choice(["fail", "na"]),
    default="fail",
    show_default=True,
    help="At a region (of --bed or --region) that cannot be scored: stop, or write a NaN row with "
    "its status.",
)
@click.option(
    "--plot",
    metavar="FILE",
    help="Draw a map of the rows too: FILE.png, .svg, .pdf or .html.",
)
@map_options
@run_options
@device_option
@precision_option
@threads_option
@batch_tokens_option
@click.pass_obj
def command(
    console, fasta, output, bed, regions, model, plot, colour, map_, force, resume, shard, threads,
    **options
):  # fmt: skip
    """Embed a genome, sequences or regions into an HDF5 file.

    FASTA is plain, bgzip or gzip, or - for stdin. Without --bed or --region every piece of
    --window bases of every sequence is a row; a sequence that fits is one row. With --bed each
    line is a row, whatever its length; "-" regions are read as the reverse complement.

    Rows are kept in FILE.partial/ as they are made: a run that was killed goes on with --resume.
    torchrun -m dnatk embed ... shares the work among GPUs or machines.

    \b
    Example:
      dnatk embed genome.fa
      dnatk embed genome.fa --bed promoters.bed -o promoters.h5 --rc average
      zcat reads.fa.gz | dnatk embed - -o reads.h5
      dnatk embed genome.fa --bed peaks.bed -o peaks.h5 --plot peaks.png --colour score
      dnatk embed genome.fa --shard 2/8 -o genome.2.h5
      python -c 'import dnatk; print(dnatk.read_embeddings("promoters.h5"))'
    """
    check_run_options(force, resume)
    if bed is not None and regions:
        raise click.UsageError("--bed and --region exclude each other.")
    if fasta == "-":
        if bed is not None or regions:
            raise click.UsageError(
                "regions need a FASTA file: stdin cannot be read at any place. "
                "Save it to a file first."
            )
        if output is None:
            raise click.UsageError("name the output with -o when the FASTA comes from stdin.")
    if output == "-":
        raise click.UsageError("HDF5 cannot go to stdout; name a file with -o.")
    typed = [is_typed(click.get_current_context(), name) for name in ("colour", "map_")]
    if plot is None and any(typed):
        raise click.UsageError("--colour and --map go with --plot.")
    named = output or f"{fasta}.embeddings.h5"
    if plot is not None:
        _check_plot(plot, named, colour, map_, fasta, bed, shard, options["pool"], force, resume)
    if output is None:
        console.say(f"writing {named}")

    from dnatk.inference.embed import EmbedOptions, embed
    from dnatk.model.placement import prepare_cpu
    from dnatk.output.status import Status

    prepare_cpu(threads)
    with console.progress() as progress:
        summary = embed(
            fasta,
            named,
            bed=bed,
            regions=regions,
            model=model,
            options=EmbedOptions(**options),
            shard=shard,
            resume=resume,
            force=force,
            command=command_line(),
            config=record(),
            progress=progress,
        )
    if summary is None:  # the first of the processes speaks
        return
    counts = [f"{summary.rows:,} rows"]
    if summary.kept:
        counts.append(f"{summary.kept:,} of them made before")
    if summary.skipped:
        counts.append(f"{summary.skipped:,} window(s) without a valid k-mer skipped")
    for status, count in summary.unscored.items():
        counts.append(f"{count:,} NaN ({Status(status).name.lower().replace('_', ' ')})")
    console.say(progress.closing(f"{summary.path}: {', '.join(counts)}"))
    if plot is not None:
        from dnatk.analysis.region_map import draw_map

        console.say(f"{plot}: {draw_map(named, plot, method=map_ or '', colour=colour, bed=bed)}")


def _check_plot(plot, output, colour, method, fasta, bed, shard, pool, force, resume) -> None:
    """Refuse a map that could not be drawn, before the work is done."""
    if pool == "none":
        raise click.UsageError("--plot needs a vector for each row, which --pool none has not.")
    if shard is not None:
        raise click.UsageError("--plot needs all rows: merge the shards, then dnatk h5 plot.")

    from dnatk.analysis.region_colours import check_colour
    from dnatk.analysis.region_map import check_map
    from dnatk.errors import OutputError
    from dnatk.output.files import check_output

    check_output(plot, force=force, resume=resume, inputs=(fasta, bed))
    if Path(plot).resolve() == Path(output).resolve():
        raise OutputError("cannot be both the embeddings and their map", path=plot)
    check_map(plot, method or "")
    check_colour(colour, bed, labels=False)
