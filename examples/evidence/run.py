#!/usr/bin/env python3
"""Fill the evidence ledger: every arm on every labelled set, cell by cell.

    examples/evidence/run.py DATA RUNS [--arms dnabert,rm-fixed,wide] [--methods probe,full]
                             [--sets H3,H4] [--seeds 1,2,3] [--jobs N]

RUNS is what pretrain.py filled. A cell is one arm, method, set and seed; each finished one is a
JSON line of the ledger and is skipped when it stands there already. The first seed comes first for
all. A cell of seed S takes the arm's model of seed S, so that a difference between seeds is of both
trainings. Arms that are not pre-trained yet are left out, and named.

Methods: probe (logistic regression on the frozen model), full (fine-tuning), and full-other
(fine-tuning on the tokens the arm was not pre-trained on: non-overlapping 6-mers where those
overlapped, overlapping ones where they did not).
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

import labelled_sets  # also makes the quality scripts importable
import ledger
import numpy as np
from arms import directory, names, overlap

from dnatk import __version__
from dnatk.errors import DnatkError, TrainingError
from dnatk.inference.sequences import score_sequences
from dnatk.model.cpus import usable
from dnatk.model.loading import read_model
from dnatk.model.placement import prepare_cpu
from dnatk.tasks.scorer import load_scorer

METHODS = ("probe", "full", "full-other")
# Optimizer steps of 32 sequences: about one pass over the yeast marks, what a CPU can do.
_STEPS = {"yeast marks": 150, "yeast promoters": 200, "GUE": 300}

log = logging.getLogger("evidence")


def configuration(arm: str, method: str, name: str, trunk: Path) -> dict:
    """What decides a cell, beside its data and seed: arguments of FinetuneConfig, and the trunk."""
    config = {"arm": arm, "trunk_sha256": read_model(trunk).sha256, "pool": "all"}
    if method == "probe":
        return {**config, "method": "probe"}
    group = next(g for g, sets in labelled_sets.GROUPS.items() if name in sets)
    stride = {"kmer_stride": "k" if overlap(arm) else "1"} if method == "full-other" else {}
    steps = _STEPS[group]
    # In so few steps a random head does not come up to a probe. The rate is the best of 1e-5, 3e-5
    # and 1e-4 on valid of tf-0 and H4; larger ones take longer to mend what they first undo.
    how = {"method": "full", "head_start": "probe", "lr": 1e-4, "epochs": 20.0, "max_steps": steps}
    return {**config, **how, **stride}


def run_cell(
    arm: str, method: str, name: str, seed: int, config: dict, trunk: Path, data: str
) -> dict:
    """Train on train, choose on valid, measure on dev: the row of the ledger."""
    from dnatk.training.finetune import finetune
    from dnatk.training.finetune_config import FinetuneConfig

    parts, counts = labelled_sets.load(data, name)
    started = time.perf_counter()
    options = {k: v for k, v in config.items() if k not in ("arm", "trunk_sha256")}
    wanted = FinetuneConfig(model=str(trunk), seed=seed, metric="mcc", **options)
    with tempfile.TemporaryDirectory() as scratch:
        chosen_by = {"train": parts["train"], "dev": parts["valid"]}
        try:
            scorer = load_scorer(finetune(wanted, chosen_by, Path(scratch, "task")))
            measured = {
                part: ledger.rounded(
                    parts[part], np.stack(score_sequences(scorer, parts[part].sequences))
                )
                for part in ("valid", "dev")
            }
        except TrainingError as error:
            # One class for all, whatever the seed: a result as well.
            measured = {"valid": {"mcc": None}, "dev": {"mcc": None}, "failed": str(error)}
    return {
        "model": f"{arm}/{method}",
        "arm": arm,
        "method": method,
        "set": name,
        "seed": seed,
        "config_hash": ledger.config_hash(config),
        "config": config,
        **{f"n_{part}": len(data) for part, data in parts.items()},
        **{f"n_{what}": n for what, n in counts.items()},
        **measured,
        "seconds": round(time.perf_counter() - started, 1),
        "dnatk": __version__,
    }


def cells(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str, int]]:
    """(arm, method, set, seed) in the order of work."""
    for seed in arguments.seeds:
        for method in arguments.methods:
            for name in arguments.sets:
                for arm in arguments.arms:
                    yield arm, method, name, seed


def todo(arguments: argparse.Namespace, missing: set[str]) -> Iterator[tuple]:
    """What :func:`run_cell` takes, of each cell that is not finished; adds arms to ``missing``."""
    started = time.monotonic()
    for arm, method, name, seed in cells(arguments):
        trunk = directory(arguments.runs, arm, seed)
        if not (trunk / "dnatk.json").exists():
            missing.add(trunk.name)
            continue
        config = configuration(arm, method, name, trunk)
        wanted = (f"{arm}/{method}", name, seed, ledger.config_hash(config))
        # Read anew each time: another process may fill the same ledger.
        if wanted in map(ledger.key, ledger.read(arguments.ledger)):
            continue
        if time.monotonic() - started > arguments.hours * 3600:
            log.info("time is up")
            return
        yield arm, method, name, seed, config, trunk, arguments.data


def rows(cells: Iterable[tuple], jobs: int) -> Iterator[dict]:
    """Rows of the ledger as they are finished, ``jobs`` at a time."""
    threads = max(1, usable() // jobs)
    if jobs == 1:
        prepare_cpu(threads)
        yield from (run_cell(*cell) for cell in cells)
        return
    running: set[Future] = set()
    with ProcessPoolExecutor(jobs, get_context("spawn"), prepare_cpu, (threads,)) as pool:
        for cell in cells:
            running.add(pool.submit(run_cell, *cell))
            while len(running) == jobs:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        yield from (each.result() for each in running)


def parse() -> argparse.Namespace:
    """The command line."""

    def listed(allowed):
        def split(text: str) -> list[str]:
            if unknown := set(text.split(",")) - set(allowed):
                raise argparse.ArgumentTypeError(
                    f"no {', '.join(sorted(unknown))}: known are {', '.join(allowed)}"
                )
            return text.split(",")

        return split

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    sets = list(labelled_sets.LOADERS)
    add("data", help="the directory that holds emp/, yeast/ and gue/")
    add("runs", help="the directory that pretrain.py filled")
    add("--arms", type=listed(names()), default=names(), help="default: all that are there")
    add("--methods", type=listed(METHODS), default=["probe", "full"], help=", ".join(METHODS))
    add("--sets", type=listed(sets), default=sets, help=", ".join(sets))
    add("--seeds", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 3])
    add("--ledger", type=Path, default=Path(__file__).with_name("ledger.jsonl"))
    add("--hours", type=float, default=math.inf, help="start no cell after so long")
    add("--jobs", type=int, default=1, help="cells at a time, each with its share of the cores")
    return parser.parse_args()


def main() -> int:
    """Run; 1 where the data are at fault, 130 at Ctrl-C."""
    arguments = parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    missing: set[str] = set()
    try:
        for row in rows(todo(arguments, missing), arguments.jobs):
            ledger.append(arguments.ledger, row)
            mcc = 100 * (row["dev"]["mcc"] or 0)
            cell = f"{row['model']} {row['set']} seed {row['seed']}"
            log.info("%s: MCC %.1f, %.0f s", cell, mcc, row["seconds"])
    except DnatkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the cell in work is dropped, the finished ones are kept", file=sys.stderr)
        return 130
    if missing:
        print(f"not pre-trained: {', '.join(sorted(missing))}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
