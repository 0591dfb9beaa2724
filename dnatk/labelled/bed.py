"""BED and a genome in: with a label column, or positives only and negatives drawn beside them.

Labels are read where a column is named, by the option ``labels`` or by a '#' header line with a
column label, labels or target. Every other BED, whatever columns it has, lists positives.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dnatk.errors import InputError, NoGenomeError, did_you_mean
from dnatk.genome.bed import is_header, read_bed
from dnatk.genome.fasta import Genome
from dnatk.genome.files import open_text
from dnatk.genome.locate import resolve_genome
from dnatk.genome.regions import Region
from dnatk.labelled.dataset import LabelSpace
from dnatk.labelled.negatives import shuffle_dinucleotides, spread, unlike_places
from dnatk.labelled.places import fitted, read_bases
from dnatk.labelled.rows import CONTIG, DEFAULT_LABELS, ReadOptions, Rows, own_columns


def rows_of_bed(
    path: str | Path,
    options: ReadOptions,
    space: LabelSpace | None,
    avoid: Iterable[Region] = (),
) -> Rows:
    """The examples of a BED: its rows, then the negatives if it has no labels.

    ``avoid`` are places beside the positives that no negative may touch.
    """
    if not options.genome:
        raise NoGenomeError(
            "is BED, which has no bases", path=path, hint="name its genome: --genome"
        )
    columns, names = _label_columns(path, options, space)
    positive, negative = _class_names(path, options, space) if not columns else ("", "")
    with Genome(resolve_genome(options.genome, os.environ)) as genome:
        given = _checked(path, genome)
        regions = [fitted(region, options, genome) for region in given]
        shorter = any(len(a) < len(b) for a, b in zip(regions, given, strict=True))
        rows = Rows(str(path), names, cut=shorter, from_genome=True)
        for region in regions:
            cells = tuple(_cell(region, column) for column in columns) or (positive,)
            rows.add(read_bases(genome, region), cells, region.name, region.line, region)
        if not columns:
            _add_negatives(rows, negative, genome, [*given, *avoid], options)
    return rows


def has_labels(path: str | Path) -> bool:
    """Whether the header of a BED names a label column."""
    return bool(_label_columns(path, ReadOptions(), None)[0])


def places_of_bed(path: str | Path, options: ReadOptions) -> list[Region]:
    """The regions of a BED as they are written and as they are read."""
    with Genome(resolve_genome(options.genome, os.environ)) as genome:
        given = _checked(path, genome)
        return [*given, *(fitted(region, options, genome) for region in given)]


def _checked(path: str | Path, genome: Genome) -> list[Region]:
    given = list(read_bed(path))
    for region in given:
        genome.check(region)
    return given


def _add_negatives(
    rows: Rows, negative: str, genome: Genome, avoid: list[Region], options: ReadOptions
) -> None:
    regions, sequences = list(rows.regions), list(rows.sequences)
    rng = np.random.default_rng(options.seed)
    sources = spread(len(regions), options.negative_ratio, rng)
    if options.negatives == "dinucleotide":
        # A copy counts as lying where its model lies, so that both go to one side of a split.
        for row in sources.tolist():
            shuffled = shuffle_dinucleotides(sequences[row], rng)
            name = f"{regions[row].name}_shuffled"
            rows.add(shuffled, (negative,), name, regions[row].line, regions[row])
        return
    like = [regions[row] for row in sources]
    places = unlike_places(
        genome, like, [*regions, *avoid], rng, match_gc=options.negatives == "gc"
    )
    for region in places:
        rows.add(read_bases(genome, region), (negative,), region.name, region.line, region)


def _class_names(
    path: str | Path, options: ReadOptions, space: LabelSpace | None
) -> tuple[str, str]:
    """(positive, negative): what a BED without labels calls its classes."""
    kind = space.kind if space else options.kind or "binary"
    if kind != "binary":
        raise InputError(
            f"has no label column, and the labels are {kind}",
            path=path,
            hint="name the column with --label-column",
        )
    if space is None:
        return options.positive or "positive", "negative"
    return space.classes[1], space.classes[0]


def _label_columns(
    path: str | Path, options: ReadOptions, space: LabelSpace | None
) -> tuple[list[int], tuple[str, ...]]:
    """The label columns and their names; without columns where the BED has positives only."""
    header = _header(path)
    wanted = options.labels
    if not wanted and set(own_columns(space)) <= set(header):
        wanted = own_columns(space)
    if not wanted:
        lower = [name.lower() for name in header]
        named = next((name for name in DEFAULT_LABELS if name in lower[3:]), None)
        if named is None:
            return [], ("label",)
        return [lower.index(named, 3)], (named,)
    columns = []
    for name in wanted:
        if name in header:
            columns.append(header.index(name))
        elif name.isascii() and name.isdigit() and int(name) > 0:
            columns.append(int(name) - 1)
        else:
            shown = ", ".join(header) or "no '#' header"
            raise InputError(
                f"no column '{name}' among: {shown}",
                path=path,
                hint=did_you_mean(name, header)
                or "name a column by its header or its number, counted from 1",
            )
    return columns, tuple(wanted)


def _header(path: str | Path) -> list[str]:
    """The column names in a '#' line before the rows; [] without one.

    Other comments may stand round it: it has as many names as the first row has fields, or else
    begins with the contig's column.
    """
    above: list[list[str]] = []
    with open_text(path) as handle:
        for raw in handle:
            line = raw.decode("utf-8-sig", "replace").rstrip("\r\n")
            text = line.lstrip("# ")
            fields = [name.strip() for name in (text.split("\t") if "\t" in text else text.split())]
            if line.startswith("#"):
                above.append(fields)
            elif line.strip() and not is_header(line):
                by_name = [names for names in above if names[:1] and names[0].lower() in CONTIG]
                by_number = [names for names in above if len(names) == len(fields)]
                both = [names for names in by_name if names in by_number]
                return (both or by_number or by_name or [[]])[-1]
    return []


def _cell(region: Region, column: int) -> str:
    if column >= len(region.fields):
        raise InputError(
            f"has {len(region.fields)} columns, the label should be in column {column + 1}",
            path=region.source,
            line=region.line,
        )
    return region.fields[column].strip()
