"""``dnatk predict``: regions or sequences in, a task's predictions out, row by row."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TextIO

from dnatk.errors import InputError, OutputError
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome
from dnatk.genome.locate import find_genome
from dnatk.genome.sniff import open_regions_or_sequences
from dnatk.inference.fit import Fit
from dnatk.inference.predict_job import Job, PredictSummary, Work
from dnatk.inference.predict_options import PredictOptions
from dnatk.inference.predict_sink import Outputs
from dnatk.inference.run import Sharing
from dnatk.output.files import check_output
from dnatk.output.provenance import provenance
from dnatk.output.table import Table, check_columns
from dnatk.progress import NullProgress, Progress
from dnatk.settings import read_settings
from dnatk.tasks.registry import find_task
from dnatk.tasks.scorer import load_scorer
from dnatk.tasks.task import Task

__all__ = ["PredictOptions", "PredictSummary", "predict"]


def predict(
    source: str | Path,
    output: TextIO | str | Path,
    *,
    task: str | Path | Task,
    genome: str | Path | None = None,
    h5: str | Path | None = None,
    options: PredictOptions | None = None,
    shard: str | None = None,
    resume: bool = False,
    force: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> PredictSummary | None:
    """Score every region of a BED file, or every record of a FASTA, in its order.

    Args:
        source: BED or FASTA, told by its content; "-" is standard input.
        output: a text stream, or a file that appears when it is complete.
        task: a task's name, its directory, or the task.
        genome: FASTA of the regions; None: DNATK_GENOME, the user's settings.
        h5: an HDF5 file to write too, layout in :mod:`dnatk.output.predictions_hdf5`.
        shard: "2/8": the second of eight neighbouring pieces of the work; for files only.
        resume: go on where the same run was cut off; a finished one is left as it is. A stream
            gets all rows, those made before too.
        command: for the provenance lines.

    Raises:
        InputError (and its kinds), ModelError, OutputError: nothing is left under ``output`` or
            ``h5``; rows already written to a stream stay there, and parts of files in
            ``OUTPUT.partial/``.
    """
    task = task if isinstance(task, Task) else find_task(task)
    asked = options or PredictOptions()
    options = asked.of(task)
    fit = Fit.parse(options.fit, task.length)
    if task.kind == "per-base" and (h5 is not None or options.probabilities):
        raise InputError(
            "a per-base task gives runs of bases, no probabilities of a region",
            hint="leave --h5 and --probabilities away",
        )
    sharing = Sharing.asked(shard)
    table_path, h5_path = (
        None
        if path is None or hasattr(path, "write")
        else check_output(path, force=force or sharing.ranks.rank > 0, resume=resume)
        for path in (output, h5)
    )
    if table_path is not None and table_path == h5_path:
        raise OutputError("cannot be both the table and the HDF5 file", path=table_path)
    kind, items = open_regions_or_sequences(source)
    if kind == "fasta" and asked.fit and fit.kind == "tss":
        raise InputError(
            f"--fit {fit} needs regions of a genome, this is FASTA",
            path="<stdin>" if str(source) == "-" else source,
            hint="tile or center",
        )
    located = find_genome(genome, os.environ, read_settings()) if kind == "bed" else None
    form = options.format or ("bed" if kind == "bed" else "tsv")
    with nullcontext() if located is None else Genome(located) as sequences:
        total = None if sequences is None else _count(source, sequences, options.on_error)
        work = Work(source, items, kind, fit.length, total)
        table = Table(
            work.first,
            space=task.shown,
            format=form,
            source=kind,
            probabilities=options.probabilities,
        )
        scorer = load_scorer(
            task,
            device=sharing.ranks.device(options.device),
            precision=options.precision,
            trust_remote_code=options.trust_remote_code,
        )
        job = Job(scorer, options, fit, work, sequences, table, form, sharing)
        head = partial(_head, table, task, options, source, located)
        outputs = Outputs(None if table_path else output, table_path, h5_path, head)
        return job.run(
            outputs,
            resume=resume,
            force=force,
            command=command,
            progress=progress or NullProgress(),
        )


def _head(
    table: Table,
    task: Task,
    options: PredictOptions,
    source: str | Path,
    genome: Path | None,
    command: str,
) -> str:
    """The lines above the rows."""
    lines = provenance(
        command=command,
        task=task.name or str(task.directory),
        task_sha256=task.sha256(),
        trunk_sha256=task.trunk.sha256,
        source=source,
        genome=genome,
    )
    return table.head(header=options.header, provenance=lines if options.provenance else ())


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
