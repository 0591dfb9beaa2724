"""Options that several commands share, as decorators."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable

import click

from dnatk.errors import InputError


class Device(click.ParamType):
    """The name of a device; whether it is there is seen when it is used."""

    name = "device"

    def convert(self, value, param, ctx):
        if not re.fullmatch(r"auto|(cpu|cuda|mps)(:\d+)?", value):
            self.fail(f"no device '{value}' (auto, cpu, cuda, cuda:0 or mps).", param, ctx)
        return value


class ShardText(click.ParamType):
    """I/N, which stays a text."""

    name = "shard"

    def convert(self, value, param, ctx):
        from dnatk.inference.parts import Shard

        try:
            Shard.parse(value)
        except InputError as error:
            self.fail(f"{error}.", param, ctx)
        return value


class FitText(click.ParamType):
    """A fit, which stays a text; whether it suits the task's length is seen with the task."""

    name = "fit"

    def convert(self, value, param, ctx):
        from dnatk.genome.fit import Fit

        if param is None or value != param.default:  # "" where that is the task's own
            try:
                Fit.parse(value, sys.maxsize)
            except InputError as error:
                self.fail(f"{error}.", param, ctx)
        return value


class FiniteRange(click.FloatRange):
    """A range of numbers, which takes neither nan nor infinity."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no number to count with.", param, ctx)
        return number


# Of torch and numpy; the seeds of several runs follow it.
SEED = click.IntRange(0, 2**31 - 1)


def options(*decorators: Callable) -> Callable:
    """One decorator for several, in the order of ``--help``."""

    def decorated(command: Callable) -> Callable:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorated


def device_option(command: Callable) -> Callable:
    """--device."""
    return click.option(
        "--device",
        type=Device(),
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where to compute; auto takes a CUDA GPU if there is one.",
    )(command)


def precision_option(command: Callable) -> Callable:
    """--precision."""
    return click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Arithmetic; auto is bf16 where the hardware is quicker at it, else fp32.",
    )(command)


def threads_option(command: Callable) -> Callable:
    """-t/--threads."""
    return click.option(
        "-t",
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads in all.  [default: as many as this process may use]",
    )(command)


def remote_code_option(command: Callable) -> Callable:
    """--trust-remote-code, of commands that run tasks."""
    return click.option(
        "--trust-remote-code",
        is_flag=True,
        help="Run the code that the task's model brings along (few do).",
    )(command)


def batch_tokens_option(command: Callable) -> Callable:
    """--batch-tokens, of commands that run the engine."""
    return click.option(
        "--batch-tokens",
        type=click.IntRange(min=1),
        help="Tokens in one pass through the model.  [default: 4096 on a CPU, 131072 on "
        "CUDA, 32768 on mps]",
    )(command)


# Of commands that write files part by part.
run_options = options(
    click.option("--force", is_flag=True, help="Overwrite the output, or begin it afresh."),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on where the same command was cut off; a finished output is left as it is.",
    ),
    click.option(
        "--shard",
        type=ShardText(),
        metavar="I/N",
        help="Do the I-th of N neighbouring pieces of the work, for files only; dnatk h5 merge "
        "(or cat, of tables) joins them.",
    ),
)


def check_run_options(force: bool, resume: bool) -> None:
    """Refuse what contradicts itself."""
    if force and resume:
        raise click.UsageError("--force begins afresh, --resume goes on: give one of them.")
