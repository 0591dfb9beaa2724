"""Random numbers by counter, against plain Python integers and against what random means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from dnatk.training.draws import bits, row_keys, uniform

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """SplitMix64's finaliser as its authors print it."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def reference(seed: int, stream: int, row: int, index: int) -> int:
    start = mix(((mix((seed + GAMMA) & MASK) ^ stream) + (row + 1) * GAMMA) & MASK)
    return mix((start + (index + 1) * (mix(start) | 1)) & MASK)


def numbers(seed: int, stream: int, rows: int, indices: int, dtype=torch.float32) -> np.ndarray:
    """(rows, indices) uniform numbers."""
    keys = row_keys(seed, stream, torch.arange(rows)[:, None])
    return uniform(keys, torch.arange(indices), dtype).numpy()


@given(st.integers(0, MASK), st.integers(0, 5), st.integers(0, 1 << 62), st.integers(0, 1 << 40))
@example(0, 0, 0, 0)
@example(MASK, 1, (1 << 63) - 1, 1)
@settings(max_examples=200, deadline=None)
def test_it_is_splitmix64_on_whole_numbers(seed, stream, row, index):
    expected = reference(seed, stream, row, index)
    keys = row_keys(seed, stream, torch.tensor([row]))
    at = torch.tensor([index])
    assert bits(keys, at).item() & MASK == expected
    assert uniform(keys, at).item() == (expected >> 40) / 2**24
    assert uniform(keys, at, torch.float64).item() == (expected >> 11) / 2**53


def test_the_generator_is_the_published_one():
    """The first numbers of SplitMix64 from state 1234567, as its authors' C program prints them."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [mix((1234567 + i * GAMMA) & MASK) for i in (1, 2, 3)] == expected


def test_known_values_stay():
    """A run that goes on with a later dnatk must see the same windows and masks."""
    keys = row_keys(42, 1, torch.tensor([0, 1, 10**9]))
    frozen = ["0x47a027451e2aff7c", "0xb620891adcfe1526", "0x8432dd96d35b580a"]
    assert [hex(x & MASK) for x in bits(keys, torch.tensor([0, 1, 2])).tolist()] == frozen


@pytest.mark.parametrize(
    ("dtype", "digits"), [(torch.float32, 24), (torch.float64, 53)], ids=["float32", "float64"]
)
def test_numbers_are_uniform_below_1(dtype, digits):
    drawn = numbers(7, 0, 1000, 1000, dtype)
    assert drawn.min() >= 0
    assert drawn.max() <= 1 - 2.0**-digits
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-4
    lowest = (drawn * 2.0**digits) % 256
    for bins in (np.histogram(drawn, 256, (0, 1))[0], np.bincount(lowest.ravel().astype(int))):
        assert stats.chisquare(bins).pvalue > 1e-4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 0), (1, 1)),  # streams
        ((1, 0), (2, 0)),  # seeds
        ((0, 1), (1, 0)),
        ((0, 0), (1 << 63, 0)),
    ],
)
def test_streams_and_seeds_have_nothing_to_do_with_each_other(one, other):
    a, b = (numbers(*which, 500, 200) for which in (one, other))
    n = a.size
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / n**0.5
    assert np.mean(a == b) < 1e-4


def test_rows_and_neighbouring_numbers_have_nothing_to_do_with_each_other():
    drawn = numbers(3, 1, 1000, 500, torch.float64) - 0.5
    sd = 1 / 12 / (drawn.size - 1000) ** 0.5  # of the mean product of two such numbers
    assert abs((drawn[1:] * drawn[:-1]).mean()) < 5 * sd
    assert abs((drawn[:, 1:] * drawn[:, :-1]).mean()) < 5 * sd
    assert abs((drawn[1:, :-1] * drawn[:-1, 1:]).mean()) < 5 * sd
    pairs = np.histogram2d(drawn[:, ::2].ravel(), drawn[:, 1::2].ravel(), bins=16)[0]
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-4
    # Means of rows are as spread as those of independent numbers.
    assert stats.kstest(drawn.mean(axis=1) * (12 * 500) ** 0.5, "norm").pvalue > 1e-4


def test_no_number_comes_twice():
    drawn = bits(row_keys(5, 0, torch.arange(2000)[:, None]), torch.arange(500))
    assert len(drawn.unique()) == drawn.numel()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_bits():
    rows, index = torch.arange(100)[:, None], torch.arange(1000)
    keys = row_keys(9, 1, rows)
    on_gpu = row_keys(9, 1, rows.cuda())
    for dtype in (torch.float32, torch.float64):
        there = uniform(on_gpu, index.cuda(), dtype)
        assert there.is_cuda
        assert torch.equal(there.cpu(), uniform(keys, index, dtype))
