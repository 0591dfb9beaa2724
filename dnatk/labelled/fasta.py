"""FASTA with labels in: in a side table by name, or in the headers.

A header's label is the value of a key (``>a score=1.5``) where keys are named by the options. Else
the first header decides for the whole file: ``label=X`` if it has that, else what follows its last
``|``, else its last word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from dnatk.errors import InputError
from dnatk.genome.files import header_name, not_fasta, open_text
from dnatk.labelled.dataset import LabelSpace
from dnatk.labelled.rows import ReadOptions, Rows, clean_bases, own_columns
from dnatk.labelled.tables import label_columns, read_table

# What gives the label texts of the record with this header at this line.
_Labeller = Callable[[str, int], tuple[str, ...]]

_ADVICE = "write '>name label=1', or give a table of names and labels with --labels-from"


def rows_of_fasta(path: str | Path, options: ReadOptions, space: LabelSpace | None) -> Rows:
    """The examples of a FASTA file. Names in the side table that it lacks are passed over."""
    rows, labels_of = None, None
    for line, header, sequence in fasta_records(path):
        if rows is None:
            columns, labels_of = (
                _from_table(path, options, space)
                if options.side_labels
                else _from_headers(header, path, options, space)
            )
            rows = Rows(str(path), columns)
        bases = clean_bases(sequence, str(path), line)
        rows.add(bases, labels_of(header, line), header.split()[0], line)
    if rows is None:
        raise InputError("is empty: no sequence in it", path=path)
    return rows


def fasta_records(path: str | Path) -> Iterator[tuple[int, str, bytes]]:
    """(line, header without '>', bases) of every record."""
    header, at, parts = None, 0, []
    with open_text(path) as handle:
        for number, raw in enumerate(handle, start=1):
            line = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
            if line[:1] == b">":
                if header is not None:
                    yield at, header, b"".join(parts)
                header_name(line, path, number)
                header, at, parts = line[1:].decode("utf-8", "replace").strip(), number, []
            elif header is not None:
                parts.append(line)
            elif line and line[:1] != b";":
                raise not_fasta(line, path, number)
    if header is not None:
        yield at, header, b"".join(parts)


def _from_table(
    path: str | Path, options: ReadOptions, space: LabelSpace | None
) -> tuple[tuple[str, ...], _Labeller]:
    table = read_table(options.side_labels)
    columns = label_columns(table, options, space)
    name = table.column("name", "id")
    if name is None:
        name = next((i for i in range(len(table.columns)) if i not in columns), None)
    if name is None:
        table.need("name", "id", hint="it says which sequence a label belongs to")
    known: dict[str, tuple[str, ...]] = {}
    for line, fields in table.records:
        cells = tuple(fields[column] for column in columns)
        if known.setdefault(fields[name], cells) != cells:
            raise InputError(f"'{fields[name]}' has two labels", path=table.path, line=line)

    def labels_of(header: str, line: int) -> tuple[str, ...]:
        wanted = header.split()[0]
        if wanted not in known:
            raise InputError(f"no label for '{wanted}' in {table.path}", path=path, line=line)
        return known[wanted]

    return tuple(table.columns[column] for column in columns), labels_of


def _from_headers(
    first: str, path: str | Path, options: ReadOptions, space: LabelSpace | None
) -> tuple[tuple[str, ...], _Labeller]:
    keys = options.labels or ((options.header_label,) if options.header_label else ())
    if not keys and all(_value(first, key) for key in own_columns(space)):
        keys = own_columns(space)
    if not keys and _value(first, "label") is not None:
        keys = ("label",)

    def labels_of(header: str, line: int) -> tuple[str, ...]:
        if keys:
            cells = tuple(_value(header, key) for key in keys)
        elif "|" in first:
            cells = (header.rpartition("|")[2].strip() if "|" in header else None,)
        else:
            cells = (header.split()[-1] if len(header.split()) > 1 else None,)
        for key, cell in zip(keys or ("label",), cells, strict=True):
            if cell is None:
                wanted = f"no '{key}=' in" if keys else "no label in"
                raise InputError(f"{wanted} the header", path=path, line=line, hint=_ADVICE)
        return cells

    return keys or ("label",), labels_of


def _value(header: str, key: str) -> str | None:
    """X of ``key=X`` where it is a word, or part of one between | or ;."""
    value = r"=([^\s|]*?)(?=;[\w.-]+=|[\s|]|$)"
    found = re.search(rf"(?:^|[\s|;]){re.escape(key)}{value}", header, re.IGNORECASE)
    return found[1].strip(";") if found else None
