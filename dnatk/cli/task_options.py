"""Options of ``dnatk finetune`` on what the task says of itself and how it treats regions, and
which options suit a method."""

from __future__ import annotations

import click

from dnatk.cli.configured import is_typed
from dnatk.cli.options import FitText, options

# What says how the weights are trained step by step.
_OF_STEPS = (
    "epochs", "max_steps", "batch_size", "lr", "layer_decay", "lora_r", "rc_augment", "patience",
    "seeds",
)  # fmt: skip

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
    click.option(
        "--stranded",
        is_flag=True,
        help="Regions without a strand cannot be scored, but for --rc average.",
    ),
)


def model_takes(config) -> int:
    """Bases that the model of a :class:`FinetuneConfig` takes; 0: only its tokenizer can say."""
    from dnatk.training.trunks import most_bases  # torch, which data that cannot be read need not

    return most_bases(config)


def told_of_cut(fit: str) -> str:
    """What is said where sequences were cut to their middle: predict may read other bases."""
    what = "here longer sequences are cut to their middle"
    if fit == "tile":
        return f"{what}, predict scores all of them (--fit tile): figures may differ"
    return f"{what}, and so predict reads longer regions (--fit center)"


def check_method(method: str, kind: str | None) -> None:
    """Refuse what was typed and a method makes no use of; the head of bases is trained by steps."""
    ctx = click.get_current_context()
    at_once = method == "probe" and kind != "per-base"
    if at_once and (idle := [name for name in _OF_STEPS if is_typed(ctx, name)]):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise click.UsageError(f"{flags}: a probe is fitted at once, without steps or chance.")
    if method == "full" and is_typed(ctx, "lora_r"):
        raise click.UsageError("--lora-r: --method full trains all weights, without adapters.")
