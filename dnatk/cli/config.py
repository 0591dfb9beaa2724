"""``dnatk config``."""

from __future__ import annotations

import click

from dnatk.settings import KEYS, read_settings, settings_path, write_settings

_key = click.argument("key", type=click.Choice(list(KEYS)), metavar="KEY")


@click.group("config", short_help="Settings that commands fall back on, such as the genome.")
def command():
    """Settings that commands fall back on.

    They stand in $XDG_CONFIG_HOME/dnatk/config.toml (~/.config/dnatk/config.toml). An option of a
    command or an environment variable goes before them.

    \b
    Keys:
      genome  FASTA file, or the name of a genome installed by genomepy.

    \b
    Example:
      dnatk config set genome ~/genomes/hg38.fa
      dnatk config get genome
      dnatk config show
      dnatk config unset genome
    """


@command.command("set", short_help="Set a key.")
@_key
@click.argument("value", metavar="VALUE")
@click.pass_obj
def set_(console, key, value):
    """Set KEY to VALUE.

    \b
    Example:
      dnatk config set genome ~/genomes/hg38.fa
      dnatk config set genome hg38
    """
    settings = read_settings() | {key: _genome(value)}
    path = write_settings(settings)
    console.say(f"{path}: {key} = {settings[key]}")


@command.command("get", short_help="Print the value of a key.")
@_key
def get(key):
    """Print the value of KEY.

    \b
    Example:
      dnatk config get genome
    """
    settings = read_settings()
    if key not in settings:
        raise click.ClickException(f"{key} is not set (dnatk config set {key} VALUE)")
    click.echo(settings[key])


@command.command("unset", short_help="Forget a key.")
@_key
@click.pass_obj
def unset(console, key):
    """Forget KEY.

    \b
    Example:
      dnatk config unset genome
    """
    settings = read_settings()
    if settings.pop(key, None) is None:
        console.say(f"{key} was not set")
    else:
        console.say(f"{write_settings(settings)}: {key} is no longer set")


@command.command("show", short_help="Print all settings.")
@click.pass_obj
def show(console):
    """Print all settings.

    \b
    Example:
      dnatk config show
    """
    settings = read_settings()
    if not settings:
        console.say(f"nothing is set in {settings_path()}")
    for key, value in settings.items():
        click.echo(f"{key} = {value}")


def _genome(value: str) -> str:
    """What to keep: a file by its whole path, for commands run elsewhere; or genomepy's name."""
    import os
    from pathlib import Path

    from dnatk.genome.locate import resolve_genome

    path = resolve_genome(value, os.environ)
    return str(path.absolute()) if path == Path(value).expanduser() else value
