"""``dnatk config``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from dnatk.cli.configured import defaults, presets
from dnatk.cli.keys import (
    check_key,
    check_keys,
    configured_commands,
    converted,
    is_lasting,
    key_of,
    params_of,
    variables,
)
from dnatk.cli.tables import aligned
from dnatk.errors import DnatkError, InputError
from dnatk.model.places import CONFIG_FILE, shipped_models
from dnatk.settings import settings_path, toml, user_settings, write_setting
from dnatk.tasks.places import TASK_FILE

# By what a directory is known to be what an option names; else it names one by its name.
_MARKERS = {"model": CONFIG_FILE, "init": CONFIG_FILE, "task": TASK_FILE}


def _complete(_ctx, _param, incomplete: str) -> list[str]:
    keys = {table: _lasting_keys(table) for table in configured_commands()}
    top = {key for each in keys.values() for key in each}
    every = [*sorted(top), *(f"{table}.{key}" for table in keys for key in keys[table])]
    return [key for key in every if key.startswith(incomplete)]


_key = click.argument("key", metavar="KEY", shell_complete=_complete)


@click.group("config", short_help="Settings that commands fall back on, such as the genome.")
def command():
    """Settings that commands fall back on.

    An option is looked for on the command line, then in the file of --config, in the environment
    (DNATK_EMBED_DEVICE, else DNATK_DEVICE), and in your settings: the file
    $XDG_CONFIG_HOME/dnatk/config.toml (~/.config/dnatk/config.toml).

    KEY is an option without its dashes, for every command that has it (device), or for one alone
    (embed.device).

    \b
    Example:
      dnatk config set genome ~/genomes/hg38.fa
      dnatk config set predict.task promoter
      dnatk config show predict
      dnatk config unset genome
    """


@command.command(
    "set", short_help="Set a key.", context_settings={"ignore_unknown_options": True}
)  # embed.layer -2
@_key
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@click.pass_obj
def set_(console, key, values):
    """Set KEY to VALUE; several VALUEs for an option that can be repeated.

    \b
    Example:
      dnatk config set genome ~/genomes/hg38.fa
      dnatk config set embed.device cuda:1
      dnatk config set threads 8
    """
    table, name = _named(key)
    value = _value(table, name, values)
    path = write_setting(table, name, value)
    console.say(f"{path}: {key} = {_shown(value)}")


@command.command("get", short_help="Print what a key is set to.")
@_key
def get(key):
    """Print what KEY is set to in your settings.

    \b
    Example:
      dnatk config get genome
    """
    table, name = _named(key)
    settings = user_settings().values.get(table, {})
    if name not in settings:
        raise click.ClickException(f"{key} is not set (dnatk config set {key} VALUE)")
    click.echo(_shown(settings[name]))


@command.command("unset", short_help="Forget a key.")
@_key
@click.pass_obj
def unset(console, key):
    """Forget KEY.

    \b
    Example:
      dnatk config unset genome
    """
    table, _, name = key.replace("-", "_").rpartition(".")  # an unknown one, too
    if name in user_settings().values.get(table, {}):
        console.say(f"{write_setting(table, name, None)}: {key} is no longer set")
    else:
        console.say(f"{key} was not set")


@command.command("path", short_help="Print where your settings are.")
def path():
    """Print the file that your settings are in, whether it is there or not.

    \b
    Example:
      $EDITOR $(dnatk config path)
    """
    click.echo(settings_path())


@command.command("show", short_help="Print settings, and where each comes from.")
@click.argument("what", metavar="[COMMAND|FILE]", default="")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.pass_obj
def show(console, what, as_json):
    """Print what is set, and where.

    With COMMAND: every option of it that can be set, its value, and where that comes from. With
    FILE, the config.toml, directory or HDF5 file of a run: the options that it was made with.

    \b
    Example:
      dnatk config show
      dnatk config show embed
      dnatk config show promoters.h5
    """
    if what and what not in configured_commands():
        if not Path(what).exists():
            known = ", ".join(configured_commands())
            raise click.UsageError(f"'{what}' is no file, and no command with settings: {known}")
        from dnatk.output.recorded import recorded

        if as_json:
            raise click.UsageError("the options of a run are TOML, not JSON.")
        click.echo(recorded(what)[0], nl=False)
        return
    rows = list(_of_command(what) if what else _all_set())
    if as_json:
        keys = ("option", "value", "from")
        click.echo(json.dumps([dict(zip(keys, row[:3], strict=True)) for row in rows], indent=2))
    elif rows:
        table = [(key, note or _shown(value), place) for key, value, place, note in rows]
        click.echo(aligned(("option", "value", "from"), table, right=()))
    else:
        console.say(f"nothing is set in {settings_path()}")
    for name, close in _misspelt():
        console.say(f"{name} is no setting of dnatk (did you mean '{close}'?)")


def _of_command(name: str) -> Iterator[tuple[str, Any, str, str]]:
    """(key, value, place, the default in words) of each option."""
    command = configured_commands()[name]
    found = presets(click.Context(command, info_name=name))
    default = defaults(command)
    for param in filter(is_lasting, command.params):
        words = re.search(r"\[default: (.*?)\]$", getattr(param, "help", None) or "")
        if param.name in found:
            yield key_of(param), found[param.name].value, found[param.name].place, ""
        else:
            value = default[param.name]
            unset = value in (None, "")
            yield key_of(param), value, "default", f"({words[1]})" if unset and words else ""


def _all_set() -> Iterator[tuple[str, Any, str, str]]:
    """What the environment and the user's settings say."""
    for name, key in variables().items():
        if os.environ.get(name):
            yield key, os.environ[name], name, ""
    settings = user_settings()
    check_keys(settings, of_one_run=False)
    for table, values in settings.values.items():
        for key, value in values.items():
            yield f"{table}.{key}" if table else key, value, settings.place(table, key), ""


