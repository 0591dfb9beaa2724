"""A task with its trunk in one directory, which needs nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from dnatk.errors import ModelError, OutputError
from dnatk.model.card import MODEL_FILES, PICKLES
from dnatk.model.copying import copy_files
from dnatk.model.loading import read_model
from dnatk.output.files import check_directory, directory_written_whole
from dnatk.tasks.places import TASK_FILE
from dnatk.tasks.scorer import load_scorer
from dnatk.tasks.task import TRUNK_DIRECTORY, Task


def export_task(task: Task, directory: str | Path, *, force: bool = False) -> Path:
    """Copy ``task`` and its trunk to ``directory``, which appears whole or not at all.

    Raises:
        ModelError: the trunk is missing, or a model of a hub (which has its own address).
        OutputError: the directory exists, or cannot be written.
    """
    if not task.trunk.native and task.method != "full":
        raise ModelError(
            f"stands on '{task.trunk.name}', which dnatk does not copy",
            path=task.directory,
            hint="copy the task directory itself; the model is read from where it is",
        )
    if not task.trunk.remote_code:
        load_scorer(task, device="cpu", precision="fp32")  # a broken task is not worth copying
    own = task.directory.resolve()
    place = Path(directory).resolve()
    if own in (place, *place.parents):
        raise OutputError("is in the task itself", path=directory, hint="export it elsewhere")
    target = check_directory(directory, marker=TASK_FILE, force=force, inputs=(own,))
    with directory_written_whole(target, replace=force) as staging:
        shutil.copytree(own, staging, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for each in (staging, *filter(Path.is_dir, staging.rglob("*"))):
            each.chmod(each.stat().st_mode | 0o700)  # of a task that others may only read
        if task.method != "full":
            trunk = staging / TRUNK_DIRECTORY
            trunk.mkdir(exist_ok=True)
            # Checkpoints and logs stay where they are.
            source = read_model(task.trunk_directory()).directory
            copy_files(source, trunk, (*MODEL_FILES, *PICKLES))
    return target
