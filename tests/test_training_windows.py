"""Training windows, against a slow reference in plain Python strings and integers.

The reference draws its numbers with :func:`test_draws.reference`, cuts text, turns it round by
``str.translate`` and looks k-mers up in the vocabulary's own list of tokens.
"""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import random_bases, write_fasta
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_draws import reference

from dnatk.errors import InputError
from dnatk.kmers import Vocabulary, encode
from dnatk.kmers.vocab import CLS, SEP, UNK
from dnatk.training.corpus import Corpus
from dnatk.training.windows import Mixture, Sampler

SIZES = {"k": 6, "kmer_stride": 1, "row_tokens": 64}
COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")


def corpus_of(directory, records: dict[str, str], **options) -> Corpus:
    """A corpus of one FASTA; k = 6 unless told."""
    path = write_fasta(directory / "g.fa", records)
    return Corpus.read([path], directory=directory, **{"k": 6, **options})


def sequences_of(batch) -> list[np.ndarray]:
    return [ids.numpy() for ids in batch.ids_T.split(batch.lengths)]


def decode(ids, k: int = 6) -> str:
    """Bases of overlapping k-mer ids without [UNK]."""
    tokens = Vocabulary(k).tokens
    return tokens[ids[0]] + "".join(tokens[i][-1] for i in ids[1:])


# The slow reference


def slow_kmers(text: str, k: int) -> list[str]:
    return [text[i : i + k] for i in range(len(text) - k + 1)]


def slow_segments(record: str, k: int, min_length: int) -> list[str]:
    kept = []
    for text in re.split(r"[^ACGTacgt]{32,}", record):
        valid = [bool(re.fullmatch("[ACGTacgt]+", kmer)) for kmer in slow_kmers(text, k)]
        if len(text) >= min_length and any(valid) and 2 * sum(valid) >= len(valid):
            kept.append(text)
    return kept


