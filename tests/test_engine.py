"""The engine: rows in order, and a device that runs out of memory changes nothing but the pace."""

from __future__ import annotations

import copy
import logging
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import ModelError
from dnatk.genome.regions import Region
from dnatk.inference.batches import Row, Tile
from dnatk.inference.engine import BATCH_TOKENS, Engine
from dnatk.inference.pooled import Pooled
from dnatk.inference.scored import Scored
from dnatk.kmers import KmerTokens
from dnatk.model.encoder import Encoder, EncoderConfig
from dnatk.model.memory import is_out_of_memory
from dnatk.tasks.registry import find_task
from dnatk.tasks.scorer import load_scorer

TOKENS = KmerTokens(6)
# Rows of tiles of so many tokens: mixed, some alike, some that cannot be scored.
ROWS = [[40, 7], [1], [0], [95, 95, 30], [12], [12], [60, 2], [0], [33], [95], [8, 8, 8]] * 4


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    config = EncoderConfig(4101, 32, 2, 2, 64, 128)
    generator = torch.Generator().manual_seed(0)
    shapes = config.shapes().items()
    weights = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes}
    return Encoder(config, weights)


class Small:
    """An encoder on a device whose memory holds ``room`` tokens.

    Attributes:
        asked: tokens of every forward.
        failed: of those that did not fit.
    """

    def __init__(self, encoder, room: float = float("inf"), error=torch.OutOfMemoryError) -> None:
        self.encoder, self.room, self.error = encoder, room, error
        self.device, self.dtype = encoder.device, encoder.dtype
        self.max_tokens = encoder.max_tokens
        self.asked: list[int] = []
        self.failed: list[int] = []

    def __call__(self, ids_T, position_T, lengths, layer=-1):
        self.asked.append(len(ids_T))
        if len(ids_T) > self.room:
            self.failed.append(len(ids_T))
            if self.error is None:
                torch.empty(1 << 50)  # what torch really says
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.encoder(ids_T, position_T, lengths, layer)


def tiles_of(rows: list[list[int]], seed: int = 0) -> list[Tile]:
    """Tiles side by side of random k-mers; a row without a token cannot be scored."""
    rng = np.random.default_rng(seed)
    tiles = []
    for lengths in rows:
        row, start = Row(Region("chr", 0, sum(lengths) + 5), status=int(not all(lengths))), 0
        for number, n in enumerate(lengths, 1):
            ids = rng.integers(5, 4101, n).astype(np.int16)
            last = number == len(lengths)
            tiles.append(Tile(row, ids, 0, n, last, start, n + 5 if n else 0))
            start += n
    return tiles


READOUTS = ("mean", "max", "cls", "none", "binary", "per-base")


@pytest.fixture(scope="module")
def readout_of(encoder, task_of):
    """(encoder, make a readout, read a row) of a kind."""

    def call(kind: str):
        if kind in ("mean", "max", "cls", "none"):
            pooled = Pooled(TOKENS, kind, 32)
            read = (lambda row: np.concatenate([pooled.no_tokens(), *row.pieces])) if (
                kind == "none") else pooled.vector  # fmt: skip
            return encoder, pooled, read
        scorer = load_scorer(find_task(task_of(kind)), device="cpu", precision="fp32")
        scored = Scored(scorer, raw=True)
        return scorer.encoder, scored, scored.output

    return call


def results(readout_of, kind: str, *, room=float("inf"), error=torch.OutOfMemoryError, **options):
    """(what each row got, the encoder)."""
    encoder, readout, read = readout_of(kind)
    small = Small(encoder, room, error)
    engine = Engine(small, TOKENS, readout, **options)
    return [read(row) for rows in engine.run(tiles_of(ROWS)) for row in rows], small


def assert_alike(got: list, wanted: list) -> None:
    assert len(got) == len(wanted) == len(ROWS)
    for lengths, mine, theirs in zip(ROWS, got, wanted, strict=True):
        if theirs is None:
            assert mine is None
            assert not all(lengths)
            continue
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


# Order


