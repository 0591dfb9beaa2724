"""What finetune, evaluate and inspect share: the options of labelled data."""

from __future__ import annotations

import click

from dnatk.cli.configured import is_typed
from dnatk.cli.options import FiniteRange, options

# What says something of one kind of labelled file alone.
_OF_KIND = {
    "sequence_column": "table",
    "labels_from": "fasta",
    "header_label": "fasta",
    "negatives": "bed",
    "negative_ratio": "bed",
}

labelled_options = options(
    click.option(
        "--sequence-column",
        default="",
        metavar="NAME",
        help="Column of the bases in a table.  [default: sequence or seq]",
    ),
    click.option(
        "--label-column",
        "label_columns",
        multiple=True,
        metavar="NAME",
        help="Column of the labels (of a BED, a name or a number from 1); repeat it for several "
        "labels or targets.  [default: label]",
    ),
    click.option(
        "--labels-from",
        default="",
        metavar="TABLE",
        help="CSV or TSV with a name and a label for each FASTA record.",
    ),
    click.option(
        "--header-label",
        default="",
        metavar="KEY",
        help="Key of the label in FASTA headers (KEY=value).",
    ),
    click.option(
        "--genome",
        default="",
        metavar="FASTA|NAME",
        help="What the regions of a BED are read from; dnatk config set genome names it for good.",
    ),
    click.option(
        "--negatives",
        type=click.Choice(["gc", "dinucleotide", "random"]),
        default="gc",
        show_default=True,
        help="For a BED of positives only: negatives from other places of like length and GC, "
        "shuffled copies with the same dinucleotides, or any other places.",
    ),
    click.option(
        "--negative-ratio",
        type=FiniteRange(min=0, min_open=True),
        default=1.0,
        show_default=True,
        help="Negatives to a positive.",
    ),
)


def check_labelled(*paths: str | None) -> None:
    """Refuse what was typed and none of the labelled files makes use of."""
    from dnatk.genome.files import readable_again
    from dnatk.labelled.bed import has_labels
    from dnatk.labelled.read import content_kind

    ctx = click.get_current_context()
    typed = [name for name in _OF_KIND if is_typed(ctx, name)]
    given = [path for path in paths if path]
    if not typed or not all(map(readable_again, given)):  # the reader refuses what is no file
        return
    kind_of = {path: content_kind(path, ctx.params["label_columns"]) for path in given}
    beds = [path for path, kind in kind_of.items() if kind == "bed"]
    for name in typed:
        flag, kind = f"--{name.replace('_', '-')}", _OF_KIND[name]
        if kind not in kind_of.values():
            what = {"table": "a table", "fasta": "FASTA", "bed": "BED"}[kind]
            raise click.UsageError(f"{flag}: none of the labelled files is {what}.")
        if kind == "bed" and (ctx.params["label_columns"] or all(map(has_labels, beds))):
            raise click.UsageError(f"{flag}: none are drawn where regions have labels.")


def read_options(
    *,
    sequence_column: str,
    label_columns: tuple[str, ...],
    labels_from: str,
    header_label: str,
    genome: str,
    negatives: str,
    negative_ratio: float,
    kind: str = "",
    positive: str = "",
    length: int = 0,
    fit: str = "tile",
    stranded: bool = False,
    seed: int = 42,
):
    """The :class:`ReadOptions` of these options."""
    from dnatk.labelled.read import ReadOptions

    return ReadOptions(
        sequence=sequence_column,
        labels=label_columns,
        side_labels=labels_from,
        header_label=header_label,
        genome=genome,
        negatives=negatives,
        negative_ratio=negative_ratio,
        kind=kind,
        positive=positive,
        length=length,
        fit=fit,
        stranded=stranded,
        seed=seed,
    )
