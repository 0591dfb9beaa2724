"""Draw docs/figures/span.svg, masked k-mers and the bases they hide, and fill method.md's table.

    python docs/make_span_figure.py            # both
    python docs/make_span_figure.py --png x.png   # the figure only, to look at

All that is drawn comes from dnatk.masking: the masked tokens from Masker, hidden bases from
hidden_bases. Shapes: T tokens.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from dnatk.kmers import Vocabulary, encode
from dnatk.masking import Masker, Schedule, hidden_bases, parse_phases
from dnatk.masking.strategies import DEFAULT_PROB, N_DRAWS, spans

HERE = Path(__file__).parent
TARGET = HERE / "figures" / "span.svg"
PAGE = HERE / "method.md"

K = 6
SEQUENCE = "CAGGTTACATGCTTGACAGCTAGTCCATGATAAC"
WIDTHS = (6, 14)
SINGLE = (4, 9, 17, 23)  # independent tokens: some that a draw of 15 % could give
VISIBLE, MASKED, HIDDEN = "#c9d3dd", "#e69f00", "#1b1b1b"


@dataclass(frozen=True)
class Span:
    """One line of the figure: masked (T,) and which bases (T + K - 1,) no other k-mer shows."""

    title: str
    masked: list[bool]
    hidden: list[bool]

    @property
    def label(self) -> str:
        n, m = sum(self.hidden), sum(self.masked)
        return f"{self.title}: {m} masked 6-mers hide {n} base{'s' * (n != 1)}"


def masked_by(centres: list[int], width: int) -> torch.Tensor:
    """(T,) bool: what dnatk masks in SEQUENCE where the draws make ``centres`` centres."""
    ids_T = torch.from_numpy(encode(SEQUENCE, K)).long()
    first_T = torch.zeros_like(ids_T)
    draws = torch.full((N_DRAWS, len(ids_T)), 0.99)
    draws[0, centres] = 0.0
    masker = Masker(len(Vocabulary(K)), corruption="mask")
    _, masked_T = masker.apply(ids_T, first_T, first_T + len(ids_T), width, draws)
    return masked_T


def span(title: str, masked_T: torch.Tensor) -> Span:
    """The bases hidden by masked tokens of SEQUENCE; their number is that of hidden_bases."""
    at_T = torch.arange(len(masked_T))
    shown = spans(len(SEQUENCE), at_T, at_T + K, ~masked_T)
    kmer_T, sequence_T = torch.ones_like(masked_T), torch.zeros(len(masked_T), dtype=torch.long)
    assert int((~shown).sum()) == int(hidden_bases(masked_T, kmer_T, sequence_T, K))
    return Span(title, masked_T.tolist(), (~shown).tolist())


def figure_spans() -> list[Span]:
    """What the figure shows, from above."""
    middle = (len(SEQUENCE) - K + 1) // 2
    wide = [
        span(f"a span of m = {width}{' (DNABERT)' * (width == K)}", masked_by([middle], width))
        for width in WIDTHS
    ]
    return [span("independent tokens (BERT)", masked_by(list(SINGLE), 1)), *wide]


def draw(target: Path) -> None:
    """The figure, as SVG or PNG; its text stays text in the SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"svg.fonttype": "none", "svg.hashsalt": "dnatk", "font.family": "sans-serif"}
    with pyplot.rc_context(style):
        shown = figure_spans()
        figure, axes = pyplot.subplots(len(shown), figsize=(9, 2.45 * len(shown)), facecolor="w")
        for axis, line in zip(axes, shown, strict=True):
            _draw_span(axis, line)
        _draw_key(figure)
        figure.tight_layout(h_pad=1.4, rect=(0, 0.05, 1, 1))
        target.parent.mkdir(exist_ok=True)
        metadata = {"Date": None} if target.suffix == ".svg" else None
        figure.savefig(target, metadata=metadata, dpi=130)
        pyplot.close(figure)
    if target.suffix == ".svg":  # matplotlib leaves blanks at line ends
        lines = target.read_text().splitlines()
        target.write_text("".join(f"{line.rstrip()}\n" for line in lines))


def _draw_span(axis, line: Span) -> None:
    """Bases above; below them each k-mer as a bar over its bases, in K rows."""
    from matplotlib.patches import Rectangle

    for i, (base, hidden) in enumerate(zip(SEQUENCE, line.hidden, strict=True)):
        box = {"facecolor": HIDDEN if hidden else "white", "edgecolor": "#888888", "lw": 0.6}
        axis.add_patch(Rectangle((i, 0.25), 1, 1.5, **box))
        colour = "white" if hidden else "black"
        axis.text(i + 0.5, 1, base, ha="center", va="center", family="monospace", color=colour)
    for i, masked in enumerate(line.masked):
        low = -0.15 - 0.62 * (i % K + 1)
        colour = MASKED if masked else VISIBLE
        axis.add_patch(Rectangle((i + 0.08, low), K - 0.16, 0.46, facecolor=colour))
    axis.set(xlim=(-0.2, len(SEQUENCE) + 0.2), ylim=(-4.1, 1.9))
    axis.set_title(line.label, loc="left", fontsize=11, color="black")
    axis.axis("off")


def _draw_key(figure) -> None:
    from matplotlib.patches import Patch

    what = {
        VISIBLE: "6-mer that the model sees",
        MASKED: "masked 6-mer",
        HIDDEN: "base that no visible 6-mer shows",
    }
    keys = [Patch(facecolor=colour, label=label) for colour, label in what.items()]
    figure.legend(handles=keys, loc="lower center", ncols=3, frameon=False, fontsize=10)


def maskings() -> list[tuple[str, Masker, int]]:
    """Name, masker and width of each row of method.md's table."""
    rows = [("independent tokens (BERT)", "token", 1), ("DNABERT, m = 6", "dnabert", K)]
    phases = Schedule.build(parse_phases("5", K), 480_000).phases
    rows += [(f"RandomMask, m = {phase.width}", "random-mask", phase.width) for phase in phases]
    return [
        (name, Masker(len(Vocabulary(K)), mask_prob=DEFAULT_PROB[masking], corruption="mask"), m)
        for name, masking, m in rows
    ]


def hidden_share(p: float, m: int) -> float:
    """Share of interior bases that no visible k-mer shows; m = 1, or m >= K - 1.

    The K k-mers of a base are all masked where its m + K - 1 possible centres have no run of m
    that are none: 1 - (1-p)^m - (K-1) p (1-p)^m, by where the first such run ends.
    """
    return p**K if m == 1 else 1 - (1 - p) ** m * (1 + (K - 1) * p)


def table() -> list[str]:
    """Lines of method.md's table."""
    lines = [
        "| masking | masked tokens | bases hidden by a span | left open, bits a token "
        "| hidden bases in all |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, masker, m in maskings():
        hides = max(0, m - K + 1)
        share = 100 * hidden_share(masker.mask_prob, m)
        facts = (
            f"{100 * masker.expected_share(m):.1f} %",
            str(hides),
            f"{2 * K * hides / m:.2f}",
            f"{share:.3f} %" if share < 0.1 else f"{share:.1f} %",
        )
        lines.append(f"| {' | '.join((name, *facts))} |")
    return lines


def page(text: str) -> str:
    """The page with its table made anew."""
    before, rest = text.split("<!-- shares -->\n")
    _, after = rest.split("<!-- /shares -->\n")
    lines = "".join(f"{line}\n" for line in table())
    return f"{before}<!-- shares -->\n{lines}<!-- /shares -->\n{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--png", type=Path, help="draw only this picture")
    png = parser.parse_args().png
    draw(png or TARGET)
    if not png:
        PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
