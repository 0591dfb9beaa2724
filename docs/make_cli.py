"""Write docs/cli.md, the reference of the command line, from the commands' own --help."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from dnatk.cli import COMMANDS, cli
from dnatk.cli.layout import HELP_NAMES

TARGET = Path(__file__).with_name("cli.md")
HEADER = """\
# Command line

Made from `--help` by `docs/make_cli.py`; a test keeps it fresh.
"""


def reference() -> str:
    """The text of docs/cli.md."""
    sections = [HEADER, _section("dnatk", cli)]
    for name in COMMANDS:
        command = importlib.import_module(f"dnatk.cli.{name}").command
        sections.append(_section(f"dnatk {name}", command))
        for part, subcommand in getattr(command, "commands", {}).items():
            sections.append(_section(f"dnatk {name} {part}", subcommand))
    return "\n".join(sections)


def _section(title: str, command: click.Command) -> str:
    context = click.Context(
        command,
        info_name=title,
        terminal_width=96,
        max_content_width=96,
        help_option_names=HELP_NAMES,
    )
    return f"## {title}\n\n```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(reference())
