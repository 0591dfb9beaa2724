"""Reading ahead and writing behind: order, bounds, errors at their place, and no thread left."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from dnatk.inference.pipeline import WriteBehind, read_ahead

NAMES = ("dnatk-reader", "dnatk-writer")
SOON_S = 5.0


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in NAMES]


def until(condition) -> bool:
    """Whether it came true before long."""
    end = time.monotonic() + SOON_S
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.002)
    return bool(true)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    assert threads() == []
    yield
    assert until(lambda: not threads()), threads()


class Counted:
    """Numbers from 0, and how many of them were asked for; ``error`` in the place of one."""

    def __init__(self, n: int, error: BaseException | None = None, at: int = -1) -> None:
        self.n, self.error, self.at = n, error, at
        self.made, self.closed = 0, threading.Event()

    def __iter__(self):
        try:
            for i in range(self.n):
                if i == self.at:
                    raise self.error
                self.made += 1
                yield i
        finally:
            self.closed.set()


# Reading


@pytest.mark.parametrize("n", [0, 1, 3, 100])
@pytest.mark.parametrize("depth", [1, 3])
def test_all_items_come_in_order(n, depth):
    source = Counted(n)
    assert list(read_ahead(source, depth)) == list(range(n))
    assert source.closed.is_set()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_what_waits_is_bounded(depth):
    """``depth`` wait, and one more is in the reader's hand."""
    source = Counted(200)
    with closing(read_ahead(source, depth)) as ahead:
        for taken in range(1, 8):
            next(ahead)
            assert until(lambda taken=taken: source.made >= taken + depth + 1)
            time.sleep(0.01)
            assert source.made == taken + depth + 1


def test_it_reads_while_the_consumer_works():
    source = Counted(50)
    with closing(read_ahead(source, 3)) as ahead:
        assert next(ahead) == 0
        assert until(lambda: source.made > 1), "nothing is read ahead"


@pytest.mark.parametrize("error", [ValueError("here"), KeyboardInterrupt(), OSError(5, "gone")])
@pytest.mark.parametrize("at", [0, 1, 7])
def test_an_error_is_raised_at_its_place(error, at):
    source = Counted(20, error, at)
    got = []
    with pytest.raises(type(error)) as caught:
        take_all(read_ahead(source, 2), got)
    assert caught.value is error
    assert got == list(range(at))
    assert source.closed.is_set()


def take_all(items, got: list) -> None:
    """Put what comes into ``got`` one by one: what came before an error counts too."""
    for item in items:
        got += [item]


def test_what_cannot_even_begin_raises():
    class Broken:
        def __iter__(self):
            raise ValueError("not iterable after all")

    with pytest.raises(ValueError, match="after all"):
        finished_soon(lambda: list(read_ahead(Broken())))


def finished_soon(work):
    """What ``work`` gives or raises, or a failure where it hangs."""
    told: list = []

    def run() -> None:
        try:
            told.append((work(), None))
        except BaseException as error:
            told.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SOON_S)
    assert told, "it hangs"
    result, error = told[0]
    if error is not None:
        raise error
    return result


def test_the_reader_stops_with_the_consumer():
    source = Counted(10**9)
    with closing(read_ahead(source, 2)) as ahead:
        assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    assert source.closed.wait(SOON_S), "the source was not closed"
    made = source.made
    assert until(lambda: not threads())
    assert source.made == made <= 7


def test_an_error_of_the_consumer_stops_the_reader():
    source = Counted(10**9)

    def consume() -> None:
        with closing(read_ahead(source)) as ahead:
            for item in ahead:
                if item == 4:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert source.closed.wait(SOON_S)


def test_a_reader_that_waits_for_its_input_holds_nobody_up():
    """As of a pipe that says nothing: the consumer leaves, the thread may stay."""
    gate, waiting = threading.Event(), threading.Event()

    def source():
        yield 0
        waiting.set()
        gate.wait(30)
        yield 1

    begun = time.monotonic()
    with closing(read_ahead(source())) as ahead:
        assert next(ahead) == 0
        assert waiting.wait(SOON_S)
    assert time.monotonic() - begun < SOON_S
    gate.set()


def test_without_a_consumer_nothing_is_read():
    source = Counted(5)
    read_ahead(source).close()
    assert (source.made, threads()) == (0, [])


# Writing


@pytest.mark.parametrize("n", [0, 1, 100])
def test_all_is_written_in_order_before_it_is_left(n):
    written = []
    with WriteBehind(written.append, 2) as out:
        for i in range(n):
            out.put(i)
    assert written == list(range(n))


