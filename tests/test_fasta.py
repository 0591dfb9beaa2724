"""FASTA in: streamed, and at random through an index. Parity with pysam and with plain slicing."""

from __future__ import annotations

import gzip
import io
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pysam
import pytest
from Bio import bgzf
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError, OutputError, ReferenceError_
from dnatk.genome.fasta import Genome, read_fasta
from dnatk.genome.regions import Region

SEQUENCES = {
    "chr1": "ACGTACGTACGTAacgtnNNRYKMSWBDHVacgtTTT",
    "chr2": "GATTACA",
    "MT": "ACGTACGTAC",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own. What is left half written anywhere fails the test."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory))
    yield directory / "dnatk"
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


def text_of(sequences: dict[str, str], width: int = 10, end: str = "\n") -> str:
    lines = []
    for name, sequence in sequences.items():
        lines.append(f">{name} a description > with more")
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)]
    return end.join(lines) + end


def fasta(tmp_path: Path, data: str | bytes, name: str = "genome.fa") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def bgzipped(tmp_path: Path, data: str | bytes, name: str = "genome.fa.gz") -> Path:
    path = tmp_path / name
    with bgzf.BgzfWriter(str(path)) as handle:
        handle.write(data.encode() if isinstance(data, str) else data)
    return path


def gzipped(tmp_path: Path, data: str | bytes, name: str = "genome.fa.gz") -> Path:
    return fasta(tmp_path, gzip.compress(data.encode() if isinstance(data, str) else data), name)


def streamed(path: Path | str) -> dict[str, str]:
    return {name: bases.tobytes().decode() for name, bases in read_fasta(path)}


def fetched(path: Path) -> dict[str, str]:
    with Genome(path) as genome:
        return {
            name: genome.fetch(name, 0, length).tobytes().decode()
            for name, length in genome.lengths.items()
        }


def set_age(path: Path, seconds: float) -> None:
    """Put a file's time so far in the past (negative: in the future)."""
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


def stdin_of(monkeypatch, data: bytes, buffered: bool = True) -> None:
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(data)) if buffered else io.BytesIO(data)

    monkeypatch.setattr(sys, "stdin", Stdin())


both_readers = pytest.mark.parametrize("read", [streamed, fetched])

# What a FASTA may look like


@both_readers
@pytest.mark.parametrize("pack", [fasta, gzipped, bgzipped])
@pytest.mark.parametrize("name", ["genome.fa", "genome.fasta.gz", "genome.bgz", "GENOME.FA.GZ"])
def test_every_packing_under_every_name_gives_the_same_bases(tmp_path, read, pack, name):
    assert read(pack(tmp_path, text_of(SEQUENCES), name)) == SEQUENCES


@both_readers
@pytest.mark.parametrize(
    "text",
    [
        text_of(SEQUENCES, end="\r\n"),
        text_of(SEQUENCES)[:-1],
        text_of(SEQUENCES, end="\r\n")[:-2],
        text_of(SEQUENCES, width=5),
        text_of(SEQUENCES, width=1),
        text_of(SEQUENCES, width=1000),
        "\n; a comment\n\n" + text_of(SEQUENCES),
        text_of(SEQUENCES) + "\n\n\n",
        text_of(SEQUENCES).replace("\n>", "\n\n>"),
        text_of(SEQUENCES).replace("more\n", "more\n\n"),
        text_of(SEQUENCES).replace(" a desc", "\ta desc"),
        text_of(SEQUENCES).replace(">chr", "> chr"),
    ],
    ids=[
        "crlf",
        "open",
        "crlf-open",
        "five",
        "one",
        "long",
        "lead",
        "end",
        "between",
        "first",
        "tab",
        "space",
    ],
)
def test_the_same_sequences_are_read_in_each_dress(tmp_path, read, text):
    assert read(fasta(tmp_path, text)) == SEQUENCES


@both_readers
def test_empty_records_beside_others_are_kept(tmp_path, read):
    path = fasta(tmp_path, ">a\n>b\nACGT\n>c\n\n>d\nAC\n>e")
    assert read(path) == {"a": "", "b": "ACGT", "c": "", "d": "AC", "e": ""}


