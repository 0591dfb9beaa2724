#!/usr/bin/env python3
"""Pre-train the arms of the comparison; what was cut off goes on.

    examples/evidence/pretrain.py DATA RUNS [--arms dnabert,rm-fixed,wide] [--seeds 1,2] [--jobs N]
    examples/evidence/pretrain.py DATA RUNS --scale paper --print \\
        --launcher "torchrun --nproc-per-node 8 -m dnatk"

RUNS receives a directory ARM-sSEED for each, and ARM-sSEED.log where several run at a time. --print
writes the commands instead, a line each, for a cluster's queue.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from arms import ARMS, SCALES, command, directory, names

from dnatk.model.cpus import usable


def train(of: tuple[str, int], words: list[str], *, runs: str, jobs: int) -> int:
    """Exit code of the command that trains an arm; of one among several, stderr is its log."""
    if jobs == 1:
        return subprocess.run(words).returncode
    log = directory(runs, *of).with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = str(max(1, usable() // jobs))
    with log.open("a") as stderr:
        code = subprocess.run([*words, "--threads", threads], stderr=stderr).returncode
    if code:
        print(f"error: {of[0]}, seed {of[1]}: see {log}", file=sys.stderr)
    return code


def main() -> int:
    """Run; the exit code of the first command that fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", help="directory of the genomes and tables (docs/evidence.md says which)")
    add("runs", help="directory for the models")
    add("--scale", choices=SCALES, default="laptop")
    add("--arms", default=",".join(ARMS), help="default: all; NAME-normal: from BERT's start")
    add("--seeds", default="1", help="default: 1")
    add("--launcher", default=f"{sys.executable} -m dnatk", help="what stands before 'pretrain'")
    add("--jobs", type=int, default=1, help="arms at a time, each with its share of the cores")
    add("--print", action="store_true", help="print the commands, run nothing")
    arguments = parser.parse_args()
    arms = arguments.arms.split(",")
    if unknown := set(arms) - set(names()):
        parser.error(f"no arm {', '.join(sorted(unknown))}: known are {', '.join(names())}")
    scale, launcher = SCALES[arguments.scale], shlex.split(arguments.launcher)
    wanted = [(arm, seed) for seed in map(int, arguments.seeds.split(",")) for arm in arms]
    commands = {
        pair: command(launcher, scale, *pair, arguments.data, arguments.runs) for pair in wanted
    }
    if arguments.print:
        print(*map(shlex.join, commands.values()), sep="\n")
        return 0
    run = partial(train, runs=arguments.runs, jobs=arguments.jobs)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for code in pool.map(run, commands, commands.values()):
            if code:
                pool.shutdown(cancel_futures=True)
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
