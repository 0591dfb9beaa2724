"""``dnatk predict``: regions or sequences in, a task's predictions out, row by row.

Shapes: N rows, C classes, P what the head sees.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TextIO

from dnatk import __version__
from dnatk.errors import InputError, OutputError
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome
from dnatk.genome.locate import find_genome
from dnatk.genome.regions import Region
from dnatk.genome.sniff import open_regions_or_sequences
from dnatk.inference.engine import Engine
from dnatk.inference.fit import Fit
from dnatk.inference.parts import Shard, numbered, part_bases
from dnatk.inference.predict_options import PredictOptions
from dnatk.inference.predict_rows import record_rows, region_rows
from dnatk.inference.predict_sink import Outputs, Sink
from dnatk.inference.ranks import Ranks
from dnatk.inference.run import Sharing, opened_store, run
from dnatk.inference.scored import Scored
from dnatk.output.files import check_output
from dnatk.output.hdf5 import Status
from dnatk.output.predictions_hdf5 import FORMAT, PredictionWriter
from dnatk.output.provenance import provenance
from dnatk.output.table import Labeller, Table, check_columns
from dnatk.progress import NullProgress, Progress
from dnatk.settings import read_settings
from dnatk.tasks.registry import find_task
from dnatk.tasks.scorer import Scorer, load_scorer
from dnatk.tasks.task import Task


@dataclass
class PredictSummary:
    """What was written: rows; of these NA ones by reason, and those a run before has made."""

    rows: int = 0
    unscored: dict[Status, int] = field(default_factory=dict)
    kept: int = 0


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
    ranks = Ranks.from_environment()
    sharing = Sharing(None if shard is None else Shard.parse(shard), ranks)
    table_path, h5_path = (
        None
        if path is None or hasattr(path, "write")
        else check_output(path, force=force or ranks.rank > 0, resume=resume)
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
    contigs: dict[str, int] = {}
    with ExitStack() as stack:
        sequences = stack.enter_context(nullcontext() if located is None else Genome(located))
        if sequences is not None:
            contigs = sequences.lengths
        total = _count(source, sequences, options.on_error) if kind == "bed" else None
        first = next(items)  # the readers refuse a file without any
        work = _Work(source, first, items, kind, fit.length, total)
        scorer = load_scorer(
            task,
            device=ranks.device(options.device),
            precision=options.precision,
            trust_remote_code=options.trust_remote_code,
        )
        table = Table(
            first if kind == "bed" else Region(first[0], 0, len(first[1])),
            space=task.shown,
            format=options.format or ("bed" if kind == "bed" else "tsv"),
            source=kind,
            probabilities=options.probabilities,
        )

        def head(command: str) -> str:
            return table.head(header=options.header, provenance=provenance(
                command=command,
                task=task.name or str(task.directory),
                task_sha256=task.sha256(),
                trunk_sha256=task.trunk.sha256,
                source=source,
                genome=located,
            ) if options.provenance else ())  # fmt: skip

        scored = Scored(scorer, combine="mean" if options.combine == "tiles" else options.combine)
        engine = Engine(
            scorer.encoder, scorer.tokens, scored, rc=options.rc, batch_tokens=options.batch_tokens
        )
        outputs = Outputs(None if table_path else output, table_path, h5_path, head)
        facts = _facts(scorer, options, fit, sharing)
        if resume and (rows := outputs.finished(facts)) is not None:
            return PredictSummary(rows, {}, kept=rows)
        size = part_bases(engine.batch_tokens)
        share, total = sharing.share(work, size)
        store = None
        if outputs.main is not None:
            what = {
                "output": FORMAT,
                **facts,
                "command": command,
                "files": sorted({".txt", ".h5"} if h5_path else {".txt"}),
                "table": table.columns,
                "embeddings": options.embeddings,
                "batch_tokens": engine.batch_tokens,
                "device": scorer.encoder.device.type,
            }
            store = stack.enter_context(
                opened_store(outputs.main, what, ranks, resume=resume, force=force)
            )
            command = store.run["command"]
        elif ranks.world > 1:
            raise InputError("the processes of torchrun cannot share stdout", hint="give -o FILE")
        kept = store.rows() if store else 0
        sink = Sink(
            outputs, table, Labeller(task.shown, task.thresholds or None), scored, store,
            partial(_open_h5, scorer, options, contigs, {**facts, "command": command}), command,
        )  # fmt: skip
        numbers = numbered(work.items(), size, work.bases)
        mine = (pair for pair in numbers if share.has(pair[0]))
        tiles = (
            record_rows(mine, scorer, fit, options, contigs)
            if sequences is None
            else region_rows(mine, sequences, scorer, fit, options)
        )
        progress = progress or NullProgress()
        progress.start("predicting", total, "regions")
        try:
            made = run(engine, tiles, sink, store, share, progress.advance)
        finally:
            progress.finish()
        if store is None:
            return _summary(made.rows, made.unscored)
        ranks.wait()
        if ranks.rank:
            return None
        store.refresh()
        summary = _summary(store.rows(), store.unscored(), kept)
        sink.publish(contigs)
    return summary


class _Work:
    """The regions or records, and how much of the plan each of them is."""

    def __init__(self, source, first, rest, kind: str, length: int, total: int | None) -> None:
        self._source, self._opened = source, chain([first], rest)
        self.again = Path(source).is_file()  # "-", or a pipe with a name, can be read once
        self._kind, self._length, self.total = kind, length, total

    def items(self) -> Iterator:
        """Them all; a file is opened again but for the first time."""
        opened, self._opened = self._opened, None
        if opened is not None:
            return opened
        return open_regions_or_sequences(self._source)[1]

    def bases(self, item) -> int:
        """Of one, as the model reads it."""
        return max(self._length, len(item) if self._kind == "bed" else len(item[1]))


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


def _facts(
    scorer: Scorer, options: PredictOptions, fit: Fit, sharing: Sharing
) -> dict[str, object]:
    """What stands in the root of the file, and what a resumed run must agree with."""
    task = scorer.task
    facts = {
        "dnatk_version": __version__,
        "task": task.name or str(task.directory),
        "task_sha256": task.sha256(),
        "model": task.trunk.name,
        "model_sha256": task.trunk.sha256,
        "length": task.length,
        "fit": str(fit),
        "combine": options.combine,
        "rc": options.rc,
        "precision": str(scorer.encoder.dtype).removeprefix("torch."),
    }
    return facts if sharing.shard is None else {**facts, "shard": str(sharing.shard)}


def _open_h5(
    scorer: Scorer,
    options: PredictOptions,
    contigs: Mapping[str, int],
    attributes: Mapping[str, object],
    path: Path,
) -> PredictionWriter:
    return PredictionWriter(
        path,
        space=scorer.task.shown,
        lengths=contigs,
        width=scorer.head.config.width if options.embeddings else None,
        attributes=attributes,
    )


def _summary(rows: int, unscored: Mapping[int, int], kept: int = 0) -> PredictSummary:
    return PredictSummary(rows, {Status(status): n for status, n in unscored.items()}, kept)