@both_readers
def test_names_need_not_be_ascii(tmp_path, read):
    assert read(fasta(tmp_path, ">é|1 x\nACGT\n")) == {"é|1": "ACGT"}
    assert read(fasta(tmp_path, ">\u2028x\nACGT\n", "line_separator.fa")) == {"\u2028x": "ACGT"}


def test_bases_come_as_bytes_case_and_iupac_codes_kept(tmp_path):
    path = fasta(tmp_path, text_of(SEQUENCES))
    with Genome(path) as genome:
        assert genome.lengths == {"chr1": 37, "chr2": 7, "MT": 10}
        bases = genome.fetch("chr1", 9, 24)
        assert bases.dtype == np.uint8
        assert bases.tobytes() == b"CGTAacgtnNNRYKM"
        assert len(genome.fetch("chr1", 5, 5)) == 0
    assert all(bases.dtype == np.uint8 for _, bases in read_fasta(path))


def test_lines_of_any_length_can_be_streamed(tmp_path):
    path = fasta(tmp_path, ">a\nAC\n\nACGTACGT\nA  \n>b\n\nC\nCC\n")
    assert streamed(path) == {"a": "ACACGTACGTA", "b": "CCC"}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_streamed(monkeypatch, pack):
    stdin_of(monkeypatch, pack(text_of(SEQUENCES).encode()))
    assert streamed("-") == SEQUENCES


def test_standard_input_need_not_be_peekable(monkeypatch):
    stdin_of(monkeypatch, text_of(SEQUENCES).encode(), buffered=False)
    assert streamed("-") == SEQUENCES


def test_faults_on_standard_input_are_named_so(monkeypatch):
    for data, complaint in (
        (b">a\nACGT\n>a\nA\n", "^<stdin>:3: the name 'a' stands twice, first at line 1"),
        (b"", r"^<stdin>: is empty"),
        (gzip.compress(b">a\n" + b"ACGT" * 9000)[:-12], r"^<stdin>: is a broken gzip"),
    ):
        stdin_of(monkeypatch, data)
        with pytest.raises(InputError, match=complaint):
            streamed("-")


def test_a_genome_cannot_be_standard_input():
    with pytest.raises(InputError, match="standard input"):
        Genome("-")


def test_one_record_is_streamed_before_the_next_is_read(tmp_path):
    records = read_fasta(fasta(tmp_path, ">a\nACGT\n>b\nAC!T\n"))
    assert next(records)[0] == "a"
    with pytest.raises(InputError):
        next(records)


@given(
    st.dictionaries(st.text("abcXY09_.:|é", min_size=1), st.text("ACGTNacgt", max_size=40)),
    st.integers(1, 15),
    st.sampled_from(["\n", "\r\n"]),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_fasta_is_read_alike_streamed_and_at_random(
    tmp_path_factory, sequences, width, end, data
):
    sequences["one"] = "ACGT"
    path = fasta(tmp_path_factory.mktemp("any"), text_of(sequences, width, end))
    assert streamed(path) == fetched(path) == sequences
    contig = data.draw(st.sampled_from(sorted(sequences)))
    start, stop = sorted(
        data.draw(st.tuples(*[st.integers(0, len(sequences[contig]))] * 2), label="region")
    )
    with Genome(path) as genome:
        assert genome.fetch(contig, start, stop).tobytes().decode() == sequences[contig][start:stop]


# What is wrong with it


@both_readers
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "{path}: is empty: no sequence in it"),
        (b"\n \n\r\n", "{path}: is empty"),
        (b"; a comment\n", "{path}: is empty"),
        (b"hello\n>a\nACGT\n", "{path}:1: is not FASTA: it starts with 'hello', not with '>'"),
        (b"\n\nchr1\t0\t5\n", "{path}:3: is not FASTA"),
        (b"@read1\nACGT\n+\nIIII\n", "{path}:1: is not FASTA: it starts with '@read1'"),
        (b"\x89PNG\r\n\x1a\n\x00", "{path}: is not FASTA but binary data"),
        (bytes(range(256)), "{path}: is not FASTA but binary data"),
        (b">a\nACGT\n>b\nAC\n>a\nGG\n", "{path}:5: the name 'a' stands twice, first at line 1"),
        (b">a x\nAC\n>a y\nGG\n>c\nAA\n", "{path}:3: the name 'a' stands twice, first at line 1"),
        (b">\nACGT\n", "{path}:1: a sequence without a name"),
        (b">a\nACGT\n>  \nACGT\n", "{path}:3: a sequence without a name"),
        (b">p\nACGTACGT\nACEFGTAC\n", "{path}: p:11: 'E' is no nucleotide (is this a protein"),
        (b">p\nMKV\n>q\nMLE\n", "{path}: q:2: 'L' is no nucleotide (is this a protein"),
        (b">a\nACGT\nAC!T\n", "{path}: a:7: '!' is no nucleotide (is the file damaged?)"),
        (b">a\nAC GT\n", "{path}: a:3: ' ' is no nucleotide"),
    ],
)
def test_a_faulty_file_is_named_with_its_fault(tmp_path, read, data, complaint):
    if read is streamed and data.startswith(b">p\nMKV"):
        data, complaint = b">q\nMLE\n", complaint  # M, K, V are IUPAC codes, L is none
    path = fasta(tmp_path, data)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(complaint.format(path=path))


