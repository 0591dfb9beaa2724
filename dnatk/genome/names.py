"""Contig names differ between sources (chr1, 1, I; chrM, MT, Mito): name the likely twin."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_ROMAN = dict(zip("IVXLCDM", (1, 5, 10, 50, 100, 500, 1000), strict=True))
# Of longer names no twin is sought, as that would take time by the square.
_LONGEST = 200
_MITOCHONDRION = {"m", "mt", "mito", "mitochondrion", "mtdna"}


def nearest(name: str, contigs: Iterable[str]) -> str | None:
    """The contig that ``name`` probably means: the same under another convention, or close by."""
    contigs = [contig for contig in contigs if len(contig) <= _LONGEST]
    if len(name) > _LONGEST:
        return None
    bare, number = _bare(name), _number(name)
    # chrX is X where there is an X, and only then 10.
    for same in (lambda contig: _bare(contig) == bare, lambda contig: _number(contig) == number):
        twin = next(filter(same, contigs), None)
        if twin is not None:
            return twin
    close = difflib.get_close_matches(name, contigs, n=1, cutoff=0.6)
    return close[0] if close else None


def unknown_contig_hint(name: str, contigs: Iterable[str]) -> str:
    """What to tell a user whose ``name`` is not among ``contigs``."""
    contigs = list(contigs)
    twin = nearest(name, contigs)
    if twin is not None:
        return f"did you mean '{twin}'? contig names must match the FASTA's"
    shown = ", ".join(contigs[:5]) + (", ..." if len(contigs) > 5 else "")
    return f"the FASTA has {shown}"


def _bare(name: str) -> str:
    """A name without what conventions add to it: chr01 -> 1, MT -> mitochondrion."""
    bare = name.lower()
    for prefix in ("chromosome", "chrom", "chr"):
        bare = bare.removeprefix(prefix)
    bare = bare.strip("_. ")
    return "mitochondrion" if bare in _MITOCHONDRION else bare.lstrip("0") or bare


def _number(name: str) -> str:
    """The bare name, a Roman number as digits."""
    bare = _bare(name)
    roman = bare.upper()
    return str(_from_roman(roman)) if roman and set(roman) <= set(_ROMAN) else bare


def _from_roman(text: str) -> int:
    values = [_ROMAN[letter] for letter in text]
    return sum(-value if value < max(values[i:]) else value for i, value in enumerate(values))
