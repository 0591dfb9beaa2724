"""What all figures share: colours, an empty sheet, PNG and SVG.

matplotlib is imported when the first one is drawn.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from dnatk.output.files import written_whole

# Okabe and Ito's colours, told apart by colour-blind readers too; black last.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999933", "#882255",
    "#44aa99", "#000000",
)  # fmt: skip
GREY = "0.6"


def blank(width: float, height: float):
    """An empty figure of some inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, target: Path) -> Path:
    """Write a PNG, whole or not at all."""
    with written_whole(target) as partial:
        figure.savefig(partial, dpi=150, format="png")
    return target


def as_svg(figure) -> str:
    """A figure as SVG that needs no font; the same figure gives the same text."""
    from matplotlib import rc_context

    text = StringIO()
    # Without a salt and with a date the same picture would be other bytes every time.
    with rc_context({"svg.hashsalt": "dnatk", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", dpi=150, facecolor="white", metadata={"Date": None})
    return text.getvalue()


def plain(name: str, most: int = 24) -> str:
    """A name as text that matplotlib does not read as mathematics, and not too long."""
    name = name if len(name) <= most else name[: most - 1] + "…"
    return name.replace("$", r"\$")
