"""Sequences and regions cut into the windows of a task, and scores of sequences in memory.

Shapes: N sequences, C outputs, P pooled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from dnatk.genome.fit import Fit
from dnatk.genome.regions import Region
from dnatk.inference.batches import Row, Tile, fresh_bases
from dnatk.inference.engine import Engine
from dnatk.inference.scored import Scored
from dnatk.kmers import Tokens
from dnatk.output.status import Status
from dnatk.progress import NullProgress, Progress
from dnatk.tasks.scorer import Scorer
from dnatk.tasks.task import Task


def row_tiles(
    row: Row, windows: Iterable[tuple[int, np.ndarray]], tokens: Tokens
) -> Iterator[Tile]:
    """The tiles of one row; windows without a valid token are left out.

    Args:
        windows: (start, bases) of each, as they are read; the start is counted from the row's
            first base along its reading direction.

    A row of which nothing is left gets a status and one empty tile.
    """
    held: Tile | None = None
    before: tuple[int, int] | None = None
    status = Status.OUT_OF_BOUNDS  # where there is no window at all
    for start, bases in windows:
        ids = tokens.encode(bases)
        status = Status.NO_VALID_KMER if len(ids) else Status.TOO_SHORT
        if not len(ids) or not tokens.valid(ids).any():
            continue
        if held is not None:
            yield held
        place = start, start + len(bases)
        fresh, before = fresh_bases(*place, before), place
        held = Tile(row, ids, 0, len(ids), False, start, len(bases), fresh)
    if held is None:
        row.status = status
        yield Tile(row, np.empty(0, dtype=np.int64), 0, 0, last=True)
    else:
        yield replace(held, last=True)


def record_windows(bases: np.ndarray, fit: Fit) -> Iterator[tuple[int, np.ndarray]]:
    """(start, bases) of each window of a sequence that has no genome round it."""
    for start, end in fit.record_windows(len(bases)):
        yield start, bases[start:end]


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
        sequences: uint8 ASCII bases; those longer than the task's length are cut, and windows
            combined, as the task says.
        raw: logits instead of calibrated probabilities or values.
    """
    task = scorer.task
    scored = Scored(scorer, combine=task.combine, raw=raw)
    fit = Fit.parse(task.fit, task.length)
    rows = scored_rows(scorer, scored, sequences, fit, task.rc, batch_tokens, progress)
    return [scored.output(row) for row in rows]


def flat_outputs(task: Task, outputs: Sequence[np.ndarray]) -> np.ndarray:
    """(N, C) of scored sequences; per base (sum of L_i, C), as :meth:`LabelledSet.flat_targets`."""
    return np.concatenate(outputs) if task.kind == "per-base" else np.stack(outputs)


def pooled_sequences(
    scorer: Scorer, sequences: Sequence[np.ndarray], progress: Progress | None = None
) -> np.ndarray:
    """(N, P) what the head sees of each sequence; every one needs a valid token."""
    scored, fit = Scored(scorer, raw=True), Fit("tile", scorer.task.length)
    rows = scored_rows(scorer, scored, sequences, fit, "none", None, progress)
    return np.stack([scored.vector(row) for row in rows])


def scored_rows(
    scorer: Scorer,
    scored: Scored,
    sequences: Sequence[np.ndarray],
    fit: Fit,
    rc: str,
    batch_tokens: int | None,
    progress: Progress | None,
) -> Iterator[Row]:
    """A finished row of each sequence, for ``scored`` to read."""
    engine = Engine(scorer.encoder, scorer.tokens, scored, rc=rc, batch_tokens=batch_tokens)
    progress = progress or NullProgress()
    progress.start("scoring", len(sequences), "sequences")
    tiles = (
        tile
        for number, bases in enumerate(sequences)
        for tile in row_tiles(
            Row(Region(str(number), 0, len(bases))), record_windows(bases, fit), scorer.tokens
        )
    )
    try:
        for rows in engine.run(tiles):
            yield from rows
            progress.advance(len(rows))
            progress.read(sum(len(row.region) for row in rows if not row.status))
    finally:
        progress.finish()
