"""Signals that ask a run to stop: kept until the step at hand is done and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """Whether a run was asked to stop, and where it did.

    Attributes:
        number: the signal that came to this process; 0: none.
        signal: the name of the signal for which the run stopped, on whichever rank it came.
        step: the last step before the run stopped for it; None: it did not.
    """

    def __init__(self) -> None:
        self.number = 0
        self.signal = ""
        self.step: int | None = None

    def stopped(self, number: int, step: int) -> None:
        """The run ends after ``step`` because of a signal."""
        self.signal, self.step = signal.Signals(number).name, step

    @contextmanager
    def listening(self, *names: str, alone: bool = True) -> Iterator[None]:
        """While this lasts, these signals are kept; a second SIGINT interrupts at once.

        Signals come to the main thread: in another one nothing is done.

        Args:
            names: such as SIGTERM; those that the system does not have are left out.
            alone: no launcher is there to send a terminal's SIGINT once more.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def keep(number: int, _) -> None:
            if number == signal.SIGINT and self.number and alone:
                raise KeyboardInterrupt
            self.number = number

        before = {}
        for name in names:
            number = getattr(signal, name, None)
            # A job in the background (&) is not meant by Ctrl-C.
            if number is None or (name == "SIGINT" and signal.getsignal(number) == signal.SIG_IGN):
                continue
            before[number] = signal.signal(number, keep)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
