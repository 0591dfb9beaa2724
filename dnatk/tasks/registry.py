"""Where tasks are found: a directory, the user's own, or those that come with dnatk."""

from __future__ import annotations

import os
from pathlib import Path

from dnatk.errors import ModelError, did_you_mean
from dnatk.model.checked import shown
from dnatk.tasks.places import TASK_FILE, known_tasks
from dnatk.tasks.task import Task


def find_task(name: str | Path) -> Task:
    """The task of that name, or in that directory.

    Raises:
        ModelError: neither; the names there are.

    >>> task = dnatk.find_task("promoter")
    >>> task.kind, task.length, task.class_names
    ('binary', 300, ('other', 'promoter'))
    """
    known = known_tasks()
    directory = Path(name)
    if str(name) in known and not (directory / TASK_FILE).exists():
        return Task.read(known[str(name)])
    if os.path.isdir(directory):  # of a name that cannot be one, pathlib raises
        return Task.read(directory)
    listed = f"give a directory, or one of: {', '.join(sorted(known)) or 'none is installed'}"
    raise ModelError(f"no task {shown(str(name))}", hint=did_you_mean(str(name), known) or listed)
