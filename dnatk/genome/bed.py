"""BED3 to BED12 (and more columns) in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

from dnatk.errors import InputError
from dnatk.genome.files import carriage_return, open_text
from dnatk.genome.regions import Region

_BROWSER = ("track", "browser")


def read_bed(path: str | Path, lines: Iterable[bytes] | None = None) -> Iterator[Region]:
    """Stream the regions of a BED file (plain or gzip, ``-`` for stdin) in file order.

    Columns are separated by tabs, or by white space where a line has no tab. Comment, track and
    browser lines and blank lines are passed over. ``lines``, of a file that is open already, are
    read instead of ``path``, which then only names them.

    Raises:
        InputError: a malformed line (with its number), or no region in the file.
    """
    shown = "<stdin>" if str(path) == "-" else str(path)
    empty = True
    with open_text(path) if lines is None else nullcontext(lines) as handle:
        for number, raw in enumerate(handle, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise InputError("is not a text file", path=shown, line=number) from None
            if "\0" in line:
                raise InputError("is not a text file", path=shown, line=number)
            if "\r" in line:
                raise carriage_return(shown, number)
            if line.startswith("##fileformat=VCF"):
                hint = "bcftools query -f '%CHROM\\t%POS0\\t%END\\n' makes BED of it"
                raise InputError("is VCF, not BED", path=shown, line=number, hint=hint)
            if not line.strip() or is_header(line):
                continue
            empty = False
            yield _parse(line, shown, number)
    if empty:
        raise InputError("has no region", path=shown)


def is_header(line: str) -> bool:
    """Whether a line that is not blank is a comment, or for a genome browser."""
    if line.startswith("#"):
        return True
    if not line.lstrip().startswith(_BROWSER):
        return False
    word, *more = line.split(maxsplit=3)
    # Behind a contig that is called so stand two positions.
    region = len(more) > 1 and all(text.removeprefix("-").isdigit() for text in more[:2])
    return word in _BROWSER and not region


def _parse(line: str, path: str, number: int) -> Region:
    fields = tuple(line.split("\t") if "\t" in line else line.split())

    def fail(message: str, hint: str | None = None) -> InputError:
        return InputError(message, path=path, line=number, hint=hint)

    if line[0] == ">":
        raise fail("is FASTA, not BED")
    if len(fields) < 3:
        raise fail(f"{len(fields)} column(s), BED needs at least 3", "contig, start, end")
    strand = fields[5].strip() if len(fields) > 5 else "."
    start, end = check_place(*fields[:3], strand, path, number)
    name = fields[3].strip() if len(fields) > 3 else ""
    name = "" if name == "." else name
    return Region(fields[0], start, end, strand, name, path, number, fields)


def check_place(
    contig: str, start: str, end: str, strand: str, path: str, number: int
) -> tuple[int, int]:
    """(start, end) of the texts of a line, an :class:`InputError` where they are no place."""

    def fail(message: str, hint: str | None = None) -> InputError:
        return InputError(message, path=path, line=number, hint=hint)

    for what, text in (("start", start), ("end", end)):
        if not (text.isascii() and text.removeprefix("-").isdigit()):
            raise fail(f"{what} '{text}' is no whole number")
        if text.startswith("-"):
            raise fail(f"{what} {text} is negative", "starts count from 0, as in BED")
        if len(text) > 18:
            raise fail(f"{what} {text[:18]}... is beyond any genome")
    low, high = int(start), int(end)
    if low >= high:
        raise fail(f"end ({high}) <= start ({low})", "0-based half-open, as in BED")
    if strand not in ("+", "-", "."):
        raise fail(f"strand '{strand}' is none of + - .")
    if not contig.strip():
        raise fail("an empty contig name")
    return low, high
