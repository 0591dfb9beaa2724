#!/usr/bin/env python3
"""Observations 2 and 3 as figures and numbers: how arms learn, and where their layers look.

    examples/evidence/figures.py RUNS OUT --genome sacCer3.fa.gz --contig chrXIV --contig chrXVI

OUT receives, over all arms of RUNS (one seed; of other seeds what is there already stays):
  loss.svg        bits per masked token against tokens seen
  tokens.svg      share of the variance of k-mer embeddings that the two central bases explain, and
                  the sum over all bases, along the checkpoints
  attention.svg   effective number of tokens that are looked at, by layer
  evidence.json   the numbers behind them by seed, and held-out bits by span width: one span a
                  window, all [MASK], the same for every arm, which an arm's own log does not have

The figures are of the first seed that has the arm.

For the full page of one model, with its maps: dnatk inspect RUNS/ARM-sSEED GENOME -o DIR.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import labelled_sets  # noqa: F401  makes evaluate_bits importable
import numpy as np
from arms import ARMS, NORMAL, directory, names, title
from evaluate_bits import draw_held, load_model, score_held
from evaluate_bits import parse as bits_options

from dnatk.analysis.attention_stats import attention_numbers
from dnatk.analysis.sample import draw_sample
from dnatk.analysis.subject import find_subject
from dnatk.analysis.token_maps import token_numbers
from dnatk.errors import DnatkError, InputError
from dnatk.genome.fasta import read_fasta
from dnatk.output.figures import as_svg, blank

SHOWN = ("received_effective_tokens", "effective_tokens", "head_diversity")
# Okabe and Ito's colours, which colour-blind readers tell apart; dots beyond the eighth.
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#000000", "#999999"),
)


def history(run: Path) -> list[dict]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def along(run: Path, tokens: Mapping[int, int]) -> list[dict]:
    """What the k-mer embeddings are made of at each checkpoint, by tokens seen."""
    found = []
    steps = {int(path.name.split("-")[1]): path for path in run.glob("checkpoint-*")}
    for step in sorted(steps):
        subject = find_subject(steps[step], "cpu")
        k, rows_VD = subject.kmer_rows()
        numbers = token_numbers(rows_VD, k)
        r2, silhouette = numbers["r2"], numbers["silhouette"]["central"]
        found.append({"step": step, "tokens": tokens[step], "r2": r2, "silhouette": silhouette})
    return found


def heldout_bits(
    run: Path, options: argparse.Namespace, held: Callable[[int], list]
) -> dict[str, dict[str, float]]:
    """Span width -> bits per masked token, of the model and without one; {} of non-overlapping."""
    if find_subject(run, "cpu").kmer_stride != 1:
        return {}
    kept = ("model", "model_se", "unread", "markov", "uniform")
    info, network = load_model(run, options.device)
    rows = score_held(network, info.k, held(info.k), options)
    return {str(row["span"]): {name: row[name] for name in kept} for row in rows}


def measure(
    run: Path,
    windows: Sequence[np.ndarray],
    bits: argparse.Namespace,
    held: Callable[[int], list],
) -> dict:
    """All numbers of one arm.

    Args:
        bits: options of evaluate_bits.py.
        held: k -> the held-out spans, which all arms share.
    """
    rows = history(run)
    tokens = {row["step"]: row["tokens"] for row in rows}
    layers = attention_numbers(run, windows)["layers"]
    return {
        "curve": [(row["tokens"], row["bits"]) for row in rows if "bits" in row],
        "heldout_bits": heldout_bits(run, bits, held),
        "checkpoints": along(run, tokens),
        "attention": {name: layers[name] for name in SHOWN},
    }


def windows_of(genome: Path, contigs: Sequence[str], count: int, bases: int) -> list[np.ndarray]:
    """Windows of contigs that no arm was trained on."""
    import tempfile

    found = {name: record for name, record in read_fasta(genome) if name in contigs}
    if missing := [name for name in contigs if name not in found]:
        raise InputError(f"has no contig {', '.join(missing)}", path=genome)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "contigs.fa")
        lines = (b">%s\n%s\n" % (name.encode(), found[name].tobytes()) for name in contigs)
        path.write_bytes(b"".join(lines))
        return draw_sample(path, count, bases, seed=1).windows


def first_of_each(by_seed: Mapping[str, Mapping[str, dict]]) -> dict[str, dict]:
    """arm -> its numbers of the first seed that has it."""
    found: dict[str, dict] = {}
    for seed in sorted(by_seed, key=int):
        found = {**by_seed[seed], **found}
    return {arm: found[arm] for arm in names() if arm in found}


def draw(measured: Mapping[str, dict], out: Path) -> None:
    """The three figures."""
    figure, axes = _figure("tokens seen (millions)", "bits per masked token")
    for arm, of in measured.items():
        if len(of["curve"]) > 1:  # not of what was never trained
            x, y = np.array(of["curve"]).T
            axes.plot(x / 1e6, y, label=title(arm), **_style(arm))
    _finish(figure, axes, out / "loss.svg")

    figure, axes = _figure("tokens seen (millions)", "variance explained by the central bases")
    for arm, of in measured.items():
        points = [(each["tokens"] / 1e6, each["r2"]["central"]) for each in of["checkpoints"]]
        axes.plot(*zip(*points, strict=True), marker="o", ms=3, label=title(arm), **_style(arm))
    _finish(figure, axes, out / "tokens.svg")

    figure, axes = _figure("layer", "tokens that receive attention (effective number)")
    for arm, of in measured.items():
        y = of["attention"]["received_effective_tokens"]
        axes.plot(range(1, len(y) + 1), y, marker="o", ms=4, label=title(arm), **_style(arm))
        axes.set_xticks(range(1, len(y) + 1))
    axes.set_ylim(bottom=0)
    _finish(figure, axes, out / "attention.svg")


def _style(arm: str) -> dict:
    """An arm's colour, the same from either start; dashes tell the start."""
    base = arm.removesuffix(NORMAL)
    turn, place = divmod(list(ARMS).index(base), len(_COLOURS))
    dash = (("-", "--"), (":", "-."))[turn][base != arm]
    return {"color": _COLOURS[place], "ls": dash, "lw": 1.3}


