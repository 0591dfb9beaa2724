"""Options of ``dnatk finetune`` on what the task says of itself and how it treats regions."""

from __future__ import annotations

import click

from dnatk.cli.options import FitText, options

# What :class:`dnatk.training.finetune_config.TaskChoices` holds, but --length.
task_options = options(
    click.option("--name", default="", help="Of the task.  [default: the directory's]"),
    click.option("--description", default="", help="For the task's card."),
    click.option(
        "--class-names",
        default="",
        metavar="A,B,..",
        help="Classes in words, in the order of the labels.  [default: the labels]",
    ),
    click.option(
        "--fit",
        type=FitText(),
        default="",
        metavar="tile|center|tss:A,B",
        help="How regions are brought to the task's length, here and by evaluate and predict.  "
        "[default: center where some are longer here, else tile]",
    ),
    click.option(
        "--combine",
        type=click.Choice(["mean", "max"]),
        default="mean",
        show_default=True,
        help="How predict combines the windows of a region, unless told otherwise.",
    ),
    click.option(
        "--rc",
        type=click.Choice(["none", "average"]),
        default="none",
        show_default=True,
        help="Whether scores are averaged over both strands.",
    ),
    click.option("--stranded", is_flag=True, help="Regions without a strand cannot be scored."),
)


def told_of_cut(fit: str) -> str:
    """What is said where sequences were cut to their middle: predict may read other bases."""
    what = "here longer sequences are cut to their middle"
    if fit == "tile":
        return f"{what}, predict scores all of them (--fit tile): figures may differ"
    return f"{what}, and so predict reads longer regions (--fit center)"
