"""``dnatk h5``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from dnatk.cli.layout import check_stdout, hanging, table_width
from dnatk.cli.options import SEED
from dnatk.cli.plots import map_options

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
      dnatk h5 plot promoters.h5 -o promoters.png
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
    text = json.dumps(facts, indent=2) if as_json else as_text(facts)
    click.echo(text if as_json else hanging(text, max(map(len, facts)) + 2, table_width()))


@command.command("verify", short_help="Check that files are whole.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each file, line by line.")
@click.pass_context
def verify(ctx, files, as_json):
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
        if as_json:
            facts = {"file": file, "rows": report.rows, "problems": report.problems}
            click.echo(json.dumps(facts))
            continue
        for line in report.problems or [f"ok, {report.rows} rows"]:
            click.echo(f"{file}: {line}")
    ctx.exit(int(bad))


def _format_of(output: str) -> str | None:
    """By the end of a name; a table may be packed (.tsv.gz)."""
    from dnatk.output.files import is_packed

    name = Path(output)
    packed = is_packed(name)
    format = _SUFFIXES.get(Path(name.stem if packed else name).suffix.lower())
    return None if packed and format != "tsv" else format


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
    format = format or ("tsv" if output == "-" else _format_of(output))
    if format is None:
        raise click.UsageError(f"{output}: name the format with --format.")
    if output == "-" and format != "tsv":
        raise click.UsageError(f"{format} cannot go to stdout; name a file with -o.")
    if output == "-":
        check_stdout()

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


@command.command("plot", short_help="Draw the rows as a map in two dimensions.")
@click.argument("file", metavar="FILE")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="A .png, .svg, .pdf or .html to write."
)
@click.option("--bed", metavar="BED", help="The regions, for a --colour that FILE does not have.")
@map_options
@click.option(
    "--rows",
    type=click.IntRange(min=3),
    default=5000,
    show_default=True,
    metavar="N",
    help="Of more rows, draw N at random.",
)
@click.option("--seed", type=SEED, default=42, show_default=True, help="Of chance.")
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.pass_obj
def plot(console, file, output, bed, map_, colour, rows, seed, force):
    """Draw the rows as a map: near points have like embeddings.

    The vectors are brought to two dimensions by PCA, t-SNE or UMAP (which needs dnatk[plot]). FILE
    is of dnatk embed, or of dnatk predict --embeddings, whose labels can be the colours (label).

    A BED file has a line for each row of FILE, in its order; its columns go by the names chrom,
    start, end, name, score, strand or those of its #chrom line, or by number.

    \b
    Example:
      dnatk h5 plot promoters.h5 -o promoters.png
      dnatk h5 plot promoters.h5 -o promoters.html --bed promoters.bed --colour 5 --map tsne
    """
    if bed and not colour:
        raise click.UsageError("--bed goes with --colour: its columns colour the rows.")

    from dnatk.analysis.region_map import draw_map
    from dnatk.output.files import check_output

    check_output(output, force=force, inputs=(file, bed))
    if bed == "-":
        raise click.UsageError("--bed must be a file: it is read more than once.")
    summary = draw_map(
        file, output, method=map_ or "", colour=colour, bed=bed, most=rows, seed=seed
    )
    console.say(f"{output}: {summary}")
