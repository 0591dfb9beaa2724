"""Tables in: CSV or TSV with a header line, plain or gzip.

Columns are separated by the tab, comma or semicolon that the header has most of. Columns chrom (or
chr, contig, chromosome), start, end and optionally strand give each row its region (0-based
half-open, as in BED); where there is no sequence column, its bases are read from the genome.
"""

from __future__ import annotations

import csv
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from dnatk.errors import InputError, did_you_mean
from dnatk.genome.bed import check_place
from dnatk.genome.fasta import Genome
from dnatk.genome.files import carriage_return, open_text
from dnatk.genome.locate import resolve_genome
from dnatk.genome.regions import Region
from dnatk.labelled.dataset import LabelSpace
from dnatk.labelled.places import fitted, read_bases
from dnatk.labelled.rows import (
    CONTIG,
    DEFAULT_LABELS,
    ReadOptions,
    Rows,
    clean_bases,
    own_columns,
)

log = logging.getLogger(__name__)

SEQUENCE = ("sequence", "seq")


@dataclass
class Table:
    """The header of a table and its records, each (line, fields) with as many fields."""

    path: str
    line: int
    columns: list[str]
    records: list[tuple[int, list[str]]]

    def column(self, *names: str) -> int | None:
        """Where the first of ``names`` stands, in the case given or else in any; None if nowhere.

        Raises:
            InputError: it stands twice.
        """
        for same in (str, str.lower):
            present = [same(name) for name in self.columns]
            for name in map(same, names):
                if present.count(name) > 1:
                    raise InputError(
                        f"{present.count(name)} columns called '{name}'",
                        path=self.path,
                        line=self.line,
                    )
                if name in present:
                    return present.index(name)
        return None

    def need(self, *names: str, hint: str) -> int:
        """The same, an :class:`InputError` that lists the columns where there is none."""
        found = self.column(*names)
        if found is None:
            shown = ", ".join(self.columns[:12]) + (", ..." if len(self.columns) > 12 else "")
            wanted = " or ".join(f"'{name}'" for name in names)
            close = did_you_mean(names[0], self.columns)
            raise InputError(
                f"no column {wanted} among: {shown}",
                path=self.path,
                line=self.line,
                hint=f"{close} {hint}" if close else hint,
            )
        return found


def read_table(path: str | Path) -> Table:
    """Read a table whole. A '#' before the header and lines above it with '##' are dropped.

    Raises:
        InputError: no text, no header, no rows, or a row with more or fewer fields than the header.
    """
    csv.field_size_limit(sys.maxsize)  # a sequence may be longer than csv's 128 KiB
    lines = _Lines(path)
    first, header = lines.header()
    delimiter = max("\t,;", key=header.count)
    ((_, columns),) = _records([header.lstrip("#")], delimiter, path, first)
    records = []
    for line, fields in _records(lines, delimiter, path, first + 1):
        if not any(fields):
            continue
        if len(fields) != len(columns):
            raise InputError(
                f"{len(fields)} field(s) where the header has {len(columns)}", path=path, line=line
            )
        records.append((line, fields))
    if not records:
        raise InputError("has no rows", path=path, hint="a header line, then one example a line")
    return Table(str(path), first, columns, records)


