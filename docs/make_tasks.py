"""Write docs/tasks.md, the list of the bundled tasks, from the tasks themselves."""

from __future__ import annotations

from pathlib import Path

from dnatk.tasks.places import BUNDLED
from dnatk.tasks.task import TASK_FILE, Task

TARGET = Path(__file__).with_name("tasks.md")
HEADER = """\
# Bundled tasks

Made from the tasks by `docs/make_tasks.py`; a test keeps it fresh.

These come with dnatk, as LoRA adapters on [dnatk-small](model-card.md):
`dnatk predict --task promoter regions.bed` works offline after installation.
`examples/train_bundled_tasks.sh` trains them, `dnatk tasks show NAME` prints a task's card with
data, checksums and intervals. GUE sets are those of
[DNABERT-2](https://arxiv.org/abs/2306.15006) (Apache-2.0); yeast gene starts are Ensembl's (R64) on
UCSC's sacCer3. The adapters are MIT, as dnatk is.

Figures are on each task's test set, one seed, with 95 % bootstrap intervals;
[quality.md](quality.md) compares models.
"""


def tasks_page() -> str:
    """The text of docs/tasks.md."""
    tasks = [Task.read(path.parent) for path in sorted(BUNDLED.glob(f"*/{TASK_FILE}"))]
    lines = [
        "| task | what | classes | bases | test | MCC | AUROC | without leaked sequences |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task in tasks:
        test = task.metrics["test"]
        unleaked = task.metrics.get("test_unleaked")
        cells = [
            f"`{task.name}`",
            task.description,
            ", ".join(task.class_names),
            str(task.length),
            str(task.details["data"]["test"]["examples"]),
            _interval(test["mcc"]),
            _interval(test["auroc"]),
            f"MCC {unleaked['mcc']['value']:.3f}" if unleaked else "none leaked",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    defaults = [
        f"- `{task.name}`: fit {task.fit}, combine {task.combine}, other strand {task.rc}"
        + (", regions need a strand" if task.stranded else "")
        for task in tasks
    ]
    rest = "\n\nHow they read regions, unless told otherwise:\n\n" + "\n".join(defaults) + "\n"
    return HEADER + "\n" + "\n".join(lines) + rest


def _interval(estimate: dict) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


if __name__ == "__main__":
    TARGET.write_text(tasks_page())
