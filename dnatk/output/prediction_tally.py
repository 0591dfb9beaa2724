"""What a table of predictions comes to: counts, histograms, tracks and the highest rows.

The lines of a table go in one after another, those that a run before has made too; what is kept
of them does not grow with their number.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dnatk.output.table import NA, Labels, shown_classes

# Contigs that have a track, and classes that have a list: those met first, and the first.
MOST_CONTIGS = 1000
MOST_LISTS = 10
TOP = 50
_LEAST_TOP = 10
_BINS = 512


class Place(NamedTuple):
    """A row, as lists show it; ``name`` is "" where there is none, ``by`` what ranks it."""

    by: float
    contig: str
    start: int
    end: int
    strand: str
    name: str
    label: str
    score: float


@dataclass
class Bins:
    """Values in bins of equal width, that of a bin doubled whenever there are too many of them.

    Attributes:
        width: of a bin; bin i holds [i * width, (i + 1) * width).
        count, total: bin -> how many, and the sum of what was given with them.
    """

    width: float
    count: Counter[int] = field(default_factory=Counter)
    total: Counter[int] = field(default_factory=Counter)

    def add(self, value: float, weight: float = 0.0) -> None:
        """One more value."""
        at = math.floor(value / self.width)
        self.count[at] += 1
        self.total[at] += weight
        while len(self.count) > _BINS:
            self.width *= 2
            self.count, self.total = _halved(self.count), _halved(self.total)


def _halved(bins: Counter[int]) -> Counter[int]:
    merged: Counter[int] = Counter()
    for at, value in bins.items():
        merged[at // 2] += value
    return merged


class PredictionTally:
    """Takes the lines of a table.

    Args:
        columns: of the table, :attr:`dnatk.output.table.Table.columns`.
        form: of the table, one of :data:`dnatk.output.table.FORMATS`.
        space: kind and classes of the task, as output shows them.

    Attributes:
        rows: lines; ``unscored`` of them by the note that says why.
        labels: label -> rows; of multilabel a row counts for each of its labels, of per-base
            tasks it is bases that are counted.
        lowest, highest, mean: of the scores.
        scores: label (of binary and multiclass tasks, else "") -> histogram.
        tracks: contig -> mean score along it, by the middle of the region.
        contigs: how many rows each contig has, of those with a track.
        more_contigs: whether there were others.
        lists: what is listed -> the rows that have most of it, best first.
    """

    def __init__(self, columns: Sequence[str], form: str, space: Labels) -> None:
        self._columns, self._json, self._kind = list(columns), form == "jsonl", space.kind
        self._at = {name: i for i, name in enumerate(columns)}
        self._note = self._at["note"]
        self._classes = shown_classes(space)
        self.rows, self.unscored = 0, Counter[str]()
        self.labels: Counter[str] = Counter()
        self.lowest, self.highest, self._sum = math.inf, -math.inf, 0.0
        self.scores: dict[str, Bins] = {}
        self.tracks: dict[str, Bins] = {}
        self.contigs: Counter[str] = Counter()
        self.more_contigs = False
        self._heaps: dict[str, list[tuple[float, int, Place]]] = {
            name: [] for name in self._listed()
        }
        self._most = max(_LEAST_TOP, TOP // max(1, len(self._heaps)))

    @property
    def scored(self) -> int:
        """Rows with a score."""
        return self.rows - sum(self.unscored.values())

    @property
    def mean(self) -> float:
        """Of the scores; nan without any."""
        return self._sum / self.scored if self.scored else math.nan

    @property
    def lists(self) -> Mapping[str, list[Place]]:
        """Name -> places, best first; equal ones in input order."""
        return {
            name: [place for _, _, place in sorted(heap, reverse=True)]
            for name, heap in self._heaps.items()
        }

    def add(self, line: str) -> None:
        """A row of the table, with or without its line end; none of those above the rows."""
        row = self._read(line)
        self.rows += 1
        label, text = row[self._at["label"]], row[self._at["score"]]
        score = math.nan if text == NA else float(text)
        if row[self._note] != "." or not math.isfinite(score):
            note = row[self._note]
            self.unscored["no_number" if note == "." else note] += 1
            return
        self.lowest, self.highest = min(self.lowest, score), max(self.highest, score)
        self._sum += score
        counted = self._count(label)
        grouped = label if self._kind in ("binary", "multiclass") else ""
        if grouped not in self.scores:
            self.scores[grouped] = Bins(2.0**-40 if self._kind == "regression" else 0.01)
        # Of 0.29 / 0.01 the floor is 28.
        self.scores[grouped].add(score if self._kind == "regression" else score + 1e-9)
        self._place(row, label, score, counted)

    def _listed(self) -> list[str]:
        """What has a list of its own."""
        if self._kind == "binary":
            return [self._classes[1]]
        return self._classes[: 1 if self._kind == "regression" else MOST_LISTS]

    def _count(self, label: str) -> dict[str, int]:
        """What of each label a row has."""
        if self._kind == "per-base":
            counted: Counter[str] = Counter()
            for piece in label.split(","):
                name, _, bases = piece.rpartition(":")
                counted[name] += int(bases)
        elif self._kind == "regression":
            return {}
        else:
            parts = label.split(",") if self._kind == "multilabel" else [label]
            counted = Counter(parts)
        self.labels.update(counted)
        return counted

    def _place(
        self, row: Sequence[str], label: str, score: float, counted: Mapping[str, int]
    ) -> None:
        contig, start, end = row[0], int(row[1]), int(row[2])
        if contig in self.tracks or len(self.tracks) < MOST_CONTIGS:
            self.contigs[contig] += 1
            self.tracks.setdefault(contig, Bins(64.0)).add((start + end) / 2, score)
        else:
            self.more_contigs = True
        bed = {name: row[self._at[name]] for name in ("name", "strand") if name in self._at}
        name, strand = bed.get("name", ""), bed.get("strand", ".")
        if self._at.get("name") == 0 or name == ".":  # of sequences, which are their own contigs
            name = ""
        for listed, by in self._ranks(row, score, counted):
            place = Place(by, contig, start, end, strand, name, label, score)
            # Of equal ones the first stays.
            entry, heap = (by, -self.rows, place), self._heaps[listed]
            if len(heap) < self._most:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)

    def _ranks(
        self, row: Sequence[str], score: float, counted: Mapping[str, int]
    ) -> list[tuple[str, float]]:
        """The lists in which a row may stand, and by what it is ranked there."""
        if self._kind in ("binary", "regression"):
            return [(name, score) for name in self._heaps]
        if self._kind == "per-base":
            return [(name, counted[name]) for name in self._heaps if counted.get(name)]
        ranks = []
        for name in self._heaps:
            if name in counted:
                column = self._at.get(f"p_{name}")
                ranks.append((name, score if column is None else float(row[column])))
        return ranks

    def _read(self, line: str) -> Sequence[str]:
        if not self._json:
            return line.rstrip("\n").split("\t")
        values = json.loads(line)
        return [NA if values[name] is None else str(values[name]) for name in self._columns]
