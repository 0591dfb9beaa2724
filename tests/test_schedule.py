"""Phases: which span width at which step."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.masking import Schedule, parse_phases
from dnatk.masking.schedule import ORDERS

PAPER = [Fraction(1, 16), Fraction(1, 8), Fraction(5, 24), Fraction(5, 16), Fraction(1)]


def laid(text: str, steps: int, order: str = "growing", k: int = 6) -> list[tuple[int, int, int]]:
    schedule = Schedule.build(parse_phases(text, k), steps, order)
    return [(phase.width, phase.start, phase.end) for phase in schedule.phases]


def test_the_papers_run_steps_up_where_the_paper_says():
    assert laid("5", 480_000) == [
        (6, 0, 30_000),
        (8, 30_000, 60_000),
        (10, 60_000, 100_000),
        (12, 100_000, 150_000),
        (14, 150_000, 480_000),
    ]


@pytest.mark.parametrize("steps", [480_000, 100_000, 12_345, 1000, 99, 48])
@pytest.mark.parametrize("order", ["growing", "contracting"])
def test_every_boundary_is_the_rounded_fraction_of_the_run(steps, order):
    schedule = Schedule.build(parse_phases("5", 6), steps, order)
    widths = [6, 8, 10, 12, 14] if order == "growing" else [14, 12, 10, 8, 6]
    for fraction, before, after in zip(PAPER, widths, widths[1:], strict=False):
        boundary = round(fraction * steps)
        assert schedule.at(boundary - 1).width == before
        assert schedule.at(boundary).width == after
    assert schedule.at(0).width == widths[0]
    assert schedule.at(steps - 1).width == widths[-1]


@given(
    st.integers(1, 3000),
    st.sampled_from(ORDERS),
    st.sampled_from(["5", "1", "3", "7", "6,10,14", "6:0.1,10:0.5,14:1", "9:1/1000,6:1"]),
)
@settings(max_examples=60, deadline=None)
def test_phases_cover_every_step_once(steps, order, text):
    phases = laid(text, steps, order)
    assert phases[0][1] == 0
    assert phases[-1][2] == steps
    assert all(end == start for (_, _, end), (_, start, _) in itertools.pairwise(phases))
    assert all(start < end for _, start, end in phases)
    schedule = Schedule.build(parse_phases(text, 6), steps, order)
    for width, start, end in phases:
        assert {schedule.at(step).width for step in {start, (start + end) // 2, end - 1}} == {width}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, [(14, 0, 1)]),
        (3, [(10, 0, 1), (14, 1, 3)]),
        (10, [(6, 0, 1), (10, 1, 2), (12, 2, 3), (14, 3, 10)]),
        (99, [(6, 0, 6), (8, 6, 12), (10, 12, 21), (12, 21, 31), (14, 31, 99)]),
    ],
)
def test_a_short_run_leaves_out_phases_but_no_step(steps, expected):
    assert laid("5", steps) == expected


@pytest.mark.parametrize("step", [480, 481, 10_000])
def test_steps_past_the_end_stay_in_the_last_phase(step):
    assert Schedule.build(parse_phases("5", 6), 480).at(step).width == 14


def test_fixed_order_is_the_widest_span_from_the_first_step():
    assert laid("5", 1000, "fixed") == [(14, 0, 1000)]
    assert laid("14,6", 10, "fixed") == [(14, 0, 10)]


def test_contracting_order_turns_the_widths_and_keeps_the_boundaries():
    assert laid("5", 480, "contracting") == [
        (14, 0, 30),
        (12, 30, 60),
        (10, 60, 100),
        (8, 100, 150),
        (6, 150, 480),
    ]


def test_widths_are_the_distinct_ones_in_ascending_order():
    assert Schedule.build(parse_phases("14,6,14,10", 6), 100).widths == [6, 10, 14]


@pytest.mark.parametrize("order", ["", "Growing", "random"])
def test_an_unknown_order_is_refused_with_those_there_are(order):
    with pytest.raises(InputError, match="growing, fixed, contracting"):
        Schedule.build(parse_phases("5", 6), 10, order)


@pytest.mark.parametrize("steps", [0, -5])
def test_a_run_without_a_step_is_refused(steps):
    with pytest.raises(InputError, match=f"at least one step, not {steps}"):
        Schedule.build(parse_phases("5", 6), steps)


@pytest.mark.parametrize(
    ("text", "k", "expected"),
    [
        ("5", 6, list(zip([6, 8, 10, 12, 14], PAPER, strict=True))),
        ("5", 3, list(zip([3, 5, 7, 9, 11], PAPER, strict=True))),
        ("1", 6, [(6, 1)]),
        ("2", 4, [(4, Fraction(1, 2)), (6, 1)]),
        ("6,10,14", 6, [(6, Fraction(1, 3)), (10, Fraction(2, 3)), (14, 1)]),
        (" 6 , 10 ", 6, [(6, Fraction(1, 2)), (10, 1)]),
        ("4,5,6,7,8", 6, list(zip([4, 5, 6, 7, 8], PAPER, strict=True))),
        ("6:0.1,10:0.5,14:1", 6, [(6, Fraction(1, 10)), (10, Fraction(1, 2)), (14, 1)]),
        ("6:1/3,8:1", 6, [(6, Fraction(1, 3)), (8, 1)]),
        ("14:1", 6, [(14, 1)]),
    ],
)
def test_phases_are_read_in_each_form(text, k, expected):
    assert parse_phases(text, k) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot read the phases ''"),
        ("five", "cannot read"),
        ("6,", "cannot read"),
        ("6,ten", "cannot read"),
        ("6.5,8", "cannot read"),
        ("6:0.5,8", "cannot read"),
        ("6:0.5:7,8:1", "cannot read"),
        ("6:1/0,8:1", "cannot read"),
        ("6:nan", "cannot read"),
        ("0", "at least one span"),
        ("-2", "at least one span"),
        ("0,6", "at least one span"),
        ("6,-8", "at least one span"),
        ("0:0.5,6:1", "at least one span"),
        ("6:0.5", "must rise from above 0 to 1"),
        ("6:0.5,8:1.5", "must rise"),
        ("6:0,8:1", "must rise"),
        ("6:-1,8:1", "must rise"),
        ("6:0.5,8:0.5,10:1", "must rise"),
        ("6:0.7,8:0.5,10:1", "must rise"),
        ("999999999999", "at most 1000"),
        ("99999999999999999999:1", "is wider than any window"),
    ],
)
def test_phases_that_make_no_sense_are_refused(text, complaint):
    with pytest.raises(InputError, match=complaint):
        parse_phases(text, 6)