@both_readers
def test_bytes_among_the_bases_that_are_no_text_are_refused(tmp_path, read):
    path = fasta(tmp_path, b">a\nAC\xff\xfeGT\n")
    with pytest.raises(InputError, match=r"a:.*\(is the file damaged\?\)") as caught:
        read(path)
    assert caught.value.path == str(path)


@both_readers
@pytest.mark.parametrize("pack", [gzipped, bgzipped])
def test_faults_inside_a_packed_file_are_named_with_the_file_given(tmp_path, read, pack):
    path = pack(tmp_path, ">a\nACGT\n>a\nACGT\n")
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:3: the name 'a' stands twice")


@both_readers
def test_paths_that_are_no_file_are_told_apart(tmp_path, read):
    for path, complaint in (
        (tmp_path / "none.fa", "no such file"),
        (fasta(tmp_path, "x") / "below.fa", "no such file"),
        (tmp_path, "is a directory, not a file"),
    ):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: {complaint}"


@both_readers
def test_a_file_that_may_not_be_read_is_an_input_error(tmp_path, monkeypatch, read):
    path = fasta(tmp_path, text_of(SEQUENCES))

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match="may not be read"):
        read(path)


LONG = text_of({"a": "".join(np.random.default_rng(0).choice(list("ACGT"), 200_000))}, 60)


@both_readers
@pytest.mark.parametrize("pack", [gzipped, bgzipped])
@pytest.mark.parametrize("name", ["genome.fa.gz", "genome.fa"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.01])
def test_a_gzip_that_was_cut_short_is_refused(tmp_path, read, pack, name, kept):
    path = pack(tmp_path, LONG, name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: is a broken gzip file (was the download cut short?)"


def test_a_bgzip_cut_between_blocks_is_refused_for_its_missing_end(tmp_path):
    path = bgzipped(tmp_path, LONG)
    path.write_bytes(path.read_bytes()[:-28])
    with pytest.raises(InputError, match="broken gzip"):
        Genome(path)


@pytest.mark.parametrize("at", [0.1, 0.5, 0.95])
def test_a_block_that_breaks_after_indexing_is_an_input_error(tmp_path, at):
    path = bgzipped(tmp_path, LONG)
    Genome(path).close()
    data = bytearray(path.read_bytes())
    broken = int(at * len(data))
    data[broken : broken + 100] = bytes(100)
    path.write_bytes(data)
    set_age(path, 3600)
    with pytest.raises(InputError, match=r"genome\.fa\.gz"):
        fetched(path)


@pytest.mark.parametrize(
    ("data", "line"), [(">chr1\nACGT\n>\nAC\n", 3), (">\nACGT\n>chr2\nAC\n", 1)]
)
def test_a_fault_is_named_though_an_index_is_there(tmp_path, data, line):
    path = fasta(tmp_path, text_of(SEQUENCES))
    Genome(path).close()
    fasta(tmp_path, data)
    set_age(path, 3600)
    with pytest.raises(InputError) as caught:
        Genome(path)
    assert str(caught.value) == f"{path}:{line}: a sequence without a name"


def test_a_genome_without_a_base_is_refused(tmp_path):
    path = fasta(tmp_path, ">a\n>b\n\n")
    with pytest.raises(InputError) as caught:
        Genome(path)
    assert str(caught.value) == f"{path}: has no bases: every record is empty"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (">a\nACGT\nAC\nACGT\n", 3),  # a short line inside
        (">a\nACGT\nACGTAC\n", 3),  # a last line longer than the others
        (">a\nACGT\nACGTA\n>b\nAC\n", 3),
        (">a\nACGT\n\nACGT\n", 3),  # a blank line inside
        (">b\nACGT\n>a\nACGT\nAC\nA\n", 5),
        (">a\nACG\nC\nG\n", 3),
        (">a\nACGT\r\nACGT\nA\n", 3),  # line ends that change
        (">a\nACGT\nACGT\r\n>b\nA\n", 3),
    ],
)
@pytest.mark.parametrize("pack", [fasta, bgzipped])
def test_a_genome_with_ragged_lines_is_refused_at_the_line(tmp_path, pack, text, line):
    path = pack(tmp_path, text)
    with pytest.raises(InputError) as caught:
        Genome(path)
    assert str(caught.value).startswith(f"{path}:{line}: lines of different length in a")
    assert "seqkit seq -w 60" in str(caught.value)


