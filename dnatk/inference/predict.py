"""``dnatk predict``: regions or sequences in, a task's predictions out, row by row."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TextIO, cast

from dnatk.errors import InputError, OutputError
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome
from dnatk.genome.files import reading
from dnatk.genome.fit import Fit
from dnatk.genome.locate import find_genome
from dnatk.genome.sniff import open_regions_or_sequences
from dnatk.inference.predict_job import Job, PredictSummary, Work
from dnatk.inference.predict_options import PredictOptions
from dnatk.inference.predict_report import Report
from dnatk.inference.predict_rows import check_region, check_strand_column, needs_strand
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
    report: str | Path | None = None,
    options: PredictOptions | None = None,
    shard: str | None = None,
    resume: bool = False,
    force: bool = False,
    command: str = "",
    config: str = "",
    progress: Progress | None = None,
) -> PredictSummary | None:
    """Score every region of a BED file, or every record of a FASTA, in its order.

    Args:
        source: BED or FASTA, told by its content; "-" is standard input.
        output: a text stream, or a file that appears when it is complete.
        task: a task's name, its directory, or the task.
        genome: FASTA of the regions; None: DNATK_GENOME, the user's settings.
        h5: an HDF5 file to write too, layout in :mod:`dnatk.output.predictions_hdf5`.
        report: a page of HTML to write too: counts, histograms, tracks, the highest rows.
        shard: "2/8": the second of eight neighbouring pieces of the work; for files only.
        resume: go on where the same run was cut off; a finished one is left as it is. A stream
            gets all rows, those made before too, but nothing of a run that was finished.
        command: for the provenance lines and the HDF5 file.
        config: all options as TOML, for the HDF5 file.

    Raises:
        InputError (and its kinds), ModelError, OutputError: nothing is left under ``output`` or
            ``h5``; rows already written to a stream stay there, and parts of files in
            ``OUTPUT.partial/``.

    >>> summary = dnatk.predict(
    ...     "promoters.bed", "scored.bed", task="promoter", genome="genome.fa", h5="scored.h5"
    ... )
    >>> summary.rows
    2
    >>> predictions, _ = dnatk.read_predictions("scored.h5")
    >>> predictions[["contig", "start", "strand", "status"]].values.tolist()
    [['chr1', 10, '+', 0], ['chr2', 2000, '-', 0]]
    """
    task = task if isinstance(task, Task) else find_task(task)
    stream = cast(TextIO, output) if hasattr(output, "write") else None
    asked = options or PredictOptions()
    options = asked.of(task)
    fit = Fit.parse(options.fit, task.length)
    if task.kind == "per-base" and (h5 is not None or options.probabilities):
        raise InputError(
            "a per-base task gives runs of bases, no probabilities of a region",
            hint="leave --h5 and --probabilities away",
        )
    if h5 is None and options.embeddings:
        raise InputError("embeddings go into an HDF5 file", hint="name it with h5")
    if stream is not None and h5 is None and resume:
        raise InputError(
            "nothing can be resumed: of what goes to a stream alone no row is kept",
            hint="write to a file, with -o or --h5",
        )
    sharing = Sharing.asked(shard)
    table_path, h5_path, page_path = (
        None
        if path is None or hasattr(path, "write")
        else check_output(
            path,
            force=force or sharing.ranks.rank > 0,
            resume=resume,
            inputs=(source, genome),
        )
        for path in (output, h5, report)
    )
    table_place, h5_place, page_place = (
        path and path.resolve() for path in (table_path, h5_path, page_path)
    )
    if table_place and table_place == h5_place:
        raise OutputError("cannot be both the table and the HDF5 file", path=table_path)
    if page_place and page_place in (table_place, h5_place):
        raise OutputError("cannot be both the report and what it tells of", path=page_path)
    kind, items = open_regions_or_sequences(source)
    if kind == "fasta" and asked.fit and fit.kind == "tss":
        raise InputError(
            f"--fit {fit} needs regions of a genome, this is FASTA",
            path="<stdin>" if str(source) == "-" else source,
            hint="tile or center",
        )
    if kind == "bed" and task.kind == "per-base" and fit.kind == "tss":
        raise InputError(
            f"a per-base task labels the bases of regions, --fit {fit} reads others",
            hint="tile or center",
        )
    located = find_genome(genome, os.environ, read_settings()) if kind == "bed" else None
    for path in filter(None, (table_path, h5_path, page_path)):
        check_output(path, force=True, inputs=(located,))  # a name or a setting led to it
    form = options.format or ("bed" if kind == "bed" else "tsv")
    with nullcontext() if located is None else Genome(located) as sequences:
        work = Work(source, items, kind, fit.length)
        if sequences is not None:
            check_strand_column(work.first, task, fit, options)
            if work.again:
                stranded = needs_strand(task, fit, options)
                work.total = _count(source, sequences, stranded, options.on_error)
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
        lines = partial(_provenance, task, source, located)
        head = partial(_head, table, options, lines)
        page = None
        if page_path is not None:
            page = Report(page_path, task, table, form, str(source), shard or "")
        watch = page.tally.add if page is not None and stream is not None else None
        outputs = Outputs(stream, table_path, h5_path, head, watch)
        summary = job.run(
            outputs,
            resume=resume,
            force=force,
            command=command,
            config=config,
            progress=progress or NullProgress(),
        )
        if page is not None and summary is not None:
            page.write(outputs, summary.rows, job.contigs, lines(command))
        return summary


def _head(
    table: Table, options: PredictOptions, lines: Callable[[str], list[str]], command: str
) -> str:
    """The lines above the rows."""
    above = lines(command) if options.provenance else ()
    return table.head(header=options.header, provenance=above)


def _provenance(task: Task, source: str | Path, genome: Path | None, command: str) -> list[str]:
    return provenance(
        command=command,
        task=task.name or str(task.directory),
        task_sha256=task.sha256(),
        trunk_sha256=task.trunk.sha256,
        source=source,
        genome=genome,
    )


def _count(source: str | Path, genome: Genome, stranded: bool, on_error: str) -> int:
    """Read a BED file to its end before any work, so that line 90,000 fails in the first second."""
    count, columns = 0, 0
    with reading(source):
        for region in read_bed(source):
            count += 1
            columns = columns or len(region.fields)
            check_columns(region, columns)
            if on_error == "fail":
                check_region(region, genome, stranded)
    return count
