"""How a region is brought to the L bases that a task reads.

tile: a region longer than L is cut into windows of L, L/2 apart from its 5' end on, the last one
ending where the region ends; a shorter one is extended at both ends alike by the genome. center: L
bases round the middle, whatever the length. tss:-250,+50: those bases of the region's 5' end.

All coordinates are 0-based half-open, on the forward strand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dnatk.errors import InputError
from dnatk.genome.regions import middle

_TSS = re.compile(r"tss:([+-]?\d{1,9}),([+-]?\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Fit:
    """One way to fit regions to a task.

    Attributes:
        kind: "tile", "center" or "tss".
        length: L, bases.
        first, last: tss: the window is [first, last) bases from the 5' end, counted downstream.
    """

    kind: str
    length: int
    first: int = 0
    last: int = 0

    @classmethod
    def parse(cls, text: str, length: int) -> Fit:
        """Read ``tile``, ``center`` or ``tss:-250,+50`` for a task of ``length`` bases.

        Raises:
            InputError: none of these, or a tss window that is empty or longer than the task's.
        """
        if text in ("tile", "center"):
            return cls(text, length)
        match = _TSS.fullmatch(text)
        if match is None:
            raise InputError(
                f"cannot read the fit '{text}'", hint="write tile, center or tss:-250,+50"
            )
        first, last = int(match[1]), int(match[2])
        if first >= last:
            raise InputError(
                f"the fit '{text}' has no bases: {first} is not before {last}",
                hint="from upstream to downstream, as in tss:-250,+50",
            )
        if last - first > length:
            raise InputError(
                f"the fit '{text}' is {last - first} bases, the task reads {length}",
                hint=f"at most {length}, as in tss:{length // 6 - length},+{length // 6}",
            )
        return cls("tss", length, first, last)

    def __str__(self) -> str:
        """The text that :meth:`parse` reads."""
        return f"tss:{self.first:+d},{self.last:+d}" if self.kind == "tss" else self.kind

    def windows(
        self, start: int, end: int, strand: str, contig_length: int
    ) -> Iterator[tuple[int, int]]:
        """[start, end) of each window of a region, in forward order, within the contig.

        A window that would pass the contig's end is cut there; none is left of one that lies
        beyond it (a tss window only). The region itself must lie in the contig.
        """
        if self.kind == "tss":
            # Base 0 is the first one of the strand: end - 1 where it runs backwards.
            if strand == "-":
                window = end - self.last, end - self.first
            else:
                window = start + self.first, start + self.last
        elif self.kind == "tile" and end - start > self.length:
            lows = range(start, end - self.length, max(1, self.length // 2))
            if strand == "-":  # the same bases as a sequence that was turned before: from its end
                yield start, start + self.length
                for low in reversed(lows):
                    after = start + end - low
                    yield after - self.length, after
                return
            for low in lows:
                yield low, low + self.length
            window = end - self.length, end
        else:
            window = middle(start, end, strand, self.length)  # as training cuts its sequences
        low, high = max(0, window[0]), min(contig_length, window[1])
        if low < high:
            yield low, high

    def record_windows(self, record_length: int) -> Iterator[tuple[int, int]]:
        """[start, end) of each window of a sequence that has no genome round it.

        One that is not longer than L is taken as it is, and a longer one cut as a region; it has
        no bases before its 5' end, so that tss tiles too.
        """
        if record_length <= self.length:
            yield 0, record_length
        else:
            fit = Fit("tile", self.length) if self.kind == "tss" else self
            yield from fit.windows(0, record_length, "+", record_length)
