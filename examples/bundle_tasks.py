"""Put trained tasks where `dnatk --task NAME` finds them in every installation.

python examples/bundle_tasks.py TASKS dnatk/tasks/bundled

Each task is read back and its trunk checked first.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from dnatk.settings import CONFIG_FILE
from dnatk.tasks.places import TASK_FILE
from dnatk.tasks.scorer import load_scorer
from dnatk.tasks.task import Task

LIMIT = 25 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", type=Path, help="directory of task directories")
    parser.add_argument("target", type=Path, help="directory to write")
    options = parser.parse_args()
    total = 0
    for path in sorted(options.tasks.glob(f"*/{TASK_FILE}")):
        task = Task.read(path.parent)
        load_scorer(task, device="cpu", precision="fp32")
        directory = options.target / path.parent.name
        shutil.rmtree(directory, ignore_errors=True)
        # The report can be made again, and the options name files of the machine they ran on.
        left = shutil.ignore_patterns("report.html", CONFIG_FILE)
        shutil.copytree(path.parent, directory, ignore=left)
        total += sum(file.stat().st_size for file in directory.iterdir())
        print(f"{directory}: {sum(f.stat().st_size for f in directory.iterdir()) / 2**20:.1f} MiB")
    print(f"{total / 2**20:.1f} MiB in all")
    if total > LIMIT:
        sys.exit(f"more than {LIMIT / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
