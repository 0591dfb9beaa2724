"""Regions: what to score, in the order given. 0-based half-open, whatever they were written as."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dnatk.errors import InputError

_REGION = re.compile(r"^(?P<contig>.+?)(?::(?P<start>\d[\d,]{,30})(?:-(?P<end>\d[\d,]{,30}))?)?$")


_MOST = 10**18  # files of results have 64 bits


@dataclass(frozen=True)
class Region:
    """One row to come.

    Attributes:
        contig, start, end: 0-based half-open, on the forward strand.
        strand: "+", "-" (read as the reverse complement) or "." (read forward).
        name: the BED name, else ``contig:start-end`` as a 1-based inclusive region string.
        source, line: where the region was written, for messages.
        fields: the columns of a BED line, all of them, untouched.

    >>> promoter = dnatk.Region("chr1", 99, 399, "-")
    >>> promoter.name, len(promoter)
    ('chr1:100-399', 300)
    """

    contig: str
    start: int
    end: int
    strand: str = "."
    name: str = ""
    source: str = ""
    line: int | None = None
    fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", f"{self.contig}:{self.start + 1}-{self.end}")

    def __len__(self) -> int:
        return self.end - self.start

    def __bytes__(self) -> bytes:
        text = f"{self.contig}:{self.start}-{self.end}:{self.strand}:{self.name}"
        return text.encode("utf-8", "surrogateescape")


def middle(start: int, end: int, strand: str, length: int) -> tuple[int, int]:
    """[start, end) of ``length`` bases round a region's middle; they may pass the contig's ends.

    Counted from the end where the strand begins, so that both strands read the same of a sequence.
    Where lengths differ by an odd number a longer region keeps the odd base out downstream, and a
    shorter one takes it in upstream.
    """
    offset = (end - start - length) // 2
    low = end - offset - length if strand == "-" else start + offset
    return low, low + length


def parse_region(text: str, lengths: dict[str, int]) -> Region:
    """Read ``chr1:1-100`` (1-based inclusive, commas allowed), ``chr1:5`` (to the end) or ``chr1``.

    ``lengths`` are the genome's contigs; a contig whose own name holds a colon wins.
    """
    if text in lengths:
        return Region(text, 0, lengths[text], source="--region")
    match = _REGION.match(text)
    if match is None or not match["start"]:
        if match is not None and match["contig"] == text and ":" not in text:
            return Region(text, 0, 1, name=text, source="--region")  # an unknown contig, whole
        raise InputError(f"cannot read the region '{text}'", hint="write chr1:1-100 or chr1")
    contig, start = match["contig"], int(match["start"].replace(",", ""))
    # A start past the contig's end is left to Genome.check, which says so.
    to_end = max(start, lengths.get(contig, start))
    end = int(match["end"].replace(",", "")) if match["end"] else to_end
    if end > _MOST:
        raise InputError(f"region '{text}' is beyond any genome")
    if start < 1 or end < start:
        raise InputError(
            f"region '{text}': positions are 1-based inclusive, the start not after the end"
        )
    return Region(contig, start - 1, end, source="--region")
