"""Training sequences: bases on disk, memory-mapped; windows drawn as a pure function of a seed.

Shapes: R records, T tokens of one packed batch, S sequences in it.

No k-mer text is ever written. All inputs become one file of uint8 ASCII bases (deleted when the
run ends, also when it is killed), from which a batch's windows are cut at random. The windows and
masks of a row depend on (seed, global row) alone, so a resumed run, or one on several ranks,
needs no stored state to see what an uninterrupted run on one rank sees.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.fasta import check_nucleotides, open_text, read_fasta, sha256
from dnatk.genome.names import unknown_contig_hint
from dnatk.kmers import Vocabulary, encode
from dnatk.kmers.vocab import CLS, SEP, UNK
from dnatk.masking.strategies import N_DRAWS

# A window is drawn anew while less than this share of its k-mers is free of N.
MIN_VALID_SHARE = 0.5
_MAX_TRIES = 1000
_STREAM_WINDOWS, _STREAM_MASKS = 0, 1


def row_rng(seed: int, row: int, stream: int) -> np.random.Generator:
    """The random numbers of one global row: counter-based, so any row can be drawn at once."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, 0, row]))


def read_records(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(name, bases uint8) of a FASTA, or of the ``sequence`` column of a CSV/TSV with a header."""
    with open_text(path) as handle:
        first = next((line for line in handle if line.strip()), b"")
    if first.lstrip()[:1] in (b">", b";", b""):
        yield from read_fasta(path)
    else:
        yield from _read_table(path, "\t" if b"\t" in first else ",")


def _read_table(path: Path, delimiter: str) -> Iterator[tuple[str, np.ndarray]]:
    with open_text(path) as handle:
        try:
            reader = csv.DictReader(io.TextIOWrapper(handle, "utf-8-sig"), delimiter=delimiter)
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
    """What one input gave: for the log and the model card."""

    path: str
    sha256: str
    records: int
    bases: int
    held_out: int
    too_short: int


@dataclass(frozen=True)
class Records:
    """Records [start, start + length) of a flat base array; ``source`` numbers their input."""

    start: np.ndarray
    length: np.ndarray
    source: np.ndarray

    @classmethod
    def of(cls, rows: list[tuple[int, int, int]]) -> Records:
        return cls(*np.array(rows, dtype=np.int64).reshape(-1, 3).T)


class Corpus:
    """The bases of all inputs, and the records to train on and to hold out.

    Attributes:
        bases: (total,) uint8 ASCII, memory-mapped.
        train, heldout: the :class:`Records` of each part.
        sources: a :class:`SourceSummary` for each input.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        directory: Path,
        holdout: Sequence[str] = (),
        min_length: int = 32,
        weights: Sequence[float] | None = None,
    ) -> None:
        if weights is not None and (len(weights) != len(paths) or min(weights) < 0):
            raise InputError(f"{len(paths)} inputs need as many weights, none negative")
        self.weights = None if weights is None else np.asarray(weights, dtype=float)
        # The mapping outlives the open file, and a file without a name cannot be left behind.
        with tempfile.TemporaryFile(dir=directory) as file:
            train, heldout = self._read([Path(p) for p in paths], set(holdout), min_length, file)
            file.flush()
            self.bases = np.memmap(file, dtype=np.uint8, mode="r")
        self.train, self.heldout = Records.of(train), Records.of(heldout)

    def _read(
        self, paths: list[Path], holdout: set[str], min_length: int, file: BinaryIO
    ) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """Write all bases to ``file``; give (position, length, source) to train on and held out."""
        train, heldout, self.sources = [], [], []
        unmet, names, position = set(holdout), [], 0
        for number, path in enumerate(paths):
            counts = {"records": 0, "bases": 0, "held_out": 0, "too_short": 0}
            for name, bases in read_records(path):
                labels = {name, f"{path.name}:{name}"} & holdout
                unmet -= labels
                names.append(name)
                if len(bases) < min_length:
                    counts["too_short"] += 1
                    continue
                counts["held_out" if labels else "records"] += 1
                counts["bases"] += 0 if labels else len(bases)
                (heldout if labels else train).append((position, len(bases), number))
                file.write(bases)
                position += len(bases)
            self.sources.append(SourceSummary(str(path), sha256(path), **counts))
        for name in sorted(unmet):
            raise InputError(
                f"no contig '{name}' to hold out", hint=unknown_contig_hint(name, names)
            )
        if not train:
            raise InputError(
                f"no sequence of at least {min_length} bases to train on",
                path=paths[0] if len(paths) == 1 else None,
                hint="lower --min-length, or hold out less",
            )
        return train, heldout