# Bounds and names


@pytest.mark.parametrize(
    ("start", "end"), [(-1, 5), (-5, -1), (0, 38), (36, 38), (37, 38), (100, 200), (5, 4)]
)
def test_a_region_outside_its_contig_is_refused_not_clipped(tmp_path, start, end):
    with Genome(fasta(tmp_path, text_of(SEQUENCES))) as genome:
        with pytest.raises(ReferenceError_) as caught:
            genome.fetch("chr1", start, end)
        assert f"chr1:{start}-{end} " in str(caught.value)
        assert "37 bases" in str(caught.value)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 37), (36, 37), (37, 37), (10, 20)])
def test_a_region_up_to_its_contigs_ends_is_fetched(tmp_path, start, end):
    with Genome(fasta(tmp_path, text_of(SEQUENCES))) as genome:
        assert genome.fetch("chr1", start, end).tobytes().decode() == SEQUENCES["chr1"][start:end]


def test_a_region_out_of_bounds_is_named_by_its_bed_line(tmp_path):
    region = Region("chr2", 5, 8, source="regions.bed", line=17)
    with Genome(fasta(tmp_path, text_of(SEQUENCES))) as genome:
        genome.check(Region("chr2", 5, 7))
        with pytest.raises(ReferenceError_, match=r"^regions\.bed:17: chr2:5-8 .*7 bases"):
            genome.check(region)


@pytest.mark.parametrize(
    ("contigs", "asked", "hint"),
    [
        (["chr1", "chr2"], "1", "did you mean 'chr1'"),
        (["1", "2"], "chr1", "did you mean '1'"),
        (["chrI", "chrII"], "chr2", "did you mean 'chrII'"),
        (["chr1", "chr4"], "chrIV", "did you mean 'chr4'"),
        (["10", "X", "MT"], "chrX", "did you mean 'X'"),
        (["1", "MT"], "chrM", "did you mean 'MT'"),
        (["chr1", "chrM"], "MT", "did you mean 'chrM'"),
        (["I", "Mito"], "chrM", "did you mean 'Mito'"),
        (["chr1", "chrM"], "Mito", "did you mean 'chrM'"),
        (["a", "b", "c", "d", "e", "f"], "plasmid", "the FASTA has a, b, c, d, e, ..."),
    ],
)
def test_an_unknown_contig_is_refused_with_its_likely_twin(tmp_path, contigs, asked, hint):
    path = fasta(tmp_path, text_of(dict.fromkeys(contigs, "ACGT")))
    with Genome(path) as genome, pytest.raises(ReferenceError_) as caught:
        genome.fetch(asked, 0, 2)
    assert str(caught.value).startswith(f"no contig '{asked}' in {path} (")
    assert hint in str(caught.value)


# The index


def index_lines(path: Path) -> list[str]:
    return Path(f"{path}.fai").read_text().splitlines()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("pack", [fasta, bgzipped])
def test_the_index_is_samtools_own(tmp_path, pack, end):
    sequences = {**SEQUENCES, "even": "ACGTACGTAC" * 4}
    path = pack(tmp_path, text_of(sequences, end=end))
    Genome(path).close()
    ours = index_lines(path)
    ours_gzi = Path(f"{path}.gzi").read_bytes() if pack is bgzipped else None
    for made in tmp_path.glob("*.[fg][az]i"):
        made.unlink()
    pysam.faidx(str(path))
    assert ours == index_lines(path)
    if ours_gzi is not None:
        assert ours_gzi == Path(f"{path}.gzi").read_bytes()


