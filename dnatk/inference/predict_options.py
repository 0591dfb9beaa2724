"""How ``dnatk predict`` reads regions and writes rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dnatk.errors import InputError
from dnatk.output.table import FORMATS
from dnatk.tasks.task import COMBINES, Task


@dataclass(frozen=True)
class PredictOptions:
    """How regions become rows.

    Attributes:
        fit, combine, rc: "": as the task says; else see :class:`Fit` and :class:`Task`. Combine
            "tiles" gives a row for each window instead of one for each region.
        on_error: "na" gives a row that cannot be scored NA and a note, "fail" stops there.
        ignore_strand: read regions without a strand forward, also for a stranded task.
        format: bed, tsv or jsonl; "": bed for BED, tsv for FASTA.
        probabilities: a column for each class.
        header, provenance: the lines above the rows.
        embeddings: put what the head sees into the HDF5 file too.
        trust_remote_code: run the code that a task's model brings along.
    """

    fit: str = ""
    combine: str = ""
    rc: str = ""
    on_error: str = "na"
    ignore_strand: bool = False
    format: str = ""
    probabilities: bool = False
    header: bool = True
    provenance: bool = True
    embeddings: bool = False
    trust_remote_code: bool = False
    device: str = "auto"
    precision: str = "auto"
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("combine", ("", *COMBINES)),
            ("rc", ("", "none", "average")),
            ("on_error", ("na", "fail")),
            ("format", ("", *FORMATS)),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(filter(None, allowed))}")

    def of(self, task: Task) -> PredictOptions:
        """These options with what they leave open filled in by a task."""
        return replace(
            self,
            fit=self.fit or task.fit,
            combine=self.combine or task.combine,
            rc=self.rc or task.rc,
        )
