"""Negatives: what they share with their positives and what they keep clear of."""

import itertools
from collections import Counter

import numpy as np
import pytest
from conftest import random_bases, write_fasta
from hypothesis import given
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.fasta import Genome
from dnatk.genome.regions import Region
from dnatk.labelled.negatives import shuffle_dinucleotides, spread, unlike_places
from dnatk.labelled.places import Spans, read_bases
from dnatk.labelled.prepare import Files, Splitting, read_sets
from dnatk.labelled.read import ReadOptions, places, read_labelled


def pairs(text: bytes) -> Counter:
    return Counter(itertools.pairwise(text))


@given(st.text("ACGTN", max_size=60), st.integers(0, 1000))
def test_a_shuffle_keeps_dinucleotides_and_ends(text, seed):
    bases = np.frombuffer(text.encode(), dtype=np.uint8)
    shuffled = shuffle_dinucleotides(bases, np.random.default_rng(seed)).tobytes()
    assert pairs(shuffled) == pairs(text.encode())
    assert (shuffled[:1], shuffled[-1:]) == (text[:1].encode(), text[-1:].encode())


def test_a_shuffle_draws_every_sequence_alike():
    bases = np.frombuffer(b"AACAGATA", dtype=np.uint8)
    rng = np.random.default_rng(0)
    drawn = Counter(shuffle_dinucleotides(bases, rng).tobytes() for _ in range(4800))
    # A before each of A, C, G, T in any order; C, G, T lead back to A: 4! sequences.
    assert len(drawn) == 24
    assert min(drawn.values()) > 140
    assert max(drawn.values()) < 265


def test_spread_is_even():
    rng = np.random.default_rng(0)
    assert np.bincount(spread(10, 1, rng)).tolist() == [1] * 10
    assert sorted(np.bincount(spread(10, 2.5, rng)).tolist()) == [2] * 5 + [3] * 5
    assert len(set(spread(10, 0.3, rng).tolist())) == 3


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 12)), max_size=8))
def test_spans_touch_what_shares_a_base(places):
    regions = [Region("c", start, start + length) for start, length in places]
    taken = {base for region in regions for base in range(region.start, region.end)}
    asked = [Region("c", start, start + 4) for start in range(60)]
    expected = [bool(taken & set(range(r.start, r.end))) for r in asked]
    assert Spans(regions).overlapping(asked).tolist() == expected
    assert not Spans(regions).overlapping([Region("d", 0, 99)]).any()


@pytest.fixture(scope="module")
def islands(tmp_path_factory) -> Genome:
    """Stretches of 500 bases, rich in GC and in AT by turns, and a run of N in each contig."""
    sequences = {}
    for number, contig in enumerate(("c1", "c2")):
        parts = [
            random_bases(500, 50 * number + i, "AATTGC" if i % 2 else "AGGCCT") for i in range(20)
        ]
        parts[7] = "N" * 500
        sequences[contig] = "".join(parts)
    with Genome(write_fasta(tmp_path_factory.mktemp("g") / "g.fa", sequences)) as genome:
        yield genome


