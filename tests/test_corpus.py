"""Reading what to train on: codes, segments and summaries; what is written, and taken away."""

from __future__ import annotations

import gzip
import multiprocessing
import re
from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import random_bases, write_fasta
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import DnatkError, InputError, OutputError
from dnatk.kmers import Vocabulary
from dnatk.training import sources
from dnatk.training.corpus import Corpus
from dnatk.training.sources import read_pieces


def corpus_of(directory, records: dict[str, str], **options) -> Corpus:
    """A corpus of one FASTA; k = 6 unless told."""
    path = write_fasta(directory / "g.fa", records)
    return Corpus.read([path], directory=directory, **{"k": 6, **options})


def segments_of(corpus: Corpus, part) -> list[str]:
    """The text of each segment, by the published meaning of the codes."""
    letters = np.frombuffer(b"ATCGNNNNatcgnnnn", dtype=np.uint8)
    text = letters[corpus.bases].tobytes().decode()
    return [text[s : s + n] for s, n in zip(part.start, part.length, strict=True)]


def test_codes_are_dnatks_order_of_bases_with_bits_for_n_and_soft_masking(tmp_path):
    corpus = corpus_of(tmp_path, {"a": "ATCGatcgNnRyUu-." + "A" * 16})
    assert corpus.bases[:16].tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 4, 12, 4, 12, 4, 12, 4, 4]
    assert Vocabulary(1).tokens[5:] == list("ATCG")


# Segments


def expected_segments(record: str, k: int, min_length: int) -> list[str]:
    kept = []
    for text in re.split(r"[^ACGTacgt]{32,}", record):
        kmers = [text[i : i + k] for i in range(len(text) - k + 1)]
        valid = sum(bool(re.fullmatch("[ACGTacgt]+", kmer)) for kmer in kmers)
        if len(text) >= min_length and valid and 2 * valid >= len(kmers):
            kept.append(re.sub("[^ACGTacgtn]", "N", re.sub("[bd-fh-su-z]", "n", text)))
    return kept


@st.composite
def genomes(draw) -> dict[str, str]:
    kinds = st.tuples(st.sampled_from("AAAaNnR"), st.sampled_from([0, 1, 7, 20, 31, 32, 33, 60]))
    records = draw(st.lists(st.lists(kinds, max_size=9), min_size=1, max_size=6))
    texts = (
        "".join(
            kind * n if kind in "NnR" else random_bases(n, n + i)
            for i, (kind, n) in enumerate(parts)
        )
        for parts in records
    )
    return {f"r{i}": text for i, text in enumerate(texts)}


@given(genomes(), st.integers(1, 8), st.sampled_from([1, 10, 32]), st.integers(3, 80))
@settings(max_examples=300, deadline=None)
def test_records_are_cut_at_long_runs_of_n(tmp_path_factory, records, k, min_length, block):
    """Whatever the pieces in which they are read; runs never go on from record to record."""
    directory = tmp_path_factory.getbasetemp()
    held = {"r1"} & records.keys()
    expected = {n: expected_segments(text, k, min_length) for n, text in records.items()}
    train = [s for n, each in expected.items() if n not in held for s in each]

    def in_pieces(path):
        return sources.stream_fasta(path, block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "read_pieces", in_pieces)
        options = {"k": k, "min_length": min_length, "holdout": held}
        if not train:
            with pytest.raises(InputError, match=r"no (usable )?sequence of at least"):
                corpus_of(directory, records, **options)
            return
        if held and not expected["r1"]:
            with pytest.raises(InputError, match=r"nothing can be measured on what .* \(r1\)"):
                corpus_of(directory, records, **options)
            return
        corpus = corpus_of(directory, records, **options)
    assert segments_of(corpus, corpus.train) == train
    assert segments_of(corpus, corpus.heldout) == [s for n in held for s in expected[n]]
    (source,) = corpus.sources
    used = {n for n, each in expected.items() if each}
    assert source.records == len(used - held)
    assert source.bases == sum(map(len, train))
    assert source.bases + source.left_out == sum(len(records[n]) for n in used - held)
    assert source.held_out == len(used & held)
    assert source.too_short == sum(len(text) < min_length for text in records.values())
    assert source.records + source.held_out + source.too_short + source.mostly_n == len(records)


def test_nothing_but_n_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no usable sequence of .* more than half of each is N"):
        corpus_of(tmp_path, {"a": "N" * 3000, "b": "ACGT"})
    with pytest.raises(InputError, match="more than half of each is N"):
        corpus_of(tmp_path, {"a": "ANNNNN" * 100})


def test_a_contig_can_be_held_out_of_one_file(tmp_path):
    one = write_fasta(tmp_path / "one.fa", {"I": "A" * 100})
    two = write_fasta(tmp_path / "two.fa", {"I": "C" * 100})
    corpus = Corpus.read([one, two], directory=tmp_path, k=6, holdout=["two.fa:I"])
    assert [s.held_out for s in corpus.sources] == [0, 1]
    assert segments_of(corpus, corpus.train) == ["A" * 100]
    assert segments_of(corpus, corpus.heldout) == ["C" * 100]
    assert corpus.heldout.source.tolist() == [1]
    with pytest.raises(InputError, match=r"no contig 'chrI' to hold out.*'I'"):
        Corpus.read([one, two], directory=tmp_path, k=6, holdout=["chrI"])