@pytest.mark.parametrize("batch_tokens", [1, 100, 700, None])
@pytest.mark.parametrize("rc", ["none", "average"])
def test_rows_come_in_the_order_of_their_tiles(encoder, batch_tokens, rc):
    tiles = tiles_of(ROWS)
    pooled = Pooled(TOKENS, "mean", 32)
    engine = Engine(encoder, TOKENS, pooled, batch_tokens=batch_tokens, rc=rc)
    assert engine.batch_tokens == (batch_tokens or BATCH_TOKENS["cpu"])
    rows = [row for rows in engine.run(tiles) for row in rows]
    assert [id(row) for row in rows] == [id(tile.row) for tile in tiles if tile.last]
    for lengths, row in zip(ROWS, rows, strict=True):
        assert row.weight == (sum(lengths) if all(lengths) else 0)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=3), max_size=12),
    st.integers(1, 300),
)
def test_results_do_not_depend_on_the_budget(encoder, rows, batch_tokens):
    found = []
    for budget in (batch_tokens, 10**6):
        pooled = Pooled(TOKENS, "mean", 32)
        engine = Engine(encoder, TOKENS, pooled, batch_tokens=budget)
        found.append([pooled.vector(row) for done in engine.run(tiles_of(rows)) for row in done])
    assert len(found[0]) == len(found[1]) == len(rows)
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


@pytest.mark.parametrize("rc", ["none", "average"])
@pytest.mark.parametrize("batch_tokens", [1, 97, 1000])
def test_no_forward_is_larger_than_the_budget(readout_of, rc, batch_tokens):
    """Both strands of a batch share it."""
    _, small = results(readout_of, "mean", rc=rc, batch_tokens=batch_tokens)
    strands = 2 if rc == "average" else 1
    assert max(small.asked) <= max(batch_tokens // strands, 95 + 2)
    if batch_tokens == 1000:
        assert max(small.asked) > batch_tokens // strands // 2


def test_rows_without_a_token_need_no_forward(encoder):
    small = Small(encoder)
    engine = Engine(small, TOKENS, Pooled(TOKENS, "mean", 32))
    rows = [row for rows in engine.run(tiles_of([[0], [0]])) for row in rows]
    assert (len(rows), small.asked) == (2, [])


@pytest.mark.parametrize("rc", ["none", "average"])
@pytest.mark.parametrize(("broken", "named"), [([1], 1), ([2, 0], 0), ([], None)])
def test_the_first_row_that_is_not_finite_is_named(encoder, broken, named, rc):
    """Of those that are kept token by token; tiles are packed by length, not in their order."""
    tiles = tiles_of([[30], [9], [5]])
    strange = [int(tiles[i].ids[2]) for i in broken]
    assert sum(np.isin(tile.ids, strange).sum() for tile in tiles) == len(broken)

    def broken_encoder(ids_T, *more):
        hidden_TD = encoder(ids_T, *more)
        hidden_TD[torch.isin(ids_T, torch.tensor(strange))] = torch.nan
        return hidden_TD

    small = Small(encoder)
    small.encoder = broken_encoder
    engine = Engine(small, TOKENS, Pooled(TOKENS, "none", 32), rc=rc)
    if named is None:
        assert len(next(engine.run(tiles))) == 3
        return
    with pytest.raises(ModelError) as told:
        next(engine.run(tiles))
    assert f"not finite, at or after {tiles[named].row.region.name} (" in str(told.value)


def test_outputs_of_bases_are_added_up_as_they_come(readout_of):
    """A long region has many windows, which overlap: none is kept beside the sum."""
    _, scored, _ = readout_of("per-base")
    row, rng = Row(Region("chr", 0, 200)), np.random.default_rng(0)
    starts = range(-20, 200, 30)
    outputs = [rng.normal(size=(60, 2)).astype(np.float32) for _ in starts]
    for start, each in zip(starts, outputs, strict=True):
        scored.add(Tile(row, np.arange(5, 60), 0, 55, False, start, 60), (each, None))
    assert row.pieces == []
    for base, found in enumerate(scored.output(row)):
        over = [o[base - s] for s, o in zip(starts, outputs, strict=True) if s <= base < s + 60]
        np.testing.assert_array_equal(found, sum(over) / np.float32(len(over)))
    assert scored.vector(row) is None
    assert scored.output(Row(Region("chr", 0, 9), status=1)) is None


# Out of memory


@pytest.mark.parametrize("rc", ["none", "average"])
@pytest.mark.parametrize("kind", READOUTS)
@pytest.mark.parametrize("room", [97, 400])
def test_out_of_memory_does_not_change_results(readout_of, caplog, kind, rc, room):
    wanted, plenty = results(readout_of, kind, rc=rc, batch_tokens=2000)
    got, small = results(readout_of, kind, rc=rc, batch_tokens=2000, room=room)
    assert_alike(got, wanted)
    assert max(plenty.asked) > room, "the test is none"
    assert small.failed
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"cpu is out of memory at {small.failed[0]} tokens: going on with half as many at a time "
        "(--batch-tokens sets it)"
    )


