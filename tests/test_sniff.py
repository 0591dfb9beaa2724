"""FASTA or BED, told by its content: files, packed files, and pipes that stay open."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.bed import read_bed
from dnatk.genome.sniff import open_regions_or_sequences

BED = "chr1\t0\t5\tx\t0\t-\nchr2\t5\t9\ty\t0\t+\n"
FASTA = ">a first\nACGT\nAC\n>b\nNN\n"


def file(tmp_path: Path, data: str | bytes) -> Path:
    path = tmp_path / "input"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def sequences(records) -> list[tuple[str, bytes]]:
    return [(name, bases.tobytes()) for name, bases in records]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("stdin", [False, True])
def test_both_are_told_and_read_whole(tmp_path, monkeypatch, pack, stdin):
    def opened(text: str):
        data = pack(text.encode())
        if not stdin:
            return open_regions_or_sequences(file(tmp_path, data))
        stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)))
        monkeypatch.setattr(sys, "stdin", stream)
        return open_regions_or_sequences("-")

    kind, regions = opened(BED)
    assert kind == "bed"
    assert ["\t".join(region.fields) for region in regions] == BED.splitlines()
    kind, records = opened(FASTA)
    assert kind == "fasta"
    assert sequences(records) == [("a", b"ACGTAC"), ("b", b"NN")]


@pytest.mark.parametrize(
    "head",
    [
        "# a comment\n#chrom\tstart\tend\n",
        "track name=x\nbrowser position chr1:1-5\n",
        "\n  \n\t\n",
        "\ufeff",
        "\ufeff# x\n",
        "\r\n#\r\n",
    ],
)
def test_lines_before_a_bed_are_passed_over_and_counted(tmp_path, head):
    path = file(tmp_path, head + BED)
    kind, regions = open_regions_or_sequences(path)
    assert kind == "bed"
    assert list(regions) == list(read_bed(path)), "with the same line numbers"


@pytest.mark.parametrize("head", ["", "\n\n", "; an old comment\n", "\r\n"])
def test_lines_before_a_fasta_are_passed_over(tmp_path, head):
    kind, records = open_regions_or_sequences(file(tmp_path, head + FASTA))
    assert kind == "fasta"
    assert sequences(records) == [("a", b"ACGTAC"), ("b", b"NN")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("chr1\t60\t50\n", r"input:1: end \(50\) <= start \(60\)"),
        ("# x\nchr1\t1.5\t50\n", r"input:2: start '1\.5' is no whole number"),
        ("chr1\t-1\t50\n", "input:1: start -1 is negative"),
        (BED + ">a\nACGT\n", "input:3: is FASTA, not BED"),
        (">a\nACG7\n", r"input: a:4: '7' is no nucleotide"),
        (">\nACGT\n", "input:1: a sequence without a name"),
    ],
)
def test_faults_are_those_of_the_reader_with_their_line(tmp_path, text, complaint):
    _, rows = open_regions_or_sequences(file(tmp_path, text))
    with pytest.raises(InputError, match=complaint):
        list(rows)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ("sequence,label\nACGT,1\n", r"input:1: is neither FASTA nor BED: 'sequence,label' \("),
        ("# x\nACGTACGT\n", r"input:2: is neither FASTA nor BED: 'ACGTACGT' \(FASTA starts with"),
        ("@read1\nACGT\n+\nIIII\n", "neither FASTA nor BED: '@read1'"),
        ("chrom\tstart\tend\n", "neither FASTA nor BED: 'chrom start end'"),
        ("chr1\t5\n", "neither FASTA nor BED"),
        ("A" * 99, r"'A{30}\.\.\.'"),
        (b"\x89PNG\r\n\x1a\n", "input: is neither FASTA nor BED but binary data"),
        ("chr1\t0\t5\n".encode("utf-16"), "but binary data"),
        (gzip.compress(b"BAM\x01\0\0", mtime=0), "but binary data"),
        ("", "input: has no region or sequence$"),
        ("\n# x\n\n", "input: has no region or sequence$"),
        (gzip.compress(BED.encode() * 2000, mtime=0)[:-20], "broken gzip"),
    ],
)
def test_what_is_neither_is_told_in_one_line(tmp_path, data, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        list(open_regions_or_sequences(file(tmp_path, data))[1])
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_and_a_directory_are_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_regions_or_sequences(tmp_path / "none")
    with pytest.raises(InputError, match="is a directory"):
        open_regions_or_sequences(tmp_path)


@pytest.mark.parametrize(
    ("first", "more", "seen"),
    [(BED, "chr3\t0\t7\n", "chr1 chr2 chr3"), (FASTA + ">c\n", "A\n>d\n", "a b c")],
)
def test_rows_of_a_pipe_come_before_it_ends(first, more, seen):
    script = (
        "from dnatk.genome.sniff import open_regions_or_sequences\n"
        "kind, rows = open_regions_or_sequences('-')\n"
        "for row in rows:\n"
        "    print(row.contig if kind == 'bed' else row[0], flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        names = seen.split()
        # What is read here was printed while the pipe was open; a reader that waits would hang.
        process.stdin.write(first)
        process.stdin.flush()
        assert [process.stdout.readline().strip() for _ in range(2)] == names[:2]
        process.stdin.write(more)
        process.stdin.flush()
        assert process.stdout.readline().strip() == names[2]
        process.stdin.close()
        process.stdout.read()


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_an_input_error(tmp_path_factory, data):
    path = file(tmp_path_factory.mktemp("sniff"), data)
    with suppress(InputError):
        list(open_regions_or_sequences(path)[1])
