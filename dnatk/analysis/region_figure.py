"""A map of regions as a figure, and as a page.

Shapes: N points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from dnatk.analysis.region_colours import Colours
from dnatk.output import page as html
from dnatk.output.figures import COLOURS, as_svg, blank, plain

_MOST_NAMES = 9
_OTHER, _MISSING = "0.75", "0.88"
_OTHERS, _NONE = "other", "(none)"


def map_figure(xy_N2: np.ndarray, names: tuple[str, str], colours: Colours, seed: int) -> Any:
    """The points, with a key of their colours.

    They are drawn in an order of chance, so that no group always lies on top of another.
    """
    figure = blank(7.4, 5.6)
    axes = figure.add_subplot()
    size = float(np.clip(30_000 / len(xy_N2), 5, 60))
    style = {"s": size, "lw": 0, "alpha": 0.75, "rasterized": True}
    order = np.random.default_rng(seed).permutation(len(xy_N2))
    if colours.numbers is not None:
        missing = ~np.isfinite(colours.numbers)
        axes.scatter(*xy_N2[missing].T, color=_MISSING, **style)
        order = order[~missing[order]]
        points = axes.scatter(*xy_N2[order].T, c=colours.numbers[order], cmap="viridis", **style)
        bar = figure.colorbar(points, shrink=0.8, label=plain(colours.name, 40))
        bar.outline.set_visible(False)
        bar.solids.set_alpha(1)
    else:
        key = _key(colours)
        shades = [key[n if n in key else None][0] for n in colours.names] or [COLOURS[0]]
        drawn = [shades[i] for i in order] if colours.names else shades[0]
        axes.scatter(*xy_N2[order].T, c=drawn, **style)
        for name, (shade, count) in key.items():
            label = {None: _OTHERS, "": _NONE}.get(name) or plain(name)
            axes.scatter([], [], color=shade, s=36, lw=0, label=f"{label} ({count:,})")
        if key:
            axes.legend(
                title=plain(colours.name, 40), loc="center left", bbox_to_anchor=(1.0, 0.5),
                frameon=False, fontsize=9, title_fontsize=9, alignment="left",
            )  # fmt: skip
    axes.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    axes.margins(0.05)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _key(colours: Colours) -> dict[str | None, tuple[str, int]]:
    """name -> (colour, rows): the most frequent names, then others (None) and missing ones ("")."""
    counts = Counter(filter(None, colours.names))
    most = counts.most_common(len(counts) if len(counts) <= _MOST_NAMES + 1 else _MOST_NAMES)
    key: dict[str | None, tuple[str, int]] = {
        name: (COLOURS[i], n) for i, (name, n) in enumerate(most)
    }
    others = counts.total() - sum(n for _, n in most)
    if others:
        key[None] = (_OTHER, others)
    missing = len(colours.names) - counts.total()
    if missing:
        key[""] = (_MISSING, missing)
    return key


def map_page(figure: Any, method: str, summary: str, source: str, facts: Mapping[str, str]) -> str:
    """The figure on a page.

    Args:
        method: as people write it.
        summary: of the map, in words.
        source: the file's name.
        facts: of the file.
    """
    reads = {
        "PCA": "Axes are the directions along which the vectors vary most; distances along them "
        "are true. Groups that are apart here are apart; groups that overlap may still be apart "
        "in directions that are not shown.",
        "t-SNE": "Near points are alike. How far groups are from each other, and how large they "
        "are, says nothing.",
        "UMAP": "Near points are alike. Distances between groups and their sizes say little.",
    }
    body = [
        html.paragraph(html.escape(f"{summary}."), "lead"),
        html.figure(as_svg(figure), f"{method} map of the regions"),
        html.reading(
            f"Each point is a region, placed by its embedding alone. {reads[method]} Colours in "
            "patches: the model tells these groups apart without having been shown them. "
            "Colours that run along a gradient: so does it with numbers."
        ),
        html.heading("How it was made"),
        html.facts({name.replace("_", " "): value for name, value in facts.items()}),
    ]
    return html.page(f"Map of {source}", body, kind="dnatk embed")
