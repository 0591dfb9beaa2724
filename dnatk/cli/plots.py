"""Options of commands that draw a map of regions."""

from __future__ import annotations

import click

from dnatk.cli.options import options

map_options = options(
    click.option(
        "--colour",
        "--color",
        "colour",
        default="",
        metavar="COLUMN",
        help="What the map's points are coloured by: contig, strand, name, start, end, length, "
        "label (of predictions), or a column of the BED file by its name or number (from 1).  "
        "[default: label, contig, or strand]",
    ),
    click.option(
        "--map",
        "map_",
        type=click.Choice(["pca", "tsne", "umap"]),
        help="How the map is made.  [default: umap where umap-learn is installed, else pca]",
    ),
)