def test_an_index_made_by_samtools_is_used_as_it_is(tmp_path, caplog):
    for path in (fasta(tmp_path, LONG), bgzipped(tmp_path, LONG)):
        pysam.faidx(str(path))
        before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*i")}
        assert list(fetched(path)) == ["a"]
        assert before == {p: p.stat().st_mtime_ns for p in tmp_path.glob("*i")}
    assert not caplog.records


@pytest.mark.parametrize("pack", [fasta, bgzipped])
def test_an_index_is_made_once(tmp_path, caplog, pack):
    path = pack(tmp_path, text_of(SEQUENCES))
    assert fetched(path) == SEQUENCES
    before = Path(f"{path}.fai").stat().st_mtime_ns
    assert fetched(path) == SEQUENCES
    assert Path(f"{path}.fai").stat().st_mtime_ns == before
    assert not caplog.records


@pytest.mark.parametrize("pack", [fasta, bgzipped])
def test_an_index_older_than_the_fasta_is_made_anew_and_that_is_logged(tmp_path, caplog, pack):
    path = pack(tmp_path, text_of({"old": "ACGT" * 30}))
    Genome(path).close()
    set_age(Path(f"{path}.fai"), 100)
    pack(tmp_path, text_of(SEQUENCES))
    assert fetched(path) == SEQUENCES
    assert "is older than the FASTA: indexing again" in caplog.text
    caplog.clear()
    assert fetched(path) == SEQUENCES
    assert not caplog.records


OTHERS = {
    "longer": {**SEQUENCES, "more": "ACGT" * 30},
    "shorter": {"chr1": "ACGT"},
    "another name": {"chr1": SEQUENCES["chr1"], "chrB": "GATTACA", "MT": SEQUENCES["MT"]},
    "another length, the same sum": {
        "chr1": SEQUENCES["chr1"] + "AC",
        "chr2": "GATTA",
        "MT": SEQUENCES["MT"],
    },
    "one record for three": {"chr1": "ACGT" * 50},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=[name.replace(" ", "-") for name in OTHERS])
@pytest.mark.parametrize("pack", [fasta, bgzipped])
def test_an_index_that_does_not_fit_is_made_anew_though_it_is_newer(tmp_path, caplog, pack, other):
    # As when a download keeps its old time and takes the place of another release.
    path = pack(tmp_path, text_of(other))
    Genome(path).close()
    pack(tmp_path, text_of(SEQUENCES))
    set_age(path, 3600)
    assert fetched(path) == SEQUENCES
    assert "indexing again" in caplog.text


@pytest.mark.parametrize("pack", [fasta, bgzipped])
@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:1] + lines[2:],  # a record is missing: inside, first, last
        lambda lines: lines[1:],
        lambda lines: lines[:-1],
        lambda lines: [lines[0].replace("\t37\t", "\t38\t"), *lines[1:]],  # a base too many
        lambda lines: [lines[0].replace("\t37\t", "\t36\t"), *lines[1:]],  # or too few
        lambda lines: [*lines[:2], lines[2].replace("\t10\t", "\t12\t", 1)],
    ],
)
def test_an_index_that_is_wrong_by_one_record_or_base_is_made_anew(tmp_path, caplog, pack, change):
    path = pack(tmp_path, text_of(SEQUENCES))
    Genome(path).close()
    lines = index_lines(path)
    Path(f"{path}.fai").write_text("\n".join(change(lines)) + "\n")
    assert fetched(path) == SEQUENCES
    assert "indexing again" in caplog.text
    assert index_lines(path) == lines


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "\n",
        "not an index\n",
        "chr1\t37\n",
        "chr1\tx\t5\t10\t11\n",
        "chr1\t37\t32\t0\t0\n",
        "chr1\t37\t32\t10\t11\t9\n",
        "chr1\t37\t-5\t10\t11\n",
        "chr1\t37\t99999999\t10\t11\n",
    ],
)
@pytest.mark.parametrize("pack", [fasta, bgzipped])
def test_a_damaged_index_is_made_anew(tmp_path, caplog, pack, damage):
    path = pack(tmp_path, text_of(SEQUENCES))
    Genome(path).close()
    Path(f"{path}.fai").write_text(damage)
    assert fetched(path) == SEQUENCES
    assert "indexing again" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"\x05\x00", b"\xff" * 8, b"\x01" + bytes(7)])
