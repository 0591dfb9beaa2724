"""Commands whose options may also come from files and the environment.

The first of these that gives an option wins:

    4  the command line
    3  the file of --config
    2  the environment: DNATK_COMMAND_OPTION, then DNATK_OPTION
    1  the user's settings: the command's table, then the top of the file
    0  the default

3 to 1 become click's ``default_map``, checked by the options' own types, before click itself looks
at anything but --config. What keys are is in dnatk.cli.keys; an empty text stands for the default.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from dnatk.cli.keys import RESULTS, TYPED_ONLY, check_keys, converted, is_lasting, key_of, variable
from dnatk.cli.layout import HELP_NAMES
from dnatk.errors import DnatkError, InputError
from dnatk.settings import Settings, parse_settings, toml, user_settings

_META = "dnatk.presets"
_TYPED, _GIVEN, _ENVIRONMENT, _USER = 4, 3, 2, 1


@dataclass(frozen=True)
class Preset:
    """A value that was not typed: what it is, where it stands, and how strong that place is."""

    value: Any
    place: str
    rank: int


class Configured(click.Command):
    """A command with presets, and --config.

    Args:
        exclusive: groups of parameters that exclude each other: what is typed puts a preset aside,
            and so does a stronger preset a weaker one. Equals are left for the command to refuse.
    """

    def __init__(self, *args, exclusive: Iterable[tuple[str, ...]] = (), **kwargs) -> None:
        super().__init__(*args, context_settings={"help_option_names": HELP_NAMES}, **kwargs)
        self._exclusive = tuple(exclusive)
        self.params.append(
            click.Option(
                ["--config"],
                metavar="FILE",
                is_eager=True,
                expose_value=False,
                callback=_preset,
                help="Take options from this file: TOML, or what a run left (its config.toml, "
                "directory or HDF5 file). What is typed goes before it.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for group in () if ctx.resilient_parsing else self._exclusive:
            # What is said counts whatever it is: the default, too.
            ranks = {name: _rank(ctx, name) for name in group}
            for name in (n for n, rank in ranks.items() if rank < max(ranks.values())):
                ctx.params[name] = defaults(self)[name]
                ctx.set_parameter_source(name, ParameterSource.DEFAULT)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DnatkError as error:
            _tell_place(ctx, error)
            raise
        except click.UsageError as error:
            _tell_places(ctx, error)
            raise


def _preset(ctx: click.Context, _: click.Parameter, given: str | None) -> None:
    """Of --config, which click processes first: fill ``default_map``."""
    if not ctx.resilient_parsing:
        found = presets(ctx, given)
        ctx.meta[_META] = found
        ctx.default_map = {name: preset.value for name, preset in found.items()}


def presets(ctx: click.Context, given: str | None = None) -> dict[str, Preset]:
    """What files and the environment say of a command: parameter's name -> value and place.

    Args:
        ctx: the command's.
        given: the file of --config.

    Raises:
        InputError: a file cannot be read, or holds a key or value that is none.
    """
    # doctor has no variables or table of its own
    command = str(ctx.info_name) if isinstance(ctx.command, Configured) else ""
    file = None if given is None else _given_settings(given, command)
    user = user_settings()
    if user.values:
        check_keys(user, of_one_run=False)
    found = {}
    for param in ctx.command.params:
        key = key_of(param)
        places = [] if file is None else [(_GIVEN, file.find(command, key))]
        if is_lasting(param):
            places.append((_ENVIRONMENT, _from_environment(command, key)))
            places.append((_USER, user.find(command, key)))
        for rank, place in places:
            if place is not None:
                value = _checked(ctx, param, *place, text=rank == _ENVIRONMENT)
                if value is not None:
                    found[param.name] = Preset(value, place[1], rank)
                break
    return found


def _given_settings(given: str, command: str) -> Settings:
    """The file of --config, which must have something for the command."""
    from dnatk.output.recorded import recorded

    text, path = recorded(given)
    settings = parse_settings(text, path)
    check_keys(settings, of_one_run=True)
    if not settings.values.get("") and command not in settings.values:
        others = ", ".join(filter(None, settings.values))
        hint = f"it is of {others}" if others else "it is empty"
        raise InputError(f"says nothing of {command}", path=path, hint=hint)
    return settings


def _from_environment(command: str, key: str) -> tuple[str, str] | None:
    for name in (variable(command, key), variable("", key)):
        if os.environ.get(name):
            return os.environ[name], name
    return None


def _checked(
    ctx: click.Context, param: click.Parameter, value: Any, place: str, *, text: bool = False
) -> Any | None:
    """A value as click takes it; None for the default.

    Args:
        text: it comes from where there are only texts, and parts of it stand apart.
    """
    if value == "":
        return None
    try:
        return converted(ctx, param, value, text=text)
    except click.BadParameter as error:
        message = error.message.rstrip(".")
        raise InputError(f"{key_of(param)}: {message}", path=place) from None


def defaults(command: click.Command) -> dict[str, Any]:
    """The default of each parameter, by its name."""
    return command.make_context(command.name, [], resilient_parsing=True).params


def _rank(ctx: click.Context, name: str) -> int:
    """How strong the place is that says something of a parameter; 0 where none does."""
    if is_typed(ctx, name):
        return _TYPED
    found: Mapping[str, Preset] = ctx.meta.get(_META, {})
    return found[name].rank if name in found else 0


def is_typed(ctx: click.Context, name: str) -> bool:
    """Whether a parameter was given on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _used(ctx: click.Context) -> Iterator[tuple[click.Parameter, Preset]]:
    """The presets that took effect."""
    found: Mapping[str, Preset] = ctx.meta.get(_META, {})
    for param in ctx.command.params:
        if ctx.get_parameter_source(param.name) is ParameterSource.DEFAULT_MAP:
            yield param, found[param.name]


