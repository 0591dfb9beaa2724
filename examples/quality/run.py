#!/usr/bin/env python3
"""Fill the quality ledger: every model on every set, cell by cell.

    examples/quality/run.py DATA [--models kmer,cnn] [--sets core-tata,mouse-2] [--seeds 1,2,3]

DATA is the GUE directory (prom/, tf/, mouse/), or the one that holds it as gue/. A cell is one
model, set, seed and configuration; each finished one is a JSON line of the ledger, and is skipped
when it stands there already. The first seed comes first for all sets and models. Ctrl-C drops the
cell in work and keeps all others; --hours stops after the cell during which the time is up.

Every choice (C, checkpoint, epochs) is made on dev; test is scored once, at probability 0.5.
test_unleaked leaves out test sequences that stand in train, on either strand.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ledger
import numpy as np
import sets

from dnatk import __version__
from dnatk.errors import DnatkError

MODULES = {
    "kmer": "kmer",
    "cnn": "cnn",
    "scratch": "trunk",
    "full": "trunk",
    "lora": "trunk",
    "probe": "trunk",
}
# Their result depends on no seed: they run once.
SEEDLESS = ("kmer",)

log = logging.getLogger("quality")


@dataclass(frozen=True)
class Cell:
    """One model on one set with one seed."""

    model: str
    set: str
    seed: int

    def configuration(self) -> dict:
        return module(self.model).configuration(self.model, self.set)


def module(model: str):
    """The module that trains a model: imported when it is needed, torch takes its time."""
    return importlib.import_module(MODULES[model])


def cells(models: Sequence[str], names: Sequence[str], seeds: Sequence[int]) -> Iterator[Cell]:
    """In the order of work: seed, model, set."""
    planned = (
        Cell(model, name, seeds[0] if model in SEEDLESS else seed)
        for seed in seeds
        for model in models
        for name in names
    )
    yield from dict.fromkeys(planned)


def run_cell(cell: Cell, config: dict, data: str, keep: Path | None) -> dict:
    """Train, predict, score: the row of the ledger."""
    parts = sets.load(data, cell.set)
    train, dev, test = parts["train"], parts["dev"], parts["test"]
    started = time.perf_counter()
    dev_NC, test_NC = module(cell.model).train_and_predict(train, dev, test, cell.seed, config)
    seconds = time.perf_counter() - started
    leaked_N = sets.leaked(train, test)
    row = {
        "model": cell.model,
        "set": cell.set,
        "seed": cell.seed,
        "config_hash": ledger.config_hash(config),
        "config": config,
        "n_train": len(train),
        "n_dev": len(dev),
        "n_test": len(test),
        "n_leaked": int(leaked_N.sum()),
        "dev": ledger.rounded(dev, dev_NC),
        "test": ledger.rounded(test, test_NC),
        "test_unleaked": ledger.rounded(test.take(~leaked_N), test_NC[~leaked_N]),
        "seconds": round(seconds, 1),
        "dnatk": __version__,
        "trunk_sha256": config.get("trunk_sha256"),
    }
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        name = f"{cell.model}_{cell.set}_{cell.seed}_{row['config_hash']}.npz"
        np.savez_compressed(keep / name, dev_NC=dev_NC, test_NC=test_NC)
    return row


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""

    def listed(allowed):
        def split(text: str) -> list[str]:
            names = [name for name in text.split(",") if name]
            unknown = [name for name in names if name not in allowed]
            if unknown or not names:
                raise argparse.ArgumentTypeError(
                    f"no {', '.join(unknown) or 'name'}: known are {', '.join(allowed)}"
                )
            return names

        return split

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", help="the GUE directory, or the one that holds gue/")
    add("--models", type=listed(MODULES), default=list(MODULES), help=", ".join(MODULES))
    add("--sets", type=listed(sets.SETS), default=list(sets.SETS), help=", ".join(sets.SETS))
    add("--seeds", type=numbers, default=[1, 2, 3], help="default: 1,2,3")
    add("--ledger", type=Path, default=Path(__file__).with_name("ledger.jsonl"))
    add("--hours", type=float, default=math.inf, help="start no cell after so long")
    add("--tasks", type=Path, metavar="DIR", help="keep trunk models' tasks there, and reuse them")
    add("--predictions", type=Path, metavar="DIR", help="keep each cell's probabilities there")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 1 where the data are at fault, 130 at Ctrl-C."""
    arguments = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if arguments.tasks is not None:
        module("full").kept_tasks = arguments.tasks
    started = time.monotonic()
    planned = list(cells(arguments.models, arguments.sets, arguments.seeds))
    try:
        for number, cell in enumerate(planned, start=1):
            config = cell.configuration()
            wanted = (cell.model, cell.set, cell.seed, ledger.config_hash(config))
            # Read anew each time: another process may fill the same ledger.
            if wanted in map(ledger.key, ledger.read(arguments.ledger)):
                continue
            if time.monotonic() - started > arguments.hours * 3600:
                log.info("time is up, %d of %d cells left", len(planned) - number + 1, len(planned))
                break
            row = run_cell(cell, config, arguments.data, arguments.predictions)
            ledger.append(arguments.ledger, row)
            log.info(
                "%d/%d %s %s seed %d: MCC dev %.2f test %.2f, %.0f s",
                number, len(planned), cell.model, cell.set, cell.seed,
                100 * (row["dev"]["mcc"] or 0), 100 * (row["test"]["mcc"] or 0), row["seconds"],
            )  # fmt: skip
    except DnatkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the cell in work is dropped, the finished ones are kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
