"""BED lines, region strings and contig names."""

from __future__ import annotations

import bz2
import gzip
import io
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.bed import read_bed
from dnatk.genome.names import nearest, unknown_contig_hint
from dnatk.genome.regions import Region, parse_region

LENGTHS = {"chr1": 1000, "chr2": 50, "HLA:A*01": 300, "chr3:1-5": 80}


def bed(tmp_path: Path, data: str | bytes, name: str = "regions.bed") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def regions(tmp_path: Path, data: str | bytes) -> list[Region]:
    return list(read_bed(bed(tmp_path, data)))


def spans(found: list[Region]) -> list[tuple[str, int, int]]:
    return [(region.contig, region.start, region.end) for region in found]


# What a BED file may look like

BED12 = ["chr1", "10", "90", "gene", "960", "-", "12", "88", "255,0,0", "2", "20,30,", "0,50,"]


@pytest.mark.parametrize("n_columns", [*range(3, 13), 15])
def test_every_column_is_kept_and_the_first_six_are_read(tmp_path, n_columns):
    columns = [*BED12, "more", "", "x y"][:n_columns]
    (region,) = regions(tmp_path, "\t".join(columns) + "\n")
    assert region.fields == tuple(columns)
    assert (region.contig, region.start, region.end) == ("chr1", 10, 90)
    assert region.name == ("gene" if n_columns > 3 else "chr1:11-90")
    assert region.strand == ("-" if n_columns > 5 else ".")
    assert len(region) == 80


@pytest.mark.parametrize("strand", ["+", "-", "."])
def test_strands_are_read(tmp_path, strand):
    (region,) = regions(tmp_path, f"chr1\t0\t5\tx\t0\t{strand}\n")
    assert region.strand == strand


@pytest.mark.parametrize("name", ["", ".", " "])
def test_a_missing_name_becomes_the_region_string(tmp_path, name):
    (region,) = regions(tmp_path, f"chr1\t0\t5\t{name}\t0\t+\n")
    assert region.name == "chr1:1-5"
    assert region.fields[3] == name


def test_order_duplicates_and_line_numbers_are_kept(tmp_path):
    path = bed(tmp_path, "chr2\t5\t9\n\nchr1\t0\t5\nchr2\t5\t9\n")
    found = list(read_bed(path))
    assert spans(found) == [("chr2", 5, 9), ("chr1", 0, 5), ("chr2", 5, 9)]
    assert [region.line for region in found] == [1, 3, 4]
    assert {region.source for region in found} == {str(path)}


@pytest.mark.parametrize(
    "text",
    [
        "chr1\t0\t5\r\nchr2\t5\t9\r\n",
        "chr1\t0\t5\nchr2\t5\t9",
        "\n  \nchr1\t0\t5\n\t\nchr2\t5\t9\n\n",
        "#chrom\tstart\tend\nchr1\t0\t5\n# a comment\nchr2\t5\t9\n",
        "track name=x\nbrowser position chr1:1-5\nchr1\t0\t5\ntrack\nchr2\t5\t9\n",
        "\ufeffchr1\t0\t5\nchr2\t5\t9\n",
        "\ufeff#chrom\nchr1\t0\t5\nchr2\t5\t9\n",
        "chr1 0 5\nchr2   5  9\n",
        "chr1\t0\t5\nchr2 5 9 # x\n",
        "chr1\t00\t005\nchr2\t5\t9\n",
    ],
    ids=[
        "crlf",
        "open",
        "blank",
        "comment",
        "track",
        "bom",
        "bom-comment",
        "spaces",
        "mixed",
        "zeros",
    ],
)
def test_the_same_regions_are_read_in_each_dress(tmp_path, text):
    assert spans(regions(tmp_path, text)) == [("chr1", 0, 5), ("chr2", 5, 9)]


def test_windows_line_ends_do_not_reach_the_last_column(tmp_path):
    (region,) = regions(tmp_path, "chr1\t0\t5\tname\t0\t+\r\n")
    assert region.fields[-1] == region.strand == "+"


