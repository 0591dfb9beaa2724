"""RandomMask and its baselines, against slow brute force and against the method's numbers.

Shapes: T tokens of a packed batch. Statistical bounds are 5 standard deviations of independent
draws: where neighbours are correlated, one token of each of many sequences is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.kmers import encode
from dnatk.kmers.vocab import CLS, MASK, PAD, SEP, UNK
from dnatk.masking import Masker, hidden_bases
from dnatk.masking.strategies import N_DRAWS, spans

CENTRE, WIDTH, CORRUPT, REPLACE = range(N_DRAWS)
VOCAB = 4101
PAPER_SHARES = {6: 0.141, 8: 0.183, 10: 0.224, 12: 0.262, 14: 0.298}


@dataclass
class Packed:
    """Sequences one after another, each between [CLS] and [SEP] where ``specials``."""

    ids: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    sequence: torch.Tensor

    @classmethod
    def of(cls, sequences: list[list[int]], specials: bool = True) -> Packed:
        ids, first, last, number = [], [], [], []
        for i, sequence in enumerate(sequences):
            start = len(ids) + specials
            ids += [CLS, *sequence, SEP] if specials else sequence
            n = len(ids) - len(first)
            first += [start] * n
            last += [start + len(sequence)] * n
            number += [i] * n
        return cls(*(torch.tensor(x, dtype=torch.int64) for x in (ids, first, last, number)))

    def masked(self, masker: Masker, width: int, draws: torch.Tensor, repeat=None):
        return masker.apply(self.ids, self.first, self.last, width, draws, repeat)


def rows(n: int, length: int) -> Packed:
    """``n`` sequences of ``length`` k-mers."""
    return Packed.of([[100] * length] * n)


def draws_of(length: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((N_DRAWS, length)))


def centres_only(length: int, *centres: int) -> torch.Tensor:
    """Draws that make just these tokens centres, whatever p > 0 is."""
    draws = torch.full((N_DRAWS, length), 0.999)
    draws[CENTRE, list(centres)] = 0.0
    return draws


def runs(mask: torch.Tensor) -> list[tuple[int, int]]:
    """[start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.int(), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def check_share(hits: torch.Tensor, expected: float) -> None:
    """The share of True among independent draws lies within 5 sd of what is expected."""
    hits = torch.as_tensor(hits).double()
    sd = (expected * (1 - expected) / len(hits)) ** 0.5
    assert abs(hits.mean() - expected) < 5 * sd, (hits.mean(), expected, sd)


@st.composite
def batches(draw):
    token = st.one_of(st.integers(5, VOCAB - 1), st.integers(5, VOCAB - 1), st.sampled_from([UNK]))
    sequences = draw(st.lists(st.lists(token, max_size=25), min_size=1, max_size=4))
    return Packed.of(sequences, specials=draw(st.booleans()))


# Which tokens are masked


def brute_mask(batch: Packed, masker: Masker, width: int, draws: torch.Tensor) -> list[bool]:
    masked = [False] * len(batch.ids)
    for i, token in enumerate(batch.ids):
        if token < 5 or draws[CENTRE, i] >= masker.centre_prob(width):
            continue
        m = width
        if masker.span == "uniform" and width > masker.smallest:
            choices = list(range(masker.smallest, width + 1, 2))
            m = choices[int(draws[WIDTH, i] * len(choices))]
        for j in range(i - (m - 1) // 2, i + m // 2 + 1):
            if batch.first[i] <= j < batch.last[i] and batch.ids[j] >= 5:
                masked[j] = True
    return masked


@given(
    batches(),
    st.integers(1, 16),
    st.sampled_from([0.0, 0.025, 0.2, 0.6]),
    st.sampled_from(["fixed", "uniform"]),
    st.integers(1, 8),
    st.integers(0, 1 << 30),
)
@settings(max_examples=200, deadline=None)
def test_the_mask_is_the_union_of_clipped_spans(batch, width, prob, span, smallest, seed):
    masker = Masker(VOCAB, smallest=smallest, mask_prob=prob, span=span)
    draws = draws_of(len(batch.ids), seed)
    corrupted, masked = batch.masked(masker, width, draws)
    assert masked.tolist() == brute_mask(batch, masker, width, draws)
    assert masked.dtype == torch.bool
    assert corrupted.dtype == batch.ids.dtype
    assert (corrupted[~masked] == batch.ids[~masked]).all()


@pytest.mark.parametrize(
    ("width", "left", "right"),
    # i-2..i+3 is DNABERT's 6-mer rule, i-1..i+2 its 4-mer rule.
    [(1, 0, 0), (2, 0, 1), (3, 1, 1), (4, 1, 2), (5, 2, 2), (6, 2, 3), (7, 3, 3), (14, 6, 7)],
)
def test_a_centre_masks_its_span(width, left, right):
    batch = rows(1, 40)
    _, masked = batch.masked(Masker(VOCAB), width, centres_only(42, 20))
    assert runs(masked) == [(20 - left, 20 + right + 1)]


@pytest.mark.parametrize(
    ("centres", "expected"),
    [
        ((1,), [(1, 5)]),  # the first k-mer: nothing to its left
        ((3,), [(1, 7)]),
        ((20,), [(18, 21)]),  # the last k-mer: the next sequence stays untouched
        ((23,), [(23, 27)]),
        ((20, 23), [(18, 21), (23, 27)]),
        ((8, 14), [(6, 18)]),  # spans that touch
        ((8, 10), [(6, 14)]),  # spans that overlap
        ((8, 15), [(6, 12), (13, 19)]),
    ],
)
def test_spans_are_clipped_to_their_sequence_and_merge(centres, expected):
    batch = rows(2, 20)  # k-mers at 1..20 and 23..42
    _, masked = batch.masked(Masker(VOCAB), 6, centres_only(44, *centres))
    assert runs(masked) == expected


def test_a_sequence_shorter_than_the_span_is_masked_whole():
    _, masked = rows(3, 4).masked(Masker(VOCAB), 14, centres_only(18, 8))
    assert runs(masked) == [(7, 11)]


def test_specials_and_unknown_kmers_are_never_centres_nor_masked_nor_changed():
    sequence = [UNK] * 3 + [100] * 20 + [UNK] * 2 + [101] * 20 + [UNK, PAD]
    batch = Packed.of([sequence] * 50)
    special = batch.ids < 5
    everything = torch.zeros((N_DRAWS, len(batch.ids)))
    _, masked = batch.masked(Masker(VOCAB), 6, everything)
    assert (masked == ~special).all()
    only_special_centres = torch.where(special, 0.0, 0.999) * torch.ones((N_DRAWS, 1))
    _, masked = batch.masked(Masker(VOCAB), 6, only_special_centres)
    assert not masked.any()
    for corruption in ("bert", "mask", "span"):
        masker = Masker(VOCAB, mask_prob=0.3, corruption=corruption)
        corrupted, masked = batch.masked(masker, 14, draws_of(len(batch.ids), 3))
        assert not masked[special].any()
        assert (corrupted[special] == batch.ids[special]).all()


def test_a_span_goes_on_beyond_an_unknown_kmer():
    batch = Packed.of([[100, 100, 100, UNK, 100, 100, 100]])
    _, masked = batch.masked(Masker(VOCAB), 6, centres_only(9, 3))
    assert runs(masked) == [(1, 4), (5, 7)]


def test_equal_draws_give_equal_masks_and_the_batch_stays_as_it_was():
    batch, draws = rows(20, 100), draws_of(20 * 102, 1)
    before, masker = batch.ids.clone(), Masker(VOCAB, smallest=6, span="uniform")
    once, again = batch.masked(masker, 14, draws), batch.masked(masker, 14, draws.clone())
    other = batch.masked(masker, 14, draws_of(20 * 102, 2))
    assert (once[0] == again[0]).all()
    assert (once[1] == again[1]).all()
    assert (once[1] != other[1]).any()
    assert (batch.ids == before).all()


@pytest.mark.parametrize("controls", [{"mask_prob": 0.0}, {"mask_ratio": 0.0}])
@pytest.mark.parametrize("span", ["fixed", "uniform"])
def test_probability_zero_masks_nothing(controls, span):
    masker = Masker(VOCAB, smallest=6, span=span, **controls)
    corrupted, masked = rows(5, 30).masked(masker, 14, torch.zeros((N_DRAWS, 160)))
    assert not masked.any()
    assert (corrupted == rows(5, 30).ids).all()


def test_an_empty_batch_stays_empty():
    nothing = Packed.of([])
    corrupted, masked = nothing.masked(Masker(VOCAB), 6, draws_of(0, 0))
    assert len(corrupted) == len(masked) == 0


@given(st.integers(0, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_spans_is_the_union_of_intervals(length, data):
    intervals = data.draw(
        st.lists(st.tuples(*[st.integers(0, length)] * 2).map(sorted), max_size=8)
    )
    start, end = (torch.tensor([i[side] for i in intervals], dtype=torch.long) for side in (0, 1))
    which = torch.tensor([data.draw(st.booleans()) for _ in intervals], dtype=torch.bool)
    named = [interval for interval, is_named in zip(intervals, which, strict=True) if is_named]
    inside = {base for low, high in named for base in range(low, high)}
    assert spans(length, start, end, which).nonzero()[:, 0].tolist() == sorted(inside)


# How many tokens are masked

N_ROWS, ROW, MIDDLE = 30_000, 15, 8  # spans of 14 at the middle k-mer just fit in a row


def middle_tokens(masker: Masker, width: int, seed: int) -> torch.Tensor:
    """Whether the middle k-mer of each of many sequences is masked: independent draws."""
    batch = rows(N_ROWS, ROW)
    _, masked = batch.masked(masker, width, draws_of(len(batch.ids), seed))
    return masked[MIDDLE :: ROW + 2]


@pytest.mark.parametrize("width", PAPER_SHARES)
def test_the_masked_share_is_the_papers(width):
    share = 1 - (1 - 0.025) ** width
    assert share == pytest.approx(PAPER_SHARES[width], abs=5e-4)
    assert Masker(VOCAB).expected_share(width) == pytest.approx(share)
    check_share(middle_tokens(Masker(VOCAB), width, width), share)


@pytest.mark.parametrize("width", range(6, 15))
def test_a_fixed_width_masks_1_minus_1_minus_p_to_the_m(width):
    masker = Masker(VOCAB, mask_prob=0.05)
    assert masker.expected_share(width) == pytest.approx(1 - 0.95**width)
    check_share(middle_tokens(masker, width, 50 + width), 1 - 0.95**width)


@pytest.mark.parametrize("span", ["fixed", "uniform"])
@pytest.mark.parametrize("width", [6, 10, 14])
def test_a_mask_ratio_is_kept_whatever_the_width(span, width):
    masker = Masker(VOCAB, smallest=6, mask_ratio=0.15, span=span)
    assert masker.expected_share(width) == pytest.approx(0.15)
    check_share(middle_tokens(masker, width, 100 + width), 0.15)


@pytest.mark.parametrize("width", [1, 6, 14])
def test_a_mask_ratio_solves_for_the_probability_of_a_centre(width):
    masker = Masker(VOCAB, mask_ratio=0.15)
    assert masker.centre_prob(width) == pytest.approx(1 - 0.85 ** (1 / width))
    assert Masker(VOCAB, mask_prob=0.15).centre_prob(width) == 0.15


def test_the_expected_share_of_uniform_spans_counts_how_far_each_reaches():
    # Spans of 2 (0..1) or 4 (-1..2): offsets -1 and 2 are reached by half of them.
    masker = Masker(VOCAB, smallest=2, mask_prob=0.1, span="uniform")
    assert masker.expected_share(4) == pytest.approx(1 - 0.9**2 * 0.95**2)


def test_independent_tokens_are_masked_one_by_one():
    hits = middle_tokens(Masker(VOCAB, mask_prob=0.15), 1, 5)
    check_share(hits, 0.15)


@pytest.mark.parametrize(
    ("smallest", "width", "expected"),
    [(6, 6, [6]), (6, 8, [6, 8]), (6, 14, [6, 8, 10, 12, 14]), (3, 7, [3, 5, 7]), (6, 4, [4])],
)
def test_uniform_spans_draw_each_width_up_to_the_phases_alike(smallest, width, expected):
    masker = Masker(VOCAB, smallest=smallest, span="uniform")
    assert masker.widths(width).tolist() == expected
    assert Masker(VOCAB, smallest=smallest).widths(width).tolist() == [width]
    batch = rows(4000, ROW)
    draws = draws_of(len(batch.ids), width)
    draws[CENTRE] = 0.999
    draws[CENTRE, MIDDLE :: ROW + 2] = 0.0
    _, masked = batch.masked(masker, width, draws)
    drawn = masked.reshape(4000, ROW + 2).sum(axis=1)
    assert sorted(set(drawn.tolist())) == expected
    for one in expected[:-1]:
        check_share(drawn == one, 1 / len(expected))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"span": "random"}, "span must be one of fixed, uniform, not 'random'"),
        ({"corruption": "none"}, "corruption must be one of bert, mask, span"),
        ({"mask_prob": 1.0}, r"must be in \[0, 1\), not 1.0"),
        ({"mask_prob": -0.1}, "not -0.1"),
        ({"mask_ratio": 1.5}, "not 1.5"),
        ({"mask_prob": float("nan")}, "not nan"),
        ({"repeat_weight": 1.5}, r"must be in 0\.\.1, not 1.5"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, complaint):
    with pytest.raises(InputError, match=complaint):
        Masker(VOCAB, **options)


# What stands in the place of a masked token


def test_bert_corruption_is_80_10_10_per_token():
    batch = rows(2000, 60)
    corrupted, masked = batch.masked(Masker(VOCAB), 14, draws_of(len(batch.ids), 7))
    now = corrupted[masked]
    # A random k-mer is the old one once in 4096 times.
    check_share(now == MASK, 0.8)
    check_share(now == 100, 0.1 + 0.1 / 4096)
    check_share((now != 100) & (now != MASK), 0.1 * 4095 / 4096)
    both = masked[:-1] & masked[1:]
    check_share((corrupted[1:][both] == MASK)[corrupted[:-1][both] == MASK], 0.8)


@pytest.mark.parametrize("k", [1, 3, 6, 7])
@pytest.mark.parametrize("corruption", ["bert", "span"])
def test_random_replacements_are_kmers_and_all_of_them(k, corruption):
    vocab_size = 5 + 4**k
    batch = rows(1500, 60)
    batch.ids[batch.ids == 100] = 5
    draws = draws_of(len(batch.ids), k)
    draws[CENTRE], draws[CORRUPT] = 0.0, 0.85
    corrupted, masked = batch.masked(Masker(vocab_size, corruption=corruption), 6, draws)
    drawn = corrupted[masked]
    assert drawn.min() == 5
    assert drawn.max() >= vocab_size - 1 - 4**k // 500
    assert drawn.max() < vocab_size
    check_share(drawn < 5 + 4**k // 4, 0.25)


def test_the_extremes_of_the_draws_give_the_first_and_the_last_kmer():
    draws = torch.zeros((N_DRAWS, 22))
    draws[CORRUPT] = 0.85
    draws[REPLACE, ::2] = 1 - 2.0**-24
    corrupted, masked = rows(1, 20).masked(Masker(VOCAB), 6, draws)
    assert corrupted[masked].tolist() == [5, VOCAB - 1] * 10


@pytest.mark.parametrize(
    ("chance", "expected"),
    [(0.0, MASK), (0.7999, MASK), (0.8, 5), (0.8999, 5), (0.9, 100), (0.9999, 100)],
)
def test_80_10_10_cuts_where_it_says(chance, expected):
    draws = torch.zeros((N_DRAWS, 22))
    draws[CORRUPT] = chance
    corrupted, masked = rows(1, 20).masked(Masker(VOCAB), 6, draws)
    assert set(corrupted[masked].tolist()) == {expected}


def test_mask_corruption_puts_mask_everywhere():
    batch = rows(200, 60)
    masker = Masker(VOCAB, corruption="mask")
    corrupted, masked = batch.masked(masker, 14, draws_of(len(batch.ids), 8))
    assert masked.any()
    assert (corrupted[masked] == MASK).all()


def test_span_corruption_draws_once_for_a_run_of_masked_tokens():
    batch = rows(4000, 60)
    masker = Masker(VOCAB, corruption="span")
    corrupted, masked = batch.masked(masker, 8, draws_of(len(batch.ids), 9))
    kinds = []
    for start, end in runs(masked):
        run = corrupted[start:end]
        masks, kept = run == MASK, run == 100
        # A random k-mer may be the old one by chance: a run of them is neither all nor none.
        kind = "mask" if masks.all() else "kept" if kept.all() else "random"
        assert kind != "random" or not masks.any()
        kinds.append(kind)
    kinds = np.array(kinds)
    check_share(kinds == "mask", 0.8)
    check_share(kinds == "random", 0.1)
    check_share(kinds == "kept", 0.1)


# How many bases the mask hides


def brute_hidden(batch: Packed, masked: torch.Tensor, k: int, stride: int) -> int:
    hidden = 0
    for number in batch.sequence.unique():
        at = (batch.sequence == number).nonzero()[:, 0]
        bases_of = {t: range(i * stride, i * stride + k) for i, t in enumerate(at.tolist())}
        covered = {base for t in bases_of if masked[t] for base in bases_of[t]}
        shown = {
            base for t in bases_of if batch.ids[t] >= 5 and not masked[t] for base in bases_of[t]
        }
        hidden += len(covered - shown)
    return hidden


def count_hidden(batch: Packed, masked: torch.Tensor, k: int, stride: int = 1) -> int:
    return hidden_bases(masked, batch.ids >= 5, batch.sequence, k, stride).item()


@given(batches(), st.integers(1, 8), st.booleans(), st.floats(0, 0.9), st.integers(0, 1 << 30))
@settings(max_examples=200, deadline=None)
def test_hidden_bases_equals_counting_base_by_base(batch, k, overlapping, share, seed):
    random = draws_of(len(batch.ids), seed)[0]
    masked = (random < share) & (batch.ids >= 5)
    stride = 1 if overlapping else k
    assert count_hidden(batch, masked, k, stride) == brute_hidden(batch, masked, k, stride)


def one_sequence(length: int = 40, unknown: tuple[int, ...] = ()) -> Packed:
    sequence = [UNK if i in unknown else 100 for i in range(length)]
    return Packed.of([sequence])


def mask_of(batch: Packed, *spans_: tuple[int, int]) -> torch.Tensor:
    """The mask of some [start, end), k-mers counted from 0 in the first sequence."""
    masked = torch.zeros(len(batch.ids), dtype=torch.bool)
    for start, end in spans_:
        masked[1 + start : 1 + end] = True
    return masked & (batch.ids >= 5)


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("run", [1, 2, 5, 6, 8, 14, 20])
def test_a_run_inside_a_sequence_hides_its_tokens_less_k_plus_1(k, run):
    batch = one_sequence()
    assert count_hidden(batch, mask_of(batch, (10, 10 + run)), k) == max(0, run - k + 1)


@pytest.mark.parametrize("width", PAPER_SHARES)
def test_an_isolated_span_of_randommask_hides_m_less_k_plus_1(width):
    batch = one_sequence(60)
    _, masked = batch.masked(Masker(VOCAB), width, centres_only(62, 30))
    assert count_hidden(batch, masked, 6) == width - 6 + 1


def test_dnaberts_masking_hides_one_base_a_span_until_spans_merge():
    batch = one_sequence(60)
    _, apart = batch.masked(Masker(VOCAB), 6, centres_only(62, 15, 40))
    assert count_hidden(batch, apart, 6) == 2
    _, merged = batch.masked(Masker(VOCAB), 6, centres_only(62, 15, 19))
    assert runs(merged) == [(13, 23)]
    assert count_hidden(batch, merged, 6) == 10 - 6 + 1


@pytest.mark.parametrize(
    ("span", "hidden"),
    [
        ((0, 6), 6),  # at the start: no k-mer to the left shows the first bases
        ((34, 40), 6),  # at the end
        ((0, 1), 1),
        ((0, 40), 45),  # the whole sequence
        ((1, 7), 1),
    ],
)
def test_a_run_at_a_sequence_end_hides_more(span, hidden):
    batch = one_sequence()
    assert count_hidden(batch, mask_of(batch, span), 6) == hidden


def test_a_run_beside_an_n_hides_more():
    # An N makes six 6-mers unknown; those cannot show the bases that the run covers.
    batch = one_sequence(unknown=tuple(range(20, 26)))
    assert count_hidden(batch, mask_of(batch, (14, 20)), 6) == 6
    assert count_hidden(batch, mask_of(batch, (13, 19)), 6) == 1
    assert count_hidden(batch, mask_of(batch, (26, 32)), 6) == 6


def test_neighbouring_sequences_show_nothing_of_each_other():
    batch = Packed.of([[100] * 10, [100] * 10], specials=False)
    masked = torch.zeros(20, dtype=torch.bool)
    masked[7:13] = True
    # Three k-mers at an end each: three bases and no more.
    assert count_hidden(batch, masked, 6) == 6


@pytest.mark.parametrize("k", [3, 6])
@pytest.mark.parametrize("spans_", [[(10, 11)], [(0, 3)], [(5, 8), (20, 24)], [(0, 40)]])
def test_non_overlapping_kmers_hide_every_base(k, spans_):
    batch = one_sequence()
    masked = mask_of(batch, *spans_)
    assert count_hidden(batch, masked, k, stride=k) == k * masked.sum()


def test_nothing_masked_hides_nothing():
    batch = one_sequence()
    assert count_hidden(batch, mask_of(batch), 6) == 0
    assert count_hidden(Packed.of([]), torch.zeros(0, dtype=torch.bool), 6) == 0


def test_the_hidden_bases_of_real_ids_cannot_be_read_off_the_kmers_left():
    sequence = "ACGTTGCATGCCATTAGCAGGATCCATTGA"
    batch = Packed.of([encode(sequence, 6).tolist()])
    _, masked = batch.masked(Masker(VOCAB), 8, centres_only(len(batch.ids), 12))
    shown = set()
    for t in (~masked & (batch.ids >= 5)).nonzero()[:, 0].tolist():
        shown |= set(range(t - 1, t - 1 + 6))
    assert len(sequence) - len(shown) == count_hidden(batch, masked, 6) == 3


# Repeats


def half_repeats(n: int) -> tuple[Packed, torch.Tensor]:
    """``n`` sequences of 40 k-mers, the last 20 of each soft-masked."""
    batch = rows(n, 40)
    return batch, ((torch.arange(42) > 20) & (torch.arange(42) < 41)).repeat(n)


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0])
def test_a_repeat_is_a_centre_so_much_more_rarely(weight):
    batch, repeat = half_repeats(4000)
    masker = Masker(VOCAB, mask_prob=0.1, repeat_weight=weight)
    _, masked = batch.masked(masker, 1, draws_of(len(batch.ids), 1), repeat)
    check_share(masked[repeat], 0.1 * weight)
    check_share(masked[(batch.ids >= 5) & ~repeat], 0.1)


def test_spans_reach_into_repeats_unless_their_weight_is_0():
    batch, repeat = half_repeats(1)
    centre = centres_only(42, 20)  # the last k-mer before the repeat
    assert runs(batch.masked(Masker(VOCAB), 6, centre, repeat)[1]) == [(18, 24)]
    rare = Masker(VOCAB, repeat_weight=0.1)
    assert runs(batch.masked(rare, 6, centre, repeat)[1]) == [(18, 24)]
    never = Masker(VOCAB, repeat_weight=0.0)
    corrupted, masked = batch.masked(never, 6, centre, repeat)
    assert runs(masked) == [(18, 21)]
    assert (corrupted[repeat] == batch.ids[repeat]).all()
    assert (never.maskable(batch.ids, repeat) == ((batch.ids >= 5) & ~repeat)).all()
    assert (rare.maskable(batch.ids, repeat) == (batch.ids >= 5)).all()


@given(batches(), st.sampled_from(["bert", "mask", "span"]), st.integers(0, 1 << 30))
@settings(max_examples=50, deadline=None)
def test_a_weight_of_1_changes_nothing(batch, corruption, seed):
    draws = draws_of(len(batch.ids), seed)
    repeat = (draws[WIDTH] < 0.5) & (batch.ids >= 5)
    masker = Masker(VOCAB, mask_prob=0.2, corruption=corruption)
    for one, other in zip(
        batch.masked(masker, 8, draws), batch.masked(masker, 8, draws, repeat), strict=True
    ):
        assert torch.equal(one, other)
