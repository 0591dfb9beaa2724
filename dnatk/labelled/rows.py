"""What readers of labelled files are told and what they give, before labels get a meaning."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.regions import Region
from dnatk.labelled.dataset import KINDS, LabelSpace

NEGATIVES = ("gc", "dinucleotide", "random")
CONTIG = ("chrom", "chr", "contig", "chromosome")
DEFAULT_LABELS = ("label", "labels", "target")

_LETTERS = b"ACGTURYSWKMBDHVN"


@dataclass(frozen=True)
class ReadOptions:
    """How labelled files are read; every default is "find out".

    Attributes:
        sequence: column of the bases in a table; "" is 'sequence' or 'seq'.
        labels: label columns; () is 'label', 'labels' or 'target'. Of a table: names. Of a BED:
            names in its '#' header, or 1-based numbers; with no such column it lists positives. Of
            a FASTA: keys in its headers, or columns of ``side_labels``.
        kind: one of KINDS; "" is inferred (see :func:`dnatk.labelled.labels.infer_kind`).
        positive: the positive class of binary labels; "" is 1, true, positive, yes or pos, else
            the last in sorted order. Names the class of a BED that has positives only.
        side_labels: a table that gives a FASTA's names their labels.
        header_label: the key in FASTA headers (``key=value``); "" is explained at
            :mod:`dnatk.labelled.fasta`.
        genome: FASTA that the regions of a BED (or a table without bases) are read from.
        length: sequences are cut, and regions of the genome brought to it (shorter at a contig's
            end; never made longer where each base has its label). 0 leaves them alone.
        fit: how regions are: "tile" and "center" round their middle, "tss:-250,+50" to those bases
            of their 5' end; see :class:`dnatk.genome.fit.Fit`.
        stranded: whether a region of the genome that has no strand is an error; by a tss
            fit it is in any case.
        cut: whether longer sequences, and by "tile" longer regions, are cut to their middle: an
            example to learn from is one window. False leaves them whole.
        negatives: how negatives are drawn where a BED has positives only: "gc" (places of like GC),
            "dinucleotide" (shuffled copies) or "random" (places).
        negative_ratio: negatives to a positive.
        seed: of the negatives.
    """

    sequence: str = ""
    labels: tuple[str, ...] = ()
    kind: str = ""
    positive: str = ""
    side_labels: str = ""
    header_label: str = ""
    genome: str = ""
    length: int = 0
    fit: str = "tile"
    stranded: bool = False
    cut: bool = True
    negatives: str = "gc"
    negative_ratio: float = 1.0
    seed: int = 42

    def __post_init__(self) -> None:
        for what, value, known in (
            ("kind of label", self.kind, ("", *KINDS)),
            ("way to draw negatives", self.negatives, NEGATIVES),
        ):
            if value not in known:
                raise InputError(
                    f"no {what} '{value}'", hint=f"one of {', '.join(filter(None, known))}"
                )
        if not 0 < self.negative_ratio < float("inf"):
            raise InputError(f"{self.negative_ratio:g} negatives to a positive: must be above 0")


@dataclass
class Rows:
    """N examples as they stand in a file.

    Attributes:
        path: the file as given.
        columns: what the label cells are called.
        sequences: N arrays (L_i,) uint8, upper case.
        cells: N tuples of label texts, one for each of ``columns``.
        names, lines: what each is called and where it stands.
        regions: None unless every example has one.
        cut: whether a longer region was cut to its middle.
        from_genome: whether the bases are those of a genome at the regions.
    """

    path: str
    columns: tuple[str, ...]
    sequences: list[np.ndarray] = field(default_factory=list)
    cells: list[tuple[str, ...]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    regions: list[Region] | None = None
    cut: bool = False
    from_genome: bool = False

    def add(
        self,
        sequence: np.ndarray,
        cells: tuple[str, ...],
        name: str,
        line: int,
        region: Region | None = None,
    ) -> None:
        """One more example, at the end."""
        self.sequences.append(sequence)
        self.cells.append(cells)
        self.names.append(name)
        self.lines.append(line)
        if region is not None:
            self.regions = self.regions or []
            self.regions.append(region)


def clean_bases(text: str | bytes, path: str, line: int) -> np.ndarray:
    """(L,) uint8 upper-case bases of a sequence in a file.

    Raises:
        InputError: no base, or a letter that is no IUPAC nucleotide code; at ``path:line``.
    """
    raw = (text.encode("utf-8", "replace") if isinstance(text, str) else text).upper()
    if not raw:
        raise InputError("no sequence", path=path, line=line)
    strange = raw.translate(None, _LETTERS)
    if strange:
        at = raw.index(strange[:1])
        letter = strange[:1].decode("latin-1")
        raise InputError(
            f"{letter!r} (letter {at + 1} of the sequence) is no nucleotide",
            path=path,
            line=line,
            hint="bases are A, C, G, T, N or another IUPAC code, without spaces",
        )
    return np.frombuffer(raw, dtype=np.uint8)


def own_columns(space: LabelSpace | None) -> tuple[str, ...]:
    """What a known task's label columns were called, where its outputs carry their names."""
    return space.classes if space and space.kind in ("multilabel", "regression") else ()