def test_none_is_an_item_too():
    written = []
    with WriteBehind(written.append) as out:
        for item in (None, 0, None):
            out.put(item)
    assert written == [None, 0, None]


@pytest.mark.parametrize("depth", [1, 3])
def test_what_waits_to_be_written_is_bounded(depth):
    gate, begun, put = threading.Event(), threading.Event(), []

    def write(item) -> None:
        begun.set()
        assert gate.wait(30)

    def produce(out) -> None:
        for i in range(20):
            out.put(i)
            put.append(i)

    with WriteBehind(write, depth) as out:
        producer = threading.Thread(target=produce, args=(out,))
        producer.start()
        assert begun.wait(SOON_S)
        assert until(lambda: len(put) == depth + 1)
        time.sleep(0.05)
        assert len(put) == depth + 1, "one is being written, the others wait"
        gate.set()
        producer.join(SOON_S)
    assert len(put) == 20


def test_an_error_of_writing_is_raised_by_the_next_put():
    failed, written = threading.Event(), []

    def write(item) -> None:
        if item == 2:
            failed.set()
            raise OSError(28, "No space left on device")
        written.append(item)

    def fill() -> None:
        with WriteBehind(write) as out:
            for i in range(3):
                out.put(i)
            assert failed.wait(SOON_S)
            for i in range(3, 1000):
                out.put(i)
                time.sleep(0.001)

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert written == [0, 1], "nothing is written after what failed"


def test_an_error_of_writing_is_raised_on_leaving():
    def write(item) -> None:
        raise ValueError(item)

    def fill() -> None:
        with WriteBehind(write) as out:
            out.put("last")

    with pytest.raises(ValueError, match="last"):
        fill()


def test_a_full_queue_behind_an_error_does_not_hang():
    def write(item) -> None:
        time.sleep(0.02)
        raise ValueError(item)

    def fill() -> None:
        with WriteBehind(write, 1) as out:
            for i in range(100):
                out.put(i)

    with pytest.raises(ValueError, match="0"):
        finished_soon(fill)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(143)])
def test_an_error_inside_drops_what_still_waits(error):
    gate, begun, written = threading.Event(), threading.Event(), []

    def write(item) -> None:
        begun.set()
        assert gate.wait(30)
        written.append(item)

    def fill() -> None:
        with WriteBehind(write) as out:
            for i in range(4):
                out.put(i)
            assert begun.wait(SOON_S)
            threading.Timer(0.05, gate.set).start()
            raise error

    with pytest.raises(type(error)) as caught:
        fill()
    assert caught.value is error
    assert written == [0], "what was at hand is finished, the rest is dropped"


def test_an_error_inside_hides_one_of_writing():
    """The first cause is what counts."""
    failed = threading.Event()

    def write(item) -> None:
        failed.set()
        raise ValueError("of writing")

    def fill() -> None:
        with WriteBehind(write) as out:
            out.put(0)
            assert failed.wait(SOON_S)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()


def test_an_interrupt_while_the_last_is_written_waits_for_what_is_at_hand(monkeypatch):
    """Else a file would be closed under the thread that writes it."""
    gate, begun, written = threading.Event(), threading.Event(), []

    def write(item) -> None:
        begun.set()
        assert gate.wait(30)
        written.append(item)

    whole = threading.Thread.join
    interrupted = []

    def join(self, timeout=None):
        if self.name == "dnatk-writer" and not interrupted:
            interrupted.append(True)
            threading.Timer(0.05, gate.set).start()
            raise KeyboardInterrupt
        return whole(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)

    def fill() -> None:
        with WriteBehind(write) as out:
            for i in range(3):
                out.put(i)
            assert begun.wait(SOON_S)

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert threads() == [], "the writer is still at it"
    assert written == [0]


def test_an_interrupt_does_not_wait_for_a_pipe_that_takes_nothing(monkeypatch):
    from dnatk.inference import pipeline

    monkeypatch.setattr(pipeline, "_GRACE_S", 0.2)
    gate, begun, written = threading.Event(), threading.Event(), []

    def write(item) -> None:
        begun.set()
        assert gate.wait(30)
        written.append(item)

    def fill() -> None:
        with WriteBehind(write, 1) as out:
            for i in range(2):
                out.put(i)
            assert begun.wait(SOON_S)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finished_soon(fill)
    assert threads()
    gate.set()
    assert until(lambda: not threads())
    assert written == [0], "what still waited is dropped"
