"""``dnatk predict --report``: from the rows of a table to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dnatk.errors import OutputError
from dnatk.genome.files import open_text
from dnatk.inference.predict_sink import Outputs
from dnatk.output.files import written_whole
from dnatk.output.prediction_tally import PredictionTally
from dnatk.output.table import Table
from dnatk.tasks.task import Task


@dataclass
class Report:
    """A page to be.

    A table that is a file is read when it is finished: so the rows of a run before, of other
    processes and of a run that was finished already are in it. Rows of a stream are seen as they
    pass.

    Attributes:
        path: of the page.
        form: of the table.
        source: the input, as given.
        shard: "2/8", or "".
        tally: takes the rows of a stream.
    """

    path: Path
    task: Task
    table: Table
    form: str
    source: str
    shard: str
    tally: PredictionTally = field(init=False)

    def __post_init__(self) -> None:
        self.tally = PredictionTally(self.table.columns, self.form, self.task.shown)

    def write(
        self, outputs: Outputs, rows: int, lengths: Mapping[str, int], provenance: Sequence[str]
    ) -> None:
        """Write the page, whole or not at all.

        Args:
            outputs: of the run, which is finished.
            rows: that it has.
            lengths: of contigs, as far as they are known.
            provenance: the ``##dnatk`` lines.

        Raises:
            OutputError: the rows went to a stream in a run before, or the page cannot be written.
        """
        from dnatk.inference.predict_page import predict_page

        if outputs.table_path is not None:
            self._read(outputs.table_path, outputs.head("").count("\n"))
        elif not self.tally.rows and rows:
            raise OutputError(
                "is finished, and its rows are not told again: there is no report",
                path=outputs.h5_path,
                hint="--force begins afresh; with -o FILE a report can be made at any time",
            )
        page = predict_page(
            self.tally,
            self.task,
            source=self.source,
            lengths=lengths,
            provenance=provenance,
            shard=self.shard,
        )
        with written_whole(self.path) as partial:
            # Of a file's name bytes that are no text are shown as numbers.
            partial.write_text(page, encoding="utf-8", errors="backslashreplace")

    def _read(self, path: Path, above: int) -> None:
        with open_text(path) as lines:
            for number, line in enumerate(lines):
                if number >= above:
                    self.tally.add(line.decode("utf-8"))
