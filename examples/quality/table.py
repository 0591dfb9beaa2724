#!/usr/bin/env python3
"""The table of a quality ledger as markdown: python examples/quality/table.py LEDGER

Test MCC in percent, mean ± sample standard deviation over the seeds there are, and in brackets
how many those are; a cell that has not been run is a dash. Of several configurations of a model on
a set, the one that was run last counts. The mean over sets is given for a model that has them all,
over the seeds that all of them have.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import ledger
from ledger_table import Values, cell, lined, over_sets
from run import MODULES, SEEDLESS
from sets import PUBLISHED, SETS

from dnatk.errors import DnatkError

TITLES = {
    "kmer": "3..6-mer logistic regression",
    "cnn": "CNN from one-hot",
    "scratch": "trunk's architecture from scratch",
    "full": "trunk, full fine-tuning",
    "lora": "trunk, LoRA",
    "probe": "trunk, linear probe",
}


def latest(rows: Sequence[Mapping], part: str) -> dict[tuple[str, str], Values]:
    """(model, set) -> MCC in percent of each seed, of the configuration that ran last."""
    current = {(row["model"], row["set"]): row["config_hash"] for row in rows}
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        place = row["model"], row["set"]
        if row["config_hash"] == current[place] and row[part]["mcc"] is not None:
            found.setdefault(place, {})[row["seed"]] = 100 * row[part]["mcc"]
    return found


def markdown(rows: Sequence[Mapping], part: str) -> str:
    """One table: ``part`` is test or test_unleaked. Published rows are of all test sequences."""
    found = latest(rows, part)
    lines = []
    for model in MODULES:
        of = {name: found[model, name] for name in SETS if (model, name) in found}
        title = TITLES[model] + (" (no seed)" if model in SEEDLESS else "")
        cells = [cell(list(of.get(name, {}).values())) for name in SETS]
        lines.append([title, *cells, cell(over_sets(of, SETS))])
    if part == "test":
        for model, values in PUBLISHED.items():
            lines.append(
                [f"{model}, published", *(f"{v:.1f}" for v in values), f"{mean(values):.1f}"]
            )
    return lined(["model", *SETS, "mean"], lines)


def leaks(rows: Sequence[Mapping]) -> str:
    """How many test sequences of which set stand in train."""
    known = {row["set"]: f"{row['n_leaked']} of {row['n_test']}" for row in rows if row["n_leaked"]}
    return ", ".join(f"{name} {known[name]}" for name in SETS if name in known)


def report(rows: Sequence[Mapping]) -> str:
    """Both tables with what they are."""
    parts = ["Test MCC (%), mean ± sd over seeds (number of seeds):", markdown(rows, "test")]
    if leaks(rows):
        parts.append(
            "The same without the test sequences that stand in train, on either strand\n"
            f"({leaks(rows)}):"
        )
        parts.append(markdown(rows, "test_unleaked"))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables, or put them into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ledger")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="a page with marks for them")
    arguments = parser.parse_args(argv)
    try:
        tables = report(ledger.read(arguments.ledger))
        if arguments.into is None:
            print(tables, end="")
        else:
            arguments.into.write_text(ledger.put_into(arguments.into.read_text(), tables))
    except DnatkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
