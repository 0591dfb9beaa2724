"""FASTA to pooled vectors in a file: dnatk.embed against the plain transformers pipeline.

The plain side is what a user would write: for every window of the same FASTA (read with Biopython)
AutoTokenizer over space-joined k-mers, BertModel with eager attention in fp32, batches of 16, the
mean over the k-mers' states, saved as .npy. dnatk runs with its default options (precision auto:
bf16 where the CPU computes it) and writes its HDF5 file. Both run in this process, on the same
threads, and load their model within the time; importing libraries is not counted. Vectors of both
sides must agree (cosine > 0.999 in every row).

The default model has the size of the "small" preset (6 layers x 256) and random weights.

    python examples/benchmarks/bench_embed.py --bases 100000 --model MODEL_DIR
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from timing import (
    cores,
    interleaved,
    parser,
    random_bases,
    random_model,
    report,
    summary,
    write_fasta,
)

BATCH = 16


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--model", help="directory or installed model; default: random weights")
    options.add_argument("--preset", default="small", help="of the random model")
    options.add_argument("--bases", type=int, default=50_000, help="default: %(default)s")
    options.add_argument("--contigs", type=int, default=2, help="default: %(default)s")
    options.add_argument("--threads", type=int, default=cores(), help="default: all (%(default)s)")
    options.add_argument("--precision", default="auto", help="of dnatk; default: %(default)s")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report(compare(Path(directory), args), args.json)


def compare(directory: Path, args: argparse.Namespace) -> dict[str, object]:
    from transformers.utils.logging import disable_progress_bar

    import dnatk
    from dnatk.inference.embed import EmbedOptions
    from dnatk.model.loading import read_model
    from dnatk.model.placement import prepare_cpu

    disable_progress_bar()
    prepare_cpu(args.threads)
    model = args.model or random_model(directory / "model", args.preset)
    info = read_model(model)
    fasta, ours, theirs = (directory / name for name in ("in.fa", "out.h5", "out.npy"))
    length = args.bases // args.contigs
    write_fasta(
        fasta, {f"chr{i}": random_bases(length, args.seed + i) for i in range(args.contigs)}
    )
    options = EmbedOptions(device="cpu", precision=args.precision)
    sides = {
        "dnatk": lambda: dnatk.embed(fasta, ours, model=model, options=options, force=True),
        "transformers": lambda: plain(fasta, theirs, info.directory, info.k, info.max_window),
    }
    figures = {name: summary(s) for name, s in interleaved(sides, args.repeats).items()}
    for figure in figures.values():
        figure["kbp_per_s"] = args.bases / figure["median_s"] / 1e3
    regions, a_ND = dnatk.read_embeddings(ours)
    cosine = least_cosine(a_ND.astype(np.float32), np.load(theirs))
    if not cosine > 0.999:
        raise SystemExit(f"the sides disagree: the least cosine of a row is {cosine:.6f}")
    return {
        "RATIO": figures["transformers"]["median_s"] / figures["dnatk"]["median_s"],
        **figures,
        "least cosine": cosine,
        "dnatk precision": regions.attrs["precision"],
        "input": {"bases": args.bases, "windows": len(regions), "seed": args.seed},
        "model": {name: getattr(info.config, name) for name in ("layers", "hidden", "heads")},
        "threads": args.threads,
        "repeats": args.repeats,
    }


def plain(fasta: Path, output: Path, model: Path, k: int, window: int) -> None:
    """The pipeline a user would write with transformers."""
    import torch
    from Bio import SeqIO
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(model)
    bert = BertModel.from_pretrained(
        model, add_pooling_layer=False, attn_implementation="eager", dtype=torch.float32
    ).eval()
    texts = []
    for record in SeqIO.parse(fasta, "fasta"):
        bases = str(record.seq).upper()
        for start in range(0, len(bases) - k + 1, window - k + 1):
            piece = bases[start : start + window]
            texts.append(" ".join(piece[i : i + k] for i in range(len(piece) - k + 1)))
    vectors = []
    for at in range(0, len(texts), BATCH):
        batch = tokenizer(texts[at : at + BATCH], padding=True, return_tensors="pt")
        with torch.inference_mode():
            hidden = bert(**batch).last_hidden_state
        # The k-mers: neither [PAD] nor [CLS] nor [SEP].
        kept = (batch["input_ids"] >= len(tokenizer.all_special_ids)).unsqueeze(-1)
        vectors.append((hidden * kept).sum(1) / kept.sum(1))
    np.save(output, torch.cat(vectors).numpy())


def least_cosine(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """Of the rows of two matrices."""
    norms = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
    return float(((a_ND * b_ND).sum(axis=1) / norms).min())


if __name__ == "__main__":
    main()
