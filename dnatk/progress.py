"""How long work tells where it stands: the command line shows it, everyone else may ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One stage of work at a time."""

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """Begin a stage of ``total`` units (None: unknown)."""

    def advance(self, amount: int, note: str = "") -> None:
        """``amount`` more units are done; ``note`` is shown beside the bar."""

    def skip(self, amount: int) -> None:
        """``amount`` more units were done by a run before, and say nothing of this one's pace."""

    def read(self, bases: int) -> None:
        """So many more bases were read and worked on."""

    def finish(self) -> None:
        """The stage is over."""


class NullProgress:
    """Shows nothing."""

    def start(self, stage: str, total: int | None, unit: str) -> None: ...

    def advance(self, amount: int, note: str = "") -> None: ...

    def skip(self, amount: int) -> None: ...

    def read(self, bases: int) -> None: ...

    def finish(self) -> None: ...
