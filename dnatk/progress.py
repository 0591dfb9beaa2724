"""How long work tells where it stands: the command line shows it, everyone else may ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One stage of work at a time."""

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """Begin a stage of ``total`` units (None: unknown)."""

    def advance(self, amount: int, note: str = "") -> None:
        """``amount`` more units are done; ``note`` is shown beside the bar."""

    def finish(self) -> None:
        """The stage is over."""


class NullProgress:
    """Shows nothing."""

    def start(self, stage: str, total: int | None, unit: str) -> None: ...

    def advance(self, amount: int, note: str = "") -> None: ...

    def finish(self) -> None: ...