def test_what_did_not_fit_once_is_not_tried_again(readout_of):
    """All failures are of the first batch: each halves what is tried from then on."""
    _, small = results(readout_of, "mean", batch_tokens=1600, room=110)
    first = [size for size in small.asked if size > 110]
    assert small.failed == first
    assert 1 <= len(first) <= 5
    assert all(b <= a // 2 + 97 for a, b in pairwise(first))
    last = max(i for i, size in enumerate(small.asked) if size > 110)
    assert sum(small.asked[: last + 1]) < 2 * 1600 + 110 * 5
    assert len(small.asked) - last > 10, "later batches run at once in pieces that fit"


@pytest.mark.parametrize("rc", ["none", "average"])
@pytest.mark.parametrize("kind", ["mean", "per-base"])
def test_one_window_too_large_is_one_line(readout_of, kind, rc):
    with pytest.raises(ModelError) as told:
        results(readout_of, kind, rc=rc, batch_tokens=2000, room=96)
    assert str(told.value) == (
        "cpu has not memory enough for one window of 97 tokens "
        "(a smaller model, embed --window or finetune --length, or --device cpu)"
    )


@pytest.mark.parametrize("batch_tokens", [1, 97])
def test_one_window_too_large_for_a_small_budget_too(readout_of, batch_tokens):
    with pytest.raises(ModelError, match="one window of 97 tokens"):
        results(readout_of, "mean", batch_tokens=batch_tokens, room=96)


def test_a_window_as_large_as_memory_is_still_tried(readout_of):
    """Also after smaller batches have been settled on."""
    wanted, _ = results(readout_of, "mean", batch_tokens=2000)
    got, small = results(readout_of, "mean", batch_tokens=2000, room=97)
    assert_alike(got, wanted)
    assert small.asked.count(97) == sum(row.count(95) for row in ROWS)


def test_memory_that_runs_out_in_the_readout(encoder, caplog):
    class Greedy(Pooled):
        def compute(self, strands, hidden):
            if len(hidden[0]) > 150:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().compute(strands, hidden)

    found = []
    for kind in (Pooled, Greedy):
        pooled = kind(TOKENS, "mean", 32)
        engine = Engine(encoder, TOKENS, pooled, batch_tokens=2000, rc="average")
        found.append([pooled.vector(row) for rows in engine.run(tiles_of(ROWS)) for row in rows])
    assert_alike(*found)
    assert len(caplog.records) == 1


def test_what_torch_says_on_a_cpu_is_known(readout_of, caplog):
    """Its CPU allocator has no error of its own: it is provoked here, for its text."""
    with pytest.raises(RuntimeError) as told:
        torch.empty(1 << 50)
    assert not isinstance(told.value, torch.OutOfMemoryError)
    assert is_out_of_memory(told.value), str(told.value)
    wanted, _ = results(readout_of, "mean", batch_tokens=2000)
    got, small = results(readout_of, "mean", batch_tokens=2000, room=300, error=None)
    assert_alike(got, wanted)
    assert small.failed
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyboardInterrupt, ZeroDivisionError])
def test_other_errors_pass_through(readout_of, caplog, error):
    with pytest.raises(error):
        results(readout_of, "mean", batch_tokens=2000, room=97, error=other(error))
    assert caplog.records == []


