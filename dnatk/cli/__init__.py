"""The ``dnatk`` command: a lazy command table and the one error ladder.

Exit codes: 0 done, 1 the data or the machine, 2 the command line, 130 interrupted, 143 terminated
(0 where pretrain then wrote a checkpoint).
A command's module is imported when it is run or its own help is asked for, so ``dnatk --help`` is
quick.
"""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from click.shell_completion import CompletionItem

from dnatk import __version__
from dnatk.cli.completion import complete_values, completing
from dnatk.cli.layout import (
    HELP_NAMES,
    Context,
    accept_any_text,
    fit_terminal,
    help_width,
    open_closed_streams,
    unheard,
)
from dnatk.errors import DnatkError, NoGenomeError, did_you_mean

# name -> what it does, in one line; the module is dnatk.cli.<name>, the command object `command`.
COMMANDS = {
    "embed": "Embed a genome, sequences or BED regions into an HDF5 file.",
    "predict": "Score BED regions or sequences with a task.",
    "finetune": "Train a task on labelled sequences or regions.",
    "evaluate": "Measure a task on labelled sequences or regions.",
    "tasks": "List, show and export tasks.",
    "models": "List, show, verify, export and pull models.",
    "pretrain": "Pre-train a DNA language model with RandomMask on FASTA.",
    "inspect": "Show what a pre-trained model has learnt, on one page.",
    "h5": "Show, check, export and merge HDF5 files of embed and predict.",
    "config": "Settings that commands fall back on, such as the genome.",
    "doctor": "Check the installation and the machine.",
    "completion": "Print the completion script of a shell.",
}


class ClosedPipe(Exception):
    """The reader of stdout has gone (head, say)."""


@contextmanager
def _closed_pipe_told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # click itself would exit with 1
        raise ClosedPipe from None


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    context_class = Context

    def make_context(self, *args, **kwargs) -> click.Context:
        with _closed_pipe_told():  # of the help, which is written here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context):
        with _closed_pipe_told():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f"dnatk.cli.{name}").command
        fit_terminal(command)
        if completing():
            complete_values(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        known = COMMANDS.items()
        names = [CompletionItem(n, help=text) for n, text in known if n.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx, args):
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            # Old versions of click suggest nothing themselves.
            hint = did_you_mean(args[0], COMMANDS)
            if hint and "Did you mean" not in error.message:
                error.message += f" {hint.capitalize()}"
            raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": HELP_NAMES})
@click.version_option(__version__, "-V", "--version", message="dnatk %(version)s")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors; no progress.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, quiet: bool, verbose: bool, debug: bool) -> None:
    """DNA language models, from raw genome to answers.

    Messages and progress go to stderr, results to files or stdout. BED files are 0-based
    half-open, region strings such as chr1:1-100 are 1-based inclusive.
    """
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other.")
    from dnatk.cli.console import Console

    ctx.obj = Console(quiet=quiet, verbose=verbose, debug=debug)


def script() -> None:
    """``dnatk`` of a shell: :func:`main`, and the process is gone at once.

    Python takes torch apart before it ends, which is most of a second for nothing, and waits for
    threads that wait for a pipe.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        # GNU's OpenMP, which torch loads, spins for milliseconds at every barrier; where another
        # process has the core that it waits for, that is most of the time (bench_shared.py).
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        main()
    except SystemExit as end:
        try:
            atexit._run_exitfuncs()
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
        except (OSError, ValueError):
            raise end from None  # as Python itself tells it
        os._exit(end.code if isinstance(end.code, int) else 0)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: the one place where errors become exit codes."""
    debug = "--debug" in (sys.argv[1:] if args is None else args)
    # As an exception it runs the clean-up on its way out, so no partial file stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    open_closed_streams()
    accept_any_text()
    options = {"standalone_mode": False, "terminal_width": help_width()}
    try:
        # Without standalone mode click returns the code of an early exit, such as --help's.
        sys.exit(cli.main(args=args, prog_name="dnatk", **options) or 0)
    except click.UsageError as error:
        if isinstance(error, click.NoSuchOption) and _is_global(error.option_name):
            error.message += f" It goes before the command: dnatk {error.option_name} ..."
            error.possibilities = None
        with unheard():
            error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        sys.exit(130)
    except ClosedPipe:
        # No complaint, and none at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (DnatkError, click.ClickException) as error:
        if debug:
            raise
        if isinstance(error, NoGenomeError):
            _say(f"error: {error}" if error.path else str(error))
            sys.exit(2)
        _say(f"error: {error.format_message() if hasattr(error, 'format_message') else error}")
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _say(f"error: {where}{error.strerror or error}")
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        text = (str(error).strip().splitlines() or [""])[0]
        _say(f"error: unexpected {type(error).__name__}: {text}")
        _say("this is a bug in dnatk; run again with --debug and report the traceback")
        sys.exit(1)


def _is_global(option: str) -> bool:
    return any(option in [*param.opts, *param.secondary_opts] for param in cli.params)


def _say(message: str) -> None:
    with unheard():
        click.echo(f"dnatk: {message}", err=True)
