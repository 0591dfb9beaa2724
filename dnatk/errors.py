"""The errors dnatk raises on purpose.

Each is one line for a person: where (file and line, or contig and position), what, and what
to do about it. Nothing below ``dnatk.cli`` prints or exits; it raises one of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class DnatkError(Exception):
    """Base of every error that dnatk raises on purpose."""

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else str(path)
        self.line = line
        self.hint = hint

    def __str__(self) -> str:
        where = "" if self.path is None else self.path
        if self.line is not None:
            where += f":{self.line}"
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


def first_line(error: BaseException) -> str:
    """What another library's error says, cut to one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint for a name that is none of ``known``, where one of them is close."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else None


class InputError(DnatkError):
    """A file given by the user cannot be used as it is."""


class ReferenceError_(InputError):
    """Coordinates and genome do not fit: unknown contig, or a position outside it."""


class NoGenomeError(InputError):
    """No genome is named anywhere; a matter of the command line, not of a file."""


class ModelError(DnatkError):
    """A model directory, checkpoint or device cannot be used."""


class TrainingError(DnatkError):
    """A training run cannot start or go on."""


class OutputError(DnatkError):
    """The result cannot be written."""