def slow_row(segments: list[str], k: int, stride: int, row_tokens: int, seed: int, row: int):
    """(tokens, repeats, draws) of each sequence of a row, from its first base on."""
    ids_of = {token: i for i, token in enumerate(Vocabulary(k).tokens)}
    upto = list(itertools.accumulate(map(len, segments)))
    least = min(row_tokens, max(row_tokens // 8, k + 2))
    used, out = 0, []

    def number(stream: int, index: int, digits: int) -> float:
        return (reference(seed, stream, row, index) >> (64 - digits)) / 2**digits

    chosen = bisect.bisect_right(upto, number(0, 0, 53) * upto[-1])
    offset = int(number(0, 1, 53) * len(segments[chosen]))
    for piece in itertools.count():
        text = segments[(chosen + piece) % len(segments)]
        if piece == 0 and offset:
            text = text[offset:]
            if len(slow_kmers(text, k)[::stride]) + 2 < least:
                continue
        left = row_tokens - used
        if len(slow_kmers(text, k)[::stride]) + 2 > left:
            if left < least:
                return out
            text = text[: (left - 3) * stride + k]
        if number(0, 2 + piece, 53) < 0.5:
            text = text.translate(COMPLEMENT)[::-1]
        kmers = slow_kmers(text, k)[::stride]
        ids = [CLS, *(ids_of.get(kmer.upper(), UNK) for kmer in kmers), SEP]
        middles = (kmer[(k - 1) // 2] + kmer[k // 2] for kmer in kmers)
        repeats = [False, *(middle != middle.upper() for middle in middles), False]
        draws = [
            [number(1, 4 * (used + t) + kind, 24) for t in range(len(ids))] for kind in range(4)
        ]
        out.append((ids, repeats, draws))
        used += len(ids)


def check_batch(batch, expected: list) -> None:
    """A batch equals these sequences, sorted by length."""
    expected = sorted(expected, key=lambda drawn: len(drawn[0]))
    ids, repeats, draws = zip(*expected, strict=True)
    assert batch.lengths == [len(x) for x in ids]
    assert batch.ids_T.tolist() == list(itertools.chain(*ids))
    assert batch.repeat_T.tolist() == list(itertools.chain(*repeats))
    assert batch.draws.tolist() == np.concatenate(draws, axis=1).tolist()
    assert batch.position_T.tolist() == [t for x in ids for t in range(len(x))]
    assert batch.sequence_T.tolist() == [n for n, x in enumerate(ids) for _ in x]
    ends = list(itertools.accumulate(map(len, ids)))
    assert batch.first_T.tolist() == [
        e - len(x) + 1 for e, x in zip(ends, ids, strict=True) for _ in x
    ]
    assert batch.last_T.tolist() == [e - 1 for e, x in zip(ends, ids, strict=True) for _ in x]


@st.composite
def genomes(draw) -> list[str]:
    """Records of a few to some hundred bases, with runs of N, other letters and lower case."""
    records = []
    for _ in range(draw(st.integers(1, 5))):
        parts = draw(
            st.lists(
                st.tuples(st.sampled_from("AANnRr"), st.integers(0, 250), st.integers(0, 10**6)),
                min_size=1,
                max_size=6,
            )
        )
        text = ""
        for kind, length, seed in parts:
            if kind == "A":
                bases = random_bases(length, seed)
                text += bases.lower() if seed % 3 == 0 else bases
            else:
                text += kind * (length // 5)
        records.append(text)
    return records


@given(
    genomes(), st.integers(1, 8), st.booleans(), st.sampled_from([3, 5, 12, 24, 64]),
    st.integers(0, 99),
    st.lists(st.integers(0, 10**12), min_size=1, max_size=5),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_batch_equals_the_slow_reference(
    tmp_path_factory, records, k, overlapping, row_tokens, seed, rows
):
    stride = 1 if overlapping else k
    segments = [s for record in records for s in slow_segments(record, k, 10)]
    directory = tmp_path_factory.getbasetemp()
    named = {f"r{i}": record for i, record in enumerate(records)}
    if not segments:
        with pytest.raises(InputError, match=r"no (usable )?sequence"):
            corpus_of(directory, named, k=k, min_length=10)
        return
    corpus = corpus_of(directory, named, k=k, min_length=10)
    sampler = Sampler(
        corpus, corpus.train, k=k, kmer_stride=stride, row_tokens=row_tokens, seed=seed
    )
    rows_ = [slow_row(segments, k, stride, row_tokens, seed, row) for row in rows]
    check_batch(sampler.batch(rows), [drawn for row in rows_ for drawn in row])


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize("overlapping", [True, False])
def test_long_windows_of_every_k_equal_the_slow_reference(tmp_path, k, overlapping):
    """Few windows touch a place where two records meet; here every base is in a long one."""
    text = random_bases(700, k)
    record = text[:300] + "N" + text[300:350].lower() + "N" * 31 + text[350:]
    corpus = corpus_of(tmp_path, {"a": record}, k=k)
    stride = 1 if overlapping else k
    sampler = Sampler(corpus, corpus.train, k=k, kmer_stride=stride, row_tokens=64, seed=5)
    expected = [drawn for row in range(12) for drawn in slow_row([record], k, stride, 64, 5, row)]
    assert any(UNK in ids for ids, _, _ in expected)
    check_batch(sampler.batch(range(12)), expected)


# What a row depends on


@pytest.fixture
def corpus(tmp_path):
    return corpus_of(tmp_path, {"a": random_bases(2000, 1), "b": random_bases(1000, 2)})


@pytest.fixture
def short(tmp_path):
    """Records of 25 to 60 bases, and one that is long."""
    records = {f"r{i}": random_bases(25 + i % 36, i) for i in range(200)}
    return corpus_of(tmp_path, {**records, "long": random_bases(3000, 9)}, min_length=10)


def test_a_row_depends_on_seed_and_row_alone(short):
    sampler = Sampler(short, short.train, seed=7, **SIZES)

    def drawn(*rows: int) -> list[bytes]:
        batch = sampler.batch(rows)
        draws = batch.draws.T.split(batch.lengths)
        pairs = zip(batch.ids_T.split(batch.lengths), draws, strict=True)
        return sorted(ids.numpy().tobytes() + x.contiguous().numpy().tobytes() for ids, x in pairs)

    assert drawn(3, 4, 10**12) == sorted(drawn(3) + drawn(4) + drawn(10**12))
    assert drawn(4) == drawn(4)
    again = Sampler(short, short.train, seed=7, **SIZES).batch([4])
    assert torch.equal(again.ids_T, sampler.batch([4]).ids_T)
    other = Sampler(short, short.train, seed=8, **SIZES).batch([4])
    assert not torch.equal(other.ids_T, again.ids_T)


def test_windows_come_from_both_strands_of_the_genome(corpus):
    genome = [random_bases(2000, 1), random_bases(1000, 2)]
    sampler = Sampler(corpus, corpus.train, seed=1, **SIZES)
    forward = reverse = 0
    for row in range(200):
        sequences = sequences_of(sampler.batch([row]))
        assert 64 - 8 < sum(map(len, sequences)) <= 64
        for sequence in sequences:
            assert (sequence[0], sequence[-1]) == (CLS, SEP)
            assert len(sequence) >= 8
            bases = decode(sequence[1:-1])
            forward += any(bases in contig for contig in genome)
            reverse += any(bases.translate(COMPLEMENT)[::-1] in contig for contig in genome)
    assert forward + reverse >= 200
    assert abs(forward - reverse) < 80


def test_contigs_and_places_are_covered_evenly(corpus):
    """Every base alike, and those at a contig's ends nearly so."""
    sampler = Sampler(corpus, corpus.train, seed=1, **SIZES)
    plan = sampler.plan(range(100_000))
    assert stats.binomtest(int((plan.step > 0).sum()), len(plan.step), 0.5).pvalue > 1e-4
    bases = sampler.window_bases(plan.tokens)
    start = plan.origin - torch.where(plan.step < 0, bases - 1, 0)
    ends = torch.bincount(start + bases, minlength=3001)
    covered = (torch.bincount(start, minlength=3001) - ends).cumsum(0)[:3000].numpy()
    inner = np.r_[80:1920, 2080:2920]
    assert abs(covered[inner] / covered[inner].mean() - 1).max() < 0.15
    assert covered.min() > 0.5 * covered.mean()


def test_short_records_are_packed_whole(tmp_path):
    """But for the first piece of a row and the last."""
    records = {f"r{i}": random_bases(15 + i % 7, i) for i in range(50)}
    corpus = corpus_of(tmp_path, records, min_length=10)
    sampler = Sampler(corpus, corpus.train, seed=1, **SIZES)
    whole = set(records.values()) | {s.translate(COMPLEMENT)[::-1] for s in records.values()}
    for row in range(50):
        sequences = sequences_of(sampler.batch([row]))
        assert len(sequences) >= 3
        # Filled: not even the least worth another would fit.
        assert 64 - 8 < sum(map(len, sequences)) <= 64
        found = [decode(s[1:-1]) for s in sequences]
        assert sum(each not in whole for each in found) <= 2
        assert all(any(each in record for record in whole) for each in found)


def test_non_overlapping_kmers_of_a_window(corpus):
    sampler = Sampler(corpus, corpus.train, k=6, kmer_stride=6, row_tokens=64, seed=1)
    assert max(sampler.batch(range(5)).lengths) == 64
    assert sampler.window_bases(64) == 61 * 6 + 6


def test_windows_hold_no_long_run_of_n(tmp_path):
    sequence = "N" * 3000 + random_bases(300, 1) + "N" * 3000
    corpus = corpus_of(tmp_path, {"a": sequence})
    batch = Sampler(corpus, corpus.train, seed=1, **SIZES).batch(range(60))
    assert not (batch.ids_T == UNK).any()


def test_held_out_contigs_are_never_drawn(tmp_path):
    records = {"a": "A" * 500, "b": "C" * 500, "c": "AT" * 300}
    corpus = corpus_of(tmp_path, records, holdout=["b"])
    train = Sampler(corpus, corpus.train, seed=1, **SIZES).batch(range(1000))
    heldout = Sampler(corpus, corpus.heldout, seed=1, **SIZES).batch(range(20))
    c, g = encode("CCCCCC", 6)[0], encode("GGGGGG", 6)[0]
    assert not np.isin(train.ids_T, [c, g]).any()
    assert set(heldout.ids_T.tolist()) == {CLS, SEP, c, g}


def test_places_beyond_two_to_the_31(tmp_path):
    """The last bases of a corpus as large as the human genome; the rest of the file is a hole."""
    small = corpus_of(tmp_path, {"a": random_bases(1000, 1)})
    far = (1 << 31) + 12_345
    with open(tmp_path / "bases", "wb") as file:
        file.seek(far)
        file.write(small.bases)
    bases = np.memmap(tmp_path / "bases", np.uint8, mode="c")
    large = Corpus(bases, replace(small.train, start=small.train.start + far), None, small.sources)
    for rows in (range(20), range(20, 40)):
        one = Sampler(small, small.train, seed=1, **SIZES).batch(rows)
        assert torch.equal(
            Sampler(large, large.train, seed=1, **SIZES).batch(rows).ids_T, one.ids_T
        )


# Mixtures


@pytest.fixture
def mixed(tmp_path):
    """8000 bases of A, 1000 of C in two records, 50 of AT repeats that are all held out."""
    paths = [
        write_fasta(tmp_path / "one.fa", {"a": "A" * 8000}),
        write_fasta(tmp_path / "two.fa", {"c": "C" * 700, "d": "C" * 300}),
        write_fasta(tmp_path / "three.fa", {"e": "AT" * 100}),
    ]
    return Corpus.read(paths, directory=tmp_path, k=6, holdout=["e"])


@pytest.mark.parametrize(
    ("mixture", "share"),
    [
        (None, 8 / 9),
        (Mixture(), 8 / 9),
        (Mixture(temperature=0.5), 8**0.5 / (8**0.5 + 1)),
        (Mixture(temperature=0.0), 0.5),
        (Mixture((1.0, 3.0, 9.0)), 0.25),
        (Mixture((0.0, 3.0, 0.0)), 0.0),
    ],
)
def test_weights_and_temperature_make_the_mixture(mixed, mixture, share):
    sampler = Sampler(mixed, mixed.train, seed=1, mixture=mixture, **SIZES)
    plan = sampler.plan(range(5000))
    of_a = plan.tokens[plan.origin < 8000].sum() / plan.tokens.sum()
    assert abs(of_a - share) < 0.03
    # Within an input by bases still.
    of_d = plan.tokens[plan.origin >= 8700].sum() / plan.tokens[plan.origin >= 8000].sum()
    assert abs(of_d - 0.3) < 0.03


@pytest.mark.parametrize(
    ("mixture", "share"), [(None, 0.5), (Mixture((1.0, 3.0)), 0.75), (Mixture((3.0, 1.0)), 0.25)]
)
@pytest.mark.parametrize("lengths", [[100], [30, 400], [300]])
def test_short_sequences_have_their_share_of_the_tokens(tmp_path, mixture, share, lengths):
    """Reads beside a genome of as many bases; reads of different lengths among themselves."""
    each = 30_000 // len(lengths)
    reads = [random_bases(n, n + i) for n in lengths for i in range(each // n)]
    order = np.random.default_rng(1).permutation(len(reads))
    paths = [
        write_fasta(tmp_path / "genome.fa", {"chr1": random_bases(30_000, 1)}),
        write_fasta(tmp_path / "reads.fa", {f"r{i}": reads[i] for i in order}),
    ]
    corpus = Corpus.read(paths, directory=tmp_path, k=6, min_length=20)
    sampler = Sampler(
        corpus, corpus.train, k=6, kmer_stride=1, row_tokens=512, seed=1, mixture=mixture
    )
    plan = sampler.plan(range(4000))
    of_reads = plan.origin >= 30_000
    assert abs(plan.tokens[of_reads].sum() / plan.tokens.sum() - share) < 0.03
    if len(lengths) > 1:
        segment = (
            np.searchsorted(corpus.train.start, plan.origin[of_reads].numpy(), side="right") - 1
        )
        long = torch.from_numpy(corpus.train.length[segment] == max(lengths))
        tokens = plan.tokens[of_reads]
        # Of 30 bases 27 are tokens, of 400 are 397; and pieces that are little are left out.
        assert abs(tokens[long].sum() / tokens.sum() - 0.5) < 0.06


@pytest.mark.parametrize(
    ("weights", "temperature", "message"),
    [
        ((1.0, 2.0, 3.0), 0.5, "exclude each other"),
        ((), 1.5, r"in 0\.\.1, not 1.5"),
        ((), float("nan"), "not nan"),
        ((1.0, -2.0, 3.0), 1.0, "none negative"),
        ((1.0, float("inf"), 3.0), 1.0, "finite"),
        ((1.0,), 1.0, "3 inputs need as many weights, not 1"),
        ((0.0, 0.0, 1.0), 1.0, "all weights of the inputs that have sequences are 0"),
    ],
)
def test_mixtures_that_make_no_sense_are_refused(mixed, weights, temperature, message):
    with pytest.raises(InputError, match=message):
        Sampler(mixed, mixed.train, seed=1, mixture=Mixture(weights, temperature), **SIZES)


# Repeats


def test_repeats_are_kmers_with_a_soft_masked_middle(tmp_path):
    """For k = 6, the two central bases; the other strand sees the same k-mers."""
    text = random_bases(40, 1)
    record = text[:20] + text[20:23].lower() + text[23:]
    corpus = corpus_of(tmp_path, {"a": record})
    sampler = Sampler(corpus, corpus.train, seed=1, **SIZES)
    batches = [sampler.batch([row]) for row in range(20)]
    marked = set()
    for batch in batches:
        for repeat in batch.repeat_T.split(batch.lengths):
            if len(repeat) == 35 + 2:  # the whole of it
                marked.add(tuple((repeat.nonzero()[:, 0] - 1).tolist()))
    forward = tuple(i for i in range(35) if record[i + 2 : i + 4].upper() != record[i + 2 : i + 4])
    assert forward == (17, 18, 19, 20)
    assert marked == {forward, tuple(sorted(34 - i for i in forward))}


# On a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("stride", [1, 6])
def test_a_gpu_gives_the_same_batch_bit_for_bit(short, stride):
    sizes = {**SIZES, "kmer_stride": stride}
    here = Sampler(short, short.train, seed=3, **sizes).batch(range(64))
    there = Sampler(short, short.train, seed=3, device="cuda", **sizes).batch(range(64))
    assert there.lengths == here.lengths
    for name, tensor in vars(here).items():
        if name != "lengths":
            assert vars(there)[name].is_cuda
            assert torch.equal(vars(there)[name].cpu(), tensor), name
