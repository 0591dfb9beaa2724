"""Signals are kept while a run listens, and do what they did before and after."""

from __future__ import annotations

import signal
import threading

import pytest

from dnatk.training.stopping import Stop


def test_a_signal_is_kept_and_the_handler_comes_back():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append("before"))
    try:
        stop = Stop()
        with stop.listening("SIGUSR1", "SIGTERM", "SIGNONE"):
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGTERM)
            assert (stop.number, seen) == (signal.SIGTERM, [])
        signal.raise_signal(signal.SIGUSR1)
        assert seen == ["before"]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_second_ctrl_c_does_not_wait():
    stop = Stop()
    with stop.listening("SIGINT"):
        signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_launcher_repeats_ctrl_c_to_its_processes():
    stop = Stop()
    with stop.listening("SIGINT", alone=False):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert stop.number == signal.SIGINT


def test_ctrl_c_is_not_for_a_job_in_the_background():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop = Stop()
        with stop.listening("SIGINT"):
            signal.raise_signal(signal.SIGINT)
        assert stop.number == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_hears_nothing():
    """Where Python lets nobody set handlers."""
    done = []

    def listen() -> None:
        with Stop().listening("SIGTERM"):
            done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGTERM)]


def test_where_a_run_stopped():
    stop = Stop()
    assert stop.step is None
    stop.stopped(signal.SIGUSR1, 12)
    assert (stop.signal, stop.step) == ("SIGUSR1", 12)
