"""The parts of a head beside its pooled vectors: tokens in their place, and a weight for each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import random_bases

from dnatk.errors import InputError
from dnatk.inference.evaluate import score_sequences
from dnatk.kmers.encode import as_bases
from dnatk.labelled.dataset import LabelledSet, LabelSpace
from dnatk.model.heads import Head, HeadConfig
from dnatk.tasks.scorer import load_scorer
from dnatk.training.finetune import finetune
from dnatk.training.finetune_config import FinetuneConfig

LENGTHS = [7, 7, 5, 9]


@pytest.fixture
def packed():
    """(hidden (T, D), kept (T,)) of four sequences; specials and one token do not count."""
    torch.manual_seed(0)
    hidden_TD = torch.randn(sum(LENGTHS), 8)
    kept_T = torch.ones(sum(LENGTHS), dtype=torch.bool)
    ends = np.cumsum(LENGTHS)
    kept_T[ends - LENGTHS] = kept_T[ends - 1] = False
    kept_T[3] = False
    return hidden_TD, kept_T


def test_positions_keep_every_token_in_its_place(packed):
    hidden_TD, kept_T = packed
    head = Head(HeadConfig(8, 3, pool="positions", tokens=9))
    pooled_SP = head.pooled(hidden_TD, LENGTHS, kept_T)
    assert pooled_SP.shape == (4, head.config.width)
    place_STE = pooled_SP[:, 3 * 8 :].unflatten(1, (9, -1))
    start = 0
    for row, length in enumerate(LENGTHS):
        for place in range(9):
            wanted = torch.zeros(place_STE.shape[2])
            if place < length and kept_T[start + place]:
                wanted = torch.nn.functional.gelu(head.narrow(hidden_TD[start + place]))
            torch.testing.assert_close(place_STE[row, place], wanted)
        start += length


def test_counts_add_the_weight_of_every_token():
    head = Head(HeadConfig(8, 3, vocabulary=20, counted=10))
    assert not head.wide.weight.any(), "a fresh head starts without an opinion on k-mers"
    torch.nn.init.normal_(head.wide.weight)
    ids, counts = torch.tensor([5, 5, 7, 19, 6, 6]), torch.tensor([3, 1, 2])
    got = head.of_counts(ids, counts)
    weight = head.wide.weight
    wanted = torch.stack([(2 * weight[5] + weight[7]) / 3 * 10, weight[19] * 10, weight[6] * 10])
    torch.testing.assert_close(got, wanted)


def labelled(n: int, seed: int, motif: str = "TATAAAT") -> LabelledSet:
    rng = np.random.default_rng(seed)
    sequences, targets = [], np.arange(n) % 2
    for row, target in enumerate(targets):
        bases = random_bases(40, seed * 1000 + row)
        at = int(rng.integers(0, 40 - len(motif)))
        if target:
            bases = bases[:at] + motif + bases[at + len(motif) :]
        sequences.append(as_bases(bases))
    names = [str(i) for i in range(n)]
    return LabelledSet(LabelSpace("binary", ("0", "1")), sequences, targets, names, [0] * n, "x")


@pytest.fixture
def few_steps(monkeypatch):
    """So few steps that a model may still answer alike everywhere."""
    monkeypatch.setattr("dnatk.training.fitting.Fitting._collapsed", lambda *_: None)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("pool", ["all", "positions"])
def test_training_and_inference_agree_on_the_whole_head(pool, tiny_model, tmp_path, monkeypatch):
    """The logits that the Trainer saw at the end are those of the task as it was written."""
    from dnatk.training import task_trainer

    seen = []
    plain = task_trainer.TaskTrainer.logits

    def recorded(self, data):
        seen.append(plain(self, data))
        return seen[-1]

    monkeypatch.setattr(task_trainer.TaskTrainer, "logits", recorded)
    dev = labelled(20, 2)
    config = FinetuneConfig(
        model=str(tiny_model), method="full", pool=pool, token_counts=True, dropout=0.0,
        max_steps=3, evaluations=1, epochs=20, lr=1e-3, precision="fp32",
    )  # fmt: skip
    task = finetune(config, {"train": labelled(64, 1), "dev": dev}, tmp_path / "t", device="cpu")
    scorer = load_scorer(task, device="cpu", precision="fp32")
    assert scorer.head.wide.weight.abs().max() > 0
    got = np.stack(score_sequences(scorer, dev.sequences, raw=True))
    # The head is written in half precision.
    np.testing.assert_allclose(got, seen[-1], atol=2e-3)


@pytest.mark.usefixtures("few_steps")
def test_counts_of_both_strands_are_averaged(tiny_model, tmp_path):
    from dataclasses import replace

    from dnatk.kmers import reverse_complement

    config = FinetuneConfig(
        model=str(tiny_model), token_counts=True, max_steps=3, epochs=20, precision="fp32"
    )
    sets = {"train": labelled(64, 1), "dev": labelled(20, 2)}
    task = finetune(config, sets, tmp_path / "t", device="cpu")
    sequences = sets["dev"].sequences

    def logits(rc: str, turned: bool) -> np.ndarray:
        scorer = load_scorer(replace(task, rc=rc), device="cpu", precision="fp32")
        read = [reverse_complement(s) if turned else s for s in sequences]
        return np.stack(score_sequences(scorer, read, raw=True))

    both = (logits("none", False) + logits("none", True)) / 2
    np.testing.assert_allclose(logits("average", False), both, atol=1e-5)


@pytest.mark.parametrize("options", [{"pool": "positions"}, {"token_counts": True}])
def test_a_probe_has_no_such_head(options):
    for how in ({"method": "probe"}, {"head_start": "probe"}):
        with pytest.raises(InputError, match="a probe reads pooled vectors alone"):
            FinetuneConfig(**how, **options)
