"""Regions and records as rows of windows, on their way to the engine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from dnatk.errors import InputError, ReferenceError_
from dnatk.genome.fasta import Genome
from dnatk.genome.fit import Fit
from dnatk.genome.regions import Region
from dnatk.inference.batches import Row, Tile
from dnatk.inference.predict_options import PredictOptions
from dnatk.inference.sequences import record_windows, row_tiles
from dnatk.kmers import Tokens, reverse_complement
from dnatk.output.status import Status
from dnatk.tasks.scorer import Scorer
from dnatk.tasks.task import Task

log = logging.getLogger(__name__)

# A sequence this many times as long as the window at its middle is hardly meant to be read so.
_MANY = 10


def check_strand_column(first: Region, task: Task, fit: Fit, options: PredictOptions) -> None:
    """Raise :class:`InputError` where strands are read and a BED's first line has none of them.

    A later line that is shorter is a region without a strand: rows are out by then.
    """
    if needs_strand(task, fit, options) and len(first.fields) < 6:
        raise _no_strand(first, "has no strand column")


def needs_strand(task: Task, fit: Fit, options: PredictOptions) -> bool:
    """Whether what is read of a region depends on its strand."""
    # Whatever is averaged, a tss window lies upstream of one of the two.
    return not options.ignore_strand and (fit.kind == "tss" or task.needs_strand(options.rc))


def record_rows(
    records: Iterable[tuple[int, tuple[str, np.ndarray]]],
    source: str,
    scorer: Scorer,
    fit: Fit,
    options: PredictOptions,
) -> Iterator[Tile]:
    """The tiles of each record, numbered with its part; ``source`` names the file in errors."""
    told = False
    for part, (name, bases) in records:
        windows = record_windows(bases, fit)
        if fit.kind == "center" and len(bases) > _MANY * fit.length and not told:
            told = True
            log.warning(
                "%s: of its %d bases the middle %d are read (--fit tile reads all)",
                *(name, len(bases), fit.length),
            )
        if options.combine == "tiles" and fit.kind != "center" and len(bases) > fit.length:
            for start, piece in windows:
                region = Region(name, start, start + len(piece), name=name, source=source)
                row = Row(region, part=part)
                yield from _checked(row, row_tiles(row, [(0, piece)], scorer.tokens), options)
        else:
            row = Row(Region(name, 0, len(bases), name=name, source=source), part=part)
            yield from _checked(row, row_tiles(row, windows, scorer.tokens), options)


def region_rows(
    regions: Iterable[tuple[int, Region]],
    genome: Genome,
    scorer: Scorer,
    fit: Fit,
    options: PredictOptions,
) -> Iterator[Tile]:
    """The tiles of each region, numbered with its part."""
    stranded = needs_strand(scorer.task, fit, options)
    told = False
    for part, region in regions:
        status = _status(region, genome, stranded, options)
        if status is Status.UNKNOWN_CONTIG and not told:
            told = True
            log.warning("%s", genome.unknown_contig(region))
        if status:
            yield Tile(Row(region, status, part), np.empty(0, dtype=np.int64), 0, 0, last=True)
            continue
        places = fit.windows(region.start, region.end, region.strand, genome.lengths[region.contig])
        if options.combine == "tiles" and fit.kind == "tile" and len(region) > fit.length:
            for start, end in places:
                row = Row(_piece(region, start, end), part=part)
                yield from _region_row(row, [(start, end)], genome, scorer.tokens, options)
        else:
            row = Row(region, part=part)
            yield from _region_row(row, places, genome, scorer.tokens, options)


def _region_row(
    row: Row,
    places: Iterable[tuple[int, int]],
    genome: Genome,
    tokens: Tokens,
    options: PredictOptions,
) -> Iterator[Tile]:
    region = row.region
    backwards = region.strand == "-"

    def windows() -> Iterator[tuple[int, np.ndarray]]:
        for start, end in places:
            bases = genome.fetch(region.contig, start, end)
            if backwards:
                yield region.end - end, reverse_complement(bases)
            else:
                yield start - region.start, bases

    yield from _checked(row, row_tiles(row, windows(), tokens), options)


def _checked(row: Row, tiles: Iterator[Tile], options: PredictOptions) -> Iterator[Tile]:
    """The tiles, or an error where the row cannot be scored and that is to fail."""
    for tile in tiles:
        if row.status and options.on_error == "fail":
            region = row.region
            raise InputError(
                f"{region.contig}:{region.start}-{region.end} cannot be scored: "
                f"{Status(row.status).note.replace('_', ' ')}",
                path=region.source or None,
                line=region.line,
                hint="--on-error na writes an NA row instead",
            )
        yield tile


def check_region(region: Region, genome: Genome, stranded: bool) -> None:
    """Raise :class:`ReferenceError_` where the genome has no such region, :class:`InputError`
    where it has no strand and needs one."""
    genome.check(region)
    if stranded and region.strand == ".":
        raise _no_strand(region, "has no strand")


def _status(region: Region, genome: Genome, stranded: bool, options: PredictOptions) -> Status:
    try:
        check_region(region, genome, stranded)
    except InputError as error:
        if options.on_error == "fail":
            raise
        if not isinstance(error, ReferenceError_):
            return Status.NO_STRAND
        known = region.contig in genome.lengths
        return Status.OUT_OF_BOUNDS if known else Status.UNKNOWN_CONTIG
    return Status.SCORED


def _no_strand(region: Region, what: str) -> InputError:
    return InputError(
        f"{what}, and the task reads strands",
        path=region.source or None,
        line=region.line,
        hint="give + or - in column 6, or --ignore-strand to read forward",
    )


def _piece(region: Region, start: int, end: int) -> Region:
    """A window of a region as a row of its own: its coordinates, the region's other columns."""
    fields = (region.contig, str(start), str(end), *region.fields[3:])
    named = replace(region, name="").name != region.name  # else its place is its name
    name = region.name if named else ""
    return replace(region, start=start, end=end, name=name, fields=fields)
