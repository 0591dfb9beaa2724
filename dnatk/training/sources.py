"""Reading one input for training: bases to codes, and records to segments free of long runs of N.

Shapes: R records, X runs, G segments.

A base is one byte: A 0, T 1, C 2, G 3 (dnatk's vocabulary order); another letter has bit 4 set, a
soft-masked (lower-case) one bit 8. Inputs come in pieces, so that memory does not grow with them.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.fasta import check_nucleotides, open_text, sha256, stream_fasta

INVALID, SOFT_MASKED = 4, 8
# A record is cut where at least so many bases on end are not A, C, G or T.
N_RUN = 32
# A segment is left out where less than this share of its k-mers is free of other letters.
MIN_VALID_SHARE = 0.5
# What a message shows of a file that is no FASTA is in these first bytes of a line.
_LONGEST_SHOWN = 1 << 16

_CODES = bytearray([INVALID]) * 256
for _letter in b"abcdefghijklmnopqrstuvwxyz":
    _CODES[_letter] |= SOFT_MASKED
for _code, _base in enumerate("ATCG"):
    _CODES[ord(_base)], _CODES[ord(_base.lower())] = _code, _code | SOFT_MASKED
_CODES = bytes(_CODES)


def read_pieces(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(name, bases uint8) of a FASTA, or of the ``sequence`` column of a CSV/TSV with a header.

    A long record comes in pieces that follow each other under its name.
    """
    with open_text(path) as handle:
        lines = iter(lambda: handle.readline(_LONGEST_SHOWN), b"")
        first = next((line for line in lines if line.strip()), b"")
    if first.lstrip()[:1] in (b">", b";", b""):
        yield from stream_fasta(path)
    else:
        yield from _read_table(path, max("\t,;", key=first.decode("utf-8", "replace").count))


def _read_table(path: Path, delimiter: str) -> Iterator[tuple[str, np.ndarray]]:
    csv.field_size_limit(sys.maxsize)  # a sequence may be longer than csv's 128 KiB
    with open_text(path) as handle:
        try:
            text = io.TextIOWrapper(handle, "utf-8-sig")
            # Strict: a quote that nothing closes would take all lines behind it into one field.
            reader = csv.DictReader(text, delimiter=delimiter, strict=True)
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            column = columns.get("sequence", columns.get("seq"))
            if column is None:
                raise InputError(
                    "is neither FASTA nor a table with a 'sequence' column",
                    path=path,
                    line=1,
                    hint=f"its first line has {', '.join(map(repr, reader.fieldnames or ()))[:80]}",
                )
            for row in reader:
                sequence = (row[column] or "").strip().encode()
                check_nucleotides(sequence, path, f"line {reader.line_num}", 0)
                yield str(reader.line_num), np.frombuffer(sequence, dtype=np.uint8)
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"is not a text table: {error}", path=path) from None


@dataclass(frozen=True)
class SourceSummary:
    """What one input gave: for the log and the model card.

    Attributes:
        records: records to train on, and how many ``bases`` of them.
        left_out: the other bases of these records: runs of N, and segments too short or mostly N.
        held_out: records that are held out.
        too_short: records shorter than the least length.
        mostly_n: other records of which nothing can be used.
    """

    path: str
    sha256: str
    records: int
    bases: int
    left_out: int
    held_out: int
    too_short: int
    mostly_n: int


