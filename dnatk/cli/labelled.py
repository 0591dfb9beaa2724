"""What finetune and evaluate share: options of labelled data, and tables on the terminal."""

from __future__ import annotations

import click

from dnatk.cli.options import FiniteRange, options

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