def test_a_damaged_block_index_is_made_anew(tmp_path, caplog, damage):
    path = bgzipped(tmp_path, text_of(SEQUENCES))
    Genome(path).close()
    Path(f"{path}.gzi").write_bytes(damage)
    assert fetched(path) == SEQUENCES
    assert "is damaged: indexing again" in caplog.text


def test_an_index_that_names_a_contig_twice_is_made_anew(tmp_path):
    path = fasta(tmp_path, text_of(SEQUENCES))
    Genome(path).close()
    fai = Path(f"{path}.fai")
    fai.write_text(fai.read_text() * 2)
    assert fetched(path) == SEQUENCES


def test_an_index_of_another_user_is_made_again(tmp_path, monkeypatch, caplog):
    path = fasta(tmp_path, text_of(SEQUENCES))
    Genome(path).close()
    read_text = Path.read_text

    def refuse(self, *args):
        if self.name.endswith(".fai") and not caplog.records:
            raise PermissionError(13, "Permission denied")
        return read_text(self, *args)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert fetched(path) == SEQUENCES
    assert "cannot be read (Permission denied): indexing again" in caplog.text


@pytest.mark.parametrize("pack", [fasta, bgzipped])
def test_a_long_fetch_is_made_of_pieces(tmp_path, monkeypatch, pack):
    monkeypatch.setattr("dnatk.genome.fasta._AT_ONCE", 7)
    with Genome(pack(tmp_path, LONG)) as genome:
        whole = LONG.split("\n", 1)[1].replace("\n", "")
        for start, end in ((0, 7), (3, 500), (0, 999), (199_990, 200_000)):
            assert genome.fetch("a", start, end).tobytes().decode() == whole[start:end]


# What is kept in the cache


def test_in_a_read_only_directory_the_index_goes_to_the_cache(tmp_path, monkeypatch, cache, caplog):
    monkeypatch.setattr("dnatk.genome.index.os.access", lambda *_: False)
    for path in (fasta(tmp_path, text_of(SEQUENCES)), bgzipped(tmp_path, text_of(SEQUENCES))):
        assert fetched(path) == SEQUENCES
        assert not Path(f"{path}.fai").exists()
        assert not Path(f"{path}.gzi").exists()
        made = {p: p.stat().st_mtime_ns for p in cache.iterdir()}
        assert fetched(path) == SEQUENCES
        assert made == {p: p.stat().st_mtime_ns for p in cache.iterdir()}
    assert sorted(p.suffix for p in cache.iterdir()) == [".fai", ".fai", ".gzi"]
    assert not caplog.records


def test_a_stale_index_in_a_read_only_directory_is_complained_of_once(
    tmp_path, monkeypatch, caplog
):
    path = fasta(tmp_path, text_of(SEQUENCES))
    fasta(tmp_path, "chr1\t4\t6\t4\t5\n", "genome.fa.fai")
    monkeypatch.setattr("dnatk.genome.index.os.access", lambda *_: False)
    assert fetched(path) == SEQUENCES
    assert len(caplog.records) == 1
    assert fetched(path) == SEQUENCES
    assert len(caplog.records) == 1


def test_a_changed_genome_does_not_meet_its_old_index_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("dnatk.genome.index.os.access", lambda *_: False)
    path = fasta(tmp_path, text_of({"old": "ACGT" * 10}))
    assert fetched(path) == {"old": "ACGT" * 10}
    fasta(tmp_path, text_of(SEQUENCES))
    assert fetched(path) == SEQUENCES


@pytest.mark.parametrize("name", ["genome.fa.gz", "genome.fa"])
def test_plain_gzip_is_unpacked_once_and_that_is_logged(tmp_path, cache, caplog, name):
    path = gzipped(tmp_path, text_of(SEQUENCES), name)
    with caplog.at_level(logging.WARNING):
        assert fetched(path) == SEQUENCES
    (record,) = caplog.records
    assert f"{path} is plain gzip: unpacking it once to {cache}" in record.getMessage()
    (unpacked,) = cache.glob("*.fa")
    before = unpacked.stat().st_mtime_ns
    caplog.clear()
    assert fetched(path) == SEQUENCES
    assert not caplog.records
    assert unpacked.stat().st_mtime_ns == before


