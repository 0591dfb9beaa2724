"""``dnatk pretrain``."""

from __future__ import annotations

import os

import click

from dnatk.cli.configured import Configured, is_typed
from dnatk.cli.options import SEED, FiniteRange, device_option, precision_option, threads_option


@click.command(
    "pretrain",
    cls=Configured,
    exclusive=[("mask_prob", "mask_ratio"), ("weights", "temperature")],
    short_help="Pre-train a DNA language model with RandomMask on FASTA.",
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--output", required=True, metavar="DIR", help="Directory of the model.")
@click.option("--resume", is_flag=True, help="Go on after the last checkpoint in DIR, if any.")
@click.option(
    "--preset",
    type=click.Choice(["tiny", "mini", "small", "dnabert-base"]),
    default="small",
    show_default=True,
    help="Architecture: 2x64, 4x128, 6x256 or 12x768 (layers x width).",
)
@click.option("--init", default="", metavar="MODEL", help="Start from this model, not afresh.")
@click.option(
    "-k",
    "k",
    type=click.IntRange(1, 8),
    default=6,
    show_default=True,
    help="k-mer length.",
)
@click.option(
    "--kmer-stride",
    default="1",
    show_default=True,
    metavar="1|k",
    help="Bases from one k-mer to the next: 1 overlapping, k non-overlapping.",
)
@click.option(
    "--masking",
    type=click.Choice(["random-mask", "dnabert", "token"]),
    default="random-mask",
    show_default=True,
    help="Growing spans, spans of k tokens (DNABERT), or single tokens (BERT).",
)
@click.option(
    "--span",
    type=click.Choice(["fixed", "uniform"]),
    default="fixed",
    show_default=True,
    help="A phase's spans all have its width, or each draws one up to it.",
)
@click.option(
    "--order",
    type=click.Choice(["growing", "fixed", "contracting"]),
    default="growing",
    show_default=True,
    help="Phases as given, the widest from the start, or widest first.",
)
@click.option(
    "--phases",
    default="5",
    show_default=True,
    metavar="N|W,W,..|W:END,..",
    help="How many phases (k, k+2, ..), their widths in tokens, or widths with the fraction of "
    "the run at which each ends.",
)
@click.option(
    "--mask-prob",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="Chance of a token to be the centre of a span.  [default: 0.025; 0.15 for token]",
)
@click.option(
    "--mask-ratio",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    metavar="R",
    help="Masked share to keep through all phases, instead of --mask-prob.",
)
@click.option(
    "--corruption",
    type=click.Choice(["bert", "mask", "span"]),
    default="bert",
    show_default=True,
    help="What replaces masked tokens: 80 % [MASK], 10 % random, 10 % kept, per token (bert) or "
    "per span; or always [MASK].",
)
@click.option(
    "--max-steps",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Optimizer steps; the phases scale with them.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    default=16_384,
    show_default=True,
    help="Tokens of one optimizer step, over all GPUs.",
)
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Split a step into this many passes, to fit the memory.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="BASES",
    help="Bases of a training window.  [default: the longest that fits; 515 for "
    "overlapping 6-mers]",
)
@click.option(
    "--lr",
    type=FiniteRange(min=0, min_open=True),
    default=5e-4,
    show_default=True,
    help="Peak learning rate of AdamW.",
)
@click.option(
    "--warmup",
    type=FiniteRange(0, 1),
    default=0.05,
    show_default=True,
    help="Fraction of the steps in which the learning rate rises; then it falls linearly.",
)
@click.option(
    "--weight-decay",
    type=FiniteRange(min=0),
    default=0.01,
    show_default=True,
    help="Of AdamW.",
)
@click.option(
    "--start",
    type=click.Choice(["local", "normal"]),
    default="local",
    show_default=True,
    help="Fresh weights: local attention and k-mers composed of bases, which learns from far "
    "fewer tokens, or BERT's normal ones.",
)
@click.option(
    "--min-length",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="BASES",
    help="Leave shorter sequences out.",
)
@click.option(
    "--holdout",
    multiple=True,
    metavar="CONTIG",
    help="Keep this contig (or FILE:CONTIG) out of training and report the loss on it. Repeatable.",
)
@click.option(
    "--weights",
    default="",
    metavar="W,W,..",
    help="Share of each input in the tokens trained on.  [default: by its bases]",
)
@click.option(
    "--temperature",
    type=FiniteRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="T",
    help="Without --weights, inputs have shares in proportion to (share of bases)^T: 1 by their "
    "bases, 0 all alike.",
)
@click.option(
    "--repeat-weight",
    type=FiniteRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="W",
    help="Chance of a soft-masked (lower-case) k-mer to be the centre of a span, as a share of the "
    "others'; 0: it is never masked nor scored.",
)
@click.option(
    "--seed",
    type=SEED,
    default=42,
    show_default=True,
    help="Of weights, windows and masks: same seed, same run.",
)
@click.option(
    "--save-steps",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Steps between checkpoints.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    metavar="N",
    help="How many checkpoints stay; 0: all.",
)
@click.option(
    "--log-steps",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Steps between lines of metrics.jsonl.",
)
@device_option
@precision_option
@threads_option
@click.pass_context
def command(ctx, inputs, output, resume, device, threads, weights, kmer_stride, **options):
    """Pre-train a BERT-like DNA language model with RandomMask.

    INPUTs are FASTA files (plain, bgzip or gzip) or CSV/TSV tables with a 'sequence' column.
    Windows begin at any base, on either strand, and go on in the next sequence where one ends.
    DIR receives an ordinary transformers model with its tokenizer, metrics.jsonl, loss.png and
    checkpoints; killed at any time, the run goes on with --resume. Ctrl-C, SIGTERM and SIGUSR1 end
    it after the step at hand and a checkpoint. torchrun -m dnatk pretrain ... shares each step
    among GPUs.

    \b
    Example:
      dnatk pretrain genome.fa -o model --holdout chrXVI
      dnatk pretrain a.fa b.fa.gz -o model --preset mini --max-steps 2000
      dnatk embed genome.fa --model model
    """
    if options["mask_prob"] is not None and options["mask_ratio"] is not None:
        raise click.UsageError("--mask-prob and --mask-ratio exclude each other.")
    if weights and options["temperature"] != 1:
        raise click.UsageError("--weights and --temperature exclude each other.")
    if options["masking"] != "random-mask":
        for name in ("span", "order", "phases"):
            if is_typed(ctx, name):
                raise click.UsageError(
                    f"--{name} goes with --masking random-mask: {options['masking']} has one width."
                )
    if options["init"]:
        for name in ("preset", "k", "kmer_stride", "start"):
            if is_typed(ctx, name):
                flag = "-k" if name == "k" else f"--{name.replace('_', '-')}"
                raise click.UsageError(f"{flag} does not go with --init: the model has its own.")
    if "-" in inputs:
        raise click.UsageError("training needs files, not '-': sequences are read more than once.")
    if kmer_stride not in ("1", "k", str(options["k"])):
        raise click.BadParameter("must be 1 or k.", param_hint="--kmer-stride")
    try:
        shares = tuple(map(float, weights.split(","))) if weights else ()
    except ValueError:
        raise click.BadParameter("must be numbers with commas.", param_hint="--weights") from None

    from dnatk.model.placement import prepare_cpu
    from dnatk.training.config import PretrainConfig
    from dnatk.training.pretrain import pretrain
    from dnatk.training.ranks import PeerGone
    from dnatk.training.stopping import Stop

    config = PretrainConfig(
        inputs=inputs,
        kmer_stride=1 if kmer_stride == "1" else options["k"],
        weights=shares,
        **{name: value for name, value in options.items() if value is not None},
    )
    prepare_cpu(threads)
    console, stop = ctx.obj, Stop()
    try:
        with console.progress() as progress:
            pretrain(config, output, device=device, resume=resume, progress=progress, stop=stop)
    except PeerGone:
        if (os.environ.get("RANK") or "0") == "0":
            raise
        ctx.exit(1)  # once is enough
    if stop.step is None:
        steps = f": {progress.done:,} steps" if progress.done else ""
        console.say(progress.closing(f"model in {output}{steps}"))
        return
    console.say(f"stopped by {stop.signal} after step {stop.step}; --resume goes on")
    ctx.exit(130 if stop.signal == "SIGINT" else 0)