@pytest.mark.parametrize("match_gc", [True, False])
def test_places_resemble_their_positives_and_keep_clear(islands, match_gc):
    positives = [
        Region(
            f"c{1 + i % 2}", 1000 * (i // 4) + 60, 1000 * (i // 4) + 100 + 10 * (i % 3), "+-"[i % 2]
        )
        for i in range(24)
    ]
    avoid = [*positives, Region("c1", 8000, 10000)]
    rng = np.random.default_rng(3)
    drawn = unlike_places(islands, positives, avoid, rng, match_gc=match_gc)
    for positive, negative in zip(positives, drawn, strict=True):
        assert negative.contig == positive.contig
        assert len(negative) == len(positive)
        assert negative.strand == positive.strand
        assert b"N" not in read_bases(islands, negative).tobytes()
    assert not Spans(avoid).overlapping(drawn).any()
    assert len({(region.contig, region.start, len(region)) for region in drawn}) == 24

    def gc(region):
        return np.isin(read_bases(islands, region), list(b"GC")).mean()

    away = np.mean([abs(gc(p) - gc(n)) for p, n in zip(positives, drawn, strict=True)])
    assert away < 0.03 if match_gc else away > 0.1


def test_gc_is_matched_on_the_bases_that_are_known(tmp_path):
    """Half of each positive is N, which no negative has."""
    sequences = {"c": "".join(random_bases(60, i) + "N" * 60 for i in range(50))}
    sequences["c"] += random_bases(20_000, 99)
    positives = [Region("c", 120 * i, 120 * (i + 1)) for i in range(50)]
    with Genome(write_fasta(tmp_path / "g.fa", sequences)) as genome:
        drawn = unlike_places(genome, positives, positives, np.random.default_rng(0), match_gc=True)
        gc = [np.isin(read_bases(genome, region), list(b"GC")).mean() for region in drawn]
    assert abs(np.mean(gc) - 0.5) < 0.03


@pytest.mark.parametrize("others", ["bed", "table"])
def test_negatives_keep_clear_of_all_splits_as_they_are_read(tmp_path, others):
    """Summits of one base, brought to 300: no DNA has one label in train and another in dev."""
    genome = write_fasta(tmp_path / "g.fa", {"c": random_bases(40_000, 3)})
    summits = range(300, 13_700, 400)
    for name, of in (("train", summits[::2]), ("dev", summits[1::2])):
        rows = [f"c\t{at}\t{at + 1}\tx\t0\t+" for at in of]
        (tmp_path / f"{name}.bed").write_text("\n".join(rows) + "\n")
    dev = tmp_path / "dev.bed"
    if others == "table":
        dev = tmp_path / "dev.csv"
        rows = [f"c,{at},{at + 1},+,{i % 2}" for i, at in enumerate(summits[1::2])]
        dev.write_text("chrom,start,end,strand,label\n" + "\n".join(rows) + "\n")
    files = Files(str(tmp_path / "train.bed"), dev=str(dev))
    options = ReadOptions(genome=str(genome), length=300, negatives="random", positive="1")
    if others == "bed":
        sets, _, _ = read_sets(files, options, Splitting(test=0.0))
    else:
        data = read_labelled(files.data, options, avoid=places(files.dev, options))
        sets = {"train": data, "dev": read_labelled(dev, options)}
    train, dev_set = sets["train"], sets["dev"]
    negatives = [r for r, t in zip(train.regions, train.targets, strict=True) if t == 0]
    assert len(negatives) == len(summits[::2])
    assert not Spans(dev_set.regions).overlapping(negatives).any()
    positives = [r for r, t in zip(train.regions, train.targets, strict=True) if t == 1]
    drawn = [r for r, t in zip(dev_set.regions, dev_set.targets, strict=True) if t == 0]
    if others == "bed":
        assert not Spans(positives).overlapping(drawn).any()


def test_given_sequences_stay_as_they_are(tmp_path):
    """Their coordinates may be those of a summit, or 1-based."""
    genome = write_fasta(tmp_path / "g.fa", {"c": random_bases(4000, 3)})
    rows = [f"{random_bases(60, i)},{i % 2},c,{100 * i + 20},{100 * i + 21}" for i in range(10)]
    table = tmp_path / "train.csv"
    table.write_text("sequence,label,chrom,start,end\n" + "\n".join(rows) + "\n")
    bed = tmp_path / "dev.bed"
    bed.write_text("#chrom start end label\nc 2000 2040 0\nc 2100 2130 1\n")
    options = ReadOptions(genome=str(genome))
    splitting = Splitting("random", dev=0.2, test=0.2)
    sets, _, _ = read_sets(Files(str(table)), options, splitting)
    assert {len(s) for data in sets.values() for s in data.sequences} == {60}
    sets, _, _ = read_sets(Files(str(table), dev=str(bed)), options, splitting)
    assert {len(s) for data in sets.values() for s in data.sequences} == {60}
    assert not any(data.cut for data in sets.values())


def test_regions_that_no_model_takes_are_refused_before_they_are_read(tmp_path, monkeypatch):
    genome = write_fasta(tmp_path / "g.fa", {"c": random_bases(4000, 3)})
    bed = tmp_path / "r.bed"
    bed.write_text("c\t100\t200\nc\t300\t900\n")
    monkeypatch.setattr(Genome, "fetch", None)
    options = ReadOptions(genome=str(genome))
    with pytest.raises(InputError, match=r"r.bed: examples of 600 bases, the model takes 515 \("):
        read_sets(Files(str(bed)), options, Splitting(), most=lambda: 515)
    dev = write_fasta(tmp_path / "dev.fa", {"a label=1": random_bases(700, 1)})
    with pytest.raises(InputError, match=r"dev.fa: examples of 700 bases"):
        read_sets(Files(str(bed), dev=str(dev)), options, Splitting(), most=lambda: 515)
    of_tss = ReadOptions(genome=str(genome), fit="tss:-1000,+200")
    with pytest.raises(InputError, match=r"1200 bases, the model takes 515 \(a shorter --fit\)"):
        read_sets(Files(str(bed)), of_tss, Splitting(), most=lambda: 515)


def test_labels_of_a_dev_set_are_named_by_the_training_data(tmp_path):
    """Also where a genome is named, for lengths and places need no labels."""
    genome = write_fasta(tmp_path / "g.fa", {"c": random_bases(4000, 3)})
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    rows = [f"{random_bases(60, i)},{'x;y' if i % 2 else 'x'}" for i in range(10)]
    train.write_text("sequence,label\n" + "\n".join(rows) + "\n")
    dev.write_text(f"sequence,x,y\n{random_bases(60, 21)},1,0\n{random_bases(60, 22)},0,1\n")
    options = ReadOptions(genome=str(genome), kind="multilabel")
    sets, _, _ = read_sets(Files(str(train), dev=str(dev)), options, Splitting(test=0.2))
    assert sets["dev"].targets.tolist() == [[1, 0], [0, 1]]


def test_a_last_free_place_is_found_and_then_no_more(tmp_path):
    sequences = {"c": "N" * 3000 + random_bases(11, 1) + "N" * 3000}
    with Genome(write_fasta(tmp_path / "g.fa", sequences)) as genome:
        like = [Region("c", 10, 20, source="x.bed", line=7)]
        rng = np.random.default_rng(0)
        drawn = unlike_places(genome, like * 2, [], rng, match_gc=True)
        assert sorted(region.start for region in drawn) == [3000, 3001]
        with pytest.raises(InputError, match=r"x.bed:7: c has no place left"):
            unlike_places(genome, like * 3, [], rng, match_gc=False)