@dataclass(frozen=True)
class Batch:
    """A packed batch: S sequences one after another, each [CLS] k-mers [SEP].

    Attributes:
        ids_T: (T,) token ids.
        lengths: tokens of each sequence, specials included.
        draws: (4, T) uniform numbers for :meth:`dnatk.masking.Masker.apply`.
    """

    ids_T: np.ndarray
    lengths: list[int]
    draws: np.ndarray

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(T,) first and one-past-last k-mer of each token's sequence."""
        ends = np.cumsum(self.lengths)
        starts = ends - self.lengths
        return np.repeat(starts + 1, self.lengths), np.repeat(ends - 1, self.lengths)

    def positions(self) -> np.ndarray:
        """(T,) position of each token in its own sequence."""
        starts = np.cumsum(self.lengths) - self.lengths
        return np.arange(len(self.ids_T)) - np.repeat(starts, self.lengths)


class Sampler:
    """Draws rows of training windows from records of a corpus.

    A row holds up to ``row_tokens`` tokens: one window of a long record, or short records taken
    whole and packed until no more fits. Records are drawn in proportion to their bases (within a
    source, where the corpus has weights); either strand with equal chance; windows in which fewer
    than half of the k-mers are free of N are drawn again.
    """

    def __init__(
        self,
        corpus: Corpus,
        records: Records,
        *,
        k: int,
        kmer_stride: int,
        row_tokens: int,
        seed: int,
    ) -> None:
        self.vocabulary = Vocabulary(k)
        self.k, self.kmer_stride, self.row_tokens, self.seed = k, kmer_stride, row_tokens, seed
        self._bases, self._records = corpus.bases, records
        share = records.length.astype(float)
        if corpus.weights is not None:
            per_source = np.bincount(records.source, share, minlength=len(corpus.weights))
            share *= (corpus.weights / np.maximum(per_source, 1))[records.source]
        if not share.sum() > 0:
            raise InputError("all weights of the inputs that have sequences are 0")
        self._cumulative = np.cumsum(share) / share.sum()

    def window_bases(self, tokens: int) -> int:
        """Bases that give ``tokens`` tokens, [CLS] and [SEP] included."""
        return (tokens - 3) * self.kmer_stride + self.k

    def batch(self, rows: Sequence[int]) -> Batch:
        """The packed batch of these global rows."""
        drawn = []
        for row in rows:
            masks = row_rng(self.seed, row, _STREAM_MASKS)
            drawn += [
                (ids, masks.random((N_DRAWS, len(ids)), dtype=np.float32))
                for ids in self._row(row_rng(self.seed, row, _STREAM_WINDOWS))
            ]
        # Attention runs equal neighbours as one product.
        drawn.sort(key=lambda pair: len(pair[0]))
        sequences, draws = zip(*drawn, strict=True)
        lengths = [len(ids) for ids in sequences]
        return Batch(np.concatenate(sequences), lengths, np.concatenate(draws, axis=1))

    def _row(self, rng: np.random.Generator) -> list[np.ndarray]:
        row: list[np.ndarray] = []
        left = self.row_tokens
        for _ in range(_MAX_TRIES):
            record = np.searchsorted(self._cumulative, rng.random(), side="right")
            record = min(record, len(self._cumulative) - 1)
            start, length = self._records.start[record], self._records.length[record]
            whole = length <= self.window_bases(self.row_tokens)
            take = int(length if whole else self.window_bases(left))
            offset = int(rng.integers(0, length - take + 1))
            ids = encode(self._bases[start + offset : start + offset + take], self.k)
            if rng.random() < 0.5:
                ids = self.vocabulary.reverse_complement(ids)
            ids = ids[:: self.kmer_stride]
            if len(ids) + 2 > left:
                return row
            if np.count_nonzero(ids != UNK) < max(1, MIN_VALID_SHARE * len(ids)):
                continue
            row.append(np.concatenate([[CLS], ids, [SEP]]).astype(ids.dtype))
            left -= len(row[-1])
            # Not worth another sequence: a window this short has more edge than inside.
            if left < max(self.row_tokens // 8, self.k + 2):
                return row
        if row:
            return row
        raise InputError(
            f"no usable window in {_MAX_TRIES} tries: more than half of each is N",
            hint="are the sequences masked with N?",
        )
