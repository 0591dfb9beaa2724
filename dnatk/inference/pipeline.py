"""Reading ahead and writing behind, so that neither holds up the device: bounded queues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_DEPTH = 3
# How often a thread that waits looks whether it is still wanted.
_PATIENCE_S = 0.1
# How long an interrupt waits for what is being written.
_GRACE_S = 5.0


def read_ahead(items: Iterable[T], depth: int = _DEPTH) -> Iterator[T]:
    """The items, made in a thread of their own; at most ``depth`` wait, one more is being made.

    An error of theirs is raised here, at its place. When the consumer stops, so does the thread.
    """
    queue: Queue = Queue(depth)
    stopped = threading.Event()

    def put(entry) -> None:
        while not stopped.is_set():
            try:
                return queue.put(entry, timeout=_PATIENCE_S)
            except Full:
                continue

    def work() -> None:
        source = items
        try:
            source = iter(items)
            for item in source:
                put((item, None))
                if stopped.is_set():
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))
        finally:
            if hasattr(source, "close"):
                source.close()

    thread = threading.Thread(target=work, name="dnatk-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
        # It may wait for a pipe that says nothing; it dies with the process.
        thread.join(timeout=1.0)


class WriteBehind:
    """Hands items to ``write`` in a thread of its own, in order, at most ``depth`` behind.

    A context: leaving it waits until all is written; an error inside it drops what still waits.
    An error of ``write`` is raised by the next :meth:`put`, or on leaving.
    """

    def __init__(self, write: Callable[[T], None], depth: int = _DEPTH) -> None:
        self._write, self._queue = write, Queue(depth)
        self._error: BaseException | None = None
        self._dropped = False
        self._thread = threading.Thread(target=self._work, name="dnatk-writer", daemon=True)

    def __enter__(self) -> WriteBehind:
        self._thread.start()
        return self

    def __exit__(self, kind, *_: object) -> None:
        self._dropped = kind is not None
        interrupted = kind is not None and not issubclass(kind, Exception)
        try:
            self._end(_GRACE_S if interrupted else None)
        except BaseException:
            # An interrupt: what is being written must not be closed under the thread's hands.
            self._dropped = True
            self._end(_GRACE_S)
            raise
        if kind is None:
            self._check()

    def put(self, item: T) -> None:
        """Have ``item`` written; waits while too many others do."""
        while True:
            self._check()
            try:
                return self._queue.put((item,), timeout=_PATIENCE_S)
            except Full:
                continue

    def _end(self, patience: float | None) -> None:
        """Wait for the thread; after an interrupt not for ever: a pipe may never take its rows."""
        limit = None if patience is None else time.monotonic() + patience
        while self._thread.is_alive() and (limit is None or time.monotonic() < limit):
            try:
                self._queue.put(None, timeout=_PATIENCE_S)
                break
            except Full:
                continue
        self._thread.join(patience)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            try:
                entry = self._queue.get(timeout=1.0)
            except Empty:
                if self._dropped:  # and nobody waits any more, after an interrupt
                    return
                continue
            if entry is None:
                return
            if self._dropped or self._error is not None:
                continue
            try:
                self._write(*entry)
            except BaseException as error:
                self._error = error
