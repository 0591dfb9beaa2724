"""A FASTA in pieces is the FASTA in records: the same bases, names and complaints."""

from __future__ import annotations

import gzip
from itertools import groupby

import numpy as np
import pytest
from conftest import random_bases, write_fasta
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.fasta import read_fasta, stream_fasta


def whole(pieces) -> list[tuple[str, bytes]]:
    return [
        (name, b"".join(bases.tobytes() for _, bases in group))
        for name, group in groupby(pieces, key=lambda piece: piece[0])
    ]


def outcome(read) -> list | str:
    try:
        return whole(read())
    except InputError as error:
        return str(error)


LINES = st.sampled_from(
    [">a", ">b x y", ">a\r", ">", "> ", ";c", "", " ", "ACGT", "acgtn", "NNRY", "ACGT \t", "AC\r",
     "AC GT", "ACXT", "M>A", ">c>d", "\tAC", "A\rC", "\u00e9"]
)  # fmt: skip


@given(st.lists(LINES, max_size=12), st.booleans(), st.integers(1, 40))
@settings(max_examples=600, deadline=None)
def test_it_reads_and_refuses_what_read_fasta_does(tmp_path_factory, lines, ends, block):
    path = tmp_path_factory.getbasetemp() / "any.fa"
    path.write_bytes(("\n".join(lines) + "\n" * ends).encode())
    # A line is cut only where it is longer than a block: then blanks inside it could be missed.
    block = max(block, 7)
    expected = outcome(lambda: read_fasta(path))
    assert outcome(lambda: stream_fasta(path, block)) == expected


@pytest.mark.parametrize("block", [1, 2, 13, 61, 10_000])
@pytest.mark.parametrize("width", [7, 60, 10**6])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_pieces_of_any_size_give_the_same_bases(tmp_path, block, width, pack):
    records = {f"c{i}": random_bases(n, i) for i, n in enumerate((0, 1, 59, 60, 61, 500, 0, 3000))}
    path = write_fasta(tmp_path / "g.fa", records, width)
    path.write_bytes(pack(path.read_bytes()))
    pieces = list(stream_fasta(path, block))
    assert whole(pieces) == [(name, bases.encode()) for name, bases in records.items()]
    assert max(len(bases) for _, bases in pieces) <= 2 * block


def test_a_strange_letter_is_told_by_its_place_in_the_record(tmp_path):
    bases = random_bases(1000, 1)
    path = write_fasta(tmp_path / "g.fa", {"a": bases, "b": bases[:700] + "?" + bases[701:]})
    with pytest.raises(InputError, match=r"b:701: '\?' is no nucleotide"):
        list(stream_fasta(path, block=100))


def test_what_it_gives_stays(tmp_path):
    """Pieces do not share a buffer."""
    path = write_fasta(tmp_path / "g.fa", {"a": random_bases(1000, 1)})
    kept = [bases for _, bases in stream_fasta(path, block=50)]
    assert np.concatenate(kept).tobytes().decode() == random_bases(1000, 1)
