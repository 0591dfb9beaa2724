"""Labelled files in, whatever they are: CSV, TSV, FASTA, or BED and a genome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from dnatk.errors import InputError
from dnatk.genome.bed import is_header
from dnatk.genome.files import open_text, readable_again
from dnatk.genome.regions import Region, middle
from dnatk.labelled.bed import places_of_bed, rows_of_bed
from dnatk.labelled.dataset import LabelledSet, LabelSpace
from dnatk.labelled.fasta import fasta_records, rows_of_fasta
from dnatk.labelled.labels import apply_labels
from dnatk.labelled.places import resized
from dnatk.labelled.rows import DEFAULT_LABELS, ReadOptions
from dnatk.labelled.tables import SEQUENCE, rows_of_table

__all__ = ["ReadOptions", "content_kind", "crop", "read_labelled"]


def read_labelled(
    path: str | Path,
    options: ReadOptions | None = None,
    space: LabelSpace | None = None,
    *,
    avoid: Iterable[Region] = (),
) -> LabelledSet:
    """Read a labelled file.

    Args:
        path: CSV, TSV, FASTA or BED (told by content), plain or gzip; a file, for it is read more
            than once.
        options: see :class:`ReadOptions`; None: find out.
        space: what the labels must fit (evaluation, or a second file); None: found in the file.
        avoid: places that sampled negatives keep clear of, beside the file's own positives: the
            regions of the other splits.

    Raises:
        InputError: whatever is wrong with the file, in one line with its place.

    >>> data = dnatk.read_labelled("train.csv")
    >>> len(data), data.space.kind, data.class_counts().tolist()
    (80, 'binary', [40, 40])
    """
    options = options or ReadOptions()
    if not readable_again(path) and (str(path) == "-" or Path(path).exists()):
        raise InputError("labelled data must be a file", path=path, hint="no pipe, no directory")
    if space is not None:
        options = replace(options, kind=space.kind, positive="")
    content = content_kind(path, options.labels)
    if content == "bed":
        rows = rows_of_bed(path, options, space, avoid)
    else:
        rows = (rows_of_fasta if content == "fasta" else rows_of_table)(path, options, space)
    space, targets = apply_labels(rows, options, space)
    data = LabelledSet(
        space, rows.sequences, targets, rows.names, rows.lines, rows.path, rows.regions, rows.cut
    )
    return crop(data, options.length) if options.length and options.cut else data


def places(path: str | Path, options: ReadOptions) -> list[Region]:
    """Where a file's own examples lie, as ``options`` read them; [] where nothing says so.

    Without a genome there are no negatives to be drawn either, and nobody asks.
    """
    content = content_kind(path, options.labels)
    if not options.genome or content == "fasta":
        return []
    if content == "bed":
        return places_of_bed(path, options)
    return rows_of_table(path, options, None, labelled=False).regions or []


def lengths(path: str | Path, options: ReadOptions) -> tuple[list[int], list[int]]:
    """Bases of a file's examples: of regions to be read from a genome, and of given sequences."""
    content = content_kind(path, options.labels)
    if content == "bed":
        return [len(region) for region in places_of_bed(path, options)], []
    if content == "fasta":
        return [], [len(bases) for _, _, bases in fasta_records(path)]
    rows = rows_of_table(path, options, None, labelled=False)
    found = [len(sequence) for sequence in rows.sequences]
    return (found, []) if rows.from_genome else ([], found)


def content_kind(path: str | Path, labels: Sequence[str] = ()) -> str:
    """'fasta', 'bed' or 'table', by the first line that says it.

    A '#' line that names a column of bases and one of labels (one of ``labels``, or as labels are
    called) is the header of a table, also above coordinates: its bases are no genome's.
    """
    columns: list[str] = []
    with open_text(path) as handle:
        for number, raw in enumerate(handle):
            line = raw.decode("utf-8-sig" if number == 0 else "utf-8", "replace").strip()
            # A comment of FASTA begins with ;, and so does a table whose first column has no name.
            if line[:1] == "#":
                columns = line.lstrip("# ").lower().split("\t")
            if not line or line[0] == ";" or is_header(line):
                continue
            if line[0] == ">":
                return "fasta"
            first, *more = line.split("\t") if "\t" in line else line.split()
            numbers = [text.removeprefix("-").isdigit() for text in more[:2]]
            # Classes may be called 0 and 1.
            header = first.lower() in SEQUENCE
            known = {*DEFAULT_LABELS, *map(str.lower, labels)}
            fits = len(columns) == len(line.split("\t"))
            headed = fits and {*SEQUENCE} & {*columns} and known & {*columns}
            return "bed" if numbers == [True, True] and not (header or headed) else "table"
    return "table"  # where an empty file is told of


def crop(data: LabelledSet, length: int) -> LabelledSet:
    """Sequences longer than ``length`` cut to their middle, with their base labels and regions."""
    long = [row for row, sequence in enumerate(data.sequences) if len(sequence) > length]
    if not long:
        return data
    sequences, targets = list(data.sequences), data.targets.copy()
    regions = None if data.regions is None else list(data.regions)
    for row in long:
        start, end = middle(0, len(sequences[row]), "+", length)
        if data.space.kind == "per-base":
            targets[row] = targets[row][start:end]
        if regions is not None and len(regions[row]) == len(sequences[row]):
            regions[row] = resized(regions[row], length)
        sequences[row] = sequences[row][start:end]
    return replace(data, sequences=sequences, targets=targets, regions=regions, cut=True)
