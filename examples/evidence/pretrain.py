#!/usr/bin/env python3
"""Pre-train the arms of the comparison, one after another; what was cut off goes on.

    examples/evidence/pretrain.py DATA RUNS [--arms dnabert,rm-fixed,wide] [--seeds 1,2,3]
    examples/evidence/pretrain.py DATA RUNS --scale paper --print \\
        --launcher "torchrun --nproc-per-node 8 -m dnatk"

RUNS receives a directory ARM-sSEED for each. --print writes the commands instead, a line each, for
a cluster's queue.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys

from arms import ARMS, SCALES, command, names


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
    add("--print", action="store_true", help="print the commands, run nothing")
    arguments = parser.parse_args()
    arms = arguments.arms.split(",")
    if unknown := set(arms) - set(names()):
        parser.error(f"no arm {', '.join(sorted(unknown))}: known are {', '.join(names())}")
    scale, launcher = SCALES[arguments.scale], shlex.split(arguments.launcher)
    for seed in map(int, arguments.seeds.split(",")):
        for arm in arms:
            words = command(launcher, scale, arm, seed, arguments.data, arguments.runs)
            if arguments.print:
                print(shlex.join(words))
            elif code := subprocess.run(words).returncode:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
