"""One prediction from its opened input to its finished files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from dnatk import __version__
from dnatk.errors import InputError
from dnatk.genome.fasta import Genome
from dnatk.genome.files import readable_again, reading
from dnatk.genome.fit import Fit
from dnatk.genome.regions import Region
from dnatk.genome.sniff import open_regions_or_sequences
from dnatk.inference.batches import Tile
from dnatk.inference.engine import Engine
from dnatk.inference.parts import Share, part_bases
from dnatk.inference.predict_options import PredictOptions
from dnatk.inference.predict_rows import record_rows, region_rows
from dnatk.inference.predict_sink import Outputs, Sink
from dnatk.inference.run import RowsTold, Sharing, opened_store, run
from dnatk.inference.scored import Scored
from dnatk.output.part_store import PartStore
from dnatk.output.predictions_hdf5 import FORMAT, PredictionWriter
from dnatk.output.status import Status
from dnatk.output.table import Table
from dnatk.progress import Progress
from dnatk.tasks.scorer import Scorer


@dataclass
class PredictSummary:
    """What was written: rows; of these NA ones by reason, and those a run before has made.

    Of a run that was ``finished`` before nothing is written, also to a stream.
    """

    rows: int = 0
    unscored: dict[Status, int] = field(default_factory=dict)
    kept: int = 0
    finished: bool = False

    @classmethod
    def of(cls, rows: int, unscored: Mapping[int, int], kept: int = 0) -> PredictSummary:
        """With statuses by their numbers."""
        return cls(rows, {Status(status): n for status, n in unscored.items()}, kept)


class Work:
    """The regions or records, and how much of the plan each of them is.

    Args:
        items: of the file, opened.
        kind: "bed" or "fasta".
        length: what a task reads of one at least.

    Attributes:
        contigs: records that were met, with their lengths: of this and other processes' parts.
        first: the first region; of a record, all of it.
        again: whether they can be read more than once.
        total: how many, where that is known.
        shown: the file's name, as errors tell it.
    """

    def __init__(self, source: str | Path, items: Iterator[Any], kind: str, length: int) -> None:
        head = next(items)  # the readers refuse a file without any
        self.kind, self._length = kind, length
        self.total: int | None = None
        self._source = source
        self.shown = "<stdin>" if str(source) == "-" else str(source)
        self._opened: Iterator[Any] | None = chain([head], items)
        self.contigs: dict[str, int] = {}
        self.again = readable_again(source)
        self.first = head if kind == "bed" else Region(head[0], 0, len(head[1]))

    def items(self) -> Iterator[Any]:
        """Them all, Regions or (name, bases); a file is opened again but for the first time."""
        opened, self._opened = self._opened, None
        with reading(self.shown):
            every: Iterator[Any] = opened or open_regions_or_sequences(self._source)[1]
            for item in every:
                if self.kind == "fasta":
                    self.contigs[item[0]] = len(item[1])
                yield item

    def bases(self, item: Any) -> int:
        """Of one, as the model reads it."""
        return max(self._length, len(item) if self.kind == "bed" else len(item[1]))

    def identity(self, item: Any) -> bytes:
        """Of one: where it is, or its name and bases."""
        if self.kind == "bed":
            return bytes(item)
        name, bases = item
        return b"%s:%s" % (name.encode("utf-8", "surrogateescape"), bases.tobytes())


@dataclass(frozen=True)
class Job:
    """What is to be predicted, and how.

    Attributes:
        genome: of regions; None: the input are sequences.
        form: of the table, one of :data:`dnatk.output.table.FORMATS`.
    """

    scorer: Scorer
    options: PredictOptions
    fit: Fit
    work: Work
    genome: Genome | None
    table: Table
    form: str
    sharing: Sharing

    @property
    def contigs(self) -> dict[str, int]:
        """With their lengths; those of sequences as they are met."""
        return self.work.contigs if self.genome is None else self.genome.lengths

    @property
    def facts(self) -> dict[str, object]:
        """What stands in the root of the file, and what a resumed run must agree with."""
        task = self.scorer.task
        return {
            "dnatk_version": __version__,
            "task": task.name or str(task.directory),
            "task_sha256": task.sha256(),
            "model": task.trunk.name,
            "model_sha256": task.trunk.sha256,
            "length": task.length,
            "fit": str(self.fit),
            "combine": self.options.combine,
            "rc": self.options.rc,
            "precision": str(self.scorer.encoder.dtype).removeprefix("torch."),
        }

    def run(
        self,
        outputs: Outputs,
        *,
        resume: bool,
        force: bool,
        command: str,
        config: str,
        progress: Progress,
    ) -> PredictSummary | None:
        """Predict into ``outputs``; None for processes other than the first."""
        scorer, ranks = self.scorer, self.sharing.ranks
        if outputs.stream is not None and ranks.world > 1:
            raise InputError("the processes of torchrun cannot share stdout", hint="give -o FILE")
        combine = "mean" if self.options.combine == "tiles" else self.options.combine
        scored = Scored(scorer, combine=combine)
        engine = Engine(
            scorer.encoder,
            scorer.tokens,
            scored,
            rc=self.options.rc,
            batch_tokens=self.options.batch_tokens,
        )
        size = part_bases(engine.batch_tokens)
        share, total = self.sharing.share(self.work, size)
        facts = {**self.facts, **share.facts}
        tiles = self.options.combine == "tiles"
        if tiles:  # rows of their own, which nobody has counted
            total = None
        expected = None if ranks.world > 1 else total
        asked_of_file = {**facts, "embeddings": self.options.embeddings}
        if resume and (rows := outputs.finished(asked_of_file, expected)) is not None:
            return PredictSummary(rows, {}, kept=rows, finished=True)
        what = {
            "output": FORMAT,
            # Before the digest of a shard, which hangs on them and says less.
            "device": scorer.encoder.device.type,
            "batch_tokens": engine.batch_tokens,
            **facts,
            "command": command,
            "config": config,
            "files": outputs.suffixes,
            "format": self.form,
            "columns": self.table.columns,
            "embeddings": self.options.embeddings,
            "ignore_strand": self.options.ignore_strand,
        }
        kept_by = (
            nullcontext()
            if outputs.main is None
            else opened_store(outputs.main, what, ranks, resume=resume, force=force)
        )
        with kept_by as store:
            asked = store.asked if store else {"command": command}
            open_h5 = self._open_h5({**facts, **asked})
            sink = Sink(outputs, self.table, scored, store, open_h5, asked["command"])
            kept = store.rows() if store else 0
            progress.start("predicting", total, "windows" if tiles else "regions")
            try:
                drawn = self._tiles(share, size)
                made = run(engine, drawn, sink, store, share, self.contigs, RowsTold(progress))
            finally:
                progress.finish()
            if store is None:
                return PredictSummary.of(made.rows, made.unscored)
            return self._published(sink, store, kept)

    def _published(self, sink: Sink, store: PartStore, kept: int) -> PredictSummary | None:
        ranks = self.sharing.ranks
        ranks.wait()
        if ranks.rank:
            return None
        store.refresh()
        sink.publish(self.contigs)
        return PredictSummary.of(store.rows(), store.unscored(), kept)

    def _tiles(self, share: Share, size: int) -> Iterator[Tile]:
        mine = share.of(self.work.items(), size, self.work.bases)
        if self.genome is None:
            return record_rows(mine, self.work.shown, self.scorer, self.fit, self.options)
        return region_rows(mine, self.genome, self.scorer, self.fit, self.options)

    def _open_h5(self, attributes: Mapping[str, object]) -> Callable[[Path], PredictionWriter]:
        width = self.scorer.head.config.width if self.options.embeddings else None
        return partial(
            PredictionWriter,
            space=self.scorer.task.shown,
            lengths=self.contigs,
            width=width,
            attributes=dict(attributes),
        )