def other(kind: type[BaseException]):
    """Makes errors that tell of something else."""
    return lambda _: kind("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)")


def test_results_are_waited_for_on_their_own_gpu(monkeypatch):
    """An event of another GPU's stream is over at once, and what is read then is not there yet."""
    own, current = torch.device("cuda", 1), []

    class Current:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            current.append(self.device)

        def __exit__(self, *_):
            current.pop()

    class Event:
        def record(self):
            assert current == [own]
            self.recorded = True

    monkeypatch.setattr(torch.cuda, "device", Current)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Engine, "_fitting", lambda *_: [("strands", "tensors")])
    encoder = SimpleNamespace(device=own, dtype=torch.float32, max_tokens=8)
    launched = Engine(encoder, None, None).launch(SimpleNamespace(strands=["one"]))
    assert launched.done.recorded
    assert not current


def test_other_errors_are_not_tried_in_halves(readout_of):
    encoder, readout, _ = readout_of("mean")
    small = Small(encoder, 97, other(RuntimeError))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        list(Engine(small, TOKENS, readout, batch_tokens=2000).run(tiles_of(ROWS)))
    assert len(small.asked) == 1


# On a GPU


@pytest.fixture
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    yield torch.device("cuda")
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.gpu
@pytest.mark.parametrize("rc", ["none", "average"])
@pytest.mark.parametrize("kind", READOUTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cuda_gives_what_the_cpu_gives(cuda, readout_of, task_of, kind, rc, precision):
    wanted, _ = results(readout_of, kind, rc=rc)
    encoder, readout, read = readout_of(kind)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    encoder = copy.deepcopy(encoder).to(cuda, dtype)
    if hasattr(readout, "_head"):
        readout._head.to(cuda)
    engine = Engine(encoder, TOKENS, readout, rc=rc, batch_tokens=300)
    got = [read(row) for rows in engine.run(tiles_of(ROWS)) for row in rows]
    assert len(got) == len(wanted)
    for mine, theirs in zip(got, wanted, strict=True):
        assert (mine is None) == (theirs is None)
        if theirs is not None and np.isfinite(theirs).all() and theirs.size:
            scale = np.linalg.norm(theirs)
            near = 2e-3 if precision == "fp32" else 6e-2
            assert np.linalg.norm(mine - theirs) <= near * scale + 1e-3


@pytest.mark.gpu
def test_batches_launched_one_after_another_do_not_mix(cuda, encoder):
    """The device works on several batches before the first is added up."""
    rows = ROWS * 20
    pooled = Pooled(TOKENS, "none", 32)
    wanted = [
        row.pieces for done in Engine(encoder, TOKENS, pooled).run(tiles_of(rows)) for row in done
    ]
    engine = Engine(copy.deepcopy(encoder).to(cuda), TOKENS, pooled, batch_tokens=500)
    launched = [engine.launch(batch) for batch in engine.batches(tiles_of(rows))]
    got = [row.pieces for each in launched for row in engine.finish(each)]
    for mine, theirs in zip(got, wanted, strict=True):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=5e-3)


@pytest.mark.gpu
def test_cuda_recovers_from_a_full_memory(cuda, encoder, caplog):
    rows = [[95] * 40] * 800  # 3.1 M tokens
    encoder = copy.deepcopy(encoder).to(cuda)
    found = []
    for limited in (False, True):
        torch.cuda.empty_cache()
        if limited:
            total = torch.cuda.get_device_properties(cuda).total_memory
            room = torch.cuda.memory_allocated() + (256 << 20)
            torch.cuda.set_per_process_memory_fraction(room / total)
        pooled = Pooled(TOKENS, "mean", 32)
        budget = 4_000_000 if limited else 100_000
        engine = Engine(encoder, TOKENS, pooled, batch_tokens=budget)
        done = [row for rows in engine.run(tiles_of(rows)) for row in rows]
        found.append(np.stack([pooled.vector(row) for row in done]))
    (record,) = caplog.records
    assert record.getMessage().startswith("cuda:0 is out of memory at ")
    np.testing.assert_allclose(*found, atol=5e-3)
