#!/usr/bin/env python3
"""Held-out bits per masked token of a pre-trained model, beside an order-5 Markov chain.

    examples/evaluate_bits.py MODEL FASTA --holdout chrXIV --holdout chrXVI [--json bits.json]

Windows are drawn at random from the held-out contigs (forward strand, no N). In each, one span of
m consecutive k-mers with at least 2k k-mers of flank on either side is set to [MASK], all of it,
and -log2 P(true token) is averaged over the span; the standard error is that over windows. Every
m sees the same windows. The same tokens are scored by

  markov    the exact posterior under a Markov chain fitted with add-one counts on all contigs
            that are not held out (forward strand; --both-strands counts both), see
            dnatk/analysis/markov.py. It uses both flanks, as the model does.
  uniform   2 bits for every hidden base that the token covers: reading off the visible bases.
  unigram   frequency of the k-mer in the training contigs: not even the visible bases are read.

"unread" is the part of the model's bits that it loses to k-mers which contradict a visible base,
-log2 P(visible bases of the token); the rest is what it pays for the hidden bases. The baselines
markov and uniform lose nothing there.

Hold out contigs that the model never saw in training.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnatk.analysis.markov import (
    MarkovChain,
    hidden_bases,
    hidden_part,
    kmer_counts,
    span_posteriors,
)
from dnatk.errors import DnatkError, InputError
from dnatk.genome.fasta import read_fasta
from dnatk.kmers import encode
from dnatk.kmers.vocab import CLS, FIRST_KMER, MASK, SEP
from dnatk.model.loading import ModelInfo, read_model


@dataclass
class Spans:
    """One masked span a window.

    Attributes:
        codes_NL: bases coded 0..3.
        start_N: first masked token.
        tokens_Nm: true ids of the masked tokens, put together base by base.
    """

    codes_NL: np.ndarray
    start_N: np.ndarray
    tokens_Nm: np.ndarray


def read_genome(
    fasta: str, holdout: Sequence[str], k: int, order: int, both_strands: bool
) -> tuple[MarkovChain, np.ndarray, list[np.ndarray]]:
    """The chain and the (4**k,) k-mer shares of the contigs that train; the held-out contigs."""
    contigs = dict(read_fasta(fasta))
    missing = sorted(set(holdout) - set(contigs))
    if missing:
        raise InputError(f"has no contig {', '.join(missing)}", path=fasta)
    training = [bases for name, bases in contigs.items() if name not in holdout]
    if not training:
        raise InputError("every contig is held out: nothing to fit the chain on", path=fasta)
    chain = MarkovChain.fit(training, order, both_strands=both_strands)
    kmers = 1.0 + sum(kmer_counts(bases, k) for bases in training)
    held = [contigs[name] for name in sorted(set(holdout))]
    return chain, kmers / kmers.sum(), held


def draw_windows(
    contigs: Sequence[np.ndarray], window: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """(count, window) bases coded 0..3, uniformly among the windows free of N; they may overlap."""
    pools = []
    for bases in contigs:
        codes = encode(bases, 1).astype(np.int64) - FIRST_KMER
        bad = np.concatenate([[0], np.cumsum(codes < 0)])
        pools.append((codes, np.flatnonzero(bad[window:] == bad[:-window])))
    sizes = [len(starts) for _, starts in pools]
    if not sum(sizes):
        raise InputError(f"the held-out contigs have no window of {window} bases free of N")
    rows = []
    for pick in rng.integers(0, sum(sizes), count):
        which = int(np.searchsorted(np.cumsum(sizes), pick, side="right"))
        codes, starts = pools[which]
        start = starts[pick - sum(sizes[:which])]
        rows.append(codes[start : start + window])
    return np.stack(rows)


def draw_spans(codes_NL: np.ndarray, span: int, k: int, rng: np.random.Generator) -> Spans:
    """One span a window at a random place, with 2k unmasked tokens or more on either side."""
    n_windows, length = codes_NL.shape
    last = length - k + 1 - 2 * k - span
    if last < 2 * k:
        raise InputError(f"a window of {length} bases has no room for a span of {span}")
    start_N = rng.integers(2 * k, last + 1, n_windows)
    columns_Nm = start_N[:, None] + np.arange(span)
    tokens_Nm = np.zeros_like(columns_Nm)
    for offset in range(k):
        tokens_Nm = tokens_Nm * 4 + np.take_along_axis(codes_NL, columns_Nm + offset, axis=1)
    return Spans(codes_NL, start_N, tokens_Nm + FIRST_KMER)


def load_model(model: str, device: str) -> tuple[ModelInfo, object]:
    """What the model directory says, and transformers' masked language model in fp32."""
    from transformers import AutoModelForMaskedLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    info = read_model(model)
    if info.kmer_stride != 1:
        raise InputError("spans of overlapping k-mers need a model with k-mer stride 1")
    network, loading = AutoModelForMaskedLM.from_pretrained(
        info.directory, output_loading_info=True, local_files_only=True
    )
    if loading["missing_keys"]:
        raise InputError("the model has no masked-LM head", path=info.directory)
    return info, network.float().to(device).eval()