def test_a_contig_that_begins_with_track_is_no_header(tmp_path):
    assert spans(regions(tmp_path, "track_7\t0\t5\n")) == [("track_7", 0, 5)]


def test_gzip_is_unpacked_by_its_content_not_its_name(tmp_path):
    packed = gzip.compress(b"chr1\t0\t5\n")
    for name in ("regions.bed.gz", "regions.bed"):
        assert spans(list(read_bed(bed(tmp_path, packed, name)))) == [("chr1", 0, 5)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read(monkeypatch, pack):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(pack(b"chr1\t0\t5\nchr2\t9\t5\n"))))
    monkeypatch.setattr(sys, "stdin", stdin)
    lines = read_bed("-")
    assert next(lines).contig == "chr1"
    with pytest.raises(InputError, match=r"^<stdin>:2: end \(5\) <= start \(9\)"):
        next(lines)


def test_a_bed_is_streamed(tmp_path):
    lines = read_bed(bed(tmp_path, "chr1\t0\t5\nbroken\n"))
    assert next(lines).contig == "chr1"
    with pytest.raises(InputError):
        next(lines)


@given(
    st.lists(
        st.tuples(
            st.text("abcXYZ019_.:-", min_size=1, max_size=8),
            st.integers(0, 10**9),
            st.integers(1, 10**9),
            st.text("abc 09_;=", max_size=6),
            st.sampled_from("+-."),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=40, deadline=None)
def test_what_is_written_as_bed6_is_read_back(tmp_path_factory, rows):
    lines = [f"{c}\t{s}\t{s + n}\t{name}\t0\t{strand}\n" for c, s, n, name, strand in rows]
    path = bed(tmp_path_factory.mktemp("bed"), "".join(lines))
    found = list(read_bed(path))
    assert ["\t".join(region.fields) + "\n" for region in found] == lines
    assert spans(found) == [(c, s, s + n) for c, s, n, _, _ in rows]
    assert [region.strand for region in found] == [strand for *_, strand in rows]


# What is wrong with it


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("chr1", r"1 column\(s\), BED needs at least 3 \(contig, start, end\)"),
        ("chr1\t5", r"2 column\(s\)"),
        ("chr1:1-100", r"1 column\(s\)"),
        ("chr1,1,100", r"1 column\(s\)"),
        ("chr1\t5\t5", r"end \(5\) <= start \(5\) \(0-based half-open, as in BED\)"),
        ("chr1\t60\t50", r"end \(50\) <= start \(60\)"),
        ("chr1\t-1\t5", "start -1 is negative"),
        ("chr1\t-9\t-5", "start -9 is negative"),
        ("chr1\t0\t-5", "end -5 is negative"),
        ("chrom\tstart\tend", "start 'start' is no whole number"),
        ("chr1\t1\tend", "end 'end' is no whole number"),
        ("chr1\t1.5\t5", "start '1.5' is no whole number"),
        ("chr1\t1e3\t5000", "start '1e3'"),
        ("chr1\t1,000\t5,000", "start '1,000'"),
        ("chr1\t\t5", "start '' is no whole number"),
        ("chr1\t-\t5", "start '-' is no whole number"),
        ("chr1\t--1\t5", "start '--1'"),
        ("chr1\t²\t5", "start '²'"),
        ("chr1\t٣\t5", "start '٣'"),
        ("chr1\t0\t" + "9" * 25, r"end 9{18}\.\.\. is beyond any genome"),
        ("chr1\t0\t" + "9" * 5000, "is beyond any genome"),
        ("chr1\t0\t5\tx\t0\t*", r"strand '\*' is none of \+ - \."),
        ("chr1\t0\t5\tx\t0\t", "strand '' is none of"),
        ("chr1\t0\t5\tx\t0\tplus", "strand 'plus'"),
        ("\t0\t5", "an empty contig name"),
        (">chr1 dna", "is FASTA, not BED"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_line(tmp_path, line, complaint):
    path = bed(tmp_path, f"# first\nchr1\t0\t5\n{line}\nchr1\t5\t9\n")
    with pytest.raises(InputError, match=complaint) as caught:
        list(read_bed(path))
    assert str(caught.value).startswith(f"{path}:3: ")
    assert caught.value.line == 3


def test_a_fasta_given_as_bed_is_recognised_on_its_first_line(tmp_path):
    with pytest.raises(InputError, match=r"genome\.fa:1: is FASTA, not BED"):
        list(read_bed(bed(tmp_path, ">chr1\nACGT\n", "genome.fa")))


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00",
        bytes(range(256)),
        bz2.compress(b"chr1\t0\t5\n" * 50),
        "chr1\t0\t5\n".encode("utf-16"),
        gzip.compress(b"BAM\x01\x93\x00\xff\xff"),
    ],
    ids=["png", "bytes", "bz2", "utf16", "gzipped"],
)
def test_binary_data_is_refused_with_its_place(tmp_path, data):
    path = bed(tmp_path, data)
    with pytest.raises(InputError) as caught:
        list(read_bed(path))
    assert str(caught.value).startswith(f"{path}:1: ")


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n# comments\n", "track x\n", "\ufeff"])
def test_a_bed_without_a_region_is_refused(tmp_path, text):
    path = bed(tmp_path, text)
    with pytest.raises(InputError) as caught:
        list(read_bed(path))
    assert str(caught.value) == f"{path}: has no region"


def test_missing_files_directories_and_broken_gzip_are_told_apart(tmp_path):
    packed = gzip.compress(b"chr1\t0\t5\n" * 5000)
    for path, complaint in (
        (tmp_path / "none.bed", "no such file"),
        (bed(tmp_path, "x") / "below.bed", "no such file"),
        (tmp_path, "is a directory"),
        (bed(tmp_path, packed[:-20], "cut.bed.gz"), "broken gzip"),
    ):
        with pytest.raises(InputError, match=complaint) as caught:
            list(read_bed(path))
        assert str(caught.value).startswith(f"{path}: ")


def test_a_broken_gzip_on_standard_input_is_an_input_error(monkeypatch):
    packed = gzip.compress(b"chr1\t0\t5\n" * 5000)[:-20]
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(packed)))
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(InputError, match=r"^<stdin>: is a broken gzip file"):
        list(read_bed("-"))


