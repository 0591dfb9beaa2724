"""The input path of ``dnatk pretrain``: tokens a second, and its share of a training step.

On each device: windows, k-mers and masks of a batch (dnatk.training.batches.masked_batch), and a
training step of a fresh model of --preset on such a batch: forward, backward and AdamW, in bf16
autocast where --precision is bf16, with no Trainer round it. Both are waited for. The SHARE is
the time of the batch over that of the step; in a run on a GPU batches are made beside the step,
on a stream of their own, so that it is an upper bound there.

The genome is one contig of --bases in random order, or with --short records of 100 to 300 bases.

    python examples/benchmarks/bench_batches.py --preset small --device cpu --device cuda
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import interleaved, parser, random_bases, report, summary, write_fasta


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--preset", default="small", help="default: %(default)s")
    options.add_argument("--device", action="append", help="repeatable; default: all there are")
    options.add_argument("-k", type=int, default=6, help="k-mer length; default: %(default)s")
    options.add_argument("--bases", type=float, default=12e6, help="default: %(default)g")
    options.add_argument("--short", action="store_true", help="many short records, packed")
    options.add_argument("--batch-tokens", type=int, default=16_384, help="default: %(default)s")
    options.add_argument("--row-tokens", type=int, default=512, help="default: %(default)s")
    options.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    options.add_argument("--rounds", type=int, default=20, help="batches timed together")
    options.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report(compare(Path(directory), args), args.json)


def compare(directory: Path, args: argparse.Namespace) -> dict[str, object]:
    import torch

    from dnatk.training.corpus import Corpus

    torch.set_num_threads(args.threads)
    fasta = directory / "genome.fa"
    write_genome(fasta, args)
    corpus = Corpus.read([fasta], directory=directory, k=args.k)
    present = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    figures: dict[str, object] = {}
    for device in args.device or present:
        figures |= one_device(corpus, torch.device(device), args)
    return {
        **figures,
        "input": {"bases": args.bases, "short": args.short, "k": args.k, "seed": args.seed},
        "batch": {"tokens": args.batch_tokens, "row_tokens": args.row_tokens},
        "model": {"preset": args.preset, "precision": args.precision},
        "threads": args.threads,
        "repeats": args.repeats,
        "rounds": args.rounds,
    }


def write_genome(fasta: Path, args: argparse.Namespace) -> None:
    bases = random_bases(int(args.bases), args.seed)
    records, start = {}, 0
    while args.short and start < len(bases):
        length = 100 + 7 * len(records) % 201
        records[f"r{len(records)}"] = bases[start : start + length]
        start += length
    write_fasta(fasta, records or {"contig": bases})


def one_device(corpus, device, args: argparse.Namespace) -> dict[str, object]:
    """Tokens a second, seconds of a batch and of a step, and their ratio."""
    import torch

    from dnatk.masking import Masker
    from dnatk.training.batches import masked_batch
    from dnatk.training.windows import Sampler

    sampler = Sampler(
        corpus,
        corpus.train,
        k=args.k,
        kmer_stride=1,
        row_tokens=args.row_tokens,
        seed=args.seed,
        device=device,
    )
    masker = Masker(vocab_size=4**args.k + 5)
    rows = max(1, args.batch_tokens // args.row_tokens)
    batch = masked_batch(sampler, masker, 14, range(rows))
    train = step(batch, device, args)
    made = 0

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def batches() -> None:
        nonlocal made
        for _ in range(args.rounds):
            masked_batch(sampler, masker, 14, range(made, made + rows))
            made += rows
        finish()

    def steps() -> None:
        train()
        finish()

    seconds = interleaved({"batch": batches, "step": steps}, args.repeats)
    one_batch = summary([lasted / args.rounds for lasted in seconds["batch"]])
    one_step = summary(seconds["step"])
    return {
        f"SHARE, {device}": one_batch["median_s"] / one_step["median_s"],
        f"tokens_per_s, {device}": sum(batch["lengths"]) / one_batch["median_s"],
        f"batch, {device}": one_batch,
        f"step, {device}": one_step,
    }


def step(batch: dict, device, args: argparse.Namespace) -> Callable[[], None]:
    """A training step on ``batch``."""
    import torch

    from dnatk.model.presets import preset
    from dnatk.training.masked_lm import new_model

    model = new_model(preset(args.preset).bert_config(args.k), args.seed).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    inputs = {name: value for name, value in batch.items() if name != "counts"}

    def train() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            loss = model(**inputs)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return train


if __name__ == "__main__":
    main()
