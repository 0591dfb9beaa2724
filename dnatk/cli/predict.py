"""``dnatk predict``."""

from __future__ import annotations

import sys

import click

from dnatk.cli.configured import Configured, command_line, is_typed, record
from dnatk.cli.layout import check_stdout
from dnatk.cli.options import (
    FitText,
    batch_tokens_option,
    check_run_options,
    device_option,
    precision_option,
    remote_code_option,
    run_options,
    threads_option,
)


@click.command("predict", cls=Configured, short_help="Score BED regions or sequences with a task.")
@click.argument("source", metavar="BED|FASTA")
@click.option("--task", required=True, metavar="NAME|DIR", help="A task, see dnatk tasks.")
@click.option(
    "-o", "--output", default="-", metavar="FILE", help="Where to write.  [default: stdout]"
)
@click.option(
    "--genome",
    metavar="FASTA|NAME",
    help="What the regions are read from; dnatk config set genome names it for good.",
)
@click.option(
    "--format",
    type=click.Choice(["bed", "tsv", "jsonl"]),
    help="[default: bed for BED, tsv for FASTA]",
)
@click.option("--probabilities", is_flag=True, help="Add a column for each class.")
@click.option("--h5", metavar="FILE", help="Write an HDF5 file too.")
@click.option("--embeddings", is_flag=True, help="Put the regions' vectors into --h5.")
@click.option(
    "--report",
    metavar="FILE",
    help="Write a page (HTML) too: counts, histogram, tracks along contigs, the highest rows.",
)
@click.option(
    "--fit",
    type=FitText(),
    default="",
    metavar="tile|center|tss:A,B",
    help="How a region is brought to the task's length: in windows half a length apart, by its "
    "middle, or A to B round its 5' end. Shorter regions are extended.  [default: the task's]",
)
@click.option(
    "--combine",
    type=click.Choice(["mean", "max", "tiles"]),
    help="What becomes of a region's windows; tiles gives a row for each.  [default: the task's]",
)
@click.option(
    "--rc",
    type=click.Choice(["none", "average"]),
    help="Average with the other strand.  [default: the task's]",
)
@click.option(
    "--on-error",
    type=click.Choice(["na", "fail"]),
    default="na",
    show_default=True,
    help="At a region that cannot be scored: write an NA row with a note, or stop.",
)
@click.option("--ignore-strand", is_flag=True, help="Read regions without a strand forward.")
@click.option("--no-header", is_flag=True, help="Leave the # line out.")
@click.option("--no-provenance", is_flag=True, help="Leave the ##dnatk lines out.")
@run_options
@remote_code_option
@device_option
@precision_option
@threads_option
@batch_tokens_option
@click.pass_obj
def command(
    console, source, task, output, genome, h5, report, combine, rc, no_header, no_provenance, force,
    resume, shard, threads, format, **options,
):  # fmt: skip
    """Score BED regions or sequences with a task; a row out for each row in, in its order.

    The input is BED or FASTA, told by its content, or - for stdin. BED columns are kept as they
    are, then come label, score and note; score is the calibrated probability of the positive (or
    of the chosen) class, or the value. Rows that cannot be scored are NA, with the reason in note.
    BED is 0-based half-open; "-" regions are read as the reverse complement.

    Rows of files are kept in FILE.partial/ as they are made: a run that was killed goes on with
    --resume.

    \b
    Example:
      dnatk predict --task promoter regions.bed --genome genome.fa
      bedtools slop -b 100 -i tss.bed -g sizes | dnatk predict --task promoter - -o out.bed
      dnatk predict --task splice-site sequences.fa --probabilities --format jsonl
      dnatk predict --task promoter regions.bed -o scored.bed --report scored.html
    """
    check_run_options(force, resume)
    if report == "-":
        raise click.UsageError("the report is a file of its own: name it.")
    if h5 == "-":
        raise click.UsageError("HDF5 cannot go to stdout; name a file with --h5.")
    if output == "-" and h5 is None:
        check_stdout()
    if options["embeddings"] and h5 is None:
        if is_typed(click.get_current_context(), "embeddings"):
            raise click.UsageError("--embeddings go into the file of --h5.")
        options["embeddings"] = False

    from dnatk.inference.predict import PredictOptions, predict
    from dnatk.model.placement import prepare_cpu
    from dnatk.output.status import Status

    prepare_cpu(threads)
    # The same bytes everywhere, whatever the locale.
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    with console.progress(rows=output == "-") as progress:
        summary = predict(
            source,
            sys.stdout if output == "-" else output,
            task=task,
            genome=genome,
            h5=h5,
            report=report,
            options=PredictOptions(
                combine=combine or "",
                rc=rc or "",
                format=format or "",
                header=not no_header,
                provenance=not no_provenance,
                **options,
            ),
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
    for status, count in summary.unscored.items():
        counts.append(f"{count:,} NA ({Status(status).note.replace('_', ' ')})")
    where = "stdout" if output == "-" else output
    if output == "-" and summary.finished:
        where = h5
        counts.append("none to stdout")
    console.say(progress.closing(f"{where}: {', '.join(counts)}"))
