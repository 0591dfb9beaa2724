"""README.md of a task: what it is, how good, on what data, and how to use it."""

from __future__ import annotations

from math import isnan

from dnatk.tasks.task import Task
from dnatk.training.metrics import metrics_of
from dnatk.undefined import mean_and_sd

_PLOTS = {
    "roc": "ROC curve",
    "pr": "Precision and recall",
    "calibration": "Calibration",
    "confusion": "Confusion matrix",
    "scatter": "Predicted against true values",
    "learning_curve": "Learning curve",
}


def write_card(task: Task) -> None:
    """Write the card into the task's directory, where the plots already lie."""
    sections = [
        f"# {task.name or task.directory.name}",
        task.description,
        "\n".join(_summary(task)),
        "## Measured",
        _measured(task),
        "## Data",
        _data(task),
        "## Use",
        "```\ndnatk predict --task DIR regions.bed --genome genome.fa\n"
        "dnatk evaluate DIR labelled.csv\n```",
        *_plots(task),
    ]
    text = "\n\n".join(section for section in sections if section)
    (task.directory / "README.md").write_text(text + "\n")


def _summary(task: Task) -> list[str]:
    config = task.details["config"]
    trunk = "random weights of " if config["from_scratch"] else ""
    lines = [
        f"- labels: {task.kind}, {', '.join(task.class_names)}",
        f"- windows of {task.length} bases, regions by `--fit {task.fit}`, windows combined by "
        f"{task.combine}, other strand: {task.rc}"
        + (", regions need a strand" if task.stranded else ""),
        f"- trunk: {trunk}{task.trunk.name} (sha256 {task.trunk.sha256[:16]}), "
        f"method {task.method}, pool {task.head['pool']}",
    ]
    if task.kind != "regression":
        lines.append(f"- probabilities calibrated on dev: temperature {task.temperature:.3f}")
    if task.thresholds:
        shown = ", ".join(f"{threshold:.3g}" for threshold in task.thresholds)
        lines.append(f"- threshold: {shown}")
    return lines


def _measured(task: Task) -> str:
    parts = [name for name in ("dev", "test", "test_unleaked") if name in task.metrics]
    rows = [["metric", *parts], ["---"] * (1 + len(parts))]
    rows += [
        [metric, *(_cell(task.metrics[part].get(metric)) for part in parts)]
        for metric in metrics_of(task.kind)
    ]
    seeds = task.details.get("seeds", {})
    text = _table(rows)
    if len(seeds) > 1:
        rows = [["metric", *parts], ["---"] * (1 + len(parts))]
        for metric in metrics_of(task.kind):
            cells = [[run[p][metric] for run in seeds.values() if p in run] for p in parts]
            rows.append([metric, *map(mean_and_sd, cells)])
        text += (
            f"\n\nSeed {task.details['seed']} is kept, the best on dev. Over {len(seeds)} seeds "
            f"({', '.join(seeds)}), mean ± sd:\n\n{_table(rows)}"
        )
    if "test_unleaked" in parts:
        text += "\n\ntest_unleaked leaves out the test sequences that stand in train."
    return text + "\n\nIntervals are 95 % percentile bootstrap over examples."


def _cell(estimate: dict | None) -> str:
    if estimate is None:
        return ""
    if "low" not in estimate or isnan(estimate["low"]):
        return f"{estimate['value']:.4f}"
    return f"{estimate['value']:.4f} ({estimate['low']:.4f} to {estimate['high']:.4f})"


def _data(task: Task) -> str:
    rows = [["set", "file", "examples", "classes", "sha256"], ["---"] * 5]
    for name, data in task.details["data"].items():
        classes = ", ".join(f"{k}: {v}" for k, v in data["classes"].items())
        shown = "" if task.kind == "regression" else classes
        rows.append([name, data["file"], str(data["examples"]), shown, f"`{data['sha256'][:16]}`"])
    lines = [_table(rows)]
    if task.details.get("split"):
        lines.append(f"Split: {task.details['split']}.")
    for name, data in task.details["data"].items():
        contigs = data.get("contigs", [])
        if contigs:
            more = ", ..." if len(contigs) > 30 else ""
            lines.append(f"Contigs of {name}: {', '.join(contigs[:30])}{more}.")
    return "\n\n".join(lines)


def _plots(task: Task) -> list[str]:
    return [
        f"![{text}]({name}.png)"
        for name, text in _PLOTS.items()
        if (task.directory / f"{name}.png").exists()
    ]


def _table(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
