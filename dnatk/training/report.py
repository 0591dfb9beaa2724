"""The plots of a task: what its test predictions look like, and how it learnt.

Shapes: N examples (bases for per-base labels), C classes, labels or targets, P points of a curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dnatk.labelled.dataset import LabelSpace
from dnatk.output.figures import COLOURS, GREY, as_svg, blank, plain, save_figure
from dnatk.training.calibration import ECE_BINS, reliability_bin, top_label
from dnatk.training.metrics import PRIMARY, predicted

_MOST_CURVES = len(COLOURS)
_MOST_PANELS = 6
_MANY_POINTS = 3000


def draw_plots(
    directory: str | Path | None,
    space: LabelSpace,
    targets: np.ndarray,
    output_NC: np.ndarray,
    history: Sequence[dict],
    *,
    metric: str = "",
    thresholds: float | np.ndarray | None = None,
) -> dict[str, str]:
    """Draw the plots that suit the kind of labels, name -> SVG.

    "roc", "pr", "calibration" of classes and labels, "confusion" where a target is one class,
    "scatter" of values, "learning_curve" where there is a history. A plot for which the data hold
    nothing (a single class) is left out.

    Args:
        directory: where NAME.png of each is written; None: nowhere.
        targets: as for :func:`dnatk.training.metrics.score`.
        output_NC: probabilities, or values.
        history: rows with ``step`` and either ``loss`` (training) or dev metrics; ``kept`` in the
            one of the weights that were kept.
        metric: that chose them.
    """
    targets, output_NC = np.asarray(targets), np.asarray(output_NC, dtype=np.float64)
    plots: dict[str, Callable[[], object | None]] = {}
    if space.kind == "regression":
        plots["scatter"] = lambda: _scatter(space, targets, output_NC)
    else:
        plots["roc"] = lambda: _roc(space, targets, output_NC)
        plots["pr"] = lambda: _precision_recall(space, targets, output_NC)
        plots["calibration"] = lambda: _calibration(space, targets, output_NC)
    if space.has_classes:
        predicted_N = predicted(space, output_NC, thresholds)
        plots["confusion"] = lambda: _confusion(space, targets, predicted_N)
    if history:
        plots["learning_curve"] = lambda: _learning_curve(space.kind, metric, history)
    figures = ((name, draw()) for name, draw in plots.items())
    return {
        name: drawn(figure, None if directory is None else Path(directory, f"{name}.png"))
        for name, figure in figures
        if figure is not None
    }


def drawn(figure, png: Path | None) -> str:
    """A figure as SVG, and as a PNG file where one is named."""
    if png is not None:
        save_figure(figure, png)
    return as_svg(figure)


def _columns(space: LabelSpace, targets, output_NC) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, truth (N,), probability (N,)) of each curve: the most frequent classes of many.

    Classes that no example or every example has are left out.
    """
    if space.kind == "binary":
        found = [(space.classes[1], targets == 1, output_NC[:, 1])]
    elif space.kind == "multilabel":
        found = list(zip(space.classes, targets.T > 0, output_NC.T, strict=True))
    else:
        found = [(n, targets == c, output_NC[:, c]) for c, n in enumerate(space.classes)]
    found = [column for column in found if 0 < column[1].sum() < len(column[1])]
    if len(found) > _MOST_CURVES:
        order = np.argsort([-column[1].sum() for column in found], kind="stable")
        found = [found[i] for i in sorted(order[:_MOST_CURVES])]
    return found


