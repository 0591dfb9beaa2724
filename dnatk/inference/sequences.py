"""A task's scores of sequences in memory: for calibration, metrics and the Python API.

Shapes: N sequences, C outputs, P pooled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dnatk.genome.regions import Region
from dnatk.inference.engine import Engine, Row, Tile
from dnatk.inference.fit import Fit
from dnatk.inference.scored import Scored
from dnatk.output.hdf5 import Status
from dnatk.progress import NullProgress, Progress
from dnatk.tasks.scorer import Scorer


def record_windows(
    name: str, bases: np.ndarray, scorer: Scorer, fit: Fit, row: Row | None = None
) -> Iterator[Tile]:
    """The tiles of one sequence, as it is read; a row without a valid token gets a status."""
    row = row or Row(Region(name, 0, len(bases), name=name))
    tokens = scorer.tokens
    held: Tile | None = None
    for start, end in fit.record_windows(len(bases)):
        ids = tokens.encode(bases[start:end])
        if not len(ids) or not tokens.valid(ids).any():
            continue
        if held is not None:
            yield held
        held = Tile(row, ids, 0, len(ids), last=False, start=start, bases=end - start)
    if held is None:
        row.status = Status.NO_VALID_KMER
        yield Tile(row, np.empty(0, dtype=np.int64), 0, 0, last=True)
    else:
        yield Tile(row, held.ids, 0, held.high, last=True, start=held.start, bases=held.bases)


def score_sequences(
    scorer: Scorer,
    sequences: Sequence[np.ndarray],
    *,
    raw: bool = False,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> list[np.ndarray | None]:
    """Outputs of each sequence, (C,) or per base (L_i, C); None where no k-mer is free of N.

    Args:
        sequences: uint8 ASCII bases; those longer than the task's length are scored in windows,
            combined as the task says.
        raw: logits instead of calibrated probabilities or values.
    """
    task = scorer.task
    fit = Fit.parse("tile", task.length)
    scored = Scored(scorer, combine=task.combine, raw=raw)
    engine = Engine(scorer.encoder, scorer.tokens, scored, rc=task.rc, batch_tokens=batch_tokens)
    progress = progress or NullProgress()
    progress.start("scoring", len(sequences), "sequences")
    tiles = (
        tile
        for number, bases in enumerate(sequences)
        for tile in record_windows(str(number), bases, scorer, fit)
    )
    outputs: list[np.ndarray | None] = []
    try:
        for rows in engine.run(tiles):
            outputs += [scored.output(row) for row in rows]
            progress.advance(len(rows))
    finally:
        progress.finish()
    return outputs


def pooled_sequences(scorer: Scorer, sequences: Sequence[np.ndarray]) -> np.ndarray:
    """(N, P) what the head sees of each sequence; every one needs a valid token."""
    scored = Scored(scorer, raw=True)
    engine = Engine(scorer.encoder, scorer.tokens, scored, rc="none")
    fit = Fit.parse("tile", scorer.task.length)
    tiles = (
        tile
        for number, bases in enumerate(sequences)
        for tile in record_windows(str(number), bases, scorer, fit)
    )
    return np.stack([scored.vector(row) for rows in engine.run(tiles) for row in rows])
