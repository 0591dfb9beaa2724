"""loss.png: the loss of a pre-training run, its phases visible."""

from __future__ import annotations

import json
from pathlib import Path

from dnatk.masking import Schedule


def plot_loss(metrics: Path, schedule: Schedule, target: Path) -> None:
    """Write :func:`loss_figure` as a PNG."""
    save_figure(loss_figure(metrics, schedule), target)


def blank(width: float, height: float):
    """An empty figure of some inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, target: Path) -> Path:
    """Write a PNG, whole or not at all."""
    partial = target.with_suffix(".partial.png")
    figure.savefig(partial, dpi=150)
    partial.replace(target)
    return target


def loss_figure(metrics: Path, schedule: Schedule):
    """Bits per masked token against the step from metrics.jsonl, phases as bands."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    train = [(r["step"], r["bits"]) for r in rows if "bits" in r]
    heldout = [(r["step"], r["heldout_bits"]) for r in rows if "heldout_bits" in r]
    figure = blank(9, 4.5)
    axes = figure.add_subplot()
    for number, phase in enumerate(schedule.phases):
        axes.axvspan(phase.start, phase.end, color="0.93" if number % 2 else "0.98", lw=0)
        axes.text(
            (phase.start + phase.end) / 2,
            1.01,
            f"{phase.width}",
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=9,
            color="0.35",
        )
    if train:
        axes.plot(*zip(*train, strict=True), color="0.55", lw=0.8, label="training")
    if heldout:
        for width in heldout[-1][1]:
            line = [(step, bits[width]) for step, bits in heldout if width in bits]
            axes.plot(
                *zip(*line, strict=True), marker="o", ms=3, lw=1.2, label=f"held out, span {width}"
            )
    axes.set_xlim(0, schedule.phases[-1].end)
    axes.set_xlabel("step")
    axes.set_ylabel("bits per masked token")
    axes.set_title("masked span (tokens) by phase", fontsize=9, color="0.35", pad=16)
    if train or heldout:
        axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
