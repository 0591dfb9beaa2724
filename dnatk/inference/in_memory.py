"""Sequences in memory to vectors and predictions in memory: for notebooks and scripts.

Shapes: N sequences, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.fasta import check_nucleotides
from dnatk.genome.fit import Fit
from dnatk.genome.regions import Region
from dnatk.inference.batches import Row
from dnatk.inference.embed_options import EmbedOptions
from dnatk.inference.engine import Engine
from dnatk.inference.pooled import Pooled, not_finite
from dnatk.inference.predict_options import PredictOptions
from dnatk.inference.scored import Scored
from dnatk.inference.sequences import scored_rows
from dnatk.inference.tiles import bases_tiles
from dnatk.kmers.encode import as_bases
from dnatk.model.encoder import resolve_layer
from dnatk.model.models import find_model
from dnatk.model.places import DEFAULT_MODEL
from dnatk.output.status import Status
from dnatk.output.table import Labeller, Prediction, shown_classes
from dnatk.progress import Progress
from dnatk.tasks.scorer import Scorer, as_scorer
from dnatk.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

Sequence_ = str | bytes | np.ndarray


def embed_sequences(
    sequences: Iterable[Sequence_],
    *,
    model: str | Path = DEFAULT_MODEL,
    pool: str = "mean",
    layer: int = -1,
    rc: str = "none",
    device: str = "auto",
    precision: str = "auto",
    batch_tokens: int | None = None,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Embed sequences that are in memory: one vector each, whatever its length.

    The numbers are those of ``dnatk embed --bed`` with ``--dtype float32``. The model is loaded
    at each call: give all sequences at once.

    Args:
        sequences: bases (IUPAC codes, in either case) as text, bytes or uint8 ASCII.
        model: a model directory, or the name of a shipped model.
        pool, layer, rc, device, precision, batch_tokens: as :class:`EmbedOptions`; no pool "none".

    Returns:
        (N, D) float32 in the order of ``sequences``; NaN where a sequence has no k-mer free of N
        (or is shorter than one).

    Raises:
        InputError: a letter that is no nucleotide, an option that is none. ModelError.

    >>> import dnatk
    >>> vectors = dnatk.embed_sequences(["ACGTTGCATCAGG", "NNNNNNNNNN"], device="cpu")
    >>> vectors.shape
    (2, 256)
    >>> bool(abs(vectors[0]).max() > 0), bool((vectors[1] != vectors[1]).all())
    (True, True)
    """
    options = EmbedOptions(
        pool=pool, layer=layer, rc=rc, device=device, precision=precision, batch_tokens=batch_tokens
    )
    if pool == "none":
        raise InputError("one vector a sequence needs a pool: mean, max or cls",
                         hint="dnatk.embed writes the vector of every k-mer")  # fmt: skip
    checked = _checked(sequences)
    found = find_model(model)
    tiling, tokens = options.tiling(found), found.tokens
    pooled = Pooled(tokens, pool, found.hidden)
    engine = Engine(
        found.load(device=device, precision=precision),
        tokens,
        pooled,
        layer=resolve_layer(layer, found.layers),
        rc=rc,
        batch_tokens=batch_tokens,
    )
    rows = (_row(number, bases) for number, bases in enumerate(checked))
    tiles = (
        tile
        for row, bases in zip(rows, checked, strict=True)
        for tile in bases_tiles(row, bases, tiling, tokens)
    )
    vectors_ND = np.full((len(checked), found.hidden), np.nan, dtype=np.float32)
    number = 0
    for finished in engine.run(tiles):
        for row in finished:
            vectors_ND[number] = pooled.vector(row)
            if not (row.status or np.isfinite(vectors_ND[number]).all()):
                raise not_finite(row)
            number += 1
    return vectors_ND


def predict_sequences(
    sequences: Iterable[Sequence_],
    *,
    task: str | Path | Task | Scorer,
    fit: str = "",
    combine: str = "",
    rc: str = "",
    device: str = "auto",
    precision: str = "auto",
    batch_tokens: int | None = None,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Score sequences that are in memory with a task: one row each, in their order.

    The numbers are those of ``dnatk predict`` on a FASTA of the same sequences. A ``tss`` fit,
    which has no meaning there, tiles.

    Args:
        sequences: bases (IUPAC codes, in either case) as text, bytes or uint8 ASCII.
        task: a task's name, its directory, the task, or a scorer of :func:`load_scorer`, which
            many calls may share.
        fit, combine, rc: "": as the task says, else as :class:`PredictOptions`; combine "mean" or
            "max".
        device, precision, trust_remote_code: of a task that is not yet a scorer.

    Returns:
        A pandas frame: label, score, note, and a p_CLASS (regression: value_NAME) for each class.
        Per base the label tells runs, the numbers are means. A sequence that cannot be scored is
        NA: label "NA", NaN numbers and the reason in note.

    Raises:
        InputError: a letter that is no nucleotide, an option that is none. ModelError.

    >>> import dnatk
    >>> rows = dnatk.predict_sequences(["ACGTTGCA" * 40, "NNNNNNNN"], task="promoter", device="cpu")
    >>> list(rows.columns[:3]), len(rows)
    (['label', 'score', 'note'], 2)
    >>> rows.note.tolist()
    ['.', 'no_valid_kmer']
    """
    import pandas as pd

    options = PredictOptions(fit=fit, combine=combine, rc=rc)
    if combine == "tiles":
        raise InputError("a row for each sequence needs combine mean or max")
    checked = _checked(sequences)
    scorer = as_scorer(
        task, device=device, precision=precision, trust_remote_code=trust_remote_code
    )
    options = options.of(scorer.task)
    space = scorer.task.shown
    label = Labeller(space, scorer.task.thresholds or None)
    scored = Scored(scorer, combine="mean" if options.combine == "tiles" else options.combine)
    way = Fit.parse(options.fit, scorer.task.length)
    rows = scored_rows(scorer, scored, checked, way, options.rc, batch_tokens, progress)
    predictions = [
        Prediction.unscored(row.region, Status(row.status).note)
        if (output_C := scored.output(row)) is None
        else label(row.region, output_C)
        for row in rows
    ]
    prefix = "value" if space.kind == "regression" else "p"
    columns: dict[str, object] = {
        "label": [each.label for each in predictions],
        "score": np.array([each.score for each in predictions], dtype=np.float32),
        "note": [each.note for each in predictions],
    }
    for i, name in enumerate(shown_classes(space)):
        given = [np.nan if p.probability is None else p.probability[i] for p in predictions]
        columns[f"{prefix}_{name}"] = np.array(given, dtype=np.float32)
    return pd.DataFrame(columns)


def _checked(sequences: Iterable[Sequence_]) -> list[np.ndarray]:
    """Each as (L_i,) uint8 ASCII."""
    if isinstance(sequences, str | bytes):
        raise InputError("one sequence where several are wanted", hint="put it into a list")
    checked = []
    for number, sequence in enumerate(sequences):
        known = isinstance(sequence, str | bytes | np.ndarray)
        bases = as_bases(sequence) if known else None
        if bases is None or bases.dtype != np.uint8 or bases.ndim != 1:
            raise InputError(
                f"sequences[{number}] is no sequence", hint="give text, bytes or uint8 ASCII"
            )
        check_nucleotides(bases.tobytes(), None, f"sequences[{number}]", 0)
        checked.append(bases)
    return checked


def _row(number: int, bases: np.ndarray) -> Row:
    return Row(Region(f"sequences[{number}]", 0, len(bases)))
