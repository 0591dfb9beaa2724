"""Figures of token embeddings: maps coloured by bases, variance by base, norm against frequency.

Shapes: N k-mers on a map, V = 4^k k-mers, D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnatk.analysis.token_maps import central, classes, marginal
from dnatk.kmers.vocab import BASES
from dnatk.output.figures import COLOURS, blank

# Of the first base of a pair, by a colour and a marker; of the second by how light it is.
_HUES = {"A": COLOURS[0], "C": COLOURS[1], "G": COLOURS[2], "T": COLOURS[3]}
_MARKERS = {"A": "o", "C": "s", "G": "^", "T": "D"}
_LIGHT = {"A": -0.45, "C": 0.0, "G": 0.4, "T": 0.65}
# A class is named on the map where its points lie this near together, in shares of the map.
_COMPACT = 0.1


def token_map(xy_N2: np.ndarray, k: int, index_N: np.ndarray, names: Sequence[str]):
    """The same points coloured by central (left) and by marginal bases (right).

    ``names`` are those of the two axes.
    """
    figure = blank(10.4, 4.9)
    left, right, key = figure.subplots(1, 3, width_ratios=[1, 1, 0.22])
    for axes, name, offsets in ((left, "central", central(k)), (right, "marginal", marginal(k))):
        _scatter(axes, xy_N2, k, index_N, offsets)
        places = " and ".join(str(offset + 1) for offset in offsets)
        plural = "s" if len(offsets) > 1 else ""
        axes.set_title(f"coloured by {name} base{plural} ({places} of {k})", fontsize=10)
        axes.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
        axes.set_box_aspect(1)
        axes.spines[["top", "right"]].set_visible(False)
    right.set_ylabel("")
    _key(key, len(central(k)))
    return figure


def _scatter(axes, xy_N2, k: int, index_N, offsets: Sequence[int]) -> None:
    class_N = classes(k, offsets, index_N)
    span = np.ptp(xy_N2, axis=0).max() or 1.0
    size = float(np.clip(30_000 / len(index_N), 7, 90))
    names = []
    for number in range(4 ** len(offsets)):
        name = _name(number, len(offsets))
        mine_N2 = xy_N2[class_N == number]
        if not len(mine_N2):
            continue
        axes.scatter(
            *mine_N2.T, s=size, color=_colour(name), marker=_MARKERS[name[0]], lw=0,
            rasterized=True, alpha=0.85,
        )  # fmt: skip
        middle_2 = np.median(mine_N2, axis=0)
        spread = np.median(np.linalg.norm(mine_N2 - middle_2, axis=1))
        if spread < _COMPACT * span:
            names.append((name, middle_2))
    single = len(index_N) <= len(names)  # beside the point, which is all there is of the class
    for name, middle_2 in names if len(names) > 1 else ():
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75}
        axes.annotate(
            name, middle_2, (0, 10 if single else 0), textcoords="offset points", ha="center",
            va="center", fontsize=9, weight="bold", bbox=None if single else box,
        )  # fmt: skip
    axes.margins(0.08)


def _name(number: int, length: int) -> str:
    return "".join(BASES[number // 4**i % 4] for i in reversed(range(length)))


def _colour(name: str) -> tuple:
    from matplotlib.colors import to_rgb

    light = _LIGHT[name[1]] if len(name) > 1 else 0.0
    towards = 1.0 if light > 0 else 0.0
    return tuple(c + (towards - c) * abs(light) for c in to_rgb(_HUES[name[0]]))


def _key(axes, length: int) -> None:
    """A square for each pair: rows the first base, columns the second."""
    letters = "ACGT"
    seconds = letters if length > 1 else [""]
    for row, first in enumerate(letters):
        for column, second in enumerate(seconds):
            axes.scatter(
                column, row, s=70, color=_colour(first + second), marker=_MARKERS[first], lw=0
            )
    axes.set(xlim=(-0.6, len(seconds) - 0.4), ylim=(3.6, -0.6), aspect="equal")
    axes.set_yticks(range(4), letters, fontsize=9)
    axes.set_xticks(range(len(seconds)), seconds, fontsize=9)
    axes.xaxis.tick_top()
    axes.set_ylabel("first base" if length > 1 else "base", fontsize=9)
    if length > 1:
        axes.set_xlabel("second base", fontsize=9)
        axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def variance(tokens: dict):
    """Variance of the embedding explained by each base, by pairs and by all bases as a sum."""
    r2, chance, k = tokens["r2"], tokens["r2_chance"], tokens["k"]
    figure = blank(8.4, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=[max(k, 3), 4])
    middle = set(tokens["central_offsets"])
    colours = [COLOURS[0] if offset in middle else "0.65" for offset in range(k)]
    left.bar(range(1, k + 1), _shown(r2["offsets"]), color=colours, width=0.7)
    left.set(xlabel="base of the k-mer", xticks=range(1, k + 1), ylabel="variance explained, %")
    left.set_title("each base alone (blue: central)", fontsize=10)
    names = ["central", "marginal", "additive"]
    bars = right.bar(range(3), _shown([r2[name] for name in names]), width=0.6,
                     color=[COLOURS[0], "0.65", COLOURS[2]])  # fmt: skip
    right.bar_label(bars, fmt="%.0f", fontsize=9, padding=2)
    for at, name in enumerate(names):
        right.hlines(100 * chance[name], at - 0.4, at + 0.4, color="black", lw=1.2)
    right.set_xticks(range(3), ["two\ncentral", "two\nmarginal", "all, as\na sum"])
    right.set_ylim(0, 112)
    right.set_title("pairs, and all bases (black: chance)", fontsize=10)
    left.set_ylim(0, max(1.0, 1.15 * max(_shown(r2["offsets"]))))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _shown(values: Sequence[float | None]) -> list[float]:
    return [100 * (value or 0.0) for value in values]


def norms(rows_VD: np.ndarray, count_V: np.ndarray, numbers: dict):
    """Norm of each k-mer's embedding against its count, and the median along it."""
    from matplotlib.ticker import LogLocator, NullFormatter

    norm_V = np.linalg.norm(rows_VD, axis=1)
    figure = blank(6.4, 4.0)
    axes = figure.add_subplot()
    seen_V = count_V > 0
    size = float(np.clip(20_000 / len(norm_V), 4, 60))
    style = {"s": size, "lw": 0, "alpha": 0.35, "rasterized": True}
    axes.scatter(count_V[seen_V], norm_V[seen_V], color=COLOURS[0], **style)
    order = np.argsort(count_V[seen_V], kind="stable")
    if len(order) >= 100:
        parts = np.array_split(order, 20)
        middle = [(np.median(count_V[seen_V][p]), np.median(norm_V[seen_V][p])) for p in parts]
        axes.plot(*zip(*middle, strict=True), color=COLOURS[1], lw=1.8, label="median")
        axes.legend(frameon=False, fontsize=9)
    if seen_V.any() and count_V.max() >= 10 * count_V[seen_V].min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set(xlabel="occurrences of the k-mer in the FASTA", ylabel="norm of its embedding")
    shown = {"Spearman": numbers["spearman"], "Pearson (log)": numbers["pearson"]}
    said = [f"{name} {value:.2f}" for name, value in shown.items() if value is not None]
    axes.set_title(", ".join(said), fontsize=10)
    axes.grid(color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
