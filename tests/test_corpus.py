"""Training windows: drawn from where they should be, as a pure function of seed and row."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from Bio.Seq import reverse_complement
from conftest import random_bases, write_fasta

from dnatk.errors import DnatkError, InputError
from dnatk.kmers import Vocabulary, encode
from dnatk.kmers.vocab import CLS, SEP, UNK
from dnatk.training.corpus import Corpus, Sampler, read_records

SIZES = {"k": 6, "kmer_stride": 1, "row_tokens": 64}


def decode(ids, k: int = 6) -> str:
    """Bases of overlapping k-mer ids without [UNK]."""
    tokens = Vocabulary(k).tokens
    return tokens[ids[0]] + "".join(tokens[i][-1] for i in ids[1:])


def sequences_of(batch) -> list[np.ndarray]:
    ends = np.cumsum(batch.lengths)
    return [batch.ids_T[e - n : e] for e, n in zip(ends, batch.lengths, strict=True)]


@pytest.fixture
def corpus(tmp_path):
    write_fasta(tmp_path / "g.fa", {"a": random_bases(2000, 1), "b": random_bases(1000, 2)})
    return Corpus([tmp_path / "g.fa"], directory=tmp_path)


def test_a_row_depends_on_seed_and_row_alone(corpus):
    sampler = Sampler(corpus, corpus.train, seed=7, **SIZES)
    together = sampler.batch([3, 4, 5])
    alone = [sampler.batch([row]) for row in (3, 4, 5)]
    assert sorted(map(bytes, sequences_of(together))) == sorted(
        bytes(s) for batch in alone for s in sequences_of(batch)
    )
    np.testing.assert_array_equal(
        np.sort(together.draws[0]), np.sort(np.concatenate([b.draws[0] for b in alone]))
    )
    again = Sampler(corpus, corpus.train, seed=7, **SIZES).batch([4])
    np.testing.assert_array_equal(again.ids_T, alone[1].ids_T)
    other = Sampler(corpus, corpus.train, seed=8, **SIZES).batch([4])
    assert not np.array_equal(other.ids_T, alone[1].ids_T)


def test_windows_come_from_both_strands_of_the_genome(corpus, tmp_path):
    genome = [s.tobytes().decode() for _, s in read_records(tmp_path / "g.fa")]
    sampler = Sampler(corpus, corpus.train, seed=1, **SIZES)
    forward = reverse = 0
    for sequence in sequences_of(sampler.batch(range(200))):
        assert (sequence[0], sequence[-1], len(sequence)) == (CLS, SEP, 64)
        bases = decode(sequence[1:-1])
        forward += any(bases in contig for contig in genome)
        reverse += any(reverse_complement(bases) in contig for contig in genome)
    assert forward + reverse == 200
    assert 60 < forward < 140


def test_starts_cover_contigs_evenly(corpus):
    """chi-square-like bound: contig b has a third of the bases, so a third of the windows."""
    share = np.diff(Sampler(corpus, corpus.train, seed=1, **SIZES)._cumulative, prepend=0)
    np.testing.assert_allclose(share, [2 / 3, 1 / 3])


def test_short_records_are_packed_whole(tmp_path):
    records = {f"r{i}": random_bases(15 + i % 7, i) for i in range(50)}
    corpus = Corpus([write_fasta(tmp_path / "s.fa", records)], directory=tmp_path, min_length=10)
    sampler = Sampler(corpus, corpus.train, seed=1, **SIZES)
    whole = set(records.values()) | {reverse_complement(s) for s in records.values()}
    for row in range(50):
        sequences = sequences_of(sampler.batch([row]))
        assert len(sequences) >= 3
        assert sum(map(len, sequences)) <= 64
        assert {decode(s[1:-1]) for s in sequences} <= whole


def test_windows_rich_in_n_are_drawn_again(tmp_path):
    sequence = "N" * 3000 + random_bases(300, 1) + "N" * 3000
    corpus = Corpus([write_fasta(tmp_path / "n.fa", {"a": sequence})], directory=tmp_path)
    sampler = Sampler(corpus, corpus.train, seed=1, **SIZES)
    for ids in sequences_of(sampler.batch(range(60))):
        assert np.mean(ids[1:-1] != UNK) >= 0.5


def test_nothing_but_n_is_an_error(tmp_path):
    corpus = Corpus([write_fasta(tmp_path / "n.fa", {"a": "N" * 3000})], directory=tmp_path)
    with pytest.raises(InputError, match="no usable window"):
        Sampler(corpus, corpus.train, seed=1, **SIZES).batch([0])


def test_held_out_contigs_are_never_drawn(tmp_path):
    path = write_fasta(tmp_path / "g.fa", {"a": "A" * 500, "b": "C" * 500, "c": "AT" * 300})
    corpus = Corpus([path], directory=tmp_path, holdout=["b"])
    train = Sampler(corpus, corpus.train, seed=1, **SIZES).batch(range(100))
    heldout = Sampler(corpus, corpus.heldout, seed=1, **SIZES).batch(range(20))
    c, g = encode("CCCCCC", 6)[0], encode("GGGGGG", 6)[0]
    assert not np.isin([c, g], train.ids_T).any()
    assert set(heldout.ids_T.tolist()) == {CLS, SEP, c, g}
    assert (corpus.sources[0].records, corpus.sources[0].held_out) == (2, 1)


def test_a_contig_can_be_held_out_of_one_file(tmp_path):
    one = write_fasta(tmp_path / "one.fa", {"I": "A" * 100})
    two = write_fasta(tmp_path / "two.fa", {"I": "C" * 100})
    corpus = Corpus([one, two], directory=tmp_path, holdout=["two.fa:I"])
    assert [s.held_out for s in corpus.sources] == [0, 1]
    with pytest.raises(InputError, match=r"no contig 'chrI' to hold out.*'I'"):
        Corpus([one, two], directory=tmp_path, holdout=["chrI"])


def test_weights_make_the_mixture(tmp_path):
    one = write_fasta(tmp_path / "one.fa", {"a": "A" * 5000})
    two = write_fasta(tmp_path / "two.fa", {"c": "C" * 500})
    corpus = Corpus([one, two], directory=tmp_path, weights=[1, 3])
    batch = Sampler(corpus, corpus.train, seed=1, **SIZES).batch(range(400))
    a = sum((s[1] in encode("AAAAAATTTTTT", 6)[[0, -1]]) for s in sequences_of(batch))
    assert 60 < a < 140
    with pytest.raises(InputError, match="as many weights"):
        Corpus([one, two], directory=tmp_path, weights=[1])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz"])
def test_tables_of_sequences(tmp_path, suffix):
    delimiter = "\t" if suffix == "tsv" else ","
    text = f"label{delimiter}sequence\n1{delimiter}ACGTACGT\n0{delimiter}acgtnn\n"
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    assert [s.tobytes() for _, s in read_records(path)] == [b"ACGTACGT", b"acgtnn"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "t.csv:1: is neither FASTA nor a table with a 'sequence' column"),
        ("sequence\nACGT\nAXGT\n", "line 3:2: 'X' is no nucleotide"),
        ("", "is empty"),
        (">a\nACG\n", "no sequence of at least 32 bases"),
    ],
)
def test_inputs_that_cannot_train(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DnatkError, match=message):
        Corpus([tmp_path / "t.csv"], directory=tmp_path)


def test_the_base_file_leaves_nothing_behind(corpus, tmp_path):
    assert [p.name for p in tmp_path.iterdir()] == ["g.fa"]
    assert len(corpus.bases) == 3000


def test_non_overlapping_kmers_of_a_window(corpus):
    sampler = Sampler(corpus, corpus.train, k=6, kmer_stride=6, row_tokens=64, seed=1)
    assert sampler.batch([0]).lengths == [64]
    assert sampler.window_bases(64) == 61 * 6 + 6
