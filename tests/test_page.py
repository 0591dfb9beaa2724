"""Pages of HTML: what is of the world is escaped, and nothing is fetched."""

from __future__ import annotations

import pytest
from html_pages import BROWSER, Page, browsed

from dnatk.output import page as html
from dnatk.output.figures import COLOURS, as_svg, blank, plain

EVIL = '<script>alert("x")</script>&amp;\'>'


@pytest.fixture(scope="module")
def svg() -> str:
    figure = blank(4, 3)
    axes = figure.add_subplot()
    axes.plot([0, 1], [1, 0], color=COLOURS[0], label=plain(f"${EVIL}"))
    axes.legend()
    return as_svg(figure)


def everything(svg: str) -> str:
    """A page of every piece, each with an evil text in it."""
    body = [
        html.paragraph(html.escape(EVIL), "lead"),
        html.tiles({EVIL: EVIL}),
        html.heading(EVIL),
        html.note(EVIL),
        html.reading(html.code(EVIL)),
        html.commands(f"dnatk embed '{EVIL}'", "second line"),
        html.facts({EVIL: EVIL, "empty": ""}),
        html.table(("a", EVIL), [(EVIL, "1"), ("b", EVIL)], ".n", prose=True),
        html.pair(html.figure(svg, EVIL, "below"), html.figure(svg, "two")),
    ]
    return html.page(EVIL, body, kind=EVIL, footer="end")


def test_every_text_is_escaped(svg, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(everything(svg))
    found = Page(path)
    assert "<script" not in found.source
    assert found.text.count(EVIL) == 16  # four of them in the heading, above it and in the tab
    assert found.figures == [EVIL, "two"]
    assert "empty" not in found.text


def test_a_page_that_fetches_is_seen(tmp_path):
    path = tmp_path / "page.html"
    for bad in ('<img src="https://x.org/a.png">', "<script>1</script>", '<p onclick="x">a</p>'):
        path.write_text(html.page("t", [bad]))
        with pytest.raises((AssertionError, ValueError)):
            Page(path)


def test_the_same_figure_is_the_same_text(svg):
    def drawn() -> str:
        figure = blank(4, 3)
        figure.add_subplot().plot([0, 1])
        return as_svg(figure)

    assert drawn() == drawn()
    wide = html.figure(svg.replace('width="', 'width="9', 1), "")
    assert "min-width" in wide
    assert html.figure("<svg></svg>", "no size").count("style") == 0


def test_plain_names():
    assert plain("a $x$") == r"a \$x\$"
    assert plain("a" * 30) == "a" * 23 + "…"


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
def test_a_browser_shows_it_and_has_nothing_to_say(svg, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(everything(svg))
    assert browsed(path, tmp_path) == ""
    # A check that can fail: what the page's own policy forbids is told.
    path.write_text(html.page("t", ["<script>throw 1</script>"]))
    assert "Content Security Policy" in browsed(path, tmp_path)
