"""Masked batches: what the model is given and what is counted."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import random_bases, write_fasta

from dnatk.errors import InputError
from dnatk.kmers.vocab import FIRST_KMER, MASK
from dnatk.masking import Masker, Schedule, hidden_bases
from dnatk.training.batches import RowDataset, masked_batch
from dnatk.training.corpus import Corpus
from dnatk.training.windows import Sampler

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A long record, half of it soft-masked, with an N; short ones; some of another input."""
    directory = tmp_path_factory.mktemp("corpus")
    long = random_bases(4000, 1)
    records = {"long": long[:2000].lower() + long[2000:3000] + "N" + long[3001:]}
    records |= {f"r{i}": random_bases(40 + i, i) for i in range(40)}
    path = write_fasta(directory / "g.fa", records)
    return Corpus.read([path], directory=directory, k=6)


def sampler_of(corpus: Corpus, stride: int = 1, device: str = "cpu") -> Sampler:
    return Sampler(
        corpus, corpus.train, k=6, kmer_stride=stride, row_tokens=66, seed=1, device=device
    )


@pytest.mark.parametrize("stride", [1, 6])
@pytest.mark.parametrize("corruption", ["bert", "mask", "span"])
def test_the_true_ids_of_the_masked_tokens_are_scored(corpus, stride, corruption):
    sampler, masker = sampler_of(corpus, stride), Masker(4101, corruption=corruption)
    plain = sampler.batch(range(40))
    batch = masked_batch(sampler, masker, 10, range(40))
    at = batch["masked_M"]
    assert at.tolist() == sorted(set(at.tolist()))
    assert torch.equal(batch["labels"], plain.ids_T[at])
    assert (batch["labels"] >= FIRST_KMER).all()
    untouched = torch.ones(len(plain.ids_T), dtype=torch.bool)
    untouched[at] = False
    assert torch.equal(batch["ids_T"][untouched], plain.ids_T[untouched])
    assert (batch["ids_T"][at] == MASK).float().mean() > (0.999 if corruption == "mask" else 0.7)
    assert batch["lengths"] == plain.lengths
    assert torch.equal(batch["position_T"], plain.position_T)
    masked = ~untouched
    hidden = hidden_bases(masked, plain.ids_T >= FIRST_KMER, plain.sequence_T, 6, stride)
    kmers = (plain.ids_T >= FIRST_KMER).sum()
    assert batch["counts"].dtype == torch.int64
    assert batch["counts"].tolist() == [len(masked), kmers, len(at), hidden]
    assert hidden > 0


def test_masks_do_not_hang_on_the_batch_that_a_row_comes_in(corpus):
    sampler, masker = sampler_of(corpus), Masker(4101, smallest=6, span="uniform")

    def drawn(*rows: int) -> list[tuple]:
        batch = masked_batch(sampler, masker, 14, rows)
        ends = np.cumsum(batch["lengths"])
        at = batch["masked_M"].numpy()
        spans = zip(ends - batch["lengths"], ends, strict=True)
        return sorted(
            (tuple(batch["ids_T"][s:e].tolist()), tuple(at[(at >= s) & (at < e)] - s))
            for s, e in spans
        )

    together = drawn(*range(30))
    assert together == sorted(sequence for row in range(30) for sequence in drawn(row))
    assert together == sorted(drawn(*range(15)) + drawn(*range(29, 14, -1)))
    assert len({len(ids) for ids, _ in together}) > 5, "the sort by length has work"


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_repeats_of_weight_0_are_left_out(corpus, weight):
    sampler, masker = sampler_of(corpus), Masker(4101, repeat_weight=weight)
    plain = sampler.batch(range(300))
    batch = masked_batch(sampler, masker, 6, range(300))
    kmer_T = plain.ids_T >= FIRST_KMER
    share = plain.repeat_T[batch["masked_M"]].float().mean() / plain.repeat_T[kmer_T].float().mean()
    assert 0.3 < plain.repeat_T[kmer_T].float().mean() < 0.6
    low, high = {0.0: (0, 0), 0.2: (0.2, 0.6), 1.0: (0.9, 1.1)}[weight]
    assert low <= share <= high
    maskable = kmer_T & ~plain.repeat_T if weight == 0 else kmer_T
    assert batch["counts"][1] == maskable.sum()


