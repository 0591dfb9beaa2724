"""What a machine that others use costs ``dnatk embed``, with its few spins and without.

GNU's OpenMP, of torch's builds for Linux, lets a thread spin 300,000 times at a barrier before it
sleeps; ``dnatk`` asks for 1,000 (``GOMP_SPINCOUNT``). Both are run on the machine as it is and
beside as many processes as there are cores, each of which keeps one busy. Each run is a new
process; the RATIOs are OpenMP's own time over dnatk's: below 1 is what the machine loses when
quiet, above 1 what it gains when shared.

    python examples/benchmarks/bench_shared.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from timing import cores, interleaved, parser, random_bases, random_model, report, summary
from timing import write_fasta as write

_OWN = {"GOMP_SPINCOUNT": "300000"}  # OpenMP's default, as libgomp's manual has it
_SPIN = "while True: pass"


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--preset", default="small", help="default: %(default)s")
    options.add_argument("--length", type=int, default=100_000, help="bases; default: %(default)s")
    options.add_argument(
        "--busy", type=int, default=cores(), help="processes; default: %(default)s"
    )
    args = options.parse_args()
    given = {name: os.environ.pop(name, None) for name in ("OMP_WAIT_POLICY", *_OWN)}
    if any(given.values()):
        print(f"set aside: {given}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        fasta, model = Path(directory, "in.fa"), Path(directory, "model")
        write(fasta, {"a": random_bases(args.length, args.seed)})
        random_model(model, args.preset)
        command = [sys.executable, "-m", "dnatk", "-q", "embed", str(fasta), "--model", str(model)]
        command += ["--device", "cpu", "--force", "-o", str(Path(directory, "out.h5"))]

        def run(**variables: str) -> None:
            subprocess.run(command, check=True, env={**os.environ, **variables})

        sides = {"dnatk": run, "OpenMP's own": lambda: run(**_OWN)}
        figures: dict[str, object] = {}
        for busy in (0, args.busy):
            with ExitStack() as stack:
                for _ in range(busy):
                    other = stack.enter_context(subprocess.Popen([sys.executable, "-c", _SPIN]))
                    stack.callback(other.kill)
                found = {name: summary(s) for name, s in interleaved(sides, args.repeats).items()}
            ours, theirs = (figure["median_s"] for figure in found.values())
            figures[f"RATIO, {busy} busy"] = theirs / ours
            figures |= {f"{name}, {busy} busy": figure for name, figure in found.items()}
    report({**figures, "input": {"preset": args.preset, "length": args.length}}, args.json)


if __name__ == "__main__":
    main()
