"""The figures of ``dnatk inspect``, each as PNG and SVG.

Shapes: L layers, H heads, T tokens of a window, S = L + 1 states.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dnatk.analysis.token_plots import norms, token_map, variance
from dnatk.output.figures import COLOURS, GREY, as_svg, blank, save_figure
from dnatk.progress import Progress

if TYPE_CHECKING:
    from dnatk.analysis.inspect import Findings

_DASHED = (0, (4, 3))
# metric -> title, unit of the scale (share: in percent)
_HEATMAPS = {
    "effective_tokens": ("tokens attended to", ""),
    "received_effective_tokens": ("tokens that receive", ""),
    "self_share": ("on itself, %", "share"),
    "neighbour_share": ("on overlapping neighbours, %", "share"),
    "special_share": ("on [CLS] and [SEP], %", "share"),
    "distance_bases": ("mean distance, bases", ""),
}
# Side of the square in the middle of the window that is shown larger, in tokens.
_ZOOM = 48


def draw_figures(found: Findings, directory: Path, progress: Progress) -> dict[str, str]:
    """Write NAME.png and NAME.svg of what there is to show; name -> SVG, in page order."""
    numbers = found.numbers
    tokens, attention = numbers["tokens"], numbers["attention"]
    plots: dict[str, Callable] = {}
    names = {"tsne": ["t-SNE 1", "t-SNE 2"]}
    if tokens:
        shares = [100 * (each or 0.0) for each in tokens["pca_explained"]]
        names["pca"] = [f"component {i + 1} ({share:.1f} %)" for i, share in enumerate(shares)]
    for name in [each for each in names if each in found.maps]:
        plots[f"tokens_{name}"] = lambda name=name: token_map(
            found.maps[name], tokens["k"], found.index_N, names[name]
        )
    if tokens:
        plots["tokens_variance"] = lambda: variance(tokens)
    if attention:
        plots["attention_layers"] = lambda: attention_layers(attention)
        plots["attention_heads"] = lambda: attention_heads(attention)
        plots["attention_maps"] = lambda: attention_windows(found.attention)
    if numbers["bases"]:
        plots["probe_bases"] = lambda: probe_bases(numbers["bases"])
    if numbers["labels"]:
        plots["probe_labels"] = lambda: probe_labels(numbers["labels"])
    if numbers["norms"]:
        plots["norms"] = lambda: norms(found.rows_VD, found.count_V, numbers["norms"])
    if found.history:
        from dnatk.training.plot import loss_figure

        plots["loss"] = lambda: loss_figure(*found.history)
    progress.start("figures", len(plots), "figures")
    written = {}
    for name, draw in plots.items():
        figure = draw()
        save_figure(figure, directory / f"{name}.png")
        written[name] = as_svg(figure)
        (directory / f"{name}.svg").write_text(written[name], encoding="utf-8")
        progress.advance(1)
    return written


def attention_layers(attention: dict):
    """Six panels over the layers; dashed: attention spread evenly over all tokens."""
    layers, uniform = attention["layers"], attention["uniform"]
    figure = blank(12.0, 5.2)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    panels = figure.subplots(2, 3).ravel()
    one = {
        0: ("effective_tokens", "tokens that a token attends to", "effective number", True),
        1: ("received_effective_tokens", "tokens that receive attention", "effective number", True),
        3: ("distance_bases", "how far attention reaches", "mean distance, bases", False),
        4: ("head_diversity", "how much heads differ", "Jensen-Shannon, bits", False),
    }
    for at, (name, title, unit, log) in one.items():
        axes = panels[at]
        _over_layers(axes, layers[name], COLOURS[0], first=1)
        if name != "head_diversity":
            axes.axhline(uniform[name], color=GREY, lw=1, ls=_DASHED)
        if log:
            axes.set_yscale("log", base=2)
            axes.set_ylim(0.8, 1.5 * attention["tokens"])
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        else:
            axes.set_ylim(0, 1.15 * max(*layers[name], uniform[name], 0.05))
        axes.set_title(title, fontsize=10)
        axes.set_ylabel(unit)
    _shares(panels[2], layers, ("self_share", "neighbour_share", "cls_share", "sep_share"),
            ("itself", "overlapping\nneighbours", "[CLS]", "[SEP]"))  # fmt: skip
    panels[2].set_title("where attention goes", fontsize=10)
    _shares(panels[5], layers, ("top1_share", "top5_share", "received_top5_share"),
            ("first of each token", "first 5 of each token", "5 that receive most"))  # fmt: skip
    panels[5].set_title("share of the most attended tokens", fontsize=10)
    for axes in panels:
        _layer_axis(axes, len(layers["self_share"]), first=1)
    for axes in panels[:3]:
        axes.set_xlabel("")
    return figure


def _shares(axes, layers: dict, names, labels) -> None:
    for name, label, colour, marker in zip(names, labels, COLOURS, "os^D", strict=False):
        _over_layers(axes, [100 * v for v in layers[name]], colour, 1, label, marker)
    axes.set_ylim(-3, 103)
    axes.set_ylabel("share of attention, %")
    # Lines may run anywhere: beside the panel nothing is hidden.
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))


def attention_heads(attention: dict):
    """A heat map for each statistic: layers down, heads across."""
    heads = {name: np.array(value) for name, value in attention["heads"].items()}
    heads["special_share"] = heads["cls_share"] + heads["sep_share"]
    n_layers, n_heads = heads["self_share"].shape
    figure = blank(10.4, 1.6 + 2 * min(max(0.26 * n_layers, 1.2), 4.0))
    for axes, (name, (title, unit)) in zip(
        figure.subplots(2, 3).ravel(), _HEATMAPS.items(), strict=True
    ):
        value_LH = heads[name] * (100 if unit == "share" else 1)
        highest = {"share": 100.0}.get(unit, max(float(value_LH.max()), 1e-9))
        image = axes.imshow(value_LH, cmap="viridis", aspect="auto", vmin=0, vmax=highest)
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="head", ylabel="layer")
        axes.set_xticks(*_few(n_heads))
        axes.set_yticks(*_few(n_layers))
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
        if n_heads <= 8 and n_layers <= 8:
            for layer, head in np.ndindex(n_layers, n_heads):
                value = value_LH[layer, head]
                dark = value < 0.55 * highest
                axes.text(head, layer, f"{value:.0f}", ha="center", va="center", fontsize=8,
                          color="white" if dark else "black")  # fmt: skip
        figure.colorbar(image, ax=axes, pad=0.02).outline.set_visible(False)
    return figure


def attention_windows(maps: dict[int, np.ndarray]):
    """Attention of one window at some layers: all of it above, its middle below."""
    from matplotlib.colors import LogNorm

    larger = max(map(len, maps.values())) > _ZOOM
    figure = blank(3.5 * len(maps) + 1.5, 6.6 if larger else 3.6)
    grid = figure.subplots(1 + larger, len(maps), squeeze=False)
    for column, (layer, map_TT) in zip(grid.T, maps.items(), strict=True):
        tokens = len(map_TT)
        side = min(_ZOOM, tokens)
        start = (tokens - side) // 2
        norm = LogNorm(vmin=0.1 / tokens, vmax=1.0, clip=True)
        whole = {"cmap": "magma", "norm": norm, "interpolation": "nearest"}
        # A diagonal is one token wide: of several in a pixel the greatest is shown.
        shown_TT, step = _thinned(map_TT, 170)
        extent = (-0.5, len(shown_TT) * step - 0.5, len(shown_TT) * step - 0.5, -0.5)
        image = column[0].imshow(shown_TT, extent=extent, **whole)
        column[0].set_title(f"layer {layer + 1}", fontsize=10)
        if larger:
            zoom = slice(start, start + side)
            edge = (start - 0.5, start + side - 0.5, start + side - 0.5, start - 0.5)
            column[1].imshow(map_TT[zoom, zoom], extent=edge, **whole)
            column[0].add_patch(_frame(start, side))
        column[-1].set_xlabel("token attended to")
    for axes, name in zip(
        grid[:, 0], ("token, the whole window", "token, its middle"), strict=False
    ):
        axes.set_ylabel(name)
    for axes in grid.ravel():
        axes.tick_params(labelsize=8)
    bar = figure.colorbar(image, ax=grid, shrink=0.6, pad=0.02, label="attention, mean over heads")
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return figure


def _thinned(map_TT: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    step = -(-len(map_TT) // most)
    spare = -len(map_TT) % step
    padded = np.pad(map_TT, (0, spare))
    side = len(padded) // step
    return padded.reshape(side, step, side, step).max(axis=(1, 3)), step


def _frame(start: int, side: int):
    from matplotlib.patches import Rectangle

    return Rectangle((start - 0.5, start - 0.5), side, side, fill=False, ec="white", lw=0.8)


def probe_bases(bases: dict):
    """Accuracy of each offset over the states; dashed: the most frequent base."""
    figure = blank(6.4, 4.0)
    axes = figure.add_subplot()
    for offset, colour, marker in zip(bases["offsets"], COLOURS, "os^D", strict=False):
        values = [100 * v for v in bases["accuracy"][str(offset)]]
        label = f"{offset} base{'s' if offset > 1 else ''} beyond the token"
        _over_layers(axes, values, colour, 0, label, marker)
        majority = 100 * bases["majority"][str(offset)]
        axes.axhline(majority, color=colour, lw=1, ls=_DASHED, alpha=0.6)
    axes.set_ylabel("bases told right, %")
    lowest = 100 * min(map(min, bases["accuracy"].values()))
    axes.set_ylim(min(15.0, lowest - 3), 102)
    _layer_axis(axes, len(values), first=0)
    axes.legend(frameon=False, fontsize=8, title="dashed: most frequent base", title_fontsize=8,
                alignment="left")  # fmt: skip
    return figure


def probe_labels(labels: dict):
    """Accuracy and MCC over the states; dashed: the most frequent class."""
    figure = blank(6.4, 3.6)
    axes = figure.add_subplot()
    for name, label, colour, marker in (("mcc", "MCC", 0, "o"), ("accuracy", "accuracy", 1, "s")):
        values = [100 * v for v in labels[name]]
        _over_layers(axes, values, COLOURS[colour], 0, label, marker)
    majority = 100 * labels["majority"]
    axes.axhline(
        majority, color=COLOURS[1], lw=1, ls=_DASHED, alpha=0.7, label="majority class (accuracy)"
    )
    lowest = min(100 * min(labels["mcc"]), 0.0)
    axes.set_ylim(lowest - 3, 102)
    axes.set_ylabel("%")
    _layer_axis(axes, len(labels["mcc"]), first=0)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _over_layers(axes, values, colour, first: int, label: str | None = None, marker="o") -> None:
    x = range(first, first + len(values))
    axes.plot(x, values, color=colour, lw=1.6, marker=marker, ms=4.5, label=label)


def _layer_axis(axes, count: int, first: int) -> None:
    at, names = _few(count, first)
    if first == 0:
        names[0] = "input"
    axes.set_xticks([first + each for each in at], names)
    axes.set_xlabel("layer")
    axes.grid(axis="y", color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _few(count: int, first: int = 1) -> tuple[list[int], list[str]]:
    """Places and names of at most about twelve ticks."""
    at = list(range(0, count, -(-count // 13)))
    return at, [str(first + each) for each in at]