def _tell_place(ctx: click.Context, error: DnatkError) -> None:
    """Where a value stands that nobody typed, in the error that it leads to."""
    for _, preset in _used(ctx):
        value = preset.value
        if isinstance(value, str) and (value == error.path or f"'{value}'" in error.message):
            error.hint = "; ".join(filter(None, [f"named by {preset.place}", error.hint]))
            return


def _tell_places(ctx: click.Context, error: click.UsageError) -> None:
    """Where options are set that nobody typed, in a usage error that speaks of them."""
    text = error.format_message()
    places = {_flag(param): preset.place for param, preset in _used(ctx)}
    told = [
        f"{flag} is set by {place}"
        for flag, place in places.items()
        if re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text)
    ]
    if told:
        error.message = f"{error.message.rstrip('.')} ({', '.join(told)})."


def record() -> str:
    """The options of the command that is run, as TOML that --config takes; where to write, how to
    go on, and what is typed only are left out.
    """
    from dnatk import __version__

    ctx = click.get_current_context()
    lines = [f"# Options of dnatk {__version__}; --config takes them.", f"[{ctx.info_name}]"]
    for param in ctx.command.params:
        if param.expose_value and key_of(param) not in TYPED_ONLY | RESULTS:
            value = ctx.params[param.name]
            lines.append(f"{key_of(param)} = {toml('' if value is None else value)}")
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """The command as it would have been typed in full: presets as options, no --config."""
    ctx = click.get_current_context()
    words, behind = _typed(str(ctx.info_name))
    options: list[str] = []
    arguments: list[str] = []
    for param, preset in _used(ctx):
        value = preset.value
        if value == defaults(ctx.command)[param.name]:
            continue
        each = list(value) if isinstance(value, tuple) else [value]
        if isinstance(param, click.Argument):
            arguments += map(str, each)
        elif isinstance(value, bool):
            options += [_flag(param)] * value
        else:
            options += [part for one in each for part in (_flag(param), str(one))]
    # Of a file for --config: an argument that would be taken for an option stands behind a "--".
    if not behind and any(re.match("-.", argument) for argument in arguments):
        behind = ["--"]
    if behind:
        return shlex.join(["dnatk", *words, *options, *behind, *arguments])
    return shlex.join(["dnatk", *words, *arguments, *options])


def _typed(command: str) -> tuple[list[str], list[str]]:
    """What was typed but --config, parted at the "--" that ends a command's options."""
    typed = sys.argv[1:]
    name = typed.index(command) if command in typed else 0  # behind those of all commands
    end = typed.index("--", name) if "--" in typed[name:] else len(typed)
    words, before = [], iter(typed[:end])
    for word in before:
        if word == "--config":
            next(before, None)
        elif not word.startswith("--config="):
            words.append(word)
    return words, typed[end:]


def _flag(param: click.Parameter) -> str:
    """What is typed for an option: its long name."""
    return max(param.opts, key=len)
