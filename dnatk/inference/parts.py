"""The plan of a run: its rows in numbered parts, a pure function of input and options.

A part is closed when it holds so many bases; batches never reach over its end. So a run may be
cut off between any two parts and go on, and its parts may be made in different processes: rows
and their numbers come out the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dnatk.errors import InputError

Item = TypeVar("Item")

# A part has about this many batches: the last one, which is seldom full, must not count.
PART_BATCHES = 64
# What a row costs beside its bases: many short ones fill a part too.
_ROW_BASES = 32


def part_bases(batch_tokens: int, row_bytes: int = 0) -> int:
    """Bases of a part.

    Args:
        batch_tokens: the token budget of a batch.
        row_bytes: what is written for a base; a part stays below 1 GiB.
    """
    bases = PART_BATCHES * batch_tokens
    return max(batch_tokens, min(bases, (1 << 30) // row_bytes)) if row_bytes else bases


def numbered(
    items: Iterable[Item], size: int, bases: Callable[[Item], int] = len
) -> Iterator[tuple[int, Item]]:
    """Each item with the number of its part, from 0; a part ends when it has ``size`` bases."""
    number, filled = 0, 0
    for item in items:
        yield number, item
        filled += bases(item) + _ROW_BASES
        if filled >= size:
            number, filled = number + 1, 0


@dataclass(frozen=True)
class Share:
    """Which parts of a run one process makes.

    Attributes:
        low, high: parts [low, high) are this run's (a shard of the whole).
        rank, world: of these, every ``world``-th from the ``rank``-th on is this process's.
        facts: for the root of a shard's file: of which work it is.
    """

    low: int = 0
    high: int | None = None
    rank: int = 0
    world: int = 1
    facts: Mapping[str, object] = field(default_factory=dict)

    def of(
        self, items: Iterable[Item], size: int, bases: Callable[[Item], int]
    ) -> Iterator[tuple[int, Item]]:
        """As :func:`numbered`, those items that are made here."""
        return (pair for pair in numbered(items, size, bases) if self.has(pair[0]))

    def has(self, number: int) -> bool:
        """Whether part ``number`` is made here."""
        inside = number >= self.low and (self.high is None or number < self.high)
        return inside and number % self.world == self.rank


@dataclass(frozen=True)
class Shard:
    """The ``index``-th (from 1) of ``count`` runs that share the work: neighbouring parts."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Of "2/8"; :class:`InputError` where it is none."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"no shard '{text}'", hint="write 2/8: the second of eight")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def bounds(self, parts: int) -> tuple[int, int]:
        """[low, high) of this shard among ``parts`` parts."""
        return parts * (self.index - 1) // self.count, parts * self.index // self.count
