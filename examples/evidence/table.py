#!/usr/bin/env python3
"""The evidence ledger as markdown tables.

    python examples/evidence/table.py LEDGER [--figures evidence.json] [--into docs/evidence.md]

For each method, over the sets that the baseline was measured on in all its seeds, and where there
are more, over all sets of the seed that has most: the mean MCC in percent of every arm over each
group of sets (mean over seeds, and their standard deviation where there are two or more), and the
paired difference from the baseline: per set, over the seeds that both arms have, then over sets,
with Student's 95 % interval over sets and on how many sets the arm is ahead. A mean is over the
sets of a group that the baseline was measured on, and stands only where the arm lacks none of them.
Sets are not independent (the ten yeast marks share a genome): read the interval with that in mind.
Then the scores set by set; overlapping against non-overlapping tokens where both were tuned on; and
from the numbers that figures.py wrote the held-out bits and what each layer looks at.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import labelled_sets  # also makes the quality scripts importable
import ledger
from arms import names, overlap, title
from figures import first_of_each
from ledger_table import MISSING, cell, lined, over_sets
from scipy.stats import t as student

from dnatk.errors import DnatkError

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
    compared = of.get(baseline, {})
    groups = {}
    for group, sets in labelled_sets.GROUPS.items():
        measured = [name for name in sets if name in compared]
        if measured:
            all_of = group if len(measured) == len(sets) else f"{group}: {', '.join(measured)}"
            groups[all_of] = measured
    lines = []
    for arm, own in of.items():
        means = [cell(over_sets(own, sets)) for sets in groups.values()]
        paired = differences(own, compared) if arm != baseline else []
        lines.append([title(arm), *means, difference(paired)])
    return lined(["pre-training", *groups, f"against {baseline}, all sets"], lines)


def split(rows: Sequence[Mapping], method: str, baseline: str) -> dict[str, list[Mapping]]:
    """Title -> rows of a table in which every set has the same seeds of the baseline.

    Else a group's mean would be over other sets in each seed.
    """
    compared = scores(rows, method).get(baseline, {})
    seeds = {name: frozenset(of) for name, of in compared.items()}
    most = max(seeds.values(), key=len, default=frozenset())
    if all(of == most for of in seeds.values()):
        return {method: list(rows)}
    counts = Counter(seed for of in seeds.values() for seed in of)
    widest = max(counts, key=lambda seed: counts[seed])
    return {
        f"{method}, {len(most)} seeds": [r for r in rows if seeds.get(r["set"]) == most],
        f"{method}, seed {widest}, all sets": [r for r in rows if r["seed"] == widest],
    }


def by_set(rows: Sequence[Mapping], method: str) -> str:
    """One method's scores, a line for each set, a column for each arm."""
    of = scores(rows, method)
    measured = [name for name in labelled_sets.LOADERS if any(name in own for own in of.values())]
    lines = [
        [name, *(cell(list(own.get(name, {}).values()), count=False) for own in of.values())]
        for name in measured
    ]
    return lined(["set", *of], lines)


def strides(rows: Sequence[Mapping]) -> str:
    """Tuned on overlapping against non-overlapping tokens, for each arm that was tuned on both."""
    own, other = scores(rows, "full"), scores(rows, "full-other")
    lines = []
    for arm in (arm for arm in own if arm in other):
        names = [n for n in labelled_sets.LOADERS if n in own[arm] and n in other[arm]]
        if not names:
            continue
        over, apart = (own[arm], other[arm]) if overlap(arm) else (other[arm], own[arm])
        means = [cell(over_sets(of, names)) for of in (over, apart)]
        paired = difference(differences(apart, over))
        lines.append([title(arm), ", ".join(names), *means, paired])
    header = ["pre-training", "sets", "overlapping", "non-overlapping", "difference"]
    return lined(header, lines, texts=2)


def heldout(measured: Mapping[str, Mapping]) -> str:
    """Bits per masked token on held-out contigs by span width, and those of no model at all."""
    lines, first = [], {}
    for arm in names():
        seeds = [of[arm]["heldout_bits"] for of in measured.values() if arm in of]
        if seeds := [bits for bits in seeds if bits]:
            first = seeds[0]
            widths = [_bits([bits[width] for bits in seeds]) for width in first]
            lines.append([title(arm), *widths, str(len(seeds))])
    references = {"order-5 Markov chain": "markov", "the visible bases alone": "uniform"}
    for name, key in references.items():
        lines.append([name, *(f"{of[key]:.2f}" for of in first.values()), MISSING])
    return lined(["pre-training", *(f"m = {width}" for width in first), "seeds"], lines)


def _bits(seeds: Sequence[Mapping[str, float]]) -> str:
    """Mean ± sample standard deviation (what goes to impossible k-mers)."""
    of = [each["model"] for each in seeds]
    spread = f" ± {stdev(of):.2f}" if len(of) > 1 else ""
    return f"{mean(of):.2f}{spread} ({mean(each['unread'] for each in seeds):.2f})"


def inside(measured: Mapping[str, Mapping]) -> str:
    """The embeddings at the last checkpoint, and how many tokens receive attention, by layer."""
    first = first_of_each(measured)
    layers = max(len(of["attention"]["received_effective_tokens"]) for of in first.values())
    lines = []
    for arm, of in first.items():
        last = of["checkpoints"][-1]
        numbers = [f"{last['r2'][part]:.2f}" for part in ("central", "marginal", "additive")]
        received = of["attention"]["received_effective_tokens"]
        looked_at = [f"{n:.0f}" for n in received] + [MISSING] * (layers - len(received))
        lines.append([title(arm), *numbers, f"{last['silhouette']:.2f}", *looked_at])
    header = ["R2 central", "R2 marginal", "R2 all bases", "silhouette"]
    return lined(["pre-training", *header, *(f"layer {i + 1}" for i in range(layers))], lines)


def report(rows: Sequence[Mapping], baseline: str, measured: Mapping[str, Mapping]) -> str:
    """All tables: of the methods that were run, and of ``measured`` (figures.py): seed -> arm."""
    parts: dict[str, str] = {}
    methods = dict.fromkeys(row["method"] for row in rows)
    for name in methods:
        if name in ("probe", "full"):
            for heading, own in split(rows, name, baseline).items():
                parts[heading] = markdown(own, name, baseline)
            parts[f"{name}, set by set"] = by_set(rows, name)
    if {"full", "full-other"} <= set(methods):
        parts["full and full-other"] = strides(rows)
    if measured:
        parts["held-out bits"] = heldout(measured)
        parts["token embeddings, and tokens that receive attention"] = inside(measured)
    return "\n".join(f"### {name}\n\n{text}\n" for name, text in parts.items())


def main() -> int:
    """Print the tables, or put them into a page; 1 where the ledger cannot be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--figures", type=Path, metavar="JSON", help="evidence.json of figures.py")
    parser.add_argument("--baseline", choices=names(), default="dnabert")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="a page with marks for them")
    arguments = parser.parse_args()
    try:
        measured = json.loads(arguments.figures.read_text()) if arguments.figures else {}
        tables = report(ledger.read(arguments.ledger), arguments.baseline, measured)
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