def _roc(space: LabelSpace, targets, output_NC):
    from sklearn.metrics import roc_auc_score, roc_curve

    columns = _columns(space, targets, output_NC)
    if not columns:
        return None
    figure, axes = _square("false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=(0, (4, 3)))
    for (name, truth_N, p_N), colour in zip(columns, COLOURS, strict=False):
        false_P, true_P, _ = roc_curve(truth_N, p_N)
        label = f"{roc_auc_score(truth_N, p_N):.3f}  {plain(name)}"
        axes.plot(false_P, true_P, color=colour, lw=1.6, label=label)
    _legend(axes, "AUROC", space, "lower right")
    return figure


def _precision_recall(space: LabelSpace, targets, output_NC):
    from sklearn.metrics import average_precision_score, precision_recall_curve

    columns = _columns(space, targets, output_NC)
    if not columns:
        return None
    figure, axes = _square("recall", "precision")
    for (name, truth_N, p_N), colour in zip(columns, COLOURS, strict=False):
        precision_P, recall_P, _ = precision_recall_curve(truth_N, p_N, drop_intermediate=True)
        label = f"{average_precision_score(truth_N, p_N):.3f}  {plain(name)}"
        # Steps: between two thresholds there is no classifier to interpolate.
        axes.step(recall_P, precision_P, where="post", color=colour, lw=1.6, label=label)
        axes.axhline(truth_N.mean(), color=colour, lw=0.8, ls=(0, (4, 3)), alpha=0.6)
    _legend(axes, "average precision", space, "lower left")
    axes.set_title("dashed: share of positives", fontsize=9, color="0.35")
    return figure


def _calibration(space: LabelSpace, targets, output_NC):
    """Observed against predicted probability in 15 bins, and how many predictions each holds."""
    if space.kind == "binary":
        p_N, truth_N, what = output_NC[:, 1], targets == 1, f"P({plain(space.classes[1])})"
    elif space.kind == "multilabel":
        p_N, truth_N, what = output_NC.ravel(), targets.ravel() > 0, "P(label), all labels"
    else:
        p_N, truth_N = top_label(targets, output_NC)
        what = "P(most probable class)"
    bin_N = reliability_bin(p_N)
    count_B = np.bincount(bin_N, minlength=ECE_BINS)
    filled = count_B > 0
    n_B = count_B[filled]
    mean_B = np.bincount(bin_N, weights=p_N, minlength=ECE_BINS)[filled] / n_B
    share_B = np.bincount(bin_N, weights=truth_N, minlength=ECE_BINS)[filled] / n_B
    low_B, high_B = _wilson(share_B, n_B)
    figure = blank(4.8, 5.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    top.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=(0, (4, 3)))
    top.vlines(mean_B, low_B, high_B, color=COLOURS[0], lw=1, alpha=0.5)
    top.plot(mean_B, share_B, color=COLOURS[0], lw=1.2, marker="o", ms=4.5)
    top.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="share that is true")
    top.set_title("bars: 95 % intervals", fontsize=9, color="0.35")
    edges = np.linspace(0, 1, ECE_BINS + 1)
    bottom.bar(edges[:-1], count_B, np.diff(edges), align="edge", color="0.75", ec="white", lw=0.6)
    bottom.set(xlabel=f"predicted {what}", ylabel="count")
    bottom.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _wilson(share_B: np.ndarray, n_B: np.ndarray, z: float = 1.96):
    """95 % intervals of shares that hold for few examples and at 0 and 1."""
    centre_B = (share_B + z**2 / (2 * n_B)) / (1 + z**2 / n_B)
    half_B = z * np.sqrt(share_B * (1 - share_B) / n_B + z**2 / (4 * n_B**2)) / (1 + z**2 / n_B)
    return centre_B - half_B, centre_B + half_B


def _confusion(space: LabelSpace, target_N, predicted_N):
    """Counts, coloured by the share of each true class."""
    n = space.n_outputs
    count_CC = np.bincount(target_N * n + predicted_N, minlength=n * n).reshape(n, n)
    share_CC = count_CC / np.maximum(count_CC.sum(axis=1, keepdims=True), 1)
    numbers = n <= 12
    size = min(9.0, 3.2 + 0.65 * n) if numbers else 8.0
    figure = blank(size + 0.6, size)
    axes = figure.add_subplot()
    image = axes.imshow(share_CC, cmap="Blues", vmin=0, vmax=1)
    if numbers:
        for row, column in np.ndindex(n, n):
            share = share_CC[row, column]
            axes.text(
                column,
                row,
                f"{count_CC[row, column]:,}\n{100 * share:.0f} %",
                ha="center",
                va="center",
                fontsize=9 if n <= 6 else 7,
                color="white" if share > 0.55 else "0.15",
            )
    names = [plain(name) for name in space.classes]
    tilt = {} if max(map(len, names)) <= 10 and n <= 4 else {"rotation": 45, "ha": "right"}
    small = 9 if numbers else 7
    axes.set_xticks(range(n), names, fontsize=small, rotation_mode="anchor", **tilt)
    axes.set_yticks(range(n), names, fontsize=small)
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, shrink=0.8, label="share of the true class")
    bar.outline.set_visible(False)
    return figure