def test_the_dataset_takes_the_width_of_the_rows_step(corpus):
    schedule = Schedule.build([(6, Fraction(1, 2)), (14, Fraction(1))], 10)
    masker = Masker(4101)
    dataset = RowDataset(sampler_of(corpus), masker, schedule, 10, rows_per_step=4)
    assert len(dataset) == 40
    for rows, width in (([0, 1], 6), ([18, 19], 6), ([20, 21], 14), ([38, 39], 14)):
        expected = masked_batch(sampler_of(corpus), masker, width, rows)
        assert torch.equal(dataset.__getitems__(rows)["masked_M"], expected["masked_M"])


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("ahead", [False, True])
def test_batches_made_ahead_are_those_asked_for(corpus, ahead, ranks):
    """In order, from the middle after a resume, and where the guess of what comes next is wrong."""
    schedule = Schedule.build([(6, Fraction(1, 2)), (14, Fraction(1))], 20)
    sampler, masker = sampler_of(corpus), Masker(4101)
    dataset = RowDataset(sampler, masker, schedule, 20, rows_per_step=2 * ranks, ahead=ahead)
    starts = [*range(0, len(dataset), 2 * ranks), 16, 18, 4, 4, 0]
    for start in starts:
        got = dataset.__getitems__([start, start + 1])
        width = 6 if start < 20 * ranks else 14
        expected = masked_batch(sampler, masker, width, [start, start + 1])
        assert got.pop("lengths") == expected.pop("lengths")
        assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_the_next_batch_is_made_while_this_one_is_used(corpus, monkeypatch):
    made = []
    real = Sampler.batch
    monkeypatch.setattr(Sampler, "batch", lambda self, rows: made.append(rows) or real(self, rows))
    schedule = Schedule.build([(6, Fraction(1))], 10)
    dataset = RowDataset(sampler_of(corpus), Masker(4101), schedule, 10, 4, ahead=True)
    for rows in ([0, 1], [4, 5], [8, 9]):  # as rank 0 of two asks
        dataset.__getitems__(rows)
    dataset._guess[1].result()
    # Only the first guess, which knows nothing of the other rank, was wrong.
    assert made == [[0, 1], [2, 3], [4, 5], [8, 9], [12, 13]]


def test_the_thread_works_on_the_gpu_of_its_process(monkeypatch):
    """A new thread's GPU is the first: a context there would take its memory."""
    place, chosen = torch.device("cuda", 1), []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(device=device))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    schedule = Schedule.build([(6, Fraction(1))], 10)
    dataset = RowDataset(SimpleNamespace(device=place), Masker(4101), schedule, 10, 4)
    dataset._thread.submit(int).result()
    assert chosen == [place]


def test_what_goes_wrong_in_the_thread_is_raised(corpus, monkeypatch):
    def broken(self, rows):
        raise InputError("broken")

    schedule = Schedule.build([(6, Fraction(1))], 10)
    dataset = RowDataset(sampler_of(corpus), Masker(4101), schedule, 10, 4, ahead=True)
    monkeypatch.setattr(Sampler, "batch", broken)
    with pytest.raises(InputError, match="broken"):
        dataset.__getitems__([0, 1])


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("corruption", ["bert", "span"])
@pytest.mark.parametrize("stride", [1, 6])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_a_gpu_gives_the_same_batch_bit_for_bit(corpus, corruption, stride, weight):
    """On the stream beside the step's too, while the step's has work."""
    masker = Masker(4101, smallest=6, span="uniform", corruption=corruption, repeat_weight=weight)
    schedule = Schedule.build([(14, Fraction(1))], 100)
    here, there = (
        RowDataset(sampler_of(corpus, stride, device), masker, schedule, 100, 32)
        for device in ("cpu", "cuda")
    )
    busy = torch.randn(4000, 4000, device="cuda")
    for step in range(20):
        rows = list(range(32 * step, 32 * step + 32))
        for _ in range(5):
            busy = (busy @ busy).tanh()
        wanted, got = here.__getitems__(rows), there.__getitems__(rows)
        assert got["lengths"] == wanted["lengths"]
        for name in set(wanted) - {"lengths"}:
            assert got[name].is_cuda
            assert torch.equal(got[name].cpu(), wanted[name]), name
