"""What the tables made from ledgers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

MISSING = "\N{EN DASH}"

# seed -> MCC in percent
Values = Mapping[int, float]


def cell(values: Sequence[float], *, count: bool = True) -> str:
    """Mean ± sample standard deviation (how many)."""
    if not values:
        return MISSING
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}" + (f" ({len(values)})" if count else "")


def over_sets(of: Mapping[str, Values], sets: Sequence[str]) -> list[float]:
    """The mean over ``sets``, for each seed that they all have; empty where a set is missing."""
    if any(name not in of for name in sets):
        return []
    seeds = set.intersection(*(set(of[name]) for name in sets))
    return [mean(of[name][seed] for name in sets) for seed in sorted(seeds)]


def lined(header: Sequence[str], lines: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A markdown table; the first ``texts`` columns are text, the others numbers."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))