def _scatter(space: LabelSpace, target_NC, output_NC):
    """Predicted against true values, a panel a target (the first six)."""
    shown = min(space.n_outputs, _MOST_PANELS)
    columns = min(shown, 3)
    rows = -(-shown // columns)
    figure = blank(4.2 * columns, 4.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[shown:]:
        axes.set_visible(False)
    for axes, name, y_N, x_N in zip(panels, space.classes, target_NC.T, output_NC.T, strict=False):
        low, high = min(y_N.min(), x_N.min()), max(y_N.max(), x_N.max())
        margin = 0.04 * (high - low) or 0.5
        span = (low - margin, high + margin)
        axes.plot(span, span, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=2)
        if len(y_N) > _MANY_POINTS:
            axes.hexbin(
                y_N, x_N, gridsize=55, bins="log", cmap="Blues", mincnt=1, extent=(*span, *span)
            )
        else:
            axes.scatter(y_N, x_N, s=10, color=COLOURS[0], alpha=0.4, lw=0)
        axes.set(xlim=span, ylim=span, xlabel="true", ylabel="predicted")
        axes.set_aspect("equal")
        r = np.corrcoef(y_N, x_N)[0, 1] if np.ptp(y_N) > 0 and np.ptp(x_N) > 0 else np.nan
        axes.set_title(f"{plain(name)}   r = {r:.3f}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _learning_curve(kind: str, metric: str, history: Sequence[dict]):
    """Loss of training and dev above, the metric that chose on dev below."""
    metric, dev_loss = metric or PRIMARY[kind], "mse" if kind == "regression" else "nll"

    def points(name: str) -> list[tuple[float, float]]:
        rows = [(row["step"], row[name]) for row in history if row.get(name) is not None]
        return [(step, value) for step, value in rows if np.isfinite(value)]

    train, dev, scores = points("loss"), points(dev_loss), points(metric)
    if kind == "regression":
        dev = []  # in the targets' own unit: not the loss, which is of standardised targets
    upper, lower = bool(train or dev), bool(scores)
    if not upper and not lower:
        return None
    figure = blank(6.4, 2.4 + 2.2 * (upper + lower - 1))
    panels = list(figure.subplots(upper + lower, 1, sharex=True, squeeze=False).ravel())
    if upper:
        axes = panels[0]
        if train:
            axes.plot(*zip(*train, strict=True), color=GREY, lw=1, label="training")
        if dev:
            line = {"color": COLOURS[1], "lw": 1.4, "marker": "o", "ms": 3}
            axes.plot(*zip(*dev, strict=True), label="dev", **line)
        axes.set_ylabel("loss")
        axes.legend(frameon=False, fontsize=8)
    if lower:
        axes = panels[-1]
        axes.plot(*zip(*scores, strict=True), color=COLOURS[0], lw=1.4, marker="o", ms=3)
        kept = [row["step"] for row in history if row.get("kept")]
        for step, value in (point for point in scores if point[0] in kept):
            axes.plot(step, value, marker="o", ms=8, mfc="none", mec=COLOURS[0])
            axes.set_title(f"kept: {value:.3f} at step {step}", fontsize=9, color="0.35")
        axes.set_ylabel(f"dev {metric}")
    panels[-1].set_xlabel("step")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _square(x: str, y: str):
    """A figure with one pair of axes from 0 to 1."""
    figure = blank(4.8, 4.8)
    axes = figure.add_subplot()
    # A little room, or curves along the edge are cut in half.
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axes, title: str, space: LabelSpace, place: str) -> None:
    drawn = len(axes.get_legend_handles_labels()[1])
    if drawn < space.n_outputs and space.kind != "binary":
        title += f" ({drawn} of {space.n_outputs})"
    axes.legend(
        title=title, loc=place, frameon=True, framealpha=0.85, edgecolor="none", fontsize=8,
        title_fontsize=8, alignment="left",
    )  # fmt: skip
