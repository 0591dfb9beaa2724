"""report.html of a pre-training run: the loss by phase, what was read, what to do next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from dnatk import __version__
from dnatk.masking.schedule import Phase
from dnatk.output import page as html
from dnatk.output.files import written_whole
from dnatk.training.config import PretrainConfig
from dnatk.training.metrics_log import METRICS_FILE
from dnatk.training.sources import SourceSummary

REPORT_FILE = "report.html"


def write_report(
    run: Path, config: PretrainConfig, sources: Sequence[SourceSummary], parameters: int, loss: str
) -> None:
    """Write report.html into a run's directory.

    Args:
        sources: what each input gave.
        parameters: of the model.
        loss: the figure of the loss, SVG.
    """
    rows = [json.loads(line) for line in (run / METRICS_FILE).read_text().splitlines()]
    text = pretrain_page(run.resolve().name, config, sources, parameters, rows, loss)
    with written_whole(run / REPORT_FILE) as partial:
        partial.write_text(text, encoding="utf-8")


def pretrain_page(
    name: str,
    config: PretrainConfig,
    sources: Sequence[SourceSummary],
    parameters: int,
    rows: Sequence[Mapping],
    loss: str,
) -> str:
    """The page.

    Args:
        rows: lines of metrics.jsonl.
        sources, parameters, loss: as of :func:`write_report`.
    """
    step = "overlapping" if config.kmer_stride == 1 else f"every {config.kmer_stride} bases"
    size = f"started from {config.init}" if config.init else f"preset {config.preset}"
    lead = f"{config.k}-mers, {step}, {size}, masking {config.masking}, seed {config.seed}."
    body = [
        html.paragraph(html.escape(lead), "lead"),
        html.tiles(_numbers(rows, parameters)),
        html.heading("Loss"),
        *_loss(config, rows, loss),
        html.heading("What it was trained on"),
        *_corpus(config, sources),
        html.heading("What to do next"),
        *_next(config),
        html.heading("How it was made"),
        html.facts(_options(config)),
    ]
    footer = (
        f"dnatk {html.escape(__version__)}. Every logged step is in {html.code(METRICS_FILE)}, the "
        f"options are in {html.code('config.toml')}."
    )
    return html.page(name, body, kind="dnatk pretrain", footer=footer)


def _numbers(rows: Sequence[Mapping], parameters: int) -> dict[str, str]:
    logged = [row for row in rows if "bits" in row]
    found = {}
    if logged:
        last = logged[-1]
        found[f"bits a masked token, training, span {last['span']}"] = f"{last['bits']:.2f}"
    heldout = _heldout(rows)
    if heldout:
        width = max(heldout, key=int)
        found[f"bits a masked token, held out, span {width}"] = f"{heldout[width]:.2f}"
    if logged:
        found["tokens seen"] = _short(logged[-1]["tokens"])
        found["tokens a second"] = _short(median(row["tokens_per_second"] for row in logged))
    return {**found, "parameters": _short(parameters)}


def _loss(config: PretrainConfig, rows: Sequence[Mapping], loss: str) -> Iterator[str]:
    if loss:
        yield html.figure(loss, "Bits per masked token over the steps, phases as bands")
    yield html.reading(
        "Bands are phases: the number above each is how many tokens a masked span is wide. At a "
        "step up more bases are hidden, so the loss jumps and then falls again; compare losses of "
        f"one width alone. A guess among all {4**config.k:,} k-mers costs {2 * config.k} bits. A "
        "loss that falls to almost nothing means little: visible neighbours give the answer away. "
        "One that still falls at the end: more steps would help. Training far below held out: "
        "fewer steps, or more genome."
    )
    columns = ("span", "steps", "training bits", "held-out bits", "masked", "tokens/s")
    phases = config.schedule().phases
    if any(phase.end > phase.start for phase in phases):
        yield html.table(columns, [_phase(phase, rows) for phase in phases], "nnnnnn")
    yield html.paragraph(
        "Bits are those logged last in the phase; held-out bits are of its own span width. masked "
        "is the share of the tokens that were masked, tokens/s the median of the log."
    )
    if not _heldout(rows):
        yield html.note(
            "Nothing was held out: whether the model has learnt more than its training sequence "
            "cannot be told from here. --holdout CONTIG keeps a contig away."
        )


def _phase(phase: Phase, rows: Sequence[Mapping]) -> list[str]:
    mine = [row for row in rows if phase.start < row["step"] <= phase.end]
    logged = [row for row in mine if "bits" in row]
    width = str(phase.width)
    heldout = [row["heldout_bits"][width] for row in mine if width in row.get("heldout_bits", {})]
    share = [row["masked_share"] for row in logged]
    speed = [row["tokens_per_second"] for row in logged]
    return [
        width,
        f"{phase.start + 1:,} to {phase.end:,}",
        f"{logged[-1]['bits']:.2f}" if logged else "",
        f"{heldout[-1]:.2f}" if heldout else "",
        f"{100 * sum(share) / len(share):.1f} %" if share else "",
        f"{median(speed):,.0f}" if speed else "",
    ]


def _corpus(config: PretrainConfig, sources: Sequence[SourceSummary]) -> Iterator[str]:
    columns = ("input", "records", "bases", "bases left out", "held out", "too short", "mostly N",
               "sha256")  # fmt: skip
    lines = [
        [Path(source.path).name, f"{source.records:,}", f"{source.bases:,}",
         f"{source.left_out:,}", f"{source.held_out:,}", f"{source.too_short:,}",
         f"{source.mostly_n:,}", source.sha256[:16]]
        for source in sources
    ]  # fmt: skip
    yield html.table(columns, lines, ".nnnnnn.")
    yield html.paragraph(
        "records were trained on, and bases are how many of theirs; left out are runs of N and "
        f"pieces too short. held out, too short (below {config.min_length} bases) and mostly N are "
        "other records."
    )
    if config.holdout:
        shown = html.escape(", ".join(config.holdout))
        yield html.paragraph(f"Held out: {shown}. The model has not seen it.")


def _next(config: PretrainConfig) -> Iterator[str]:
    yield html.paragraph(
        f"{html.code('MODEL')} is the directory that this page lies in, an ordinary transformers "
        "model. Look at what it has learnt, embed with it, train a task on it:"
    )
    yield html.commands(
        "dnatk inspect MODEL genome.fa -o looked",
        "dnatk embed genome.fa --bed regions.bed --model MODEL -o regions.h5",
        "dnatk finetune labelled.csv --model MODEL -o task",
    )
    yield html.paragraph(
        f"Going on from here, with a learning rate that starts again: {html.code('--init MODEL')} "
        f"of {html.code('dnatk pretrain')}. Its windows are {config.window:,} bases at most."
    )


def _options(config: PretrainConfig) -> dict[str, str]:
    shown = {}
    for name, value in vars(config).items():
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if value not in ("", (), None) and not (name.startswith("mask_") and not value):
            shown[name.replace("_", "-")] = text
    return shown


def _heldout(rows: Sequence[Mapping]) -> Mapping[str, float]:
    return next((row["heldout_bits"] for row in reversed(rows) if "heldout_bits" in row), {})


def _short(number: float) -> str:
    """1234567 as 1.23 M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"