def _misspelt() -> Iterator[tuple[str, str]]:
    """Variables that look like ours but are not."""
    known = variables()
    for name in sorted(os.environ):
        if name.startswith("DNATK_") and name not in known:
            for close in get_close_matches(name, known, n=1, cutoff=0.85):
                yield name, close


def _shown(value: Any) -> str:
    """As one would type it; lists as TOML."""
    if value in (None, "", (), []):
        return "-"
    return value if isinstance(value, str) else toml(value)


def _lasting_keys(table: str) -> list[str]:
    return [key_of(param) for param in configured_commands()[table].params if is_lasting(param)]


def _named(key: str) -> tuple[str, str]:
    """(table, key) of a KEY, which must be one."""
    table, _, name = key.replace("-", "_").rpartition(".")
    if table and table not in configured_commands():
        known = ", ".join(configured_commands())
        raise click.UsageError(f"'{table}' is no command with settings: {known}")
    try:
        check_key(table, name, None)
    except InputError as error:
        raise click.UsageError(str(error)) from None
    return table, name


def _value(table: str, key: str, words: tuple[str, ...]) -> Any:
    """What the words mean to every command that would read them."""
    value: Any = None
    faults = {}
    params = {name: each for name, each in params_of(table, key).items() if is_lasting(each)}
    for name, param in params.items():
        several = getattr(param, "multiple", False)
        if len(words) > 1 and not several:
            raise click.UsageError(f"{key} takes one value, not {len(words)}")
        given = [_whole_path(param, word) for word in words]
        ctx = click.Context(configured_commands()[name], info_name=name)
        try:
            if key == "genome":
                _check_genome(given[0])
            value = converted(ctx, param, list(words) if several else given[0], text=True)
        except (click.BadParameter, DnatkError) as error:
            if isinstance(error, InputError):
                raise
            faults[name] = error.message.rstrip(".") if hasattr(error, "param") else str(error)
    if faults:
        name, fault = next(iter(faults.items()))
        other = next((each for each in params if each not in faults), None)
        hint = "" if other is None else f" (for {name}; {other}.{key} is of {other} alone)"
        raise click.UsageError(f"{key}: {fault}{hint}")
    return list(value) if isinstance(value, tuple) else value


def _whole_path(param: click.Parameter, word: str) -> str:
    """A file by its whole path, for commands run elsewhere; or a name as it is."""
    key, path = key_of(param), os.path.expanduser(word)
    if key in _MARKERS:  # a model that ships goes before any directory
        named = word not in shipped_models() and os.path.isfile(os.path.join(path, _MARKERS[key]))
    else:
        named = bool(re.search("FILE|FASTA", str(param.metavar))) and os.path.isfile(path)
    return os.path.abspath(path) if named else word


def _check_genome(value: str) -> None:
    from dnatk.genome.locate import resolve_genome

    resolve_genome(value, os.environ)
