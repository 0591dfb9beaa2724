"""What the points of a map are coloured by: a column of the HDF5 file, or of the regions' BED file.

Shapes: N rows of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from dnatk.errors import InputError
from dnatk.genome.bed import is_header, read_bed
from dnatk.genome.files import open_text, readable_again
from dnatk.output import layout

BED_NAMES = ("chrom", "start", "end", "name", "score", "strand")
FILE_NAMES = ("contig", "strand", "name", "start", "end", "length", "label")
_MISSING = ("", ".", "NA", "nan", "NaN")
# Whole numbers with at most so many different values are names of classes.
_FEW = 12


@dataclass(frozen=True)
class Colours:
    """A value for each point.

    Attributes:
        name: of the column; "" where points are all alike.
        numbers: (N,) float64, nan where missing; None: they are names.
        names: N texts, "" where missing.
    """

    name: str
    numbers: np.ndarray | None = None
    names: Sequence[str] = ()

    @classmethod
    def of(cls, name: str, texts: Sequence[str]) -> Colours:
        """Numbers, or names: whole numbers of few kinds are names of classes."""
        clean = ["" if text in _MISSING else text for text in texts]
        different = set(filter(None, clean))
        try:
            numbers = [float(text) if text else np.nan for text in clean]
        except ValueError:
            return cls(name, names=clean)
        whole = all(value == int(value) for value in numbers if np.isfinite(value))
        if not different or (whole and len(different) <= _FEW):
            return cls(name, names=clean)
        return cls(name, np.array(numbers))

    def check(self) -> None:
        """Raise :class:`InputError` where there is nothing to be seen in the colours."""
        if self.numbers is None and self.name:
            most = Counter(filter(None, self.names)).most_common(1)
            if not most:
                raise InputError(f"column '{self.name}' is empty")
            if most[0][1] == 1 and len(self.names) > _FEW:
                raise InputError(
                    f"column '{self.name}' is different in every row: no colours to tell apart",
                    hint="--colour takes a column of groups or of numbers",
                )


def check_colour(colour: str, bed: str | Path | None, *, labels: bool = True) -> None:
    """Raise :class:`InputError` where there will be no such column, before any work is done.

    Args:
        bed: the regions; None: there is none, "-" cannot be read again.
        labels: whether the file may be one of predictions.
    """
    names = _file_names(labels)
    if not colour or (colour in names and not _is_file(bed)):
        return
    if not _is_file(bed):
        raise InputError(
            f"no column '{colour}' without the regions' BED file",
            hint=f"one of {', '.join(names)}; or save the regions to a file",
        )
    if bed is not None and (colour not in names or colour in BED_NAMES):
        _column(colour, bed)


def _file_names(labels: bool) -> tuple[str, ...]:
    """What rows of a file can be coloured by without their BED file."""
    return FILE_NAMES if labels else FILE_NAMES[:-1]


def _is_file(bed: str | Path | None) -> bool:
    return bed is not None and readable_again(bed)


def colours_of(
    file: h5py.File, path: str | Path, row_N: np.ndarray, colour: str, bed: str | Path | None
) -> Colours:
    """The colours of some rows.

    Args:
        file, path: a row file.
        row_N: ascending numbers of its rows.
        colour: a column's name, or its number in the BED file, from 1; "": label where there is
            one, else contig where there are several, else strand where there are both.
        bed: the regions that the rows are of.

    Raises:
        InputError: no such column, or the BED file is not that of the rows.
    """
    labels = layout.is_prediction(file)
    names = _file_names(labels)
    from_bed = colour and _is_file(bed) and (colour in BED_NAMES or colour not in names)
    if bed is not None and from_bed:
        at = _column(colour, bed)
        named = _header(bed) or BED_NAMES
        name = named[at] if at < len(named) else f"column {at + 1}"
        found = Colours.of(name, _bed_values(file, path, row_N, at, bed))
    elif colour:
        check_colour(colour, None)
        found = _file_values(file, path, row_N, colour)
    else:
        tried = ("label", "contig", "strand") if labels else ("contig", "strand")
        every = (_file_values(file, path, row_N, name) for name in tried)
        return next((each for each in every if len(set(each.names)) > 1), Colours(""))
    found.check()
    return found


def _file_values(file: h5py.File, path: str | Path, row_N: np.ndarray, name: str) -> Colours:
    def column(dataset: str) -> np.ndarray:
        return np.asarray(layout.dataset(file, dataset, path)[:])[row_N]

    if name in ("start", "end", "length"):
        start_N, end_N = column("region/start"), column("region/end")
        values = {"start": start_N, "end": end_N, "length": end_N - start_N}[name]
        return Colours(name, values.astype(np.float64))
    if name == "contig":
        known = layout.dataset(file, "contig/name", path).asstr()[:]
        return Colours(name, names=known[column("region/contig")].tolist())
    if name == "label":
        if not layout.is_prediction(file):
            raise InputError("holds embeddings, no labels", path=path)
        return Colours(name, names=[text.decode() for text in column("prediction/label")])
    texts = [text.decode() for text in column(f"region/{name}")]
    return Colours.of(name, texts) if name == "name" else Colours(name, names=texts)


def _column(colour: str, bed: str | Path) -> int:
    """The place, from 0, of a column of a BED file."""
    first = next(read_bed(bed))
    names = _header(bed) or BED_NAMES
    width = len(first.fields)
    if colour.isascii() and colour.isdigit():
        at = int(colour) - 1
    else:
        at = next((list(n).index(colour) for n in (names, BED_NAMES) if colour in n), -1)
    if not 0 <= at < width:
        shown = ", ".join([*names[:width], *map(str, range(len(names) + 1, width + 1))])
        raise InputError(
            f"no column '{colour}'", path=bed, hint=f"one of {shown}, or a number from 1"
        )
    return at


def _header(bed: str | Path) -> list[str]:
    """The names of a "#chrom start end ..." line above the regions; none where there is none."""
    found: list[str] = []
    with open_text(bed) as lines:
        for raw in lines:
            line = raw.decode("utf-8-sig", "replace").rstrip("\r\n")
            if line.strip() and not is_header(line):
                break
            if line.startswith("#") and not line.startswith("##") and "\t" in line:
                found = line[1:].split("\t")
    return found if len(found) >= 3 else []


def _bed_values(
    file: h5py.File, path: str | Path, row_N: np.ndarray, at: int, bed: str | Path
) -> list[str]:
    """Column ``at`` of the lines that the rows are of."""
    start_N, end_N = (layout.dataset(file, f"region/{n}", path)[:] for n in ("start", "end"))
    wanted = set(row_N.tolist())
    values, count = [], 0
    for number, region in enumerate(read_bed(bed)):
        count += 1
        if number in wanted:
            if (region.start, region.end) != (start_N[number], end_N[number]):
                raise InputError(
                    f"is not the region of row {number + 1} of {path}", path=bed, line=region.line
                )
            values.append(region.fields[at] if at < len(region.fields) else "")
    if count != len(start_N):
        raise InputError(f"has {count} regions, {path} has {len(start_N)} rows", path=bed)
    return values