# Region strings


@pytest.mark.parametrize(
    ("text", "contig", "start", "end"),
    [
        ("chr1:1-100", "chr1", 0, 100),
        ("chr1:100-100", "chr1", 99, 100),
        ("chr1:1,000-2,000", "chr1", 999, 2000),
        ("chr1:5", "chr1", 4, 1000),
        ("chr1", "chr1", 0, 1000),
        ("HLA:A*01", "HLA:A*01", 0, 300),
        ("HLA:A*01:7-9", "HLA:A*01", 6, 9),
        ("HLA:A*01:7", "HLA:A*01", 6, 300),
        ("chr3:1-5", "chr3:1-5", 0, 80),
        ("chr3:1-5:2-4", "chr3:1-5", 1, 4),
        # Unknown or outside: read here, refused by Genome.check, which knows what to say.
        ("chr9:2-4", "chr9", 1, 4),
        ("chr9", "chr9", 0, 1),
        ("chr9:7", "chr9", 6, 7),
        ("chr1:999-2000", "chr1", 998, 2000),
        ("chr2:60", "chr2", 59, 60),
    ],
)
def test_region_strings_are_1_based_inclusive(text, contig, start, end):
    region = parse_region(text, LENGTHS)
    assert (region.contig, region.start, region.end) == (contig, start, end)
    assert region.strand == "."
    assert region.source == "--region"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot read the region ''"),
        ("chr1:", "cannot read"),
        (":1-5", "cannot read"),
        ("chr1:x-5", "cannot read"),
        ("chr1:1-", "cannot read"),
        ("chr1:-5", "cannot read"),
        ("chr1:-5-9", "cannot read"),
        ("chr1:1-5-9", "cannot read"),
        ("chr1:,", "cannot read"),
        ("chr1:1-,", "cannot read"),
        ("chr1:1.5-9", "cannot read"),
        ("chr1:" + "9" * 5000, "cannot read"),
        ("chr1:0-5", "1-based inclusive"),
        ("chr1:0", "1-based inclusive"),
        ("chr1:6-5", "the start not after the end"),
    ],
)
def test_region_strings_that_make_no_sense_are_refused(text, complaint):
    with pytest.raises(InputError, match=complaint):
        parse_region(text, LENGTHS)