def _records(
    lines: Iterable[str], delimiter: str, path: str | Path, first: int
) -> Iterator[tuple[int, list[str]]]:
    """The number of each record's first line, and its fields; ``first`` is that of ``lines``.

    Strict: a quote that nothing closes would take all lines behind it into one field.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = first + reader.line_num
        try:
            fields = next(reader, None)
        except csv.Error as error:
            hint = 'a field that begins with " ends with one; double those inside'
            raise InputError(f"is no table: {error}", path=path, line=line, hint=hint) from None
        if fields is None:
            return
        yield line, [text.strip() for text in fields]


class _Lines:
    """The text lines of a file, and the number of the one read last."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.number = path, 0
        self._lines = self._read()

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def _read(self) -> Iterator[str]:
        with open_text(self.path) as handle:
            for self.number, raw in enumerate(handle, start=1):
                try:
                    text = raw.decode("utf-8-sig" if self.number == 1 else "utf-8")
                except UnicodeDecodeError:
                    text = "\0"
                if "\0" in text:
                    raise InputError("is not a text file", path=self.path, line=self.number)
                if "\r" in text.rstrip("\r\n"):
                    raise carriage_return(self.path, self.number)
                yield text

    def header(self) -> tuple[int, str]:
        """Its number and text: of several lines with '#' the last one."""
        while text := next(self._lines, ""):
            if text.strip() and not text.startswith("##"):
                number, following = self.number, next(self._lines, "")
                self._lines = chain([following] if following else (), self._lines)
                if not (text.startswith("#") and following.startswith("#")):
                    return number, text.rstrip("\r\n")
        raise InputError("is empty", path=self.path)


def label_columns(table: Table, options: ReadOptions, space: LabelSpace | None) -> list[int]:
    """The columns of the labels: as named, else a known task's own names, else 'label'."""
    hint = "name yours with --label-column"
    if options.labels:
        return [table.need(name, hint=hint) for name in options.labels]
    own = [table.column(name) for name in own_columns(space)]
    if own and None not in own:
        return own
    return [table.need(*DEFAULT_LABELS, hint=hint)]


def rows_of_table(
    path: str | Path, options: ReadOptions, space: LabelSpace | None, *, labelled: bool = True
) -> Rows:
    """The examples of a CSV or TSV; without their labels where only places or bases are asked."""
    table = read_table(path)
    labels = label_columns(table, options, space) if labelled else []
    place = [table.column(*CONTIG), table.column("start"), table.column("end")]
    strand, name = table.column("strand"), table.column("name", "id")
    from_genome = bool(options.genome) and None not in place and not options.sequence
    wanted = (options.sequence,) if options.sequence else SEQUENCE
    sequence = table.column(*wanted)
    if sequence is None and not from_genome:
        hint = "name yours with --sequence-column"
        if None not in place:
            hint += ", or have the bases read from --genome"
        table.need(*wanted, hint=hint)
    rows = Rows(str(path), tuple(table.columns[column] for column in labels))
    genome = None
    if sequence is None:
        genome = Genome(resolve_genome(options.genome, os.environ))
        rows.from_genome = True
    try:
        for number, (line, fields) in enumerate(table.records, start=1):
            region = None
            if None not in place:
                where = [fields[column] for column in place]
                way = (fields[strand] if strand is not None else "") or "."
                start, end = check_place(*where, way, str(path), line)
                region = Region(where[0], start, end, way, "", str(path), line)
            if genome is None:
                bases = clean_bases(fields[sequence], str(path), line)
            else:
                genome.check(region)
                given, region = region, fitted(region, options, genome)
                rows.cut |= len(region) < len(given)
                bases = read_bases(genome, region)
            shown = fields[name] if name is not None and fields[name] else f"row{number}"
            rows.add(bases, tuple(fields[column] for column in labels), shown, line, region)
    finally:
        if genome is not None:
            genome.close()
    if genome is None and rows.regions and labelled:
        _check_lengths(rows)
    return rows


def _check_lengths(rows: Rows) -> None:
    """Tell of sequences that are not as long as the place that they are said to come from."""
    pairs = enumerate(zip(rows.sequences, rows.regions, strict=True))
    odd = [row for row, (bases, region) in pairs if len(bases) != len(region)]
    if odd:
        log.warning(
            "%s:%d: %d bases, but start and end are %d apart (so in %d of %d rows): are they "
            "0-based, the end not included?",
            *(rows.path, rows.lines[odd[0]], len(rows.sequences[odd[0]])),
            *(len(rows.regions[odd[0]]), len(odd), len(rows.sequences)),
        )
