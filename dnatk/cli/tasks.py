"""``dnatk tasks``."""

from __future__ import annotations

import json
import logging

import click

from dnatk.cli.layout import table_width
from dnatk.cli.tables import aligned
from dnatk.undefined import as_null

log = logging.getLogger(__name__)


@click.group("tasks", invoke_without_command=True, short_help="List, show and export tasks.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.pass_context
def command(ctx, as_json):
    """List the tasks that predict and evaluate know by name: bundled ones and your own.

    Your own are the directories under ~/.local/share/dnatk/tasks ($XDG_DATA_HOME); any other task
    directory is named by its path.

    \b
    Example:
      dnatk tasks
      dnatk tasks show promoter
      dnatk tasks export promoter promoter-task
    """
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError(f"--json goes behind {ctx.invoked_subcommand}.")
        return
    from dnatk.errors import ModelError
    from dnatk.tasks.places import known_tasks
    from dnatk.tasks.task import Task

    rows, facts = [], []
    for name, directory in sorted(known_tasks().items()):
        try:
            task = Task.read(directory)
        except ModelError as error:  # of one of them: the others are well
            log.warning("%s", error)
            continue
        found = task.measured()
        measured = f"{found[0]} {found[1]} {found[2]:.3f}" if found else "-"
        facts.append(_facts(task, name))
        origin = facts[-1]["origin"]
        rows.append((name, task.kind, f"{task.length} bp", measured, origin, task.description))
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        header = ("name", "kind", "length", "measured", "origin", "description")
        click.echo(aligned(header, rows, right=("length",), width=table_width()))


def _facts(task, name: str) -> dict[str, object]:
    """What the list says of a task, ready for JSON."""
    from dnatk.tasks.places import BUNDLED, user_tasks

    origin = {BUNDLED: "bundled", user_tasks(): "yours"}.get(task.directory.parent, "directory")
    return {
        "name": name,
        "kind": task.kind,
        "classes": task.class_names,
        "length": task.length,
        "origin": origin,
        "directory": str(task.directory),
        "metrics": as_null(task.metrics),
        "description": task.description,
    }


@command.command("show", short_help="Print a task's card.")
@click.argument("task", metavar="NAME|DIR")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of the card.")
def show(task, as_json):
    """Print the card of a task: what it is, how good, trained on what.

    \b
    Example:
      dnatk tasks show promoter
      dnatk tasks show promoter --json | jq .metrics.test.mcc
    """
    from dnatk.tasks.registry import find_task

    found = find_task(task)
    if as_json:
        more = ("method", "fit", "combine", "rc", "stranded", "temperature", "thresholds")
        facts = _facts(found, found.name) | {name: getattr(found, name) for name in more}
        trunk = {"model": found.trunk.name, "model_sha256": found.trunk.sha256}
        click.echo(json.dumps({**facts, "task_sha256": found.sha256(), **trunk}, indent=2))
        return
    card = found.directory / "README.md"
    text = card.read_text("utf-8", "replace") if card.exists() else f"# {found.name}\n"
    click.echo(f"{text.rstrip()}\n\nIn {found.directory}")


@command.command("export", short_help="Copy a task with its trunk, to run anywhere.")
@click.argument("task", metavar="NAME|DIR")
@click.argument("directory", metavar="NEW_DIR")
@click.option("--force", is_flag=True, help="Replace NEW_DIR if it holds a task.")
@click.pass_obj
def export(console, task, directory, force):
    """Copy a task into NEW_DIR together with the model it stands on.

    \b
    Example:
      dnatk tasks export promoter promoter-task
      dnatk predict --task promoter-task regions.bed --genome genome.fa
    """
    from dnatk.tasks.export import export_task
    from dnatk.tasks.registry import find_task

    target = export_task(find_task(task), directory, force=force)
    console.say(f"task and model in {target}")
