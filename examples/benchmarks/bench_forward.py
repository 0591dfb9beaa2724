"""The bare forward of dnatk's packed encoder against transformers' BertModel, and the machine.

Two inputs: windows of 512 tokens, and sequences of mixed lengths (lognormal, mean 170 tokens, at
most 512). The sides, interleaved on the same ids and threads, weights random:

    dnatk       the packed encoder in --precision auto, batches as the engine packs them
    eager fp32  BertModel, eager attention, fp32
    sdpa bf16   BertModel, scaled_dot_product_attention, bf16 weights

transformers gets batches of about as many tokens as dnatk's, of mixed lengths sorted and padded
to the longest of the batch. Of the windows the fraction of the machine's bf16 matrix product is
given too: the same run measures the best of some large products. FLOPs are those of the
products: 2 (4 D^2 + 2 D F) + 4 L D a token and layer.

    python examples/benchmarks/bench_forward.py --preset small
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from timing import cores, interleaved, parser, random_model, report, summary

SIZES = {"mini": "mini", "small": "small", "base": "dnabert-base"}


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--preset", choices=SIZES, action="append", help="default: all")
    options.add_argument("--tokens", type=int, default=16_384, help="default: %(default)s")
    options.add_argument("--batch-tokens", type=int, help="of dnatk; default: the engine's")
    options.add_argument("--threads", type=int, default=cores(), help="default: all (%(default)s)")
    options.add_argument("--device", default="cpu", help="default: %(default)s")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = {}
        for preset in args.preset or SIZES:
            model = random_model(Path(directory) / preset, SIZES[preset])
            for name, run in (("windows", windows), ("mixed", mixed)):
                print(f"{preset}, {name} ...", flush=True)
                figures |= {f"{preset} {name} {k}": v for k, v in run(model, args).items()}
    report({**figures, "threads": args.threads, "repeats": args.repeats}, args.json)


def windows(model: Path, args: argparse.Namespace) -> dict[str, object]:
    """512 tokens each."""
    lengths = [512] * max(1, args.tokens // 512)
    return compare(model, lengths, args, peak=True)


def mixed(model: Path, args: argparse.Namespace) -> dict[str, object]:
    """Lognormal, mean 170 tokens, as regions of a genome are."""
    generator = np.random.default_rng(args.seed)
    sigma = 0.7
    drawn = generator.lognormal(np.log(170) - sigma**2 / 2, sigma, size=args.tokens // 170)
    return compare(model, [int(n) for n in drawn.clip(8, 512)], args, peak=False)


def compare(model: Path, lengths: list[int], args: argparse.Namespace, *, peak: bool) -> dict:
    import torch

    from dnatk.model.placement import prepare_cpu

    prepare_cpu(args.threads)
    generator = np.random.default_rng(args.seed)
    sequences = [generator.integers(5, 4101, size=n - 2).astype(np.int16) for n in lengths]
    device = torch.device(args.device)
    ours = dnatk_side(model, sequences, args)
    sides = {"dnatk": ours}
    for name, attention, dtype in (
        ("eager fp32", "eager", torch.float32),
        ("sdpa bf16", "sdpa", torch.bfloat16),
    ):
        sides[name] = plain_side(model, sequences, attention, dtype, device)
    agree(sides["dnatk"](), sides["eager fp32"]())
    sides["product"] = product = Product(device)
    seconds = interleaved(sides, args.repeats)
    tokens = sum(lengths)
    figures = {
        name: {**summary(seconds[name]), "tokens_per_s": tokens / median(seconds[name])}
        for name in sides
        if name != "product"
    }
    mine = median(seconds["dnatk"])
    figures |= {
        f"RATIO over {name}": median(seconds[name]) / mine for name in ("eager fp32", "sdpa bf16")
    }
    if peak:
        best = product.flop / min(seconds["product"])
        figures["PEAK FRACTION"] = flop(model, lengths) / mine / best
        figures["bf16 product"] = {"GFLOP_per_s": best / 1e9}
    return figures


def dnatk_side(model: Path, sequences: list[np.ndarray], args: argparse.Namespace):
    """A function that runs all sequences through the encoder, packed as the engine does."""
    import torch

    from dnatk.inference.engine import BATCH_TOKENS
    from dnatk.kmers import KmerTokens, pack
    from dnatk.model.loading import load_encoder

    encoder = load_encoder(model, device=args.device)
    tokens = KmerTokens(6)
    budget = args.batch_tokens or BATCH_TOKENS[encoder.device.type]
    batches = []
    for ids in sequences:
        if not batches or sum(len(i) + 2 for i in batches[-1]) + len(ids) + 2 > budget:
            batches.append([])
        batches[-1].append(ids)
    packed = []
    for batch in batches:
        ids_T, position_T, lengths = pack(tokens, sorted(batch, key=len))
        packed.append(
            (
                torch.from_numpy(ids_T).to(encoder.device),
                torch.from_numpy(position_T).to(encoder.device),
                lengths,
            )
        )

    def run() -> float:
        total = sum(float(encoder(*batch).float().square().sum()) for batch in packed)
        return total / sum(len(ids) + 2 for ids in sequences)

    return run


def plain_side(model: Path, sequences: list[np.ndarray], attention: str, dtype, device):
    """The same with BertModel: batches sorted by length, padded to their longest sequence."""
    import torch
    from transformers import BertModel

    bert = BertModel.from_pretrained(
        model, add_pooling_layer=False, attn_implementation=attention, dtype=dtype
    )
    bert = bert.eval().to(device)
    ordered = sorted(sequences, key=len)
    batches = [ordered[at : at + 16] for at in range(0, len(ordered), 16)]
    padded = []
    for batch in batches:
        longest = max(map(len, batch)) + 2
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(batch):
            n = len(sequence) + 2
            ids[row, :n] = torch.tensor([2, *sequence.tolist(), 3])
            mask[row, :n] = 1
        whole = None if bool(mask.all()) else mask.to(device)
        padded.append((ids.to(device), whole, mask.to(device)))

    @torch.inference_mode()
    def run() -> float:
        total = 0.0
        for ids, whole, mask in padded:
            hidden = bert(input_ids=ids, attention_mask=whole).last_hidden_state
            total += float((hidden.float() * mask[..., None]).square().sum())
        return total / sum(len(ids) + 2 for ids in sequences)

    return run


class Product:
    """The machine's bf16 matrix product: several shapes, of which the best counts."""

    def __init__(self, device) -> None:
        import torch

        size = 2048 if device.type == "cpu" else 8192
        self._a = torch.randn(size, size, device=device).to(torch.bfloat16)
        self._b = torch.randn(size, size, device=device).to(torch.bfloat16)
        self._times = 8
        self.flop = self._times * 2 * size**3

    def __call__(self) -> float:
        for _ in range(self._times):
            product = self._a @ self._b
        return float(product[0, 0])


def flop(model: Path, lengths: list[int]) -> float:
    """Of the matrix products of one forward over sequences of these lengths."""
    from dnatk.model.loading import read_model

    config = read_model(model).config
    d, f = config.hidden, config.intermediate
    return config.layers * sum(n * (2 * (4 * d * d + 2 * d * f) + 4 * n * d) for n in lengths)


def agree(ours: float, theirs: float) -> None:
    """The mean square of the hidden states of both sides; the tests compare value by value."""
    if not abs(ours - theirs) < 0.01 * abs(theirs):
        raise SystemExit(f"the sides disagree: mean square {ours:.4f} against {theirs:.4f}")


if __name__ == "__main__":
    main()
