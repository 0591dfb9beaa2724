"""Figures of a :class:`~dnatk.output.prediction_tally.PredictionTally`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dnatk.output.figures import COLOURS, blank, plain
from dnatk.output.prediction_tally import Bins, PredictionTally

_BARS = 50
_PIECES = 400
MOST_TRACKS = 24
# A contig with fewer rows than this has no track: a record of its own, most often.
_FEWEST = 2
_MOST_COLOURS = 9


def histogram(
    tally: PredictionTally, classes: Sequence[str], name: str, threshold: float | None, unit: bool
):
    """How many rows have which score, coloured by label.

    Args:
        classes: in this order they are stacked.
        name: of the score.
        threshold: a dashed line; None: there is none.
        unit: scores are between 0 and 1.
    """
    low, high = (0.0, 1.0) if unit else (tally.lowest, tally.highest)
    width = (high - low) / _BARS or 1.0
    figure = blank(6.6, 3.6)
    axes = figure.add_subplot()
    below = [0.0] * _BARS
    shown = [label for label in classes if label in tally.scores] or list(tally.scores)
    for number, label in enumerate(shown):
        bins, heights = tally.scores[label], [0.0] * _BARS
        for at, count in bins.count.items():
            middle = (at + 0.5) * bins.width
            heights[min(_BARS - 1, max(0, math.floor((middle - low) / width)))] += count
        colour = COLOURS[number] if number < _MOST_COLOURS else "0.7"
        edges = [low + i * width for i in range(_BARS)]
        label_text = plain(label) if number <= _MOST_COLOURS else None
        axes.bar(edges, heights, width, below, align="edge", color=colour, ec="white", lw=0.4,
                 label="others" if number == _MOST_COLOURS else label_text)  # fmt: skip
        below = [a + b for a, b in zip(below, heights, strict=True)]
    if threshold is not None:
        axes.axvline(threshold, color="0.25", lw=1, ls=(0, (4, 3)))
    if len(shown) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=8, ncols=4)
    axes.set(xlim=(low, low + _BARS * width), xlabel=plain(name, 80), ylabel="rows")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def tracked(tally: PredictionTally, lengths: Mapping[str, int]) -> list[str]:
    """The contigs that are drawn: the longest that have rows enough, in the genome's order."""
    extents = {
        name: lengths.get(name, 0) or _end(tally.tracks[name])
        for name, rows in tally.contigs.items()
        if rows >= _FEWEST
    }
    longest = sorted(extents, key=extents.__getitem__, reverse=True)[:MOST_TRACKS]
    order = {name: i for i, name in enumerate(lengths)}
    met = {name: i for i, name in enumerate(tally.contigs)}
    return sorted(longest, key=lambda name: (order.get(name, len(order)), met[name]))


def genome_tracks(
    tally: PredictionTally,
    contigs: Sequence[str],
    lengths: Mapping[str, int],
    name: str,
    unit: bool,
):
    """The mean score along each contig, all on one scale; grey where the contig lies.

    Args:
        contigs: as :func:`tracked` gives them.
        lengths: of contigs, where they are known.
        name: of the score.
        unit: scores are between 0 and 1.
    """
    extents = {each: lengths.get(each, 0) or _end(tally.tracks[each]) for each in contigs}
    longest = max(extents.values())
    scale, unit_name = _scale(longest)
    means = {each: _means(tally.tracks[each], longest / _PIECES) for each in contigs}
    values = [value for points in means.values() for _, value in points]
    low, high = (0.0, 1.0) if unit else (min(values), max(values))
    margin = 0 if unit else 0.05 * (high - low) or 0.5
    figure = blank(9.4, 0.75 + 0.46 * len(contigs))
    figure.get_layout_engine().set(hspace=0.02, h_pad=0.01)
    panels = figure.subplots(len(contigs), 1, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, contig in zip(panels, contigs, strict=True):
        axes.axvspan(0, extents[contig] / scale, color="0.95", lw=0)
        at, mean = zip(*means[contig], strict=True)
        line = max(0.9, 9.4 * 72 * 0.88 / _PIECES)
        base = 0.0 if unit else low - margin
        axes.vlines([x / scale for x in at], base, mean, color=COLOURS[0], lw=line)
        axes.set_ylabel(plain(contig, 14), rotation=0, ha="right", va="center", fontsize=9)
        axes.set(xlim=(0, longest / scale), ylim=(low - margin, high + margin))
        axes.set_yticks([low, high], [f"{low:.3g}", f"{high:.3g}"], fontsize=6)
        axes.yaxis.tick_right()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[-1].set_xlabel(f"position, {unit_name}")
    panels[0].set_title(f"mean of {plain(name, 80)}", fontsize=9, color="0.35")
    return figure


def _means(bins: Bins, width: float) -> list[tuple[float, float]]:
    """(position, mean) in bins of about ``width``, where there are rows."""
    pieces: dict[int, list[float]] = {}
    for at, count in bins.count.items():
        sums = pieces.setdefault(math.floor((at + 0.5) * bins.width / width), [0.0, 0.0])
        sums[0] += bins.total[at]
        sums[1] += count
    return [((at + 0.5) * width, total / n) for at, (total, n) in sorted(pieces.items())]


def _end(bins: Bins) -> float:
    return (max(bins.count) + 1) * bins.width


def _scale(length: float) -> tuple[float, str]:
    for size, unit in ((1e6, "Mb"), (1e3, "kb")):
        if length >= size:
            return size, unit
    return 1.0, "bases"
