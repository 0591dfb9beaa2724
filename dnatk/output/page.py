"""A page of HTML that is one file: no network, no script, figures inside, light and dark.

Two kinds of strings go round here. What a caller gives as ``text`` is of the world (a class name,
a contig, a file) and is escaped; what functions return, and what is called ``html``, is HTML.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

__all__ = [
    "code", "commands", "escape", "facts", "figure", "heading", "note", "page", "pair",
    "paragraph", "reading", "table", "tiles",
]  # fmt: skip

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6776; --line: #dde3ea;
  --tint: #f5f8fb; --mark: #0072b2; --warn: #e69f00; --warm: #fff6e0; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ef; --soft: #9aa7b5; --line: #323c48; --tint: #1d252f; --mark: #56b4e9;
    --warm: #33290f; --paper: #12171d; }
}
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .4rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0; overflow-wrap: anywhere; }
.lead, .kind { color: var(--soft); }
.kind { margin: 0; font-size: .88rem; letter-spacing: .04em; }
.note { background: var(--warm); border-left: 4px solid var(--warn); padding: .5rem .9rem; }
.read { background: var(--tint); border-left: 4px solid var(--mark); padding: .5rem .9rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; }
.tiles div { flex: 1 1 8rem; background: var(--tint); border-radius: 6px; padding: .7rem .9rem; }
.tiles b { display: block; font-size: 1.45rem; line-height: 1.25; overflow-wrap: anywhere; }
.tiles span { color: var(--soft); font-size: .88rem; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.v { white-space: nowrap; font-variant-numeric: tabular-nums; font-weight: 600; }
.facts td:first-child { color: var(--soft); white-space: nowrap; width: 1%; }
.facts td { overflow-wrap: anywhere; }
figure { margin: 1.2rem 0; overflow-x: auto; }
figure img { display: block; height: auto; max-width: 100%; background: #fff; border-radius: 4px; }
.pair { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
.pair figure { flex: 0 1 28.8rem; margin: .4rem 0; max-width: 100%; }
figcaption { max-width: 46rem; margin-top: .5rem; }
pre { background: var(--tint); padding: .7rem .9rem; overflow-x: auto; font-size: .9rem; }
code { font-size: .9em; overflow-wrap: anywhere; }
pre code { font-size: inherit; overflow-wrap: normal; }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem; overflow-wrap: anywhere; }
@media (max-width: 34rem) {
  main { padding: 1.5rem .9rem 3rem; }
  .facts td:first-child { white-space: normal; }
  .prose thead { display: none; }
  .prose tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  .prose td { display: block; padding: .1rem 0; border: 0; white-space: normal; }
}
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --tint: #f4f4f4; --mark: #0072b2;
    --warm: #fff6e0; --paper: #fff; }
  main { max-width: none; padding: 0; }
  figure, tr, .note, .read { break-inside: avoid; }
  h2 { break-after: avoid; }
  figure img { min-width: 0 !important; }
}
"""
# A figure is not made narrower than this many pixels and this share of its width: it is moved.
_LEGIBLE, _SHARE = 340, 0.65
_POINT = 96 / 72


def page(title: str, body: Iterable[str], *, kind: str = "", footer: str = "") -> str:
    """A whole page.

    Args:
        title: text: what the page is about; its heading.
        body: HTML, piece by piece.
        kind: text: what made the page; above the title, and in the browser's tab.
        footer: HTML.
    """
    tab = f"{title}: {kind}" if kind else title
    above = f'<p class="kind">{escape(kind)}</p>\n' if kind else ""
    parts = [f"{above}<h1>{escape(title)}</h1>", *body]
    if footer:
        parts.append(f"<footer>{footer}</footer>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing may be fetched, and nothing run, whatever a name in the data says.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(tab)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(html: str, kind: str = "") -> str:
    """Some sentences; ``kind`` "lead" stands under the title."""
    return f'<p class="{kind}">{html}</p>' if kind else f"<p>{html}</p>"


def reading(html: str) -> str:
    """How a figure or a number is to be read."""
    return f'<p class="read"><b>How to read it.</b> {html}</p>'


def note(text: str) -> str:
    """What a reader must not miss."""
    return f'<p class="note">{escape(text)}</p>'


def code(text: str) -> str:
    """A name, in a sentence."""
    return f"<code>{escape(text)}</code>"


def commands(*lines: str) -> str:
    """Lines for a shell, text."""
    return f"<pre><code>{escape(chr(10).join(lines))}</code></pre>"


def tiles(numbers: Mapping[str, str]) -> str:
    """A few numbers, large: what they are -> value, text."""
    cells = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>"
        for what, value in numbers.items()
    )
    return f'<div class="tiles">{cells}</div>'


def facts(rows: Mapping[str, str]) -> str:
    """A list of what -> value, text; empty values are left out."""
    lines = "".join(
        f"<tr><td>{escape(what)}</td><td>{escape(value)}</td></tr>\n"
        for what, value in rows.items()
        if value
    )
    return f'<div class="wide"><table class="facts"><tbody>\n{lines}</tbody></table></div>'


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], styles: str = "", *, prose: bool = False
) -> str:
    """A table of text.

    Args:
        styles: a letter a column: "n" a number, to the right; "v" a value that matters; else ".".
        prose: cells hold sentences: on a narrow screen they stand below one another.
    """
    opened = '<table class="prose">' if prose else "<table>"
    kinds = [f' class="{s}"' if s in "nv" else "" for s in styles.ljust(len(header), ".")]

    def line(cells: Sequence[str], tag: str) -> str:
        row = zip(cells, kinds, strict=True)
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in row)

    lines = "".join(f"<tr>{line(row, 'td')}</tr>\n" for row in rows)
    return (
        f'<div class="wide">{opened}\n<thead><tr>{line(header, "th")}</tr></thead>\n'
        f"<tbody>\n{lines}</tbody></table></div>"
    )


def figure(svg: str, says: str, caption: str = "") -> str:
    """A figure, in words (text) what it shows, and what stands below it (HTML)."""
    data = base64.b64encode(svg.encode()).decode()
    found = re.search(r'<svg[^>]*? width="([\d.]+)pt"', svg)
    style = ""
    if found:
        width = round(float(found[1]) * _POINT)
        least = min(width, max(_LEGIBLE, round(_SHARE * width)))
        style = f' style="width: {width}px; min-width: {least}px"'
    image = f'<img alt="{escape(says)}"{style} src="data:image/svg+xml;base64,{data}">'
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{image}{below}</figure>"


def pair(*figures: str) -> str:
    """Figures side by side where there is room."""
    return f'<div class="pair">{"".join(figures)}</div>'
