"""Where tasks are found: a directory, the user's own, or those that come with dnatk."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from dnatk.errors import ModelError
from dnatk.model.checked import shown
from dnatk.tasks.task import TASK_FILE, Task

BUNDLED = Path(__file__).parent / "bundled"


def user_tasks(environ: Mapping[str, str] = os.environ) -> Path:
    """$XDG_DATA_HOME/dnatk/tasks, else ~/.local/share/dnatk/tasks."""
    home = Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "dnatk" / "tasks"


def known_tasks() -> dict[str, Path]:
    """name -> directory of every task that can be named; a user's goes before a bundled one."""
    found = {}
    for root in (user_tasks(), BUNDLED):
        for path in sorted(root.glob(f"*/{TASK_FILE}")):
            found.setdefault(path.parent.name, path.parent)
    return found


def find_task(name: str | Path) -> Task:
    """The task of that name, or in that directory.

    Raises:
        ModelError: neither; the names there are.
    """
    known = known_tasks()
    directory = Path(name)
    if str(name) in known and not (directory / TASK_FILE).exists():
        return Task.read(known[str(name)])
    if os.path.isdir(directory):  # of a name that cannot be one, pathlib raises
        return Task.read(directory)
    close = difflib.get_close_matches(str(name), known, n=1)
    listed = ", ".join(sorted(known)) or "none is installed"
    hint = f"did you mean '{close[0]}'?" if close else f"give a directory, or one of: {listed}"
    raise ModelError(f"no task {shown(str(name))}", hint=hint)
