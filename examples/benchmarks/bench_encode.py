"""K-mer ids from bases: dnatk.kmers.encode against transformers' tokenizer.

dnatk reads the raw bases of whole sequences, on one thread. The tokenizer (the fast one that
AutoTokenizer makes of a dnatk model directory) reads the same bases as k-mers joined by spaces, in
one batch of windows that share no k-mer, the length at which it is quickest. It has it as easy as
it can: joining is NOT counted, and neither special tokens nor an attention mask are asked for.

The RATIO is of both on one thread. Two more: with the tokenizer on all cores (dnatk still on
one), and with dnatk too called once a window, where the price of a call is what counts.
Both sides must give the same ids. dnatk's side is run --rounds times in each repetition, so that
it lasts long enough to share a busy machine as the tokenizer does; its seconds are of one round.

    python examples/benchmarks/bench_encode.py --bases 1000000
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from timing import interleaved, parser, random_bases, report, summary


def main() -> None:
    options = parser(__doc__, repeats=7)
    options.add_argument("-k", type=int, default=6, help="k-mer length; default: %(default)s")
    options.add_argument("--bases", type=int, default=1_000_000, help="default: %(default)s")
    options.add_argument("--window", type=int, default=515, help="in bases; default: %(default)s")
    options.add_argument("--rounds", type=int, default=300, help="default: %(default)s")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report(compare(Path(directory), args), args.json)


def compare(directory: Path, args: argparse.Namespace) -> dict[str, object]:
    from transformers import AutoTokenizer, BertConfig

    from dnatk.kmers import encode, spaced
    from dnatk.model.presets import PRESETS
    from dnatk.model.tokenizer_files import write_tokenizer

    BertConfig(**PRESETS["tiny"].bert_config(args.k)).save_pretrained(directory)
    write_tokenizer(directory, args.k, 1, args.window)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    bases = random_bases(args.bases, args.seed)
    starts = range(0, len(bases) - args.k + 1, args.window - args.k + 1)
    windows = [bases[start : start + args.window] for start in starts]
    texts = [spaced(window.decode(), args.k) for window in windows]

    def tokenized(parallel: bool) -> list[list[int]]:
        os.environ["TOKENIZERS_PARALLELISM"] = str(parallel).lower()
        return tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]

    sides = {
        "dnatk": lambda: encode(bases, args.k),
        "dnatk, by window": lambda: [encode(window, args.k) for window in windows],
        "tokenizer": lambda: tokenized(False),
        "tokenizer, all cores": lambda: tokenized(True),
    }
    expected = sides["dnatk"]()
    for name, side in sides.items():
        np.testing.assert_array_equal(np.hstack(side()), expected, err_msg=name)

    def rounds() -> None:
        for _ in range(args.rounds):
            encode(bases, args.k)

    sides["dnatk"] = rounds
    seconds = interleaved(sides, args.repeats)
    seconds["dnatk"] = [lasted / args.rounds for lasted in seconds["dnatk"]]
    figures = {name: summary(values) for name, values in seconds.items()}
    for figure in figures.values():
        figure["Mbp_per_s"] = args.bases / figure["median_s"] / 1e6

    def ratio(ours: str, theirs: str) -> float:
        return figures[theirs]["median_s"] / figures[ours]["median_s"]

    return {
        "RATIO": ratio("dnatk", "tokenizer"),
        "ratio, all cores": ratio("dnatk", "tokenizer, all cores"),
        "ratio, by window": ratio("dnatk, by window", "tokenizer"),
        **figures,
        "same ids": True,
        "input": {"bases": args.bases, "window": args.window, "k": args.k, "seed": args.seed},
        "repeats": args.repeats,
        "rounds": args.rounds,
    }


if __name__ == "__main__":
    main()
