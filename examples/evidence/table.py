#!/usr/bin/env python3
"""The evidence ledger as markdown tables.

    python examples/evidence/table.py LEDGER [--baseline dnabert] [--into docs/evidence.md]

For each method: the mean MCC in percent of every arm over each group of sets (mean over seeds, and
their standard deviation where there are two or more), and the paired difference from the baseline:
per set, over the seeds that both arms have, then over sets, with Student's 95 % interval over sets
and on how many sets the arm is ahead. A mean stands only where no set of the group is missing. Sets
are not independent (the ten yeast marks share a genome): read the interval with that in mind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import labelled_sets  # also makes the quality scripts importable
import ledger
from arms import names, title
from scipy.stats import t as student

from dnatk.errors import DnatkError

MISSING = "\N{EN DASH}"

# set -> seed -> MCC in percent
Scores = dict[str, dict[int, float]]


def scores(rows: Sequence[Mapping], method: str) -> dict[str, Scores]:
    """arm -> its scores; of several configurations of a cell the one that ran last counts."""
    current = {(r["arm"], r["set"], r["seed"]): r for r in rows if r["method"] == method}
    found: dict[str, Scores] = {}
    for (arm, name, seed), row in current.items():
        # A model that gives one class for all has no MCC; 0 is what it is worth.
        found.setdefault(arm, {}).setdefault(name, {})[seed] = 100 * (row["dev"]["mcc"] or 0)
    return {arm: found[arm] for arm in names() if arm in found}


def over_group(of: Scores, group: Sequence[str]) -> list[float]:
    """The mean over a group's sets, for each seed that all of them have."""
    if any(name not in of for name in group):
        return []
    seeds = set.intersection(*(set(of[name]) for name in group))
    return [mean(of[name][seed] for name in group) for seed in sorted(seeds)]


def differences(of: Scores, baseline: Scores) -> list[float]:
    """Arm minus baseline for each set that both have, the mean over the seeds they share."""
    shared = {name: of[name].keys() & baseline[name].keys() for name in of if name in baseline}
    return [
        mean(of[name][seed] - baseline[name][seed] for seed in seeds)
        for name, seeds in shared.items()
        if seeds
    ]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of two values or more."""
    half = student.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return mean(values) - half, mean(values) + half


def cell(values: Sequence[float]) -> str:
    """Mean ± sd (how many)."""
    if not values:
        return MISSING
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread} ({len(values)})"


def difference(values: Sequence[float]) -> str:
    """Mean [interval], sets ahead."""
    if len(values) < 2:
        return MISSING
    low, high = interval(values)
    ahead = sum(value > 0 for value in values)
    return f"{mean(values):+.1f} [{low:+.1f}, {high:+.1f}], {ahead} of {len(values)}"


def markdown(rows: Sequence[Mapping], method: str, baseline: str) -> str:
    """One method's table."""
    of = scores(rows, method)
    groups = labelled_sets.GROUPS
    lines = [["pre-training", *groups, f"against {baseline}, all sets"]]
    lines.append(["---"] + ["---:"] * (len(groups) + 1))
    for arm, own in of.items():
        means = [cell(over_group(own, sets)) for sets in groups.values()]
        paired = differences(own, of.get(baseline, {})) if arm != baseline else []
        lines.append([title(arm), *means, difference(paired)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(rows: Sequence[Mapping], baseline: str) -> str:
    """The tables of all methods that were run."""
    methods = dict.fromkeys(row["method"] for row in rows)
    return "\n".join(f"### {name}\n\n{markdown(rows, name, baseline)}\n" for name in methods)


def main() -> int:
    """Print the tables, or put them into a page; 1 where the ledger cannot be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--baseline", choices=names(), default="dnabert")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="a page with marks for them")
    arguments = parser.parse_args()
    try:
        tables = report(ledger.read(arguments.ledger), arguments.baseline)
        if arguments.into is None:
            print(tables, end="")
        else:
            page = arguments.into.read_text()
            arguments.into.write_text(ledger.put_into(page, tables))
    except DnatkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
