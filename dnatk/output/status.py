"""What became of a row of output."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Why a row has no result."""

    SCORED = 0
    NO_VALID_KMER = 1
    OUT_OF_BOUNDS = 2
    UNKNOWN_CONTIG = 3
    NO_STRAND = 4
    TOO_SHORT = 5

    @property
    def note(self) -> str:
        """As tables say it: "." where scored, else a word such as unknown_contig."""
        return self.name.lower() if self else "."