@dataclass(frozen=True)
class Segments:
    """Segments [start, start + length) of a flat base array; ``source`` numbers their input.

    All (G,) int64. No segment holds a run of :data:`N_RUN` or more bases that are not ACGT.
    """

    start: np.ndarray
    length: np.ndarray
    source: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Segments]) -> Segments:
        """The segments of several inputs, one after another."""
        names = ("start", "length", "source")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Source:
    """One input in the file: its records, and its runs of letters other than ACGT.

    Attributes:
        bounds: (R + 1,) where each record begins in the file, and where the last one ends.
        runs_X2: [start, end) of each such run, ascending, none across records.
    """

    path: Path
    names: list[str]
    bounds: np.ndarray
    runs_X2: np.ndarray

    def labels(self) -> Iterator[tuple[str, str]]:
        """What each record may be called in --holdout."""
        return ((name, f"{self.path.name}:{name}") for name in self.names)

    def parts(
        self, number: int, k: int, holdout: set[str], min_length: int
    ) -> tuple[Segments, Segments, SourceSummary]:
        """The segments to train on and those held out, and their summary."""
        length_R = np.diff(self.bounds)
        held_R = np.array([not holdout.isdisjoint(pair) for pair in self.labels()], dtype=bool)
        start_G, end_G = self._segments(k, min_length)
        record_G = np.searchsorted(self.bounds, start_G, side="right") - 1
        used_R = np.bincount(record_G, minlength=len(length_R)) > 0
        train_R = used_R & ~held_R
        long_R = length_R >= min_length

        def part(which_G: np.ndarray) -> Segments:
            start = start_G[which_G]
            return Segments(start, end_G[which_G] - start, np.full(len(start), number))

        train, heldout = part(~held_R[record_G]), part(held_R[record_G])
        bases = int(train.length.sum())
        summary = SourceSummary(
            str(self.path),
            sha256(self.path),
            records=int(train_R.sum()),
            bases=bases,
            left_out=int(length_R[train_R].sum()) - bases,
            held_out=int((used_R & held_R).sum()),
            too_short=int((~long_R).sum()),
            mostly_n=int((long_R & ~used_R).sum()),
        )
        return train, heldout, summary

    def _segments(self, k: int, min_length: int) -> tuple[np.ndarray, np.ndarray]:
        """(G,) starts and ends of the usable segments."""
        start_G, end_G = self._between(self.runs_X2[np.diff(self.runs_X2)[:, 0] >= N_RUN])
        clean_start, clean_end = self._between(self.runs_X2)
        # k-mers lie within clean stretches, and each of those in the last segment before its end.
        valid_G = np.bincount(
            np.searchsorted(start_G, clean_start, side="right") - 1,
            np.maximum(clean_end - clean_start - k + 1, 0),
            minlength=len(start_G),
        )
        length_G = end_G - start_G
        usable_G = (length_G >= min_length) & (valid_G > 0)
        usable_G &= valid_G >= MIN_VALID_SHARE * (length_G - k + 1)
        return start_G[usable_G], end_G[usable_G]

    def _between(self, runs_X2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends of what the runs leave of the records; some may be empty."""
        starts = np.concatenate([self.bounds[:-1], runs_X2[:, 1]])
        ends = np.concatenate([self.bounds[1:], runs_X2[:, 0]])
        return np.sort(starts), np.sort(ends)


def read_source(path: Path, file: BinaryIO) -> Source:
    """Append the codes of an input to ``file``."""
    names, bounds, runs = [], [file.tell()], [np.empty((0, 2), dtype=np.int64)]
    end = bounds[0]
    for name, pieces in groupby(read_pieces(path), key=itemgetter(0)):
        names.append(name)
        for _, bases in pieces:
            codes = np.frombuffer(bases.tobytes().translate(_CODES), dtype=np.uint8)
            invalid = (codes & INVALID) != 0
            if invalid.any():
                runs.append(_true_runs(invalid) + end)
            file.write(codes)
            end += len(codes)
        bounds.append(end)
    bounds = np.array(bounds, dtype=np.int64)
    return Source(path, names, bounds, _merged(np.concatenate(runs), bounds))


def _true_runs(flags: np.ndarray) -> np.ndarray:
    """(X, 2) [start, end) of each run of True."""
    framed = np.concatenate([[False], flags, [False]])
    return np.flatnonzero(framed[1:] != framed[:-1]).reshape(-1, 2)


def _merged(runs_X2: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Runs that touch made one, but for those that belong to two records."""
    touches = runs_X2[1:, 0] == runs_X2[:-1, 1]
    touches &= ~np.isin(runs_X2[1:, 0], bounds)
    first, last = np.append([True], ~touches), np.append(~touches, [True])
    return np.stack([runs_X2[first[: len(runs_X2)], 0], runs_X2[last[: len(runs_X2)], 1]], axis=1)
