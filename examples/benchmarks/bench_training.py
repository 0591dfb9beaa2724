"""One optimizer step of dnatk's pre-training against transformers' own BertForMaskedLM, eager fp32.

Both take the same windows of --window tokens, masked by RandomMask, from the same weights and with
the same dropout: forward, loss on the masked tokens, backward, clipping to norm 1, AdamW.

    dnatk       packed batch, head on masked tokens only, --precision auto, fused AdamW
    eager fp32  BertForMaskedLM, (rows, window), labels -100 elsewhere, AdamW

    compiled    (--compile) dnatk with its encoder through torch.compile

interleaved in one run, medians. --dropout is that of hidden states and, but for dnatk on CUDA
(where it is off), of attention. MFU is of the FLOPs that dnatk needs (see dnatk.training.flops)
over the best matrix product in its precision, measured in the same run.

    python examples/benchmarks/bench_training.py --preset small --dropout 0
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch
from timing import cores, interleaved, parser, report, summary

PRESETS = ("mini", "small", "dnabert-base")
_WIDTH = 14  # of a span: the widest phase of RandomMask, most of a run


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--preset", choices=PRESETS, action="append", help="default: small")
    options.add_argument("--dropout", type=float, action="append", help="default: 0 and 0.1")
    options.add_argument("--device", default="cpu", help="default: %(default)s")
    options.add_argument("--window", type=int, default=512, help="tokens; default: %(default)s")
    options.add_argument("--rows", type=int, default=16, help="of a step; default: %(default)s")
    options.add_argument("--compile", action="store_true", help="a third side: dnatk compiled")
    options.add_argument("--threads", type=int, default=cores(), help="default: all (%(default)s)")
    args = options.parse_args()

    from dnatk.model.placement import prepare_cpu, resolve_device

    prepare_cpu(args.threads)
    device = resolve_device(args.device)
    figures = {}
    for preset in args.preset or ["small"]:
        for dropout in args.dropout or [0.0, 0.1]:
            print(f"{preset}, dropout {dropout} ...", flush=True)
            found = compare(preset, dropout, device, args)
            figures |= {f"{preset} {dropout} {name}": value for name, value in found.items()}
    shape = {"rows": args.rows, "window": args.window, "threads": args.threads}
    report({**figures, **shape, "repeats": args.repeats}, args.json)


def compare(preset: str, dropout: float, device: torch.device, args: argparse.Namespace) -> dict:
    from dnatk.model.placement import resolve_precision
    from dnatk.training.flops import ModelFlops, measured_peak
    from dnatk.training.masked_lm import new_model

    def packed():
        model = new_model(sizes, 0)
        if device.type == "cuda":
            model.set_attention_dropout(0.0)
        return model

    sizes = config_of(preset, dropout, args.window)
    ours, theirs = packed(), eager(sizes)
    bias = {"cls.predictions.decoder.bias": ours.cls.predictions.bias}  # tied, in theirs alone
    theirs.load_state_dict({**ours.state_dict(), **bias})
    batch = masked_rows(args.rows, args.window, args.seed)
    dtype = resolve_precision("auto", device)
    first: dict[str, list[float]] = {"dnatk": [], "eager fp32": []}
    sides = {
        "dnatk": dnatk_side(ours.to(device), batch, dtype, first["dnatk"]),
        "eager fp32": eager_side(theirs.to(device), batch, first["eager fp32"]),
    }
    if args.compile:
        compiled = packed()
        compiled.bert.compile()
        first["compiled"] = []
        sides["compiled"] = dnatk_side(compiled.to(device), batch, dtype, first["compiled"])
    flops = ModelFlops.of(ours)
    seconds = interleaved(sides, args.repeats)
    if not dropout:
        agree(first)
    ids_RL, masked_RL, _ = batch
    tokens = ids_RL.numel()
    done = flops.count(tokens, tokens * args.window, int(masked_RL.sum()))
    peak = measured_peak(device, dtype)
    figures = {
        name: {**summary(each), "tokens_per_s": tokens / median(each)}
        for name, each in seconds.items()
    }
    mine = median(seconds["dnatk"])
    gain = {"COMPILED": mine / median(seconds["compiled"])} if args.compile else {}
    return {
        **figures,
        **gain,
        "RATIO": median(seconds["eager fp32"]) / mine,
        "MFU": done / mine / peak,
        "peak": {"GFLOP_per_s": peak / 1e9, "precision": str(dtype)[6:]},
    }


def config_of(preset: str, dropout: float, window: int) -> dict:
    """The architecture of both sides, by BertConfig's names."""
    from dnatk.model.presets import PRESETS as SIZES

    return {
        **SIZES[preset].bert_config(6),
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "max_position_embeddings": max(512, window),
    }


def eager(sizes: dict) -> torch.nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(**sizes, attn_implementation="eager"))


def masked_rows(rows: int, window: int, seed: int) -> tuple[torch.Tensor, ...]:
    """(R, L) corrupted ids, where they are masked, and true ids; every row full."""
    from dnatk.masking import Masker

    generator = torch.Generator().manual_seed(seed)
    ids_RL = torch.randint(5, 4101, (rows, window), generator=generator)
    ids_RL[:, 0], ids_RL[:, -1] = 2, 3
    starts_RL = torch.arange(rows)[:, None].expand(-1, window) * window
    first_T, last_T = (starts_RL + 1).flatten(), (starts_RL + window - 1).flatten()
    draws = torch.rand((4, rows * window), generator=generator)
    corrupted_T, masked_T = Masker(4101).apply(ids_RL.flatten(), first_T, last_T, _WIDTH, draws)
    return corrupted_T.view(rows, window), masked_T.view(rows, window), ids_RL


def stepper(model: torch.nn.Module, loss_of: Callable, fused: bool, losses: list) -> Callable:
    """A function that makes one step of AdamW; its losses are kept."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01, fused=fused
    )
    model.train()

    def step() -> None:
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    return step


def dnatk_side(model: torch.nn.Module, batch: tuple, dtype: torch.dtype, losses: list) -> Callable:
    corrupted_RL, masked_RL, ids_RL = (each.to(model.device) for each in batch)
    rows, window = ids_RL.shape
    masked_M = masked_RL.flatten().nonzero()[:, 0]
    inputs = {
        "ids_T": corrupted_RL.flatten(),
        "position_T": torch.arange(window, device=model.device).repeat(rows),
        "lengths": [window] * rows,
        "masked_M": masked_M,
        "labels": ids_RL.flatten()[masked_M],
    }

    def loss_of() -> torch.Tensor:
        # As accelerate does it for --precision bf16.
        with torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32):
            return model(**inputs)["loss"]

    return stepper(model, loss_of, fused=True, losses=losses)


def eager_side(model: torch.nn.Module, batch: tuple, losses: list) -> Callable:
    corrupted_RL, masked_RL, ids_RL = (each.to(model.device) for each in batch)
    labels_RL = ids_RL.masked_fill(~masked_RL, -100)
    return stepper(
        model, lambda: model(input_ids=corrupted_RL, labels=labels_RL).loss, fused=False,
        losses=losses,
    )  # fmt: skip


def agree(losses: dict[str, list[float]]) -> None:
    """Both compute the same: the loss of the first step, and that of the third."""
    for step in (0, 2):
        ours, *others = (each[step] for each in losses.values())
        for theirs in others:
            if not abs(ours - theirs) < 0.01 * abs(theirs):
                raise SystemExit(f"the sides disagree at step {step}: {ours:.4f} and {theirs:.4f}")


if __name__ == "__main__":
    main()
