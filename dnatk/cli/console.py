"""stderr: messages and progress. Nothing here writes to stdout."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from dnatk.cli.amounts import bases_in_words, seconds_in_words
from dnatk.cli.layout import unheard
from dnatk.progress import NullProgress, Progress


class Console:
    """What the user asked to be told, from the global options."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, debug: bool = False) -> None:
        # Of several ranks (torchrun) the first one speaks.
        quiet = quiet or (os.environ.get("RANK") or "0") != "0"
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
            with unheard():
                click.echo(message, err=True)

    @contextmanager
    def progress(self, *, rows: bool = False) -> Iterator[Measured]:
        """A rich bar on a terminal; nothing in a pipe, a dumb terminal or with --quiet.

        Args:
            rows: meanwhile rows go to stdout: where that is a terminal they are progress enough,
                and a bar would stand among them.
        """
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        shown = terminal and not self.quiet and not (rows and sys.stdout.isatty())
        progress = Measured(RichProgress() if shown else NullProgress())
        try:
            yield progress
        finally:
            # Also after an error: the bar hides the cursor while it runs.
            progress.finish()


class _StderrHandler(logging.Handler):
    """Looks up sys.stderr at each message, so that it may be redirected."""

    def emit(self, record: logging.LogRecord) -> None:
        with unheard():
            click.echo(f"dnatk: {record.getMessage()}", err=True)


class Measured:
    """A progress that also measures, for the line at the end.

    Attributes:
        bases: read in all stages.
        done: units of the last stage that were done, those skipped left out.
    """

    def __init__(self, shown: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown, self._clock = shown, clock
        self._began: float | None = None
        self.bases = self.done = 0

    def start(self, stage: str, total: int | None, unit: str) -> None:
        if self._began is None:
            self._began = self._clock()
        self.done = 0
        self._shown.start(stage, total, unit)

    def advance(self, amount: int, note: str = "") -> None:
        self.done += amount
        self._shown.advance(amount, note)

    def skip(self, amount: int) -> None:
        self._shown.skip(amount)

    def read(self, bases: int) -> None:
        self.bases += bases

    def finish(self) -> None:
        self._shown.finish()

    def __str__(self) -> str:
        """``1.5 Mb in 12.3 s (125 kb/s)``, from the first stage to now; "" where nothing was read.

        Under torchrun, of this process.
        """
        if self._began is None or not self.bases:
            return ""
        seconds = max(self._clock() - self._began, 1e-3)
        rate = bases_in_words(round(self.bases / seconds))
        text = f"{bases_in_words(self.bases)} in {seconds_in_words(seconds)} ({rate}/s)"
        world = int(os.environ.get("WORLD_SIZE") or 1)
        return text if world == 1 else f"{text} by this process, of {world}"

    def closing(self, facts: str) -> str:
        """What a command says at its end: facts, and what was measured."""
        return f"{facts}; {self}" if str(self) else facts


class Pace:
    """Units a second of late, and the seconds left.

    Only what has come in the last ``window`` seconds counts, at least the last two amounts, so
    that a slow stretch or a slower machine is seen soon.
    """

    def __init__(self, window: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._window, self._clock = window, clock
        self._made = 0
        self._samples = [(clock(), 0)]

    def add(self, amount: int) -> None:
        """``amount`` units have been made just now."""
        now = self._clock()
        self._made += amount
        self._samples.append((now, self._made))
        while len(self._samples) > 3 and self._samples[1][0] < now - self._window:
            del self._samples[0]

    def rate(self) -> float | None:
        """Units a second; None where none is made yet."""
        (first, before), (last, made) = self._samples[0], self._samples[-1]
        if made == before or last <= first:
            return None
        # Where the next amount is overdue, the pace has fallen.
        due = (last - first) / (len(self._samples) - 1)
        return (made - before) / max(last - first, self._clock() - first - due)

    def left(self, units: float | None) -> float | None:
        """Seconds until ``units`` more are made; None where that cannot be said."""
        rate = self.rate()
        return None if units is None or rate is None else units / rate


class RichProgress:
    """A bar for the stage at hand: pace, elapsed and remaining time as far as there is room."""

    def __init__(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import Progress

        console = RichConsole(stderr=True)
        self._bar = Progress(*_columns(console), console=console, transient=False)
        self._task = None
        self._pace = Pace()

    def start(self, stage: str, total: int | None, unit: str) -> None:
        self.finish()
        self._pace = Pace()
        self._bar.start()
        self._task = self._bar.add_task(stage, total=total, unit=unit, note="", pace=self._pace)

    def advance(self, amount: int, note: str = "") -> None:
        self._pace.add(amount)
        self._bar.update(self._task, advance=amount, note=note)

    def skip(self, amount: int) -> None:
        self._bar.update(self._task, advance=amount)

    def read(self, bases: int) -> None: ...

    def finish(self) -> None:
        if self._task is not None:
            self._bar.stop()
            self._task = None


def _columns(console) -> list:
    """What of a bar fits the terminal."""
    from datetime import timedelta

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task):
            speed = task.fields["pace"].rate()
            shown = "" if speed is None else f"{speed:,.1f} {task.fields['unit']}/s"
            return Text(shown, style="progress.data.speed", no_wrap=True)

    class Left(TextColumn):
        def render(self, task):
            left = None if task.finished else task.fields["pace"].left(task.remaining)
            shown = "" if left is None else f"{timedelta(seconds=round(left))} left"
            return Text(shown, style="progress.remaining", no_wrap=True)

    stage, count = TextColumn("{task.description}"), MofNCompleteColumn()
    if console.width < 60:
        return [stage, count, Left("")]
    # The dots are no ASCII.
    spinner = SpinnerColumn("line" if console.options.ascii_only else "dots")
    if console.width < 100:
        return [spinner, stage, BarColumn(bar_width=12), count, Left("")]
    bar, note = BarColumn(bar_width=24), TextColumn("{task.fields[note]}")
    return [spinner, stage, bar, count, Rate(""), TimeElapsedColumn(), Left(""), note]