def test_another_gzip_of_the_same_name_is_unpacked_for_itself(tmp_path):
    first = gzipped(tmp_path, text_of(SEQUENCES))
    assert fetched(first) == SEQUENCES
    (tmp_path / "other").mkdir()
    second = gzipped(tmp_path / "other", text_of({"chr9": "ACGT"}))
    assert fetched(second) == {"chr9": "ACGT"}
    assert fetched(first) == SEQUENCES


def test_a_gzip_cut_short_leaves_nothing_in_the_cache(tmp_path, cache):
    path = gzipped(tmp_path, LONG)
    path.write_bytes(path.read_bytes()[:-1000])
    for _ in range(2):
        with pytest.raises(InputError, match="broken gzip"):
            Genome(path)
    assert list(cache.iterdir()) == []


def test_no_cache_is_made_where_none_is_needed(tmp_path, cache):
    assert fetched(fasta(tmp_path, text_of(SEQUENCES))) == SEQUENCES
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_an_output_error(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(fasta(tmp_path, "a file", "no_directory")))
    with pytest.raises(OutputError, match="cannot be written"):
        Genome(gzipped(tmp_path, text_of(SEQUENCES)))
    # Nothing of it is needed for a plain file.
    assert fetched(fasta(tmp_path, text_of(SEQUENCES))) == SEQUENCES


# Parity with pysam


@pytest.mark.parametrize("pack", [fasta, bgzipped, gzipped])
def test_200_random_regions_equal_pysams(tmp_path, pack):
    random = np.random.default_rng(17)
    alphabet = list("ACGTacgtNR")
    lengths = {"chr1": 150_000, "chr2": 61, "chr3": 60, "tiny": 1, "chr4": 80_011}
    sequences = {name: "".join(random.choice(alphabet, n)) for name, n in lengths.items()}
    path = pack(tmp_path, text_of(sequences, 60))
    plain = fasta(tmp_path, text_of(sequences, 60), "plain.fa")
    with Genome(path) as genome, pysam.FastaFile(str(plain)) as reference:
        assert genome.lengths == lengths
        for contig in random.choice(list(lengths), 200):
            start, end = sorted(random.integers(0, lengths[contig] + 1, 2).tolist())
            end = min(end, start + 5000)
            ours = genome.fetch(contig, start, end).tobytes().decode()
            assert ours == reference.fetch(contig, start, end)


def test_bases_around_the_blocks_of_a_bgzip_file_are_right(tmp_path):
    random = np.random.default_rng(3)
    sequence = "".join(random.choice(list("ACGT"), 200_000))
    path = bgzipped(tmp_path, f">a\n{sequence}\n")
    header = len(">a\n")
    with Genome(path) as genome:
        # Biopython's blocks hold 65536 bytes, samtools' 65280.
        for block in (65_280, 65_536, 2 * 65_280, 2 * 65_536, 3 * 65_536):
            for start in range(block - header - 3, block - header + 4):
                for n in (1, 2, 70):
                    found = genome.fetch("a", start, start + n).tobytes().decode()
                    assert found == sequence[start : start + n], (start, n)


def test_a_real_genome_equals_pysams(data_dir, tmp_path):
    (path, *_) = sorted(
        p for p in (data_dir / "yeast").rglob("*") if p.name.endswith((".fa", ".fa.gz", ".fasta"))
    )
    if path.suffix == ".gz":
        plain = fasta(tmp_path, gzip.decompress(path.read_bytes()), "plain.fa")
    else:
        plain = fasta(tmp_path, path.read_bytes(), "plain.fa")
    random = np.random.default_rng(0)
    with Genome(plain) as genome, pysam.FastaFile(str(plain)) as reference:
        assert genome.lengths == dict(zip(reference.references, reference.lengths, strict=True))
        for contig, length in genome.lengths.items():
            start = int(random.integers(0, length - 1000))
            ours = genome.fetch(contig, start, start + 1000).tobytes().decode()
            assert ours == reference.fetch(contig, start, start + 1000)
