"""Tables and metrics as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dnatk.cli.layout import hanging
from dnatk.undefined import mean_and_sd


def aligned(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[str] | None = None,
    width: int | None = None,
) -> str:
    """A table in plain text; columns named in ``right`` (None: all but the first) to the right.

    Where it is wider than ``width``, the last column stands below each row; where that does not
    help, each cell has a line of its own.
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    to_right = [name in (header[1:] if right is None else right) for name in header]
    if width is not None and sum(widths) + 2 * len(widths) - 2 > width:
        shorter = sum(widths[:-1]) + 2 * len(widths) - 4
        return (
            _with_last_below(header, rows, right, width)
            if shorter <= width
            else _listed(header, rows, width)
        )
    return "\n".join(
        "  ".join(
            cell.rjust(width) if turn else cell.ljust(width)
            for cell, width, turn in zip(line, widths, to_right, strict=True)
        ).rstrip()
        for line in lines
    )


def _with_last_below(header, rows, right, width: int) -> str:
    table = aligned(header[:-1], [row[:-1] for row in rows], right).splitlines()
    below = [hanging(f"    {row[-1]}", 4, width) for row in rows]
    pairs = zip(table[1:], below, strict=True)
    return "\n".join([table[0], *(line for pair in pairs for line in pair)])


def _listed(header, rows, width: int) -> str:
    indent = max(map(len, header)) + 4
    lines = []
    for row in rows:
        lines.append(row[0])
        cells = zip(header[1:], row[1:], strict=True)
        lines += [hanging(f"  {name:<{indent - 2}}{cell}", indent, width) for name, cell in cells]
    return "\n".join(lines)


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
    metric = task.details["config"]["metric"]
    values = [run[task.part][metric] for run in task.details["seeds"].values()]
    return f"{task.part} {metric} over {len(values)} seeds {mean_and_sd(values)}"
