"""Memory and speed of reading a large FASTA for training: dnatk.training.corpus.Corpus.read.

The FASTA is made from a seed: contigs of --contig bases (one in twenty of their bases in long runs
of N, a third soft-masked) and, for a tenth of all bases, small ones of --small. It is read by a
new process, which says how much memory it held at its peak (VmHWM of /proc/self/status: the
resident set, with what it had mapped of files; the bases that are read are written to a file and
mapped only when all are there), less what it held before: Python, numpy and torch. "anonymous" is
what the process itself holds when it has read (RssAnon), less the same before. Linux only.

The FASTA and the base file, together twice the bases, lie in --directory and are deleted.

    python examples/benchmarks/bench_corpus.py --bases 3e9 --directory /tmp
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from timing import parser, report

_LINE = 60
_RUN = 1 << 20  # bases are made in stretches of so many


def main() -> None:
    options = parser(__doc__, repeats=1, least=1)
    options.add_argument("--bases", type=float, default=300e6, help="default: %(default)g")
    options.add_argument("--contig", type=float, default=250e6, help="bases; default: %(default)g")
    options.add_argument("--small", type=float, default=5e3, help="bases; default: %(default)g")
    options.add_argument("--directory", type=Path, help="default: that of temporary files")
    args = options.parse_args()
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        report(measure(Path(directory), args), args.json)


def measure(directory: Path, args: argparse.Namespace) -> dict[str, object]:
    contigs = write_genome(directory / "genome.fa", args)
    found = []
    for _ in range(args.repeats):
        done = subprocess.run(
            [sys.executable, "-c", _READ, directory / "genome.fa", directory],
            check=True,
            capture_output=True,
            text=True,
        )
        found.append(json.loads(done.stdout))
        print(found[-1], file=sys.stderr, flush=True)
    figures = {name: median(each[name] for each in found) for name in found[0]}
    return {
        "RSS at most, MB": figures["peak"] - figures["before"],
        "anonymous after, MB": figures["anonymous_after"] - figures["anonymous_before"],
        "Mbp_per_s": args.bases / figures["seconds"] / 1e6,
        **figures,
        "input": {"bases": args.bases, "contigs": contigs, "seed": args.seed},
        "repeats": args.repeats,
    }


def write_genome(path: Path, args: argparse.Namespace) -> int:
    """Write the FASTA; how many contigs it has."""
    generator = np.random.default_rng(args.seed)
    large = [int(args.contig)] * max(1, round(0.9 * args.bases / args.contig))
    small = [int(args.small)] * max(0, round((args.bases - sum(large)) / args.small))
    with open(path, "wb") as out:
        for number, length in enumerate(large + small):
            out.write(b">contig%d\n" % number)
            for start in range(0, length, _RUN * _LINE):
                out.write(lines(min(_RUN * _LINE, length - start), generator))
    return len(large) + len(small)


def lines(length: int, generator: np.random.Generator) -> bytes:
    """Random bases as lines of FASTA."""
    bases = np.frombuffer(b"ACGT", np.uint8)[generator.integers(0, 4, length, dtype=np.uint8)]
    bases[: length // 3] |= 0x20  # lower case
    if length > 1_000_000:
        bases[-length // 20 :] = ord("N")
    whole = length - length % _LINE
    text = np.full((whole // _LINE, _LINE + 1), ord("\n"), dtype=np.uint8)
    text[:, :-1] = bases[:whole].reshape(-1, _LINE)
    rest = bases[whole:].tobytes()
    return text.tobytes() + (rest + b"\n" if rest else b"")


_READ = """
import json, sys, time
from dnatk.training.corpus import Corpus

def megabytes(name):
    with open("/proc/self/status") as lines:
        kibibytes = next(line.split()[1] for line in lines if line.startswith(name + ":"))
    return int(kibibytes) * 1024 / 1e6

before, anonymous, start = megabytes("VmRSS"), megabytes("RssAnon"), time.perf_counter()
corpus = Corpus.read([sys.argv[1]], directory=sys.argv[2], k=6)
seconds = time.perf_counter() - start
print(json.dumps({
    "seconds": seconds, "before": before, "peak": megabytes("VmHWM"),
    "anonymous_before": anonymous, "anonymous_after": megabytes("RssAnon"),
    "segments": len(corpus.train.start), "bases": corpus.sources[0].bases,
}))
Corpus.remove(sys.argv[2])
"""


if __name__ == "__main__":
    main()
