"""Where tasks lie, told without reading one: completion on the command line asks it at each key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dnatk.directories import directories_with, user_directory

BUNDLED = Path(__file__).parent / "bundled"
TASK_FILE = "task.json"


def user_tasks(environ: Mapping[str, str] = os.environ) -> Path:
    """$XDG_DATA_HOME/dnatk/tasks, else ~/.local/share/dnatk/tasks."""
    return user_directory("data", environ) / "dnatk" / "tasks"


def known_tasks() -> dict[str, Path]:
    """name -> directory of every task that can be named; a user's goes before a bundled one."""
    found: dict[str, Path] = {}
    for root in (user_tasks(), BUNDLED):
        for path in directories_with(TASK_FILE, root):
            found.setdefault(path.name, path)
    return found
