"""What options are called in files and variables, which of them may stand there, and their values.

An option's key is its long name with "_" for "-", that of an argument its name. Keys belong to a
table: a command's name, or "" for every command with such an option.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from dnatk.errors import InputError, did_you_mean
from dnatk.settings import Settings

if TYPE_CHECKING:
    from dnatk.cli.configured import Configured

# Only ever typed (whose code is run, too: files for --config may come from others); and what is of
# one run, as all arguments are: in no environment or user's file.
TYPED_ONLY = frozenset(("force", "resume", "config", "help", "trust_remote_code"))
RESULTS = frozenset(("output", "h5", "shard", "plot", "report"))
_DATA = frozenset(("bed", "region", "dev", "test", "labels_from", "labelled", "labelled_dev"))
_WORDS = frozenset(("name", "description"))


def key_of(param: click.Parameter) -> str:
    """The name of a parameter in files and variables."""
    if isinstance(param, click.Argument):
        return str(param.name)
    return max(param.opts, key=len).lstrip("-").replace("-", "_")


def is_lasting(param: click.Parameter) -> bool:
    """Whether it may be preset for all runs to come."""
    one_run = TYPED_ONLY | RESULTS | _DATA | _WORDS
    return isinstance(param, click.Option) and key_of(param) not in one_run


def configured_commands() -> dict[str, Configured]:
    """The commands with presets, by their names."""
    from dnatk.cli import COMMANDS
    from dnatk.cli.configured import Configured

    modules = {name: importlib.import_module(f"dnatk.cli.{name}") for name in COMMANDS}
    return {n: m.command for n, m in modules.items() if isinstance(m.command, Configured)}


def params_of(table: str, key: str) -> dict[str, click.Parameter]:
    """command -> its parameter of that key; of the top ("") all commands that have an option."""
    found = {}
    for name, command in configured_commands().items():
        for param in command.params:
            if key_of(param) == key and table in ("", name):
                found[name] = param
    return found


def check_keys(settings: Settings, *, of_one_run: bool) -> None:
    """Refuse keys that no command has, and those that are not for such a file.

    Args:
        of_one_run: it is a file of --config, which may name inputs and outputs too.

    Raises:
        InputError: with file and line.
    """
    for table, values in settings.values.items():
        if table and table not in configured_commands():
            message = f"unknown command '{table}'"
            hint = did_you_mean(table, configured_commands())
            raise InputError(message, path=settings.place(table), hint=hint)
        for key in values:
            check_key(table, key, settings.place(table, key), of_one_run=of_one_run)


def check_key(table: str, key: str, place: str | None, *, of_one_run: bool = False) -> None:
    """:func:`check_keys` of one."""
    params = params_of(table, key)
    if not params:
        known = {key_of(p) for c in configured_commands().values() for p in c.params}
        if table:
            known = {key_of(param) for param in configured_commands()[table].params}
        what = f"{table} has no option '{key}'" if table else f"unknown option '{key}'"
        raise InputError(what, path=place, hint=did_you_mean(key, known - TYPED_ONLY))
    if key in TYPED_ONLY:
        raise InputError(f"{key}: is for the command line alone", path=place)
    if not of_one_run and not any(map(is_lasting, params.values())):
        hint = "type it, or put it in a file for --config"
        raise InputError(f"{key}: is of one run, no setting", path=place, hint=hint)


def variables() -> dict[str, str]:
    """Name -> key of all environment variables that are read, those of one command first."""
    every = {}
    for table, command in configured_commands().items():
        for key in map(key_of, filter(is_lasting, command.params)):
            every |= {variable(table, key): f"{table}.{key}", variable("", key): key}
    return dict(sorted(every.items(), key=lambda item: "." not in item[1]))


def variable(table: str, key: str) -> str:
    """The environment variable of a key."""
    return "_".join(filter(None, ("DNATK", table, key))).upper()


def converted(ctx: click.Context, param: click.Parameter, value: Any, *, text: bool = False) -> Any:
    """``value`` by the parameter's own type; a TOML value must be of the kind that it wants.

    Raises:
        click.BadParameter: it is none.
    """
    several = isinstance(param, click.Argument) and param.nargs != 1
    several |= isinstance(param, click.Option) and param.multiple
    if several:
        each = value if isinstance(value, list) else value.split() if text else [value]
        return param.type_cast_value(ctx, [_of_kind(param, one, text) for one in each])
    if isinstance(value, list) and param.type is click.STRING:
        value = ",".join(str(one) for one in value)  # as in --class-names A,B
    return param.type_cast_value(ctx, _of_kind(param, value, text))


def _of_kind(param: click.Parameter, value: Any, text: bool) -> Any:
    """Refuse what click would bend: 1.5 to 1, true to 1."""
    kinds: dict[type, tuple[tuple[type, ...], str]] = {
        click.types.BoolParamType: ((bool,), "must be true or false"),
        click.types.IntParamType: ((int,), "must be a whole number"),
        click.types.FloatParamType: ((int, float), "must be a number"),
    }
    wanted, words = next(
        (kinds[kind] for kind in kinds if isinstance(param.type, kind)),
        ((str, int, float), "must be a text"),
    )
    fits = bool in wanted if isinstance(value, bool) else isinstance(value, wanted)
    if not (fits or text):
        raise click.BadParameter(words)
    return str(value) if str in wanted else value
