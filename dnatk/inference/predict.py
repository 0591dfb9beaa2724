"""``dnatk predict``: regions or sequences in, a task's predictions out, row by row.

Shapes: N rows, C classes, P what the head sees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from dnatk import __version__
from dnatk.errors import InputError, OutputError
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome
from dnatk.genome.locate import find_genome
from dnatk.genome.sniff import open_regions_or_sequences
from dnatk.inference.engine import Engine, Tile
from dnatk.inference.fit import Fit
from dnatk.inference.predict_options import PredictOptions
from dnatk.inference.predict_rows import record_rows, region_rows
from dnatk.inference.scored import Scored
from dnatk.output.files import check_output, written_whole
from dnatk.output.hdf5 import Status
from dnatk.output.predictions_hdf5 import PredictionWriter
from dnatk.output.provenance import provenance
from dnatk.output.table import Labeller, Prediction, TableWriter, check_columns
from dnatk.progress import NullProgress, Progress
from dnatk.settings import read_settings
from dnatk.tasks.registry import find_task
from dnatk.tasks.scorer import Scorer, load_scorer
from dnatk.tasks.task import Task


@dataclass
class PredictSummary:
    """What was written: rows, and of these how many are NA, by reason."""

    rows: int = 0
    unscored: dict[Status, int] = field(default_factory=dict)


def predict(
    source: str | Path,
    output: TextIO | str | Path,
    *,
    task: str | Path | Task,
    genome: str | Path | None = None,
    h5: str | Path | None = None,
    options: PredictOptions | None = None,
    force: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> PredictSummary:
    """Score every region of a BED file, or every record of a FASTA, in its order.

    Args:
        source: BED or FASTA, told by its content; "-" is standard input.
        output: a text stream, or a file that appears when it is complete.
        task: a task's name, its directory, or the task.
        genome: FASTA of the regions; None: DNATK_GENOME, the user's settings.
        h5: an HDF5 file to write too, layout in :mod:`dnatk.output.predictions_hdf5`.
        command: for the provenance lines.

    Raises:
        InputError (and its kinds), ModelError, OutputError: nothing is left under ``output`` or
            ``h5``; rows already written to a stream stay there.
    """
    task = task if isinstance(task, Task) else find_task(task)
    asked = options or PredictOptions()
    options = asked.of(task)
    fit = Fit.parse(options.fit, task.length)
    per_base = task.kind == "per-base"
    if per_base and (h5 is not None or options.probabilities):
        raise InputError(
            "a per-base task gives runs of bases, no probabilities of a region",
            hint="leave --h5 and --probabilities away",
        )
    paths = [
        None if path is None or hasattr(path, "write") else check_output(path, force=force)
        for path in (output, h5)
    ]
    if paths[0] is not None and paths[0] == paths[1]:
        raise OutputError("cannot be both the table and the HDF5 file", path=paths[0])
    kind, items = open_regions_or_sequences(source)
    if kind == "fasta" and asked.fit and fit.kind == "tss":
        raise InputError(
            f"--fit {fit} needs regions of a genome, this is FASTA",
            path="<stdin>" if str(source) == "-" else source,
            hint="tile or center",
        )
    located = find_genome(genome, os.environ, read_settings()) if kind == "bed" else None
    progress = progress or NullProgress()
    with ExitStack() as stack:
        sequences = stack.enter_context(nullcontext() if located is None else Genome(located))
        total = _count(source, sequences, options.on_error) if kind == "bed" else None
        scorer = load_scorer(
            task,
            device=options.device,
            precision=options.precision,
            trust_remote_code=options.trust_remote_code,
        )
        stream = output if paths[0] is None else _open_text(stack, paths[0])
        above = provenance(
            command=command,
            task=task.name or str(task.directory),
            task_sha256=task.sha256(),
            trunk_sha256=task.trunk.sha256,
            source=source,
            genome=located,
        )
        writers: list[Callable[[list[Prediction]], None]] = [
            TableWriter(
                stream,
                space=task.shown,
                format=options.format or ("bed" if kind == "bed" else "tsv"),
                source=kind,
                probabilities=options.probabilities,
                header=options.header,
                provenance=above if options.provenance else (),
            ).write
        ]
        binary = None
        if paths[1] is not None:
            contigs = {} if sequences is None else sequences.lengths
            binary = _open_h5(stack, paths[1], scorer, options, fit, contigs, command)
            writers.append(binary.append)
        if kind == "bed":
            tiles = region_rows(items, sequences, scorer, fit, options)
        else:
            tiles = record_rows(items, scorer, fit, options, binary)
        summary = _run(scorer, tiles, options, writers, progress, total)
        if binary is not None:
            binary.finish()
    return summary


def _open_text(stack: ExitStack, path: Path) -> TextIO:
    partial = stack.enter_context(written_whole(path))
    return stack.enter_context(open(partial, "w", encoding="utf-8", newline="\n"))


def _open_h5(
    stack: ExitStack,
    path: Path,
    scorer: Scorer,
    options: PredictOptions,
    fit: Fit,
    contigs: Mapping[str, int],
    command: str,
) -> PredictionWriter:
    task = scorer.task
    writer = PredictionWriter(
        stack.enter_context(written_whole(path)),
        space=task.shown,
        contigs=contigs,
        width=scorer.head.config.width if options.embeddings else None,
        attributes={
            "dnatk_version": __version__,
            "command": command,
            "task": task.name or str(task.directory),
            "task_sha256": task.sha256(),
            "model": task.trunk.name,
            "model_sha256": task.trunk.sha256,
            "length": task.length,
            "fit": str(fit),
            "combine": options.combine,
            "rc": options.rc,
        },
    )
    stack.callback(writer.close)
    return writer


def _count(source: str | Path, genome: Genome, on_error: str) -> int | None:
    """Read a BED file to its end before any work, so that line 90,000 fails in the first second."""
    if not Path(source).is_file():  # "-", or a pipe with a name: it can be read once
        return None
    count, columns = 0, 0
    for region in read_bed(source):
        count += 1
        columns = columns or len(region.fields)
        check_columns(region, columns)
        if on_error == "fail":
            genome.check(region)
    return count


def _run(
    scorer: Scorer,
    tiles: Iterator[Tile],
    options: PredictOptions,
    writers: list[Callable[[list[Prediction]], None]],
    progress: Progress,
    total: int | None,
) -> PredictSummary:
    task = scorer.task
    combine = "mean" if options.combine == "tiles" else options.combine
    scored = Scored(scorer, combine=combine)
    engine = Engine(
        scorer.encoder, scorer.tokens, scored, rc=options.rc, batch_tokens=options.batch_tokens
    )
    label = Labeller(task.shown, task.thresholds or None)
    summary = PredictSummary()
    progress.start("predicting", total, "regions")
    try:
        for rows in engine.run(tiles):
            predictions = []
            for row in rows:
                output_C = scored.output(row)
                if row.status or output_C is None:
                    status = Status(row.status)
                    summary.unscored[status] = summary.unscored.get(status, 0) + 1
                    predictions.append(Prediction.unscored(row.region, status.note))
                else:
                    predictions.append(label(row.region, output_C, scored.vector(row)))
            for write in writers:
                write(predictions)
            summary.rows += len(rows)
            progress.advance(len(rows))
    finally:
        progress.finish()
    return summary
