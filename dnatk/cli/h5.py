"""``dnatk h5``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

_SUFFIXES = {".tsv": "tsv", ".txt": "tsv", ".npz": "npz", ".parquet": "parquet", ".h5ad": "h5ad"}


@click.group("h5", short_help="Show, check, export and merge HDF5 files of embed and predict.")
def command():
    """Show, check, export and merge the HDF5 files that embed and predict write.

    \b
    Example:
      dnatk h5 info promoters.h5
      dnatk h5 verify *.h5
      dnatk h5 export promoters.h5 -o promoters.parquet
      dnatk h5 merge shard-*.h5 -o genome.h5
    """


@command.command("info", short_help="Say what is in a file.")
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def info(file, as_json):
    """Say what is in a file: rows and their width, model, options, strands, scores, labels.

    \b
    Example:
      dnatk h5 info promoters.h5
      dnatk h5 info promoters.h5 --json | jq .rows
    """
    from dnatk.output.summary import as_text, summary

    facts = summary(file)
    click.echo(json.dumps(facts, indent=2) if as_json else as_text(facts))


@command.command("verify", short_help="Check that files are whole.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.pass_context
def verify(ctx, files):
    """Check that files are complete and undamaged, and that only unscored rows are NaN.

    A line for each file or problem; exit 1 if there is a problem. Rows are counted from 0.

    \b
    Example:
      dnatk h5 verify shard-*.h5
    """
    from dnatk.output.verify import verify

    bad = False
    for file in files:
        report = verify(file)
        bad |= bool(report.problems)
        for line in report.problems or [f"ok, {report.rows} rows"]:
            click.echo(f"{file}: {line}")
    ctx.exit(int(bad))


@command.command("export", short_help="Write the rows as tsv, npz, parquet or h5ad.")
@click.argument("file", metavar="FILE")
@click.option(
    "-o", "--output", default="-", metavar="FILE", help="Where to write.  [default: stdout]"
)
@click.option(
    "--format",
    type=click.Choice(["tsv", "npz", "parquet", "h5ad"]),
    help="[default: as the output's name ends; tsv on stdout]",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.pass_obj
def export(console, file, output, format, force):
    """Write the rows of a file for other tools: tsv, npz, parquet or h5ad.

    A row has contig, start, end (0-based half-open), strand, name, status; of predictions label,
    score and p_CLASS or value_NAME; then the vector e0, e1, ... Files of --pool none give a row
    for each token. parquet and h5ad need dnatk[export].

    \b
    Example:
      dnatk h5 export promoters.h5 | head
      dnatk h5 export promoters.h5 -o promoters.parquet
      dnatk h5 export promoters.h5 -o promoters.h5ad
    """
    format = format or ("tsv" if output == "-" else _SUFFIXES.get(Path(output).suffix.lower()))
    if format is None:
        raise click.UsageError(f"{output}: name the format with --format.")
    if output == "-" and format != "tsv":
        raise click.UsageError(f"{format} cannot go to stdout; name a file with -o.")

    from dnatk.output.export import export

    rows = export(file, sys.stdout.buffer if output == "-" else output, format, force=force)
    if output != "-":
        console.say(f"{output}: {rows} rows")


@command.command("merge", short_help="Make shards or files of one kind one file.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="FILE", help="HDF5 file to write.")
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.pass_obj
def merge(console, files, output, force):
    """Make shards of one run, or files of one kind, one file.

    All shards, in any order, give the file that one run would have written. Other files must
    agree in model and options; their rows follow one another in the order given.

    \b
    Example:
      dnatk h5 merge shard-*.h5 -o genome.h5
    """
    from dnatk.output.shards import merge_files

    rows = merge_files(files, output, force=force)
    console.say(f"{output}: {rows} rows")
