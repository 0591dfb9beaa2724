"""docs/method.md: its figure and numbers are what dnatk.masking does."""

from __future__ import annotations

import doctest
import importlib
import re

import pytest
import torch
from pages import DOCS, blocks

from dnatk.kmers import Vocabulary
from dnatk.masking import Schedule, hidden_bases, parse_phases
from dnatk.masking.strategies import N_DRAWS

PAGE = DOCS / "method.md"


@pytest.fixture(scope="module")
def maker():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        return importlib.import_module("make_span_figure")


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg)


def test_the_figure_is_the_one_that_its_script_draws(maker, tmp_path):
    maker.draw(tmp_path / "span.svg")
    drawn, kept = (path.read_text() for path in (tmp_path / "span.svg", maker.TARGET))
    assert texts(drawn) == texts(kept)
    colours = (maker.VISIBLE, maker.MASKED, maker.HIDDEN)
    assert [drawn.count(c) for c in colours] == [kept.count(c) for c in colours]


def test_the_figure_shows_what_is_masked_and_hidden(maker):
    svg = maker.TARGET.read_text()
    spans = maker.figure_spans()
    # Each colour stands once more in the key.
    assert svg.count(maker.MASKED) - 1 == sum(sum(span.masked) for span in spans)
    assert svg.count(maker.HIDDEN) - 1 == sum(sum(span.hidden) for span in spans)
    shown = re.findall(r"(\d+) masked 6-mers hide (\d+) base", " ".join(texts(svg)))
    assert shown == [("4", "0"), ("6", "1"), ("14", "9")]
    for span, (masked, hidden) in zip(spans, shown, strict=True):
        assert (sum(span.masked), sum(span.hidden)) == (int(masked), int(hidden))
        # By letters: a base is shown where a visible k-mer holds it.
        for base, is_hidden in enumerate(span.hidden):
            over = range(max(0, base - maker.K + 1), min(base, len(span.masked) - 1) + 1)
            assert is_hidden == all(span.masked[i] for i in over)


def test_the_table_is_fresh(maker):
    assert PAGE.read_text() == maker.page(PAGE.read_text()), "run docs/make_span_figure.py"


def test_the_table_agrees_with_what_is_masked(maker):
    tokens = 400_000
    for seed, (name, masker, width) in enumerate(maker.maskings()):
        generator = torch.Generator().manual_seed(seed)
        draws = torch.rand(N_DRAWS, tokens, generator=generator)
        ids_T = torch.full((tokens,), len(Vocabulary(maker.K)) - 1)
        first_T = torch.zeros_like(ids_T)
        _, masked_T = masker.apply(ids_T, first_T, first_T + tokens, width, draws)
        hidden = hidden_bases(masked_T, torch.ones_like(masked_T), first_T, maker.K)
        expected = maker.hidden_share(masker.mask_prob, width)
        assert masked_T.double().mean() == pytest.approx(masker.expected_share(width), rel=0.02)
        assert hidden / tokens == pytest.approx(expected, rel=0.04, abs=2e-5), name


def test_the_phases_are_those_of_the_schedule():
    rows = re.findall(r"^\| \d \| (\d+) \|[^|]+\| (\d+) to (\d+) \|$", PAGE.read_text(), re.M)
    phases = Schedule.build(parse_phases("5", 6), 10_000).phases
    assert [tuple(map(int, row)) for row in rows] == [(p.width, p.start, p.end - 1) for p in phases]


def test_the_example_runs():
    (block,) = blocks(PAGE, "pycon")
    test = doctest.DocTestParser().get_doctest(block.text, {}, str(block), str(PAGE), block.line)
    said: list[str] = []
    assert not doctest.DocTestRunner().run(test, out=said.append).failed, "".join(said)
