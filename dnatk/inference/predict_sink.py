"""Where predictions go: a stream, a table, an HDF5 file; the files by way of parts."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from dnatk.errors import OutputError
from dnatk.genome.files import open_text
from dnatk.inference.batches import Row
from dnatk.inference.scored import Scored
from dnatk.output.files import packed_by_name
from dnatk.output.finished import finished_rows, merged_h5, staged
from dnatk.output.part_store import PartStore, unfinished
from dnatk.output.predictions_hdf5 import FORMAT, PredictionWriter
from dnatk.output.status import Status
from dnatk.output.table import Labeller, Prediction, Table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """What a prediction is written to.

    Attributes:
        stream: for rows as they come; None where they go to ``table_path``.
        table_path, h5_path: files, or None.
        head: of the command line, the lines above the rows.
        watch: sees every row that goes to the stream.
    """

    stream: TextIO | None
    table_path: Path | None
    h5_path: Path | None
    head: Callable[[str], str]
    watch: Callable[[str], None] | None = None

    @property
    def main(self) -> Path | None:
        """The file beside which the parts lie; None where no file is written."""
        return self.table_path or self.h5_path

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the files of a part."""
        return (".txt", ".h5") if self.h5_path else (".txt",)

    def finished(self, facts: Mapping[str, object], total: int | None) -> int | None:
        """Rows of a run that is finished; None where it is not.

        Args:
            facts: of this run.
            total: the rows that it gives, where that is known.

        Raises:
            OutputError: a file that is there is of another run, cut off, or stands alone.
        """
        paths = [path for path in (self.table_path, self.h5_path) if path is not None]
        there = [path for path in paths if path.exists()]
        if not there or unfinished(self.main):
            return None
        if there != paths:
            raise OutputError("exists already", path=there[0], hint="--force overwrites it")
        rows = None
        if self.h5_path is not None:
            rows = finished_rows(self.h5_path, FORMAT, facts)
        if self.table_path is not None:
            rows = self._rows_of_table()
            if self.h5_path is None and "##dnatk" not in self.head(""):
                log.warning(
                    "%s: is there already and is left as it is, though without provenance nothing "
                    "says that it is of this run (--force makes it again)",
                    self.table_path,
                )
        if total not in (None, rows):
            raise OutputError(
                f"is finished, but has {rows} rows of {total}",
                path=self.main,
                hint="--force overwrites it",
            )
        return rows

    def _rows_of_table(self) -> int:
        """Rows of the finished table, whose lines above the rows must be these."""
        wanted = [line for line in self.head("").splitlines() if "##dnatk command=" not in line]
        with open_text(self.table_path) as lines:
            above = [next(lines, b"") for _ in self.head("").splitlines()]
            rows = sum(1 for _ in lines)
        head = [line.decode("utf-8", "replace").rstrip("\n") for line in above]
        found = [line for line in head if "##dnatk command=" not in line]
        for now, before in zip(wanted, found, strict=False):
            if now != before:
                raise OutputError(
                    f"is finished, but with '{before}', not '{now}'",
                    path=self.table_path,
                    hint="name another output, or --force overwrites it",
                )
        return rows


class Sink:
    """Labels rows and writes them.

    Args:
        store: where parts are kept; None: there is only the stream.
        open_h5: makes a writer of a path, where an HDF5 file is wanted.
    """

    def __init__(
        self,
        outputs: Outputs,
        table: Table,
        scored: Scored,
        store: PartStore | None,
        open_h5: Callable[[Path], PredictionWriter],
        command: str,
    ) -> None:
        self._outputs, self._table, self._scored = outputs, table, scored
        self._label = Labeller(scored.task.shown, scored.task.thresholds or None)
        self._store, self._open_h5, self._command = store, open_h5, command
        self.suffixes = outputs.suffixes
        self._text: TextIO | None = None
        self._h5: PredictionWriter | None = None
        if outputs.stream is not None:
            outputs.stream.write(outputs.head(command))

    def write(self, part: int, rows: list[Row]) -> None:
        if self._store is not None and self._text is None:
            self._text = open(  # noqa: SIM115
                self._store.path(part, ".txt"), "w", encoding="utf-8", newline="\n"
            )
            if self._outputs.h5_path is not None:
                self._h5 = self._open_h5(self._store.path(part, ".h5"))
        predictions = [self._prediction(row) for row in rows]
        streams = [s for s in (self._outputs.stream, self._text) if s is not None]
        for line in self._table.rows(predictions):
            for stream in streams:
                stream.write(line)
            if self._outputs.watch is not None:
                self._outputs.watch(line)
        if self._outputs.stream is not None:
            self._outputs.stream.flush()
        if self._h5 is not None:
            self._h5.append(predictions)

    def _prediction(self, row: Row) -> Prediction:
        output_C = self._scored.output(row)
        if row.status or output_C is None:
            return Prediction.unscored(row.region, Status(row.status).note)
        return self._label(row.region, output_C, self._scored.vector(row))

    def end(self) -> None:
        if self._h5 is not None:
            self._h5.finish()
            self._h5 = None
        if self._text is not None:
            self._text.close()
            self._text = None

    def made(self, part: int) -> None:
        """The stream gets the rows that a run before has made."""
        if self._outputs.stream is not None:
            with open(self._store.path(part, ".txt"), encoding="utf-8", newline="\n") as text:
                for line in text:
                    self._outputs.stream.write(line)
                    if self._outputs.watch is not None:
                        self._outputs.watch(line)
            self._outputs.stream.flush()

    def close(self) -> None:
        h5, text, self._h5, self._text = self._h5, self._text, None, None
        try:
            if h5 is not None:
                h5.close()
        finally:
            if text is not None:
                with suppress(OSError):  # of a full disk: what is in it is thrown away
                    text.close()

    def publish(self, contigs: Mapping[str, int]) -> None:
        """Make the parts into the files asked for."""
        finished = {}
        try:
            if self._outputs.h5_path is not None:
                merged, _ = merged_h5(self._store, self._outputs.h5_path, self._empty, contigs)
                finished[merged] = self._outputs.h5_path
            if self._outputs.table_path is not None:
                merged = staged(self._store, self._outputs.table_path, ".txt")
                finished[merged] = self._outputs.table_path
                self._merge_text(merged)
            self._store.publish(finished)
        except BaseException:
            for made in finished:  # they may wait in other directories, where nobody looks again
                with suppress(OSError):
                    made.unlink(missing_ok=True)
            raise

    def _empty(self, path: Path) -> None:
        self._open_h5(path).finish()

    def _merge_text(self, merged: Path) -> None:
        with packed_by_name(merged, self._outputs.table_path) as whole:
            whole.write(self._outputs.head(self._command).encode())
            for number in sorted(self._store.made):
                with open(self._store.path(number, ".txt"), "rb") as part:
                    shutil.copyfileobj(part, whole)