def test_many_contigs(tmp_path):
    """As a draft assembly has them; segments are found for all at once."""
    bases = random_bases(200 * 20_000, 1)
    records = {f"c{i}": bases[i * 200 : i * 200 + 200] for i in range(20_000)}
    corpus = corpus_of(tmp_path, records, holdout=["c7"])
    assert len(corpus.train.start) == 19_999
    assert segments_of(corpus, corpus.heldout) == [records["c7"]]
    assert corpus.sources[0].bases == 19_999 * 200


# What can be read


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "scsv"])
def test_tables_of_sequences(tmp_path, suffix):
    delimiter = {"tsv": "\t", "scsv": ";"}.get(suffix, ",")
    text = f"label{delimiter}sequence\n1{delimiter}ACGTACGT\n0{delimiter}acgtnn\n"
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    assert [s.tobytes() for _, s in read_pieces(path)] == [b"ACGTACGT", b"acgtnn"]
    corpus = Corpus.read([path], directory=tmp_path, k=2, min_length=5)
    assert segments_of(corpus, corpus.train) == ["ACGTACGT", "acgtnn"]


def test_a_sequence_longer_than_csv_allows(tmp_path):
    long = random_bases(140_000, 1)
    (tmp_path / "t.csv").write_text(f"sequence\n{long}\n")
    assert [s.tobytes().decode() for _, s in read_pieces(tmp_path / "t.csv")] == [long]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('label,sequence\n1,"ACGT\n0,ACGT\n', "is not a text table: unexpected end of data"),
        ("a,b\n1,2\n", "t.csv:1: is neither FASTA nor a table with a 'sequence' column"),
        ("sequence\nACGT\nAXGT\n", "line 3:2: 'X' is no nucleotide"),
        ("sequence\n", "no sequence of at least 32 bases"),
        ("", "is empty"),
        (">a\nACG\n", "no sequence of at least 32 bases"),
        (">a\nACG\n>a\nACG\n", r"t.csv:3: the name 'a' stands twice, first at line 1"),
    ],
)
def test_inputs_that_cannot_train(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DnatkError, match=message):
        Corpus.read([tmp_path / "t.csv"], directory=tmp_path, k=6)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"], "nothing is left behind"


# What is written


@pytest.fixture
def corpus(tmp_path):
    records = {"a": random_bases(2000, 1), "b": random_bases(1000, 2), "c": random_bases(50, 3)}
    return corpus_of(tmp_path, records, holdout=["b"])


def sum_of(directory: str, answer) -> None:
    corpus = Corpus.open(directory)
    answer.put((int(corpus.bases.astype(int).sum()), corpus.sources))


def test_another_process_opens_what_one_has_read(corpus, tmp_path):
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=sum_of, args=(str(tmp_path), answer))
    process.start()
    assert answer.get(timeout=60) == (corpus.bases.astype(int).sum(), corpus.sources)
    process.join()
    other = Corpus.open(tmp_path)
    for part in ("train", "heldout"):
        one, two = asdict(getattr(corpus, part)), asdict(getattr(other, part))
        assert all(np.array_equal(one[name], two[name]) for name in one)


def test_taken_away_it_stays_open_and_leaves_nothing(corpus, tmp_path):
    before = corpus.bases.tobytes()
    Corpus.remove(tmp_path)
    Corpus.remove(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["g.fa"]
    assert corpus.bases.tobytes() == before
    assert len(before) == 3050


def test_what_a_killed_run_left_is_replaced(tmp_path):
    (tmp_path / ".corpus").mkdir()
    (tmp_path / ".corpus" / "bases").write_bytes(b"\0" * 10**6)
    (tmp_path / ".corpus" / "other").touch()
    corpus = corpus_of(tmp_path, {"a": "A" * 100})
    assert len(corpus.bases) == 100
    assert sorted(p.name for p in (tmp_path / ".corpus").iterdir()) == ["bases", "index.npz"]


def test_the_file_on_disk_cannot_be_changed_through_the_mapping(corpus, tmp_path):
    corpus.codes(torch.device("cpu"))[:] = 0
    assert Corpus.open(tmp_path).bases.any()


def test_a_directory_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    path = write_fasta(tmp_path / "g.fa", {"a": "A" * 100})
    with pytest.raises(OutputError, match=r"\.corpus: the bases cannot be written"):
        Corpus.read([path], directory=tmp_path / "file", k=6)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        corpus_of(tmp_path, {"a": "A" * 100})
    assert [p.name for p in tmp_path.iterdir()] == ["g.fa"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gets_one_copy(corpus):
    codes = corpus.codes(torch.device("cuda"))
    assert codes.is_cuda
    assert codes.cpu().numpy().tobytes() == corpus.bases.tobytes()
    assert corpus.codes(torch.device("cuda")) is codes
