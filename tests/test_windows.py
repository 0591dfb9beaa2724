"""Tiles of long sequences, and which of them answers for a k-mer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.windows import Tiling
from dnatk.kmers import encode


@st.composite
def tilings(draw):
    k = draw(st.integers(1, 8))
    kmer_stride = draw(st.sampled_from([1, k]))
    window = draw(st.integers(k, 40))
    stride = kmer_stride * draw(st.integers(1, max(1, 40 // kmer_stride)))
    return Tiling(window, stride, k, kmer_stride)


def held(tiling: Tiling, start: int, end: int) -> range:
    """The k-mers, counted along the whole sequence, that lie whole in a tile."""
    n = len(encode("A" * (end - start), tiling.k, tiling.kmer_stride))
    first = start // tiling.kmer_stride
    return range(first, first + n)


def brute_owners(tiling: Tiling, tiles: list[tuple[int, int]]) -> dict[int, int]:
    """k-mer -> tile: the largest distance to the tile's ends, the earlier tile on a tie."""
    best: dict[int, tuple[int, int]] = {}
    for number, tile in enumerate(tiles):
        kmers = held(tiling, *tile)
        for kmer in kmers:
            distance = min(kmer - kmers[0], kmers[-1] - kmer)
            if kmer not in best or distance > best[kmer][0]:
                best[kmer] = distance, number
    return {kmer: number for kmer, (_, number) in best.items()}


@given(tilings(), st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_every_kmer_is_owned_once_and_by_the_tile_that_shows_it_best(tiling, length):
    tiles = tiling.tiles(length)
    owners: dict[int, int] = {}
    for number, (tile, (low, high)) in enumerate(zip(tiles, tiling.owned(tiles), strict=True)):
        kmers = held(tiling, *tile)
        assert 0 <= low <= high <= len(kmers)
        for kmer in kmers[low:high]:
            assert kmer not in owners
            owners[kmer] = number
    assert owners == brute_owners(tiling, tiles)


@given(tilings(), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_tiles_step_by_the_stride_and_cover_what_windows_can(tiling, length):
    tiles = tiling.tiles(length)
    assert [start for start, _ in tiles] == [i * tiling.stride for i in range(len(tiles))]
    assert all(end == min(start + tiling.window, length) for start, end in tiles)
    assert all(end < length for _, end in tiles[:-1])
    if tiling.stride <= tiling.window:
        assert {base for tile in tiles for base in range(*tile)} == set(range(length))


@given(st.integers(1, 8), st.booleans(), st.integers(0, 20), st.integers(0, 300))
@settings(max_examples=100, deadline=None)
def test_the_default_stride_neither_loses_nor_repeats_a_kmer(k, overlapping, extra, length):
    kmer_stride = 1 if overlapping else k
    window = k + extra * kmer_stride
    tiling = Tiling(window, window - k + kmer_stride, k, kmer_stride)
    found = [kmer for tile in tiling.tiles(length) for kmer in held(tiling, *tile)]
    assert found == list(range(tiling.n_kmers(length)))


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, [(0, 0)]),
        (3, [(0, 3)]),
        (10, [(0, 10)]),
        (11, [(0, 10), (5, 11)]),
        (15, [(0, 10), (5, 15)]),
        (16, [(0, 10), (5, 15), (10, 16)]),
    ],
)
def test_the_last_tile_is_shorter_and_none_follows_it(length, expected):
    assert Tiling(10, 5, 6).tiles(length) == expected


def test_windows_set_apart_leave_out_what_lies_between():
    tiling = Tiling(10, 12, 3)
    assert tiling.tiles(30) == [(0, 10), (12, 22), (24, 30)]
    assert tiling.tiles(23) == [(0, 10), (12, 22)]
    assert tiling.owned([(0, 10), (12, 22), (24, 30)]) == [(0, 8), (0, 8), (0, 4)]


@pytest.mark.parametrize(
    ("tiles", "owned"),
    [
        # k-mers 0..4 and 3..7: 3 and 4 are shared, one each.
        ([(0, 10), (3, 13)], [(0, 4), (1, 5)]),
        # k-mers 0..4 and 2..6: 2, 3, 4 are shared; 3 is 1 from an edge in both, the earlier wins.
        ([(0, 10), (2, 12)], [(0, 4), (2, 5)]),
        # A last tile too short for a k-mer owns none.
        ([(0, 10), (8, 12)], [(0, 5), (0, 0)]),
        ([(0, 4)], [(0, 0)]),
    ],
)
def test_shared_kmers_go_to_the_tile_that_holds_them_deeper(tiles, owned):
    assert Tiling(10, 1, 6).owned(tiles) == owned


def test_a_last_tile_that_adds_no_kmer_owns_none():
    # Non-overlapping 6-mers 0..2 in [0, 18); [6, 20) holds 1 and 2, no nearer to its middle.
    tiling = Tiling(18, 6, 6, 6)
    assert tiling.tiles(20) == [(0, 18), (6, 20)]
    assert tiling.owned(tiling.tiles(20)) == [(0, 3), (2, 2)]


@pytest.mark.parametrize(
    ("length", "kmer_stride", "expected"),
    [(0, 1, 0), (5, 1, 0), (6, 1, 1), (20, 1, 15), (5, 6, 0), (6, 6, 1), (17, 6, 2), (18, 6, 3)],
)
def test_n_kmers_counts_what_encode_gives(length, kmer_stride, expected):
    assert Tiling(30, 6, 6, kmer_stride).n_kmers(length) == expected
    assert len(encode("A" * length, 6, kmer_stride)) == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((0, 1, 6), "a window of 0 bases is shorter than one 6-mer .*at least 6"),
        ((5, 1, 6), "a window of 5 bases"),
        ((-3, 1, 6), "a window of -3 bases"),
        ((10, 0, 6), "--stride must be at least 1, not 0"),
        ((10, -5, 6), "--stride must be at least 1, not -5"),
        ((12, 4, 6, 6), "--stride 4 is no multiple .*a multiple of 6"),
        ((12, 7, 6, 6), "--stride 7 is no multiple"),
    ],
)
def test_windows_and_strides_that_cannot_work_are_refused(arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        Tiling(*arguments)
