"""Peak memory of ``dnatk embed`` on a small and on a large genome.

Each run is a ``dnatk embed`` of its own in a new process; its peak resident set is what the
kernel counted for that very process (wait4). Genomes are as one contig or as many, and read from
an indexed file or streamed through stdin ("stream": one record is in memory at a time, so one
contig of any length cannot be constant there). The RATIO is large over small; 1.0 is constant
memory. The model is a very small one with random weights (default 1 layer x 32), to bound the
time: what grows with the genome does not depend on it.

The index of the FASTA is made within each measured run.

    python examples/benchmarks/bench_memory.py --small 12e6 --large 48e6
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from timing import parser, random_bases, random_model, report, write_fasta


def main() -> None:
    options = parser(__doc__, repeats=1, least=1)
    options.add_argument("--small", type=float, default=12e6, help="bases; default: %(default)g")
    options.add_argument("--large", type=float, default=48e6, help="bases; default: %(default)g")
    options.add_argument("--many", type=int, default=100, help="contigs; default: %(default)s")
    options.add_argument("--layers", type=int, default=1, help="default: %(default)s")
    options.add_argument("--hidden", type=int, default=32, help="default: %(default)s")
    options.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    options.add_argument(
        "--case",
        choices=("one contig", "many contigs", "many contigs, stream", "one contig, stream"),
        action="append",
        help="repeatable; default: one contig, many contigs",
    )
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report(compare(Path(directory), args), args.json)


def compare(directory: Path, args: argparse.Namespace) -> dict[str, object]:
    model = random_model(
        directory / "model",
        "tiny",
        num_hidden_layers=args.layers,
        hidden_size=args.hidden,
        intermediate_size=4 * args.hidden,
        num_attention_heads=max(1, args.hidden // 64),
    )
    figures: dict[str, object] = {}
    for case in args.case or ("one contig", "many contigs"):
        peaks: dict[str, list[float]] = {"small": [], "large": []}
        for _ in range(args.repeats):
            for size, found in peaks.items():
                fasta = directory / "in.fa"
                contigs = args.many if case.startswith("many") else 1
                length = int(getattr(args, size)) // contigs
                write_fasta(
                    fasta, {f"chr{i}": random_bases(length, args.seed + i) for i in range(contigs)}
                )
                found.append(peak(fasta, model, args.threads, stream=case.endswith("stream")))
                print(f"{case}, {size}: {found[-1]:.1f} MB", file=sys.stderr, flush=True)
                Path(f"{fasta}.fai").unlink(missing_ok=True)
        small, large = median(peaks["small"]), median(peaks["large"])
        figures[f"RATIO, {case}"] = large / small
        figures[case] = {"small_MB": small, "large_MB": large}
    return {
        **figures,
        "model": {"layers": args.layers, "hidden": args.hidden},
        "input": {"small": args.small, "large": args.large, "many": args.many, "seed": args.seed},
        "threads": args.threads,
        "repeats": args.repeats,
    }


def peak(fasta: Path, model: Path, threads: int, *, stream: bool) -> float:
    """Peak resident set in MB (10^6 bytes) of one ``dnatk embed``."""
    command = [sys.executable, "-m", "dnatk", "-q", "embed", "-" if stream else str(fasta)]
    command += ["--model", str(model), "--device", "cpu", "-t", str(threads), "--force"]
    command += ["-o", str(fasta.with_suffix(".h5"))]
    with open(fasta if stream else os.devnull, "rb") as stdin:
        process = subprocess.Popen(
            [sys.executable, "-c", _STARTER, *command], stdin=stdin, stdout=subprocess.PIPE
        )
        printed, _ = process.communicate()
    code, kilobytes = (int(number) for number in printed.split() or (process.returncode, 0))
    if code:
        raise SystemExit(f"dnatk embed failed or was killed: exit code {code}")
    # Linux counts in KiB, macOS in bytes.
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e6


# A child's peak starts at that of the process it is made by, so a small one makes it.
_STARTER = """
import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, used = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""


if __name__ == "__main__":
    main()