@given(st.text("chr1:-,09 X", max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_region_or_an_input_error(text):
    try:
        region = parse_region(text, LENGTHS)
    except InputError:
        return
    assert region.contig
    assert 0 <= region.start < region.end


@given(st.sampled_from(["chr1", "HLA:A*01"]), st.integers(0, 10**10), st.integers(1, 10**6))
@settings(max_examples=50, deadline=None)
def test_the_name_of_a_region_is_a_region_string_of_it(contig, start, length):
    region = Region(contig, start, start + length)
    again = parse_region(region.name, LENGTHS)
    assert (again.contig, again.start, again.end) == (contig, start, start + length)


# Contig names

HUMAN = [*map(str, range(1, 23)), "X", "Y", "MT"]
UCSC = [*(f"chr{name}" for name in HUMAN[:-1]), "chrM"]
ROMAN = "I,II,III,IV,V,VI,VII,VIII,IX,X,XI,XII,XIII,XIV,XV,XVI"
YEAST = [f"chr{n}" for n in ROMAN.split(",")]


@pytest.mark.parametrize(
    ("name", "contigs", "twin"),
    [
        ("chr1", HUMAN, "1"),
        ("1", UCSC, "chr1"),
        ("chr22", HUMAN, "22"),
        ("chrX", HUMAN, "X"),
        ("X", UCSC, "chrX"),
        ("x", HUMAN, "X"),
        ("CHR7", UCSC, "chr7"),
        ("chr01", HUMAN, "1"),
        ("Chromosome_3", HUMAN, "3"),
        ("chrM", HUMAN, "MT"),
        ("MT", UCSC, "chrM"),
        ("M", ["chrI", "chrmt"], "chrmt"),
        ("Mito", ["1", "chrM"], "chrM"),
        ("MT", ["I", "Mito"], "Mito"),
        ("chrMito", ["I", "MT"], "MT"),
        ("1", YEAST, "chrI"),
        ("chr4", YEAST, "chrIV"),
        ("chr9", YEAST, "chrIX"),
        ("16", YEAST, "chrXVI"),
        ("chrXIV", HUMAN, "14"),
        ("IV", [*YEAST, "Mito"], "chrIV"),
        ("scaffold_11", ["scaffold_10", "scaffold_1"], "scaffold_1"),
        ("ontig12", ["contig12", "other"], "contig12"),
        ("plasmid", HUMAN, None),
        ("chr1", [], None),
    ],
)
def test_the_twin_of_a_name_is_found_under_other_conventions(name, contigs, twin):
    assert nearest(name, contigs) == twin


def test_the_hint_names_the_twin_or_else_what_there_is():
    assert unknown_contig_hint("chr1", HUMAN).startswith("did you mean '1'?")
    assert unknown_contig_hint("plasmid", ["a", "b"]) == "the FASTA has a, b"
    assert unknown_contig_hint("plasmid", HUMAN) == "the FASTA has 1, 2, 3, 4, 5, ..."


@given(st.text(max_size=10), st.lists(st.text(max_size=6), max_size=5))
@settings(max_examples=80, deadline=None)
def test_any_name_has_a_hint(name, contigs):
    assert nearest(name, contigs) in {None, *contigs}
    assert unknown_contig_hint(name, contigs)


def test_vcf_is_refused_though_its_ids_may_be_numbers(tmp_path):
    text = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\nchr1\t10\t1234\tC\tG\n"
    with pytest.raises(InputError, match=r"regions\.bed:1: is VCF, not BED"):
        regions(tmp_path, text)
