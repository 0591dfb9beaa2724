"""loss.png: the loss of a pre-training run, its phases visible."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path

from dnatk.masking import Schedule
from dnatk.output.figures import COLOURS, as_svg, blank, save_figure


def plot_loss(metrics: Path, schedule: Schedule, target: Path) -> str:
    """Write :func:`loss_figure` as a PNG; return it as SVG."""
    figure = loss_figure(metrics, schedule)
    save_figure(figure, target)
    return as_svg(figure)


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
        for width, colour in zip(heldout[-1][1], cycle(COLOURS)):
            line = [(step, bits[width]) for step, bits in heldout if width in bits]
            style = {"color": colour, "marker": "o", "ms": 3, "lw": 1.2}
            axes.plot(*zip(*line, strict=True), label=f"held out, span {width}", **style)
    axes.set_xlim(0, schedule.phases[-1].end)
    axes.set_xlabel("step")
    axes.set_ylabel("bits per masked token")
    axes.set_title("masked span (tokens) by phase", fontsize=9, color="0.35", pad=16)
    if train or heldout:
        axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
