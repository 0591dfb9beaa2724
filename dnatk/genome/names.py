"""Contig names differ between sources (chr1, 1, I; chrM, MT, Mito): name the likely twin."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_ROMAN = dict(zip("IVXLCDM", (1, 5, 10, 50, 100, 500, 1000), strict=True))
_MITOCHONDRION = {"m", "mt", "mito", "mitochondrion", "mtdna"}


def nearest(name: str, contigs: Iterable[str]) -> str | None:
    """The contig that ``name`` probably means: the same under another convention, or close by."""
    contigs = list(contigs)
    wanted = _forms(name)
    for contig in contigs:
        if wanted & _forms(contig):
            return contig
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


def _forms(name: str) -> set[str]:
    bare = name.lower()
    for prefix in ("chromosome", "chrom", "chr"):
        bare = bare.removeprefix(prefix)
    bare = bare.strip("_. ")
    if bare in _MITOCHONDRION:
        return {"mitochondrion"}
    forms = {bare.lstrip("0") or bare}
    if bare and set(bare.upper()) <= set(_ROMAN):
        forms.add(str(_from_roman(bare.upper())))
    return forms


def _from_roman(text: str) -> int:
    values = [_ROMAN[letter] for letter in text]
    return sum(-value if value < max(values[i:]) else value for i, value in enumerate(values))
