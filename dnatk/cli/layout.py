"""Text on terminals of any width and encoding."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import click

# Every command is asked for help by these. click keeps the option that the first context of a
# command makes: a context without a parent must know them too.
HELP_NAMES = ("-h", "--help")
# click makes help 50 columns wide at least, and its first column of options up to 30.
_NARROW = 60


class Formatter(click.HelpFormatter):
    """click's, with a first column that leaves room beside it on a narrow terminal."""

    def write_dl(self, rows, col_max: int = 30, col_spacing: int = 2) -> None:
        if self.width < _NARROW:
            col_max = min(col_max, self.width // 3)
        super().write_dl(rows, col_max, col_spacing)


class Context(click.Context):
    """click's, with that formatter."""

    formatter_class = Formatter


def fit_terminal(command: click.Command) -> None:
    """Let a command, and its own commands, write their help with :class:`Formatter`."""
    command.context_class = Context
    for part in getattr(command, "commands", {}).values():
        fit_terminal(part)


def help_width() -> int | None:
    """Columns of help where they are fewer than click would take; else None."""
    columns = shutil.get_terminal_size().columns
    return max(columns - 2, 20) if columns < _NARROW else None


def table_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def open_closed_streams() -> None:
    """A standard stream that is closed, as some daemons start programs, becomes an empty one.

    Nor is its number given to a file then, into which other libraries would write their messages.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextmanager
def unheard() -> Iterator[None]:
    """For writing to stderr: one that is full, or whose reader has gone, stops nothing."""
    try:
        yield
    except OSError:
        # What it still holds would fail again at each line.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def check_stdout() -> None:
    """Refuse to write a table to a stdout that was closed from the start: it would be lost."""
    if sys.__stdout__ is None:
        raise click.UsageError("stdout is closed; name a file with -o.")


def accept_any_text() -> None:
    """What the encoding of stdout cannot say is written as ?, and stops nothing."""
    if getattr(sys.stdout, "errors", "") == "strict" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


def hanging(text: str, indent: int, width: int | None) -> str:
    """``text`` in lines of ``width`` at most, broken between words and then indented."""
    if width is None:
        return text
    lines = [
        textwrap.fill(
            line,
            width,
            subsequent_indent=" " * min(indent, width // 2),
            break_on_hyphens=False,
            break_long_words=False,
        )
        if len(line) > width
        else line
        for line in text.splitlines()
    ]
    return "\n".join(lines)
