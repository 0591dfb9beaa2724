"""Tables and metrics as text."""

from __future__ import annotations

import math
from collections.abc import Sequence


def aligned(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] | None = None
) -> str:
    """A table in plain text; columns named in ``right`` (None: all but the first) to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    to_right = [name in (header[1:] if right is None else right) for name in header]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if turn else cell.ljust(width)
            for cell, width, turn in zip(line, widths, to_right, strict=True)
        ).rstrip()
        for line in lines
    )


def without_nan(metrics: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Metrics as JSON has them: null where one is undefined."""
    return {
        name: {k: None if math.isnan(v) else v for k, v in estimate.items()}
        for name, estimate in metrics.items()
    }


def metrics_table(metrics: dict[str, dict[str, float]]) -> str:
    """Metrics with their intervals, aligned."""
    rows = []
    for name, estimate in metrics.items():
        interval = ""
        if "low" in estimate and not math.isnan(estimate["low"]):
            interval = f"{estimate['low']:.4f} to {estimate['high']:.4f}"
        rows.append((name, f"{estimate['value']:.4f}", interval))
    return aligned(("metric", "value", "95 % interval"), rows)


def seeds_line(task) -> str:
    """Mean and sd of the metric that chose, over the seeds."""
    from statistics import mean, stdev

    metric = task.details["config"]["metric"]
    values = [run[task.part][metric] for run in task.details["seeds"].values()]
    return f"{task.part} {metric} over {len(values)} seeds {mean(values):.4f} ± {stdev(values):.4f}"
