"""``dnatk completion``, and what the shell is told while someone types."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

VARIABLE = "_DNATK_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")
_FILES = ("FILE", "FASTA", "BED", "DATA", "INPUT", "TABLE")


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(_SHELLS), metavar="bash|zsh|fish")
def command(shell):
    """Print the script that completes dnatk's commands, options, tasks, models and files.

    \b
    Example:
      mkdir -p ~/.local/share/bash-completion/completions
      dnatk completion bash > ~/.local/share/bash-completion/completions/dnatk

    For zsh write it to a file _dnatk in a directory of $fpath, for fish to
    ~/.config/fish/completions/dnatk.fish. It works in shells that are opened afterwards; bash must
    be 4.4 or newer, with the package bash-completion.
    """
    from dnatk.cli import cli

    kind = get_completion_class(shell)
    # bash's own source() would start bash to ask for its version.
    click.echo(ShellComplete.source(kind(cli, {}, "dnatk", VARIABLE)))


def complete_values(command: click.Command) -> None:
    """Teach the parameters of a command, and of its own commands, what may stand there."""
    for parameter in command.params:
        values = _completer(parameter)
        if values is not None:
            parameter.shell_complete = values  # type: ignore[method-assign]
    for part in getattr(command, "commands", {}).values():
        complete_values(part)


def completing() -> bool:
    """Whether the shell asks, and nobody runs a command."""
    return VARIABLE in os.environ


def _completer(parameter: click.Parameter):
    """What completes a parameter's value, by what its help calls it; None: click knows."""
    if isinstance(parameter.type, click.Choice):
        return None
    metavar = parameter.metavar or ""
    if parameter.name == "task":
        from dnatk.tasks.places import known_tasks

        return _names_or_paths(known_tasks, "dir")
    if parameter.name in ("model", "models") or "MODEL" in metavar:
        from dnatk.model.places import known_models

        return _names_or_paths(known_models, "dir")
    if "COMMAND" in metavar:
        from dnatk.cli.keys import configured_commands

        return _names_or_paths(configured_commands, "file")
    if any(word in metavar for word in _FILES):
        return lambda ctx, incomplete: [CompletionItem(incomplete, type="file")]
    if "DIR" in metavar:
        return lambda ctx, incomplete: [CompletionItem(incomplete, type="dir")]
    return None


def _names_or_paths(names, kind: str):
    def complete(ctx: click.Context, incomplete: str) -> Iterable[CompletionItem]:
        known = [CompletionItem(name) for name in sorted(names()) if name.startswith(incomplete)]
        # The shell forgets what came before a path, so that names stand after it.
        return [CompletionItem(incomplete, type=kind), *known]

    return complete
