"""FASTA or BED: told by the first line that says so, without losing a byte of a stream."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.bed import is_header, read_bed
from dnatk.genome.fasta import read_fasta
from dnatk.genome.files import open_text
from dnatk.genome.regions import Region


def open_regions_or_sequences(
    path: str | Path,
) -> tuple[Literal["bed", "fasta"], Iterator[Region] | Iterator[tuple[str, np.ndarray]]]:
    """What a file (plain or gzip, ``-`` for stdin) holds, and a stream of it.

    Returns:
        ("bed", regions as :func:`read_bed`) or ("fasta", records as :func:`read_fasta`). They are
        read as they are drawn: of a pipe, no more than its first lines are waited for here.

    Raises:
        InputError: neither of them, nothing at all, or as these readers.
    """
    lines = _lines(path)
    head = []
    for line in lines:
        head.append(line)
        kind = _kind(line, first=len(head) == 1)
        if kind == "bed":
            return kind, read_bed(path, chain(head, lines))
        if kind == "fasta":
            return kind, read_fasta(path, chain(head, lines))
        if kind == "neither":
            lines.close()
            raise _neither(line, "<stdin>" if str(path) == "-" else path, len(head))
    raise InputError("has no region or sequence", path="<stdin>" if str(path) == "-" else path)


def _lines(path: str | Path) -> Generator[bytes, None, None]:
    with open_text(path) as handle:
        yield from handle


def _kind(line: bytes, *, first: bool) -> str:
    """What a line says: "bed", "fasta", "neither", or "" if it says nothing."""
    text = line.decode("utf-8-sig" if first else "utf-8", "replace").rstrip("\r\n")
    if not text.strip() or text[0] == ";" or is_header(text):
        return ""
    if text[0] == ">":
        return "fasta"
    fields = text.split("\t") if "\t" in text else text.split()
    # One position will do: read_bed has more to say about the other than is said here.
    like_bed = len(fields) > 2 and any(field.lstrip("-")[:1].isdigit() for field in fields[1:3])
    return "bed" if like_bed else "neither"


def _neither(line: bytes, path: str | Path, number: int) -> InputError:
    if b"\0" in line or not _is_text(line):
        return InputError("is neither FASTA nor BED but binary data", path=path)
    text = " ".join(line.decode("utf-8-sig").split())
    shown = text[:30] + ("..." if len(text) > 30 else "")
    return InputError(
        f"is neither FASTA nor BED: '{shown}'",
        path=path,
        line=number,
        hint="FASTA starts with '>', BED with contig, start and end",
    )


def _is_text(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