def unread_nats(log_p_BmV, labels_Bm, k: int):
    """(B, m) nats that the model loses to k-mers which contradict a visible base of the token."""
    import torch

    parts = []
    for t in range(labels_Bm.shape[1]):
        offset, count = hidden_part(t, labels_Bm.shape[1], k)
        n_behind = 4 ** (k - offset - count)
        number_B = labels_Bm[:, t] - FIRST_KMER
        log_p = log_p_BmV[:, t, FIRST_KMER:].unflatten(1, (4**offset, 4**count, n_behind))
        before_B, behind_B = number_B // (4**count * n_behind), number_B % n_behind
        agreeing = log_p[torch.arange(len(log_p)), before_B, :, behind_B]
        parts.append(-agreeing.logsumexp(dim=1))
    return torch.stack(parts, dim=1)


def model_bits(
    network, k: int, spans: Spans, batch: int, bf16: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, m) -log2 P(true token) under the model, the unread part, and the ids that were scored.

    The ids come from dnatk's encoder, not from ``spans``, so that the two can be compared.
    """
    import torch

    device = next(network.parameters()).device
    letters = np.frombuffer(b"ATCG", dtype=np.uint8)[spans.codes_NL]
    ids_NT = np.stack([encode(bases, k) for bases in letters]).astype(np.int64)
    columns_Nm = spans.start_N[:, None] + np.arange(spans.tokens_Nm.shape[1])
    labels_Nm = np.take_along_axis(ids_NT, columns_Nm, axis=1)
    np.put_along_axis(ids_NT, columns_Nm, MASK, axis=1)
    ids_NT = np.pad(ids_NT, ((0, 0), (1, 1)), constant_values=((0, 0), (CLS, SEP)))
    nats, unread = [], []
    for at in range(0, len(ids_NT), batch):
        ids_BT, columns_Bm, labels_Bm = (
            torch.from_numpy(x[at : at + batch]).to(device)
            for x in (ids_NT, columns_Nm + 1, labels_Nm)
        )
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits_BTV = network(input_ids=ids_BT).logits
        logits_BmV = logits_BTV[torch.arange(len(ids_BT), device=device)[:, None], columns_Bm]
        log_p_BmV = logits_BmV.float().log_softmax(-1)
        log_p_Bm = log_p_BmV.gather(-1, labels_Bm[..., None])[..., 0]
        nats.append(-log_p_Bm.cpu().numpy())
        unread.append(unread_nats(log_p_BmV, labels_Bm, k).cpu().numpy())
    bits_Nm, unread_Nm = (np.concatenate(x).astype(np.float64) / np.log(2) for x in (nats, unread))
    return bits_Nm, unread_Nm, labels_Nm


def baseline_bits(
    chain: MarkovChain, kmers: np.ndarray, spans: Spans, k: int
) -> dict[str, np.ndarray]:
    """(N, m) bits of the same tokens under each baseline."""
    n_windows, span = spans.tokens_Nm.shape
    posterior = span_posteriors(chain, spans.codes_NL, spans.start_N, span, k)
    covered = [hidden_part(t, span, k)[1] for t in range(span)]
    return {
        "markov": -np.log2(posterior),
        "uniform": np.tile(2.0 * np.array(covered), (n_windows, 1)),
        "unigram": -np.log2(kmers[spans.tokens_Nm - FIRST_KMER]),
    }


def mean_and_error(bits_Nm: np.ndarray) -> tuple[float, float]:
    """Mean over all tokens, and its standard error over windows."""
    window_N = bits_Nm.mean(axis=1)
    return float(window_N.mean()), float(window_N.std(ddof=1) / np.sqrt(len(window_N)))


def draw_held(arguments: argparse.Namespace, k: int) -> list[tuple[Spans, dict[str, np.ndarray]]]:
    """The spans of every length, with what each baseline makes of them; no model has a say."""
    chain, kmers, held = read_genome(
        arguments.fasta, arguments.holdout, k, arguments.order, arguments.both_strands
    )
    rng = np.random.default_rng(arguments.seed)
    codes_NL = draw_windows(held, arguments.window, arguments.windows, rng)
    drawn = [draw_spans(codes_NL, span, k, rng) for span in arguments.spans]
    return [(spans, baseline_bits(chain, kmers, spans, k)) for spans in drawn]


def score_held(
    network,
    k: int,
    held: Sequence[tuple[Spans, dict[str, np.ndarray]]],
    arguments: argparse.Namespace,
) -> list[dict]:
    """For every span length the bits of the model and of the baselines."""
    rows = []
    for spans, baselines in held:
        span = spans.tokens_Nm.shape[1]
        scored, unread, labels = model_bits(network, k, spans, arguments.batch, arguments.bf16)
        if not np.array_equal(labels, spans.tokens_Nm):
            raise RuntimeError("the model and the baselines scored different tokens")
        bits = {"model": scored, "unread": unread} | baselines
        row = {"span": span, "hidden_bases": hidden_bases(span, k)}
        for name, bits_Nm in bits.items():
            row[name], row[f"{name}_se"] = mean_and_error(bits_Nm)
        gain = mean_and_error(bits["markov"] - bits["model"])
        row["gain_over_markov"], row["gain_over_markov_se"] = gain
        rows.append(row | {"tokens": int(bits["model"].size), "same_tokens": True})
    return rows


def evaluate(arguments: argparse.Namespace) -> dict:
    """Score every span length; the result is what --json writes."""
    info, network = load_model(arguments.model, arguments.device)
    rows = score_held(network, info.k, draw_held(arguments, info.k), arguments)
    settings = {name: value for name, value in vars(arguments).items() if name != "json"}
    return {
        **settings,
        "model_sha256": info.sha256,
        "results": rows,
    }


def markdown(result: dict) -> str:
    """The table that is printed."""
    lines = [
        f"Bits per masked token, {result['windows']} windows of {result['window']} bases from "
        f"{', '.join(result['holdout'])} (mean ± standard error over windows):",
        "",
        f"| m | hidden bases | model | of which unread | Markov order "
        f"{result['order']} | gain over Markov | uniform | unigram | tokens |",
        "|" + "---|" * 9,
    ]
    for row in result["results"]:
        shown = [
            f"{row[name]:.3f} ± {row[f'{name}_se']:.3f}"
            for name in ("model", "unread", "markov", "gain_over_markov")
        ]
        lines.append(
            f"| {row['span']} | {row['hidden_bases']} | {' | '.join(shown)} "
            f"| {row['uniform']:.3f} | {row['unigram']:.3f} | {row['tokens']} |"
        )
    same = all(row["same_tokens"] for row in result["results"])
    return "\n".join([*lines, "", f"Model and baselines scored the same tokens: {same}."])


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="model directory, or the name of a shipped model")
    parser.add_argument("fasta")
    parser.add_argument("--holdout", action="append", required=True, metavar="CONTIG")
    parser.add_argument("--spans", default="6,8,10,12,14", help="m, separated by commas")
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--window", type=int, default=131, help="bases of a window")
    parser.add_argument("--order", type=int, default=5, help="of the Markov chain")
    parser.add_argument("--both-strands", action="store_true", help="fit the chain on both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32, help="windows of one forward")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="autocast; default is fp32")
    parser.add_argument("--json", type=Path, help="write all figures here")
    arguments = parser.parse_args(argv)
    try:
        arguments.spans = [int(span) for span in arguments.spans.split(",")]
    except ValueError:
        parser.error(f"--spans {arguments.spans}: whole numbers separated by commas")
    if min(*arguments.spans, arguments.window, arguments.batch) < 1 or arguments.windows < 2:
        parser.error("--spans, --window and --batch must be positive, --windows at least 2")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 1 where the data are at fault."""
    arguments = parse(argv)
    try:
        result = evaluate(arguments)
    except DnatkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
