"""The plan of a run: parts and batches are a function of the input, wherever a run is cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, groupby, pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.regions import Region
from dnatk.inference.batches import Batch, Row, Strand, Tile, batches
from dnatk.inference.parts import PART_BATCHES, Shard, Share, numbered, part_bases
from dnatk.kmers import KmerTokens

TOKENS = KmerTokens(3)
SPECIALS = 2
SIZES = st.lists(st.integers(0, 400), max_size=60)
# Of each row the tokens of its tiles; 0: it cannot be scored.
ROWS = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), min_size=1, max_size=40)
CASES = settings(deadline=None, max_examples=80)


# Parts


@CASES
@given(SIZES, st.integers(1, 1000))
def test_numbers_are_consecutive_and_no_part_is_empty(sizes, size):
    numbers = [number for number, _ in numbered(sizes, size, int)]
    assert [item for _, item in numbered(sizes, size, int)] == sizes
    steps = {after - before for before, after in pairwise(numbers)}
    assert steps <= {0, 1}
    assert numbers[:1] in ([], [0])
    assert sorted(set(numbers)) == list(range(len(set(numbers))))


@CASES
@given(SIZES, st.integers(1, 1000), st.integers(0, 60))
def test_numbers_do_not_depend_on_what_comes_later_nor_on_names(sizes, size, cut):
    whole = [number for number, _ in numbered(sizes, size, int)]
    assert [number for number, _ in numbered(sizes[:cut], size, int)] == whole[:cut]
    named = [(f"row {i}", n) for i, n in enumerate(sizes)]
    assert [number for number, _ in numbered(iter(named), size, lambda item: item[1])] == whole


@CASES
@given(SIZES, st.integers(1, 1000))
def test_a_part_is_closed_as_soon_as_it_is_full(sizes, size):
    """A row costs 32 bases beside its own."""
    parts = [
        [n + 32 for _, n in group]
        for _, group in groupby(numbered(sizes, size, int), key=lambda pair: pair[0])
    ]
    for part in parts[:-1]:
        assert sum(part) >= size
    for part in parts:
        assert sum(part[:-1]) < size


def test_bases_are_counted_by_len_where_nothing_else_is_said():
    assert list(numbered([b"A" * 68, b"C", b"G"], 100)) == [(0, b"A" * 68), (1, b"C"), (1, b"G")]


def test_a_part_has_many_batches_and_is_never_too_large_a_file():
    assert part_bases(4096) == PART_BATCHES * 4096
    assert part_bases(1) == PART_BATCHES
    width = 768 * 4
    assert part_bases(131_072, width) * width <= 1 << 30
    assert part_bases(131_072, width) >= 131_072
    # One batch at least, however wide a row is.
    assert part_bases(131_072, 1 << 20) == 131_072


# Shares


@CASES
@given(st.integers(0, 500), st.integers(1, 600))
def test_shards_are_neighbouring_pieces_of_all_parts(parts, count):
    bounds = [Shard(i, count).bounds(parts) for i in range(1, count + 1)]
    assert (bounds[0][0], bounds[-1][1]) == (0, parts)
    assert all(low <= high for low, high in bounds)
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    sizes = [high - low for low, high in bounds]
    assert max(sizes) - min(sizes) <= 1, "shares as alike as can be"


@CASES
@given(st.integers(0, 100), st.integers(1, 9), st.integers(1, 5))
def test_every_part_is_made_once(parts, count, world):
    for number in range(parts):
        makers = [
            (shard, rank)
            for shard in range(1, count + 1)
            for rank in range(world)
            if Share(*Shard(shard, count).bounds(parts), rank, world).has(number)
        ]
        assert len(makers) == 1, number


def test_alone_all_is_ones_own():
    assert all(Share().has(number) for number in range(9))
    assert [n for n in range(9) if Share(3, 6).has(n)] == [3, 4, 5]


@pytest.mark.parametrize("text", ["1/1", "2/8", "8/8", "007/100"])
def test_a_shard_is_read(text):
    index, count = map(int, text.split("/"))
    assert Shard.parse(text) == Shard(index, count)
    assert str(Shard.parse(text)) == f"{index}/{count}"


@pytest.mark.parametrize(
    "text",
    ["", "3", "0/3", "4/3", "1/0", "0/0", "-1/3", "1/-3", "1/2/3", "a/b", "1/3 ", "1/3\n",
     "1.0/3", "1 / 3", "/3", "1/", "1/9999999"],
)  # fmt: skip
def test_what_is_no_shard_is_told(text):
    with pytest.raises(InputError) as told:
        Shard.parse(text)
    assert str(told.value) == f"no shard '{text}' (write 2/8: the second of eight)"


# Batches


def tiles_of(rows: list[list[int]], size: int = 200, seed: int = 0) -> list[Tile]:
    """Tiles of so many tokens, in parts of ``size`` tokens; their ids are random."""
    rng = np.random.default_rng(seed)
    tiles, start = [], 0
    for part, lengths in numbered(rows, size, sum):
        row = Row(Region("chr", start, start := start + sum(lengths) + 2), part=part)
        lengths = lengths if all(lengths) else [0]
        for number, n in enumerate(lengths, 1):
            ids = rng.integers(5, 69, n).astype(np.int16)
            tiles.append(Tile(row, ids, 0, n, last=number == len(lengths)))
    return tiles


def digests(plan: list[Batch]) -> dict[int, str]:
    return {batch.part: batch.digest for batch in plan if batch.digest}


def shape(plan: list[Batch]) -> list[tuple]:
    """What matters of a plan, without the identity of its objects."""
    return [
        (
            batch.part,
            [(tile.row.region, tile.low, tile.high, tile.last) for tile in batch.tiles],
            [
                (strand.lengths, strand.ids_T.tobytes(), strand.kept_T.tobytes())
                for strand in batch.strands
            ],
            batch.digest,
            batch.made,
        )
        for batch in plan
    ]


@CASES
@given(ROWS, st.integers(1, 120), st.integers(1, 500), st.booleans())
def test_all_tiles_come_once_in_order_within_the_budget(rows, budget, size, both):
    tiles = tiles_of(rows, size)
    plan = list(batches(iter(tiles), TOKENS, budget, both_strands=both))
    assert [id(tile) for batch in plan for tile in batch.tiles] == [id(tile) for tile in tiles]
    for batch in plan:
        assert batch.tiles
        assert {tile.row.part for tile in batch.tiles} == {batch.part}
        scored = [tile for tile in batch.tiles if len(tile.ids)]
        assert len(batch.strands) == (1 + both if scored else 0)
        for strand in batch.strands:
            assert len(strand.ids_T) <= budget or len(batch.tiles) == 1
            assert sum(strand.lengths) == len(strand.ids_T) == len(strand.kept_T)
            assert strand.lengths == sorted(strand.lengths), "equal ones stand side by side"
            assert sorted(strand.lengths) == sorted(len(tile.ids) + SPECIALS for tile in scored)
    # The last batch of each part, and no other, has the digest.
    last = [after is None or after.part != batch.part for batch, after in zip(
        plan, [*plan[1:], None], strict=True)]  # fmt: skip
    assert [bool(batch.digest) for batch in plan] == last


@CASES
@given(ROWS, st.integers(1, 120), st.integers(1, 500), st.data())
def test_what_is_left_to_do_does_not_depend_on_where_a_run_was_cut(rows, budget, size, data):
    """After any set of parts: later batches are as in one run, and so are digests."""
    whole = list(batches(tiles_of(rows, size), TOKENS, budget))
    known = digests(whole)
    done = data.draw(st.sets(st.sampled_from(sorted(known))))
    rest = list(batches(tiles_of(rows, size), TOKENS, budget, made={n: known[n] for n in done}))
    assert [batch.part for batch in rest if batch.made] == sorted(done)
    assert all(not batch.tiles and not batch.strands for batch in rest if batch.made)
    assert digests(rest) == known
    assert shape([b for b in rest if not b.made]) == shape([b for b in whole if b.part not in done])


@CASES
@given(ROWS, st.integers(2, 120), st.integers(1, 500), st.integers(1, 4))
def test_processes_that_share_the_parts_plan_the_same_batches(rows, budget, size, world):
    whole = list(batches(tiles_of(rows, size), TOKENS, budget))
    for rank in range(world):
        mine = [tile for tile in tiles_of(rows, size) if Share(0, None, rank, world).has(
            tile.row.part)]  # fmt: skip
        expected = [batch for batch in whole if batch.part % world == rank]
        assert shape(list(batches(mine, TOKENS, budget))) == shape(expected)


def test_the_other_strand_stands_in_the_same_order():
    tiles = tiles_of([[9, 4], [7], [4]], 10**6)
    (batch,) = batches(tiles, TOKENS, 100, both_strands=True)
    first, second = batch.strands
    assert first.lengths == second.lengths == [6, 6, 9, 11]
    for tile, other in zip(first.tiles, second.tiles, strict=True):
        np.testing.assert_array_equal(other.ids, TOKENS.reverse_complement(tile.ids))
        assert other.row is tile.row


@CASES
@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.data())
def test_a_strand_is_split_between_tiles(lengths, data):
    tiles = tiles_of([[n] for n in sorted(lengths)], 10**6)
    strand = Strand.of(tiles, TOKENS)
    at = data.draw(st.integers(1, len(tiles) - 1))
    halves = strand.split(at)
    assert [len(half.tiles) for half in halves] == [at, len(tiles) - at]
    for half in halves:
        again = Strand.of(half.tiles, TOKENS)
        assert half.lengths == again.lengths
        for name in ("ids_T", "position_T", "kept_T"):
            np.testing.assert_array_equal(getattr(half, name), getattr(again, name))
    assert 1 <= strand.middle() < len(tiles)


def test_the_middle_is_by_tokens_not_by_tiles():
    strand = Strand.of(tiles_of([[1]] * 30 + [[60], [60]], 10**6), TOKENS)
    first, second = strand.split(strand.middle())
    assert abs(len(first.ids_T) - len(second.ids_T)) <= 62


def test_a_tile_too_long_is_named():
    tiles = tiles_of([[5], [31]], 10**6)
    assert list(batches(tiles, TOKENS, 10**6, longest=33))
    with pytest.raises(InputError) as told:
        list(batches(tiles, TOKENS, 10**6, longest=32))
    assert str(told.value) == (
        "chr:7-40 gives 33 tokens, the model takes 32 "
        "(a smaller embed --window or finetune --length)"
    )


def test_nothing_is_no_batch():
    assert list(batches([], TOKENS, 10)) == []


# Digests


def one_part(*rows: Row, ids=((9, 8, 7), (6, 5)), bounds=((0, 3), (0, 2))) -> str:
    """The digest of two rows of one tile each."""
    tiles = [
        Tile(row, np.array(each, dtype=np.int16), low, high, last=True)
        for row, each, (low, high) in zip(rows, ids, bounds, strict=True)
    ]
    (batch,) = batches(tiles, TOKENS, 1000)
    return batch.digest


REGIONS = (
    Region("chr1", 10, 15, "+", "a", fields=("chr1", "10", "15", "a", "0", "+")),
    Region("chr1", 20, 24, "-", "b", fields=("chr1", "20", "24", "b", "0", "-")),
)


def test_the_same_input_has_the_same_digest():
    told = replace(REGIONS[0], source="other.bed", line=7)
    same = {one_part(*map(Row, REGIONS)), one_part(Row(told), Row(REGIONS[1]))}
    assert len(same) == 1, "where a row was written does not count"


@pytest.mark.parametrize(
    "changes",
    [
        {"contig": "chr2"}, {"start": 9}, {"end": 16}, {"strand": "."}, {"name": "c"},
        {"fields": ("chr1", "10", "15", "a", "1", "+")}, {"fields": ()},
        {"fields": ("chr1", "10", "15", "a", "0", "+", "more")},
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 1])
def test_any_change_of_a_row_changes_it(changes, at):
    changed = list(REGIONS)
    changed[at] = replace(changed[at], **changes)
    assert changed[at] != REGIONS[at]
    assert one_part(*map(Row, changed)) != one_part(*map(Row, REGIONS))


def test_other_tokens_status_or_order_change_it():
    found = {
        one_part(*map(Row, REGIONS)),
        one_part(*map(Row, REGIONS[::-1])),
        one_part(*map(Row, REGIONS), ids=((9, 8, 6), (6, 5))),
        one_part(*map(Row, REGIONS), ids=((9, 8, 7), (5, 6))),
        one_part(*map(Row, REGIONS), ids=((6, 5), (9, 8, 7)), bounds=((0, 2), (0, 3))),
        one_part(*map(Row, REGIONS), bounds=((1, 3), (0, 2))),
        one_part(*map(Row, REGIONS), bounds=((0, 3), (0, 1))),
        one_part(Row(REGIONS[0], status=1), Row(REGIONS[1])),
    }
    assert len(found) == 8


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(0, 10**6), st.integers(1, 63))
def test_any_change_of_a_token_is_seen_in_its_part(rows, at, shift):
    tiles = tiles_of(rows)
    places = [(i, j) for i, tile in enumerate(tiles) for j in range(len(tile.ids))]
    assume(places)
    known = digests(list(batches(tiles, TOKENS, 100)))
    i, j = places[at % len(places)]
    tiles[i].ids[j] = (tiles[i].ids[j] - 5 + shift) % 64 + 5
    changed = digests(list(batches(tiles, TOKENS, 100)))
    assert {n for n in known if known[n] != changed[n]} == {tiles[i].row.part}


def test_a_digest_does_not_depend_on_the_budget_or_the_strands():
    rows = [[9, 4], [7], [0], [30]] * 9
    wanted = digests(list(batches(tiles_of(rows), TOKENS, 10)))
    assert digests(list(batches(tiles_of(rows), TOKENS, 999, both_strands=True))) == wanted


def test_a_part_that_is_not_what_it_was_is_named_by_place():
    tiles = tiles_of([[20]] * 20, 60)
    known = digests(list(batches(tiles, TOKENS, 100)))
    tiles[3].ids[0] = (tiles[3].ids[0] - 5 + 1) % 64 + 5
    assert tiles[3].row.part == 1
    plan = batches(tiles, TOKENS, 100, made={0: known[0], 1: known[1]})
    assert next(plan).made
    with pytest.raises(InputError) as told:
        next(plan)
    assert str(told.value) == (
        "the input has changed since the run began, somewhere between chr:44-66 and chr:66-88 "
        "(--force starts afresh)"
    )


def test_parts_that_are_not_there_any_more_are_told():
    tiles = tiles_of([[20]] * 20, 60)
    known = digests(list(batches(tiles, TOKENS, 100)))
    short = [tile for tile in tiles if tile.row.part < 7]
    with pytest.raises(InputError) as told:
        list(batches(short, TOKENS, 100, made=known))
    assert str(told.value) == (
        f"the input has changed since the run began: {len(known) - 7} of its parts are not there "
        "any more (--force starts afresh)"
    )


def test_each_part_is_read_once():
    """Parts made before too, for their digest; nothing is held longer than a part."""
    tiles = tiles_of([[20]] * 20, 60)
    known = digests(list(batches(tiles, TOKENS, 30)))
    drawn = []

    def source():
        for tile in tiles:
            drawn.append(tile)
            yield tile

    ends = list(accumulate(len(list(group)) for _, group in groupby(
        tiles, key=lambda tile: tile.row.part)))  # fmt: skip
    plan = batches(source(), TOKENS, 30, made={0: known[0]})
    next(plan)
    # The first tile of the next part tells that this one is at its end.
    assert len(drawn) <= ends[0] + 1
    list(plan)
    assert [id(tile) for tile in drawn] == [id(tile) for tile in tiles]