def _figure(x: str, y: str):
    figure = blank(9, 4.5)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _finish(figure, axes, path: Path) -> None:
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    path.write_text(as_svg(figure))


def main() -> int:
    """Measure, write; 1 where a run cannot be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("runs", help="the directory that pretrain.py filled")
    add("out", type=Path)
    add("--genome", required=True, type=Path, help="FASTA of the windows that are looked at")
    add("--contig", action="append", required=True, help="that no arm was trained on; repeat")
    add("--arms", default="", help="default: all that are there")
    add("--seed", type=int, default=1)
    add("--windows", type=int, default=32)
    add("--window", type=int, default=515, help="bases")
    add("--bits-windows", type=int, default=2000, help="for held-out bits")
    arguments = parser.parse_args()
    wanted = arguments.arms.split(",") if arguments.arms else names()
    found = {arm: directory(arguments.runs, arm, arguments.seed) for arm in wanted}
    finished = {arm: run for arm, run in found.items() if (run / "dnatk.json").exists()}
    if not finished:
        print(f"error: {arguments.runs} holds no finished arm", file=sys.stderr)
        return 1
    genome, contigs = arguments.genome, arguments.contig
    words = [word for contig in contigs for word in ("--holdout", contig)]
    bits = bits_options(["", str(genome), "--windows", str(arguments.bits_windows), *words])
    held = lru_cache(partial(draw_held, bits))
    try:
        windows = windows_of(genome, contigs, arguments.windows, arguments.window)
        measured = {arm: measure(run, windows, bits, held) for arm, run in finished.items()}
    except DnatkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    path, seed = arguments.out / "evidence.json", str(arguments.seed)
    by_seed = json.loads(path.read_text()) if path.exists() else {}
    by_seed[seed] = {**by_seed.get(seed, {}), **measured}
    path.write_text(json.dumps(by_seed, indent=1) + "\n")
    draw(first_of_each(by_seed), arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
