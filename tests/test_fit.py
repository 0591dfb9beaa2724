"""How regions are brought to a task's length."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.bed import read_bed
from dnatk.genome.fit import Fit
from dnatk.genome.regions import Region
from dnatk.labelled.places import resized

CONTIG = 1000


def windows(text: str, length: int, start: int, end: int, strand: str = "+", contig: int = CONTIG):
    return list(Fit.parse(text, length).windows(start, end, strand, contig))


@pytest.mark.parametrize("text", ["tile", "center", "tss:-250,+50", "tss:+0,+300"])
def test_a_fit_is_written_as_it_is_read(text):
    assert str(Fit.parse(text, 300)) == text


def test_the_plus_may_be_left_out():
    assert Fit.parse("tss:-250,50", 300) == Fit("tss", 300, -250, 50)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"cannot read the fit '' \(write tile, center or tss:-250,\+50\)"),
        ("middle", "cannot read the fit 'middle'"),
        ("tss", "cannot read"),
        ("tss:", "cannot read"),
        ("tss:-250", "cannot read"),
        ("tss:-250:+50", "cannot read"),
        ("tss:-250,+50 ", "cannot read"),
        ("tss:-2.5,+50", "cannot read"),
        ("tss:--2,5", "cannot read"),
        ("tss:-9999999999,0", "cannot read"),
        ("tss:+50,-250", "has no bases: 50 is not before -250"),
        ("tss:5,5", "has no bases"),
        (
            "tss:-250,+51",
            r"is 301 bases, the task reads 300 \(at most 300, as in tss:-250,\+50\)",
        ),
    ],
)
def test_a_fit_that_makes_no_sense_is_refused(text, complaint):
    with pytest.raises(InputError, match=complaint):
        Fit.parse(text, 300)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (100, 110, [(100, 110)]),
        (100, 111, [(100, 110), (101, 111)]),
        (100, 115, [(100, 110), (105, 115)]),
        (100, 117, [(100, 110), (105, 115), (107, 117)]),
        (100, 120, [(100, 110), (105, 115), (110, 120)]),
        (100, 108, [(99, 109)]),
        (100, 102, [(96, 106)]),
        (0, 2, [(0, 6)]),
        (998, 1000, [(994, 1000)]),
        (990, 1000, [(990, 1000)]),
    ],
)
@pytest.mark.parametrize("strand", ["+", "."])
def test_tiles(start, end, expected, strand):
    assert windows("tile", 10, start, end, strand) == expected


def test_tiles_begin_at_the_five_prime_end():
    assert windows("tile", 10, 100, 117, "-") == [(100, 110), (102, 112), (107, 117)]


def test_a_task_of_one_base_tiles_base_by_base():
    assert windows("tile", 1, 3, 6) == [(3, 4), (4, 5), (5, 6)]


@pytest.mark.parametrize("kind", ["tile", "center"])
@pytest.mark.parametrize(
    ("start", "end", "forward", "backward"),
    [
        (100, 107, (98, 108), (99, 109)),
        (100, 101, (95, 105), (96, 106)),
        (0, 1, (0, 5), (0, 6)),
        (999, 1000, (994, 1000), (995, 1000)),
    ],
)
def test_an_odd_base_is_taken_in_upstream(kind, start, end, forward, backward):
    assert windows(kind, 10, start, end, "+") == windows(kind, 10, start, end, ".") == [forward]
    assert windows(kind, 10, start, end, "-") == [backward]


@pytest.mark.parametrize(
    ("start", "end", "strand", "expected"),
    [
        (100, 110, "+", (100, 110)),
        (100, 120, "-", (105, 115)),
        (100, 121, "+", (105, 115)),
        (100, 121, ".", (105, 115)),
        (100, 121, "-", (106, 116)),
    ],
)
def test_the_centre(start, end, strand, expected):
    assert windows("center", 10, start, end, strand) == [expected]


@given(st.integers(1, 40), st.integers(1, 30), st.sampled_from("+-."))
def test_the_middle_is_the_one_that_training_reads(size, length, strand):
    """By region, and cut out of a sequence as its strand reads it."""
    region = Region("chr1", 100, 100 + size, strand)
    trained = resized(region, length)
    assert windows("center", length, 100, 100 + size, strand) == [(trained.start, trained.end)]
    if size > length:
        (start, end) = next(Fit("center", length).record_windows(size))
        read = range(100, 100 + size)[:: -1 if strand == "-" else 1][start:end]
        assert sorted(read) == list(range(trained.start, trained.end))


@pytest.mark.parametrize(
    ("text", "strand", "expected"),
    [
        ("tss:-5,+2", "+", (495, 502)),
        ("tss:-5,+2", ".", (495, 502)),
        ("tss:-5,+2", "-", (598, 605)),
        ("tss:0,1", "+", (500, 501)),
        ("tss:0,1", "-", (599, 600)),
        ("tss:3,5", "-", (595, 597)),
    ],
)
def test_the_five_prime_end(text, strand, expected):
    assert windows(text, 300, 500, 600, strand) == [expected]


def test_a_five_prime_window_is_cut_at_the_contig_and_gone_beyond_it():
    assert windows("tss:-5,+2", 10, 3, 9) == [(0, 5)]
    assert windows("tss:-5,+2", 10, 3, 999, "-") == [(997, 1000)]
    assert windows("tss:-5,-4", 10, 3, 9) == []


def test_gene_starts_give_the_published_promoters(data_dir):
    genes = {region.name.split("|")[0]: region for region in read_bed(data_dir / "yeast/genes.bed")}
    fit = Fit.parse("tss:-250,+50", 300)
    compared = 0
    for promoter in read_bed(data_dir / "yeast/promoters_geneStart_m250_p50.bed"):
        gene = genes[promoter.name]
        (window,) = fit.windows(gene.start, gene.end, gene.strand, 10**9)
        assert (gene.contig, gene.strand) == (promoter.contig, promoter.strand)
        assert window == (promoter.start, promoter.end), promoter.name
        compared += 1
    assert compared == 6599


# Sequences without a genome


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tile", [(0, 10), (5, 15), (7, 17)]),
        ("center", [(3, 13)]),
        ("tss:-5,+2", [(0, 10), (5, 15), (7, 17)]),
    ],
)
def test_a_longer_sequence_is_cut(text, expected):
    assert list(Fit.parse(text, 10).record_windows(17)) == expected


@pytest.mark.parametrize("length", [0, 1, 9, 10])
@pytest.mark.parametrize("text", ["tile", "center", "tss:-5,+2"])
def test_a_sequence_that_fits_is_taken_as_it_is(text, length):
    assert list(Fit.parse(text, 10).record_windows(length)) == [(0, length)]


# What holds for any region

regions = st.integers(1, 400).flatmap(
    lambda contig: st.tuples(
        st.just(contig), st.integers(0, contig - 1), st.integers(1, contig), st.integers(1, 60)
    )
)
tss = st.tuples(st.integers(-80, 80), st.integers(1, 60)).map(lambda t: (t[0], t[0] + t[1]))


@given(regions, st.sampled_from("+-."))
@settings(max_examples=300, deadline=None)
def test_windows_cover_the_region_are_long_and_inside_and_in_order(case, strand):
    contig, start, size, length = case
    end = min(start + size, contig)
    found = windows("tile", length, start, end, strand, contig)
    held = {base for low, high in found for base in range(low, high)}
    assert held >= set(range(start, end))
    assert found == sorted(set(found))
    for low, high in found:
        assert 0 <= low < high <= contig
        assert high - low == length or low == 0 or high == contig
    if end - start >= length:
        assert held == set(range(start, end)), "a window stands outside a region that is long"
    for (_, first_end), (second, _) in pairwise(found):
        assert first_end - second >= length - max(1, length // 2)


@given(regions, tss)
@settings(max_examples=300, deadline=None)
def test_the_other_strand_is_the_mirror_image(case, ends):
    contig, start, size, length = case
    end = min(start + size, contig)
    for fit in (Fit("tss", 60, *ends), Fit("center", length), Fit("tile", length)):
        forward = list(fit.windows(start, end, "+", contig))
        mirrored = list(fit.windows(contig - end, contig - start, "-", contig))
        assert mirrored == [(contig - high, contig - low) for low, high in forward[::-1]], fit


def test_a_huge_region_is_cut_without_being_held():
    found = Fit.parse("tile", 300).windows(0, 10**15, "+", 10**15)
    assert [next(found) for _ in range(3)] == [(0, 300), (150, 450), (300, 600)]
