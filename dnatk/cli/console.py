"""stderr: messages and progress. Nothing here writes to stdout."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from dnatk.progress import NullProgress, Progress


class Console:
    """What the user asked to be told, from the global options."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, debug: bool = False) -> None:
        # Of several ranks (torchrun) the first one speaks.
        quiet = quiet or os.environ.get("RANK", "0") != "0"
        self.quiet = quiet
        self.debug = debug
        level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
        logger = logging.getLogger("dnatk")
        logger.setLevel(level)
        logger.handlers[:] = [_StderrHandler()]
        logger.propagate = False

    def say(self, message: str) -> None:
        """One line for the user, unless --quiet."""
        if not self.quiet:
            click.echo(message, err=True)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A rich bar on a terminal; nothing in a pipe or with --quiet."""
        shown = not self.quiet and sys.stderr.isatty()
        progress = RichProgress() if shown else NullProgress()
        try:
            yield progress
        finally:
            # Also after an error: the bar hides the cursor while it runs.
            progress.finish()


class _StderrHandler(logging.Handler):
    """Looks up sys.stderr at each message, so that it may be redirected."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"dnatk: {record.getMessage()}", err=True)


class RichProgress:
    """A bar with rate, elapsed and remaining time for the stage at hand."""

    def __init__(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        class Rate(TextColumn):
            def render(self, task):
                from rich.text import Text

                speed = task.finished_speed or task.speed
                shown = "" if not speed else f"{speed:,.1f} {task.fields['unit']}/s"
                return Text(shown, style="progress.data.speed")

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Rate(""),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=RichConsole(stderr=True),
            transient=False,
        )
        self._task = None

    def start(self, stage: str, total: int | None, unit: str) -> None:
        self.finish()
        self._bar.start()
        self._task = self._bar.add_task(stage, total=total, unit=unit, note="")

    def advance(self, amount: int, note: str = "") -> None:
        self._bar.update(self._task, advance=amount, note=note)

    def finish(self) -> None:
        if self._task is not None:
            self._bar.stop()
            self._task = None
