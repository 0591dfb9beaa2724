"""How soon dnatk starts: ``dnatk --help``, and ten short sequences embedded cold.

1. ``dnatk --help`` against ``python -c pass`` (the price of the interpreter), and which heavy
   libraries it imports: there should be none.
2. ``dnatk embed`` of ten short sequences against a plain transformers script that does the same
   (AutoTokenizer, BertModel, mean over the k-mers, .npy). Each run is a new process; the RATIO is
   the script's time over dnatk's. The model has the size of the "small" preset and random weights.

    python examples/benchmarks/bench_startup.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import interleaved, parser, random_bases, report, summary, write_fasta

HEAVY = ("torch", "transformers", "rich", "numpy", "h5py", "pandas", "pyfaidx")

_PLAIN = """
import sys
import numpy as np, torch
from transformers import AutoTokenizer, BertModel
fasta, model, output = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(model)
bert = BertModel.from_pretrained(model, add_pooling_layer=False, dtype=torch.float32).eval()
records = open(fasta).read().split(">")[1:]
pieces = ["".join(record.split("\\n")[1:]).upper() for record in records]
texts = [" ".join(piece[i : i + 6] for i in range(len(piece) - 5)) for piece in pieces]
batch = tokenizer(texts, padding=True, return_tensors="pt")
with torch.inference_mode():
    hidden = bert(**batch).last_hidden_state
kept = (batch["input_ids"] > 4).unsqueeze(-1)
np.save(output, ((hidden * kept).sum(1) / kept.sum(1)).numpy())
"""


def main() -> None:
    options = parser(__doc__, repeats=9)
    options.add_argument("--cold-repeats", type=int, default=5, help="of 2; default: %(default)s")
    options.add_argument("--sequences", type=int, default=10, help="default: %(default)s")
    options.add_argument("--length", type=int, default=200, help="bases; default: %(default)s")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report({**first_help(args), **cold_embed(Path(directory), args)}, args.json)


def first_help(args: argparse.Namespace) -> dict[str, object]:
    help_command = [sys.executable, "-m", "dnatk", "--help"]
    sides = {
        "dnatk --help": lambda: run(help_command),
        "python -c pass": lambda: run([sys.executable, "-c", "pass"]),
    }
    figures = {name: summary(s) for name, s in interleaved(sides, args.repeats).items()}
    imported = run([sys.executable, "-X", "importtime", *help_command[1:]]).stderr
    modules = {line.rsplit("|", 1)[-1].strip() for line in imported.splitlines()}
    medians = [figure["median_s"] for figure in figures.values()]
    return {
        "help minus python, s": medians[0] - medians[1],
        **figures,
        "heavy imports": [name for name in HEAVY if name in modules],
    }


def cold_embed(directory: Path, args: argparse.Namespace) -> dict[str, object]:
    fasta, model = directory / "in.fa", directory / "model"
    # Weights are made by another process: this one needs neither torch nor its threads.
    run([sys.executable, "-c", _MODEL.format(here=str(Path(__file__).parent), model=str(model))])
    write_fasta(
        fasta, {f"s{i}": random_bases(args.length, args.seed + i) for i in range(args.sequences)}
    )
    ours = [sys.executable, "-m", "dnatk", "embed", str(fasta), "--model", str(model)]
    ours += ["--device", "cpu", "--force", "-o", str(directory / "out.h5")]
    theirs = [sys.executable, "-c", _PLAIN, str(fasta), str(model), str(directory / "out.npy")]
    sides = {"dnatk embed, cold": lambda: run(ours), "transformers, cold": lambda: run(theirs)}
    figures = {name: summary(s) for name, s in interleaved(sides, args.cold_repeats).items()}
    medians = [figure["median_s"] for figure in figures.values()]
    return {
        "RATIO, cold embed": medians[1] / medians[0],
        **figures,
        "input": {"sequences": args.sequences, "length": args.length, "seed": args.seed},
        "repeats": args.repeats,
        "cold repeats": args.cold_repeats,
    }


_MODEL = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from timing import random_model
random_model(Path({model!r}), "small")
"""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, its output kept; it must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    main()
