"""What runs on a GPU, on a device that any machine has: what must lie there does.

Where there is a GPU the tests marked ``gpu`` do the same on it, with its own kernels and streams.
Nothing goes backward here: torch's engine knows the devices that were there when it began.
"""

from __future__ import annotations

import copy

import pytest
import test_batches
import test_engine
import test_foreign_packed
import torch
from far import Far, FarTensor, far_device
from test_batches import sampler_of
from test_engine import READOUTS, ROWS, TOKENS, assert_alike, results, tiles_of
from test_foreign_packed import PACKED, PADDED
from test_foreign_packed import batch as batch_of_letters
from test_task_model import SEQUENCES, labelled

from dnatk.inference.engine import BATCH_TOKENS, Engine
from dnatk.kmers import KmerTokens
from dnatk.masking import Masker
from dnatk.model.foreign import load_foreign
from dnatk.model.heads import Head, HeadConfig
from dnatk.training.batches import masked_batch
from dnatk.training.corpus import Corpus
from dnatk.training.masked_lm import new_model
from dnatk.training.task_model import NativeTrunk, TaskModel
from dnatk.training.task_trainer import EncodedSet

corpus = test_batches.corpus
encoder, readout_of = test_engine.encoder, test_engine.readout_of
directory, nothing_told = test_foreign_packed.directory, test_foreign_packed.nothing_told


@pytest.fixture
def far():
    with Far() as mode:
        yield mode


def test_the_device_tells_what_lies_elsewhere(far):
    here = torch.arange(12.0).view(3, 4)
    there = here.to(far_device())
    assert there.device == far_device()
    assert torch.equal(((there + 1) @ there.T).cpu(), (here + 1) @ here.T)
    assert torch.equal(there[torch.tensor([2, 0])].cpu(), here[[2, 0]])
    with pytest.raises(AssertionError, match="1 lie on the CPU"):
        there + here
    far.waits.clear()
    assert there.sum().item() == 66
    assert far.waits == {"aten._local_scalar_dense.default": 1}


def batch_of(corpus: Corpus, device: torch.device | str, masker: Masker, stride: int = 1) -> dict:
    return masked_batch(sampler_of(corpus, stride, device), masker, 14, range(32))


@pytest.mark.parametrize("corruption", ["bert", "mask", "span"])
@pytest.mark.parametrize("span", ["fixed", "uniform"])
@pytest.mark.parametrize(("stride", "weight"), [(1, 1.0), (1, 0.3), (1, 0.0), (6, 1.0)])
def test_batches_are_made_there_and_the_host_waits_once(
    far, corpus, corruption, span, stride, weight
):
    masker = Masker(4101, smallest=6, span=span, corruption=corruption, repeat_weight=weight)
    wanted = batch_of(corpus, "cpu", masker, stride)
    corpus.codes(far_device())
    far.waits.clear()
    got = batch_of(corpus, far_device(), masker, stride)
    assert far.waits == {"aten.nonzero.default": 1}
    assert got.pop("lengths") == wanted.pop("lengths")
    for name, tensor in wanted.items():
        assert isinstance(got[name], FarTensor), name
        assert torch.equal(got[name].cpu(), tensor), name


CONFIG = {
    "vocab_size": 4101, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 128,
}  # fmt: skip


def test_the_loss_of_pretraining(far, corpus):
    """Gradients of the head, too, which are made with the loss."""
    near = new_model(CONFIG, seed=0).eval()
    away = copy.deepcopy(near).to(far_device())
    away.tie_weights()  # on a move to this device each parameter becomes another
    losses = []
    for model, device in ((near, "cpu"), (away, far_device())):
        batch = batch_of(corpus, device, Masker(4101))
        del batch["counts"]
        losses.append(model(**batch)["loss"])
        assert losses[-1].requires_grad
    torch.testing.assert_close(losses[1].cpu(), losses[0])


@pytest.mark.parametrize("kind", READOUTS)
def test_inference(far, monkeypatch, readout_of, kind):
    monkeypatch.setitem(BATCH_TOKENS, "far", 300)
    wanted, _ = results(readout_of, kind, rc="average")
    encoder, readout, read = readout_of(kind)
    if hasattr(readout, "_head"):
        readout = copy.copy(readout)
        readout._head = copy.deepcopy(readout._head).to(far_device())
    engine = Engine(copy.deepcopy(encoder).to(far_device()), TOKENS, readout, rc="average")
    far.waits.clear()
    launched = [engine.launch(batch) for batch in engine.batches(tiles_of(ROWS))]
    assert set(far.waits) <= {"aten._to_copy.default"}, "but for the copies of what comes out"
    got = [read(row) for each in launched for row in engine.finish(each)]
    assert_alike(got, wanted)


HEADS = [
    ("binary", {"pool": "mean"}),
    ("regression", {"pool": "all"}),
    ("multilabel", {"pool": "max"}),
    ("multiclass", {"pool": "positions", "tokens": 64}),
    ("binary", {"vocabulary": 4101}),
    ("per-base", {"per_base": True}),
]


@pytest.mark.parametrize(("kind", "head"), HEADS)
def test_the_loss_of_finetuning(tiny_model, kind, head):
    data = labelled(kind, SEQUENCES)
    weight = torch.ones(data.space.n_outputs) if data.space.has_classes else None
    torch.manual_seed(0)
    head = Head(HeadConfig(64, data.space.n_outputs, **head))
    near = TaskModel(NativeTrunk.load(tiny_model), head, kind, weight).eval()
    batch = EncodedSet(data, KmerTokens(6), data.targets).__getitems__(range(5))
    with Far() as far:
        away = copy.deepcopy(near).to(far_device())
        there = {
            name: each.to(far_device()) if isinstance(each, torch.Tensor) else each
            for name, each in batch.items()
        }
        far.waits.clear()
        losses = [near(**batch)["loss"], away(**there)["loss"]]
        # Which tokens are counted decides a shape.
        assert sum(far.waits.values()) <= bool(head.config.vocabulary), far.waits
        torch.testing.assert_close(losses[1].cpu(), losses[0])


# transformers' RoFormer looks for padding by an index of Python's, which shows no mode itself.
@pytest.mark.parametrize("name", [n for n in (*PACKED, *PADDED) if "roformer" not in n])
@torch.no_grad()
def test_models_of_other_makes(directory, name):
    near = load_foreign(directory(name))[0]
    ids_T, position_T, lengths = batch_of_letters()
    want_TD = near(ids_T, position_T, lengths)
    with Far():
        away = copy.deepcopy(near).to(far_device())
        got_TD = away(ids_T.to(far_device()), position_T.to(far_device()), lengths)
        assert isinstance(got_TD, FarTensor)
        torch.testing.assert_close(got_TD.cpu(), want_TD, rtol=1e-3, atol=1e-4)
