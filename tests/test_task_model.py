"""Heads, merged adapters and learning rates: dnatk's numbers against plain loops, peft, sklearn."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import CLASSES, make_model, make_task, random_bases
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from transformers import BertModel

from dnatk.errors import InputError, ModelError
from dnatk.inference.sequences import pooled_sequences, score_sequences
from dnatk.kmers import KmerTokens, encode, pack, reverse_complement
from dnatk.kmers.vocab import CLS, SEP, UNK
from dnatk.labelled.dataset import LabelledSet, LabelSpace
from dnatk.model.heads import Head, HeadConfig, base_logits
from dnatk.tasks.registry import find_task
from dnatk.tasks.scorer import load_scorer
from dnatk.training.finetune_config import FinetuneConfig
from dnatk.training.linear_probe import fit_probe
from dnatk.training.task_model import NativeTrunk, TaskModel
from dnatk.training.task_trainer import EncodedSet, TaskTrainer
from dnatk.training.trainer import training_arguments
from dnatk.training.trunks import Trunk

# peft still asks transformers for an attribute by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
EXACT = {"device": "cpu", "precision": "fp32"}
SEQUENCES = [
    random_bases(60, 1),
    random_bases(60, 2)[:20] + "NNN" + random_bases(30, 3),
    random_bases(6, 4),
    random_bases(41, 5).lower(),
    random_bases(60, 6),
]


def as_bases(sequence: str) -> np.ndarray:
    return np.frombuffer(sequence.encode(), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain(tiny_model):
    """hidden(directory) -> function: sequence -> (tokens, D), [CLS], valid; by transformers."""

    def of(adapter=None):
        model = BertModel.from_pretrained(
            tiny_model, dtype=torch.float32, attn_implementation="eager", add_pooling_layer=False
        )
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter)
        model.eval()

        def call(sequence: str):
            kmers = encode(as_bases(sequence.upper()), 6)
            ids = torch.tensor([[CLS, *kmers.tolist(), SEP]])
            with torch.inference_mode():
                hidden = model(input_ids=ids).last_hidden_state[0].numpy()
            return hidden[1:-1], hidden[0], kmers != UNK

        return call

    return of


def pooled(hidden, cls, valid, pool):
    parts = {"mean": hidden[valid].mean(axis=0), "max": hidden[valid].max(axis=0), "cls": cls}
    return np.concatenate([parts[name] for name in (parts if pool == "all" else [pool])])


def linear(directory, features):
    head = load_file(directory / "head.safetensors")
    return features @ head["out.weight"].numpy().T + head["out.bias"].numpy()


# Scores of a written task


@pytest.mark.parametrize("pool", ["mean", "max", "cls", "all"])
def test_a_lora_task_scores_as_peft_does(pool, plain, task_of):
    directory = task_of("multiclass", pool=pool, temperature=2.0)
    scorer = load_scorer(find_task(directory), **EXACT)
    outputs = score_sequences(scorer, [as_bases(s) for s in SEQUENCES], raw=True)
    forward = plain(directory)
    wanted = [linear(directory, pooled(*forward(s), pool)) for s in SEQUENCES]
    np.testing.assert_allclose(outputs, wanted, atol=1e-4)
    without = [linear(directory, pooled(*plain()(s), pool)) for s in SEQUENCES[:1]]
    assert np.abs(np.array(wanted[:1]) - without).max() > 0.01, "the adapter does nothing"


def test_probabilities_are_those_of_the_logits_at_the_temperature(task_of):
    sequences = [as_bases(s) for s in SEQUENCES]
    for kind, link in (
        ("binary", lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)),
        ("multilabel", lambda x: 1 / (1 + np.exp(-x))),
    ):
        scorer = load_scorer(find_task(task_of(kind, temperature=2.0)), **EXACT)
        logits = np.array(score_sequences(scorer, sequences, raw=True), dtype=np.float64)
        got = np.array(score_sequences(scorer, sequences))
        np.testing.assert_allclose(got, link(logits / 2), atol=1e-6)


def test_values_of_a_regression_are_in_the_unit_of_its_targets(task_of):
    scorer = load_scorer(find_task(task_of("regression")), **EXACT)
    sequences = [as_bases(s) for s in SEQUENCES]
    logits = np.array(score_sequences(scorer, sequences, raw=True))
    got = np.array(score_sequences(scorer, sequences))
    np.testing.assert_allclose(got, logits * [20, 0.5] + [100, -3], rtol=1e-6)


@pytest.mark.parametrize("length", [60, 57, 53])
def test_both_strands_of_kmers_that_do_not_overlap(length, tmp_path):
    """They read the same k-mers: base i takes k-mer i // 6, the last bases the last one."""
    model = make_model(tmp_path / "model", kmer_stride=6)
    one, both = (
        load_scorer(find_task(make_task(tmp_path / rc, model, "per-base", rc=rc)), **EXACT)
        for rc in ("none", "average")
    )
    sequence = as_bases(random_bases(length, 1))
    (got,) = score_sequences(both, [sequence], raw=True)
    whole = sequence[: length // 6 * 6]
    turned = reverse_complement(whole)
    forward, backward = score_sequences(one, [whole, turned], raw=True)
    wanted = (forward + backward[::-1]) / 2
    rest = np.repeat(wanted[-1:], length - len(whole), axis=0)
    np.testing.assert_allclose(got, np.concatenate([wanted, rest]), atol=1e-4)


@pytest.mark.parametrize("rc", ["none", "average"])
def test_bases_are_scored_as_a_plain_loop_does(rc, plain, task_of):
    directory = task_of("per-base", rc=rc)
    scorer = load_scorer(find_task(directory), **EXACT)
    forward = plain(directory)

    def by_loop(sequence: str) -> np.ndarray:
        logits = linear(directory, forward(sequence)[0])
        covering = [
            [logits[t] for t in range(len(logits)) if t <= base < t + 6]
            for base in range(len(sequence))
        ]
        return np.array([np.mean(each, axis=0) for each in covering])

    outputs = score_sequences(scorer, [as_bases(s) for s in SEQUENCES], raw=True)
    for sequence, got in zip(SEQUENCES, outputs, strict=True):
        wanted = by_loop(sequence)
        if rc == "average":
            other = reverse_complement(as_bases(sequence)).tobytes().decode()
            wanted = (wanted + by_loop(other)[::-1]) / 2
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_a_sequence_longer_than_the_task_is_scored_in_windows(task_of):
    """Windows of 60 every 30 bases, the last one at the end; probabilities averaged."""
    long = random_bases(130, 9)
    scorer = load_scorer(find_task(task_of("binary")), **EXACT)
    (got,) = score_sequences(scorer, [as_bases(long)])
    windows = [as_bases(long[i : i + 60]) for i in (0, 30, 60, 70)]
    np.testing.assert_allclose(got, np.mean(score_sequences(scorer, windows), axis=0), atol=1e-6)


def test_bases_of_a_longer_sequence_take_the_mean_of_their_windows(task_of):
    long = random_bases(130, 9)
    scorer = load_scorer(find_task(task_of("per-base")), **EXACT)
    (got,) = score_sequences(scorer, [as_bases(long)])
    starts = (0, 30, 60, 70)
    windows = score_sequences(scorer, [as_bases(long[i : i + 60]) for i in starts])
    over = [
        [w[base - i] for i, w in zip(starts, windows, strict=True) if i <= base < i + 60]
        for base in range(130)
    ]
    np.testing.assert_allclose(got, [np.mean(each, axis=0) for each in over], atol=1e-6)


def test_what_cannot_be_scored_is_none(task_of):
    scorer = load_scorer(find_task(task_of("binary")), **EXACT)
    outputs = score_sequences(scorer, [as_bases(s) for s in ("N" * 60, "ACGTA", "ACGTAC")])
    assert [output is None for output in outputs] == [True, True, False]


@pytest.mark.parametrize("batch_tokens", [1, 130, 10_000])
def test_neither_the_batch_nor_the_order_changes_a_score(batch_tokens, task_of):
    """fp32 on a CPU: within 1e-5. bf16: within 0.02 of fp32, and of itself in other batches."""
    sequences = [as_bases(s) for s in SEQUENCES]
    order = [3, 0, 4, 1, 2]
    task = find_task(task_of("binary"))
    wanted = np.array(score_sequences(load_scorer(task, **EXACT), sequences))
    for precision, tolerance in (("fp32", 1e-5), ("bf16", 0.02)):
        scorer = load_scorer(task, device="cpu", precision=precision)
        shuffled = [sequences[i] for i in order]
        got = score_sequences(scorer, shuffled, batch_tokens=batch_tokens)
        np.testing.assert_allclose(got, wanted[order], atol=tolerance)


# Heads


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 30), st.integers(0, 7), st.data())
def test_base_logits_equal_a_plain_loop(k, stride, n, rest, data):
    """Also behind the last whole k-mer, where the last token's logits hold."""
    stride = min(stride, k)
    n_bases = (n - 1) * stride + k + min(rest, stride - 1)
    seed = data.draw(st.integers(0, 99))
    token_nC = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 3)) * 10).float()
    wanted = []
    for base in range(n_bases):
        over = [token_nC[t] for t in range(n) if t * stride <= base < t * stride + k]
        wanted.append(torch.stack(over or [token_nC[-1]]).mean(dim=0))
    got = base_logits(token_nC, n_bases, k, stride)
    torch.testing.assert_close(got, torch.stack(wanted), atol=1e-4, rtol=1e-4)


def test_dropout_and_a_dense_layer_leave_a_head_exact_in_fp32_under_autocast():
    head = Head(HeadConfig(8, 3, pool="all", dense=True), dropout=0.5).eval()
    hidden = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([False, True, True, False, False, True, False])
    wanted = head(head.pooled(hidden, [4, 3], kept))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = head(head.pooled(hidden, [4, 3], kept))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, wanted, atol=0, rtol=0)


def test_an_unknown_pool_is_told():
    with pytest.raises(ModelError, match="pool must be one of mean, max"):
        Head(HeadConfig(8, 2, pool="sum"))


# Training sees what inference gives


@pytest.mark.parametrize("kind", ["multiclass", "per-base"])
def test_the_model_that_is_trained_gives_what_the_written_task_gives(kind, tiny_model, tmp_path):
    """Packed BertModel under peft, then written and merged into dnatk's own encoder."""
    config = FinetuneConfig(model=str(tiny_model), method="lora", lora_r=4)
    trunk = Trunk.find(config)
    n = len(CLASSES[kind])
    dense = kind != "per-base"
    head = HeadConfig(64, n, dense=dense, per_base=kind == "per-base")
    model = TaskModel(trunk.module(3), Head(head), kind).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
            if parameter.requires_grad:  # adapters are written in half precision
                parameter.copy_(parameter.half().float())
    data = labelled(kind, SEQUENCES[:2] + SEQUENCES[3:])
    encoded = EncodedSet(data, KmerTokens(6), data.targets)
    batch = encoded.__getitems__([0, 1, 2, 3])
    del batch["labels"]
    with torch.no_grad():
        logits = model(**batch)["logits"].numpy()
    directory = make_task(tmp_path / "t", tiny_model, kind, method="probe", dense=dense)
    trunk.write(model, directory)
    content = json.loads((directory / "task.json").read_text())
    (directory / "task.json").write_text(json.dumps(content | {"method": "lora"}))
    scorer = load_scorer(find_task(directory), **EXACT)
    by_length = sorted(range(4), key=lambda i: len(data.sequences[i]))
    got = score_sequences(scorer, [data.sequences[i] for i in by_length], raw=True)
    got = np.concatenate(got) if kind == "per-base" else np.array(got)
    np.testing.assert_allclose(got, logits, atol=1e-4)


def labelled(kind: str, sequences: list[str]) -> LabelledSet:
    rng = np.random.default_rng(0)
    space = LabelSpace(kind, CLASSES[kind])
    if kind == "per-base":
        targets = np.empty(len(sequences), dtype=object)
        for i, sequence in enumerate(sequences):
            targets[i] = rng.integers(0, space.n_outputs, len(sequence))
    elif space.has_classes:
        targets = rng.integers(0, space.n_outputs, len(sequences))
    else:
        targets = rng.integers(0, 2, (len(sequences), space.n_outputs)).astype(np.float32)
    names = [str(i) for i in range(len(sequences))]
    lines = list(range(2, 2 + len(sequences)))
    bases = [as_bases(s.upper()) for s in sequences]
    return LabelledSet(space, bases, targets, names, lines, "made.csv")


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_the_loss_is_the_mean_over_labels(kind, tiny_model):
    """Class weights multiply each label's part; the divisor is what the step counts."""
    data = labelled(kind, SEQUENCES)
    head = HeadConfig(64, data.space.n_outputs, per_base=kind == "per-base")
    weight = None
    if data.space.has_classes:
        weight = torch.arange(1, data.space.n_outputs + 1).float()
    torch.manual_seed(0)
    model = TaskModel(NativeTrunk.load(tiny_model), Head(head), kind, weight).eval()
    batch = EncodedSet(data, KmerTokens(6), data.targets).__getitems__(range(5))
    with torch.no_grad():
        out = model(**batch)
    logits, labels = out["logits"].double().numpy(), batch["labels"].numpy()
    if kind == "regression":
        wanted = np.square(logits - labels).mean()
    elif kind == "multilabel":
        p = 1 / (1 + np.exp(-logits))
        wanted = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
    else:
        rows = np.arange(len(labels))
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        wanted = -(log_p[rows, labels] * weight.numpy()[labels]).mean()
    assert out["loss"].item() == pytest.approx(wanted, rel=1e-4)
    with torch.no_grad():
        twice = model(**batch, num_items_in_batch=2 * labels.size)["loss"].item()
    assert twice == pytest.approx(wanted / 2, rel=1e-4)


def test_a_random_strand_reads_the_other_strand_and_turns_the_labels_of_bases():
    data = labelled("per-base", [random_bases(30, 1), random_bases(30, 2)])
    tokens = KmerTokens(6)
    turned = EncodedSet(data, tokens, data.targets, rc_augment=True, seed=1)
    seen = set()
    for _ in range(20):
        batch = turned.__getitems__([0])
        ids, labels = batch["ids_T"][1:-1].numpy(), batch["labels"].numpy()
        forward = np.array_equal(ids, tokens.encode(data.sequences[0]))
        if not forward:
            other = reverse_complement(data.sequences[0])
            np.testing.assert_array_equal(ids, tokens.encode(other))
        target = data.targets[0]
        np.testing.assert_array_equal(labels, target if forward else target[::-1])
        seen.add(forward)
    assert seen == {True, False}


# Learning rates


@pytest.mark.parametrize("method", ["full", "lora"])
def test_layer_decay_slows_each_layer_by_one_more_factor(method, tiny_model, tmp_path):
    trunk = Trunk.find(FinetuneConfig(model=str(tiny_model), method=method))
    model = TaskModel(trunk.module(0), Head(HeadConfig(64, 2)), "binary")
    data = labelled("binary", SEQUENCES)
    encoded = EncodedSet(data, KmerTokens(6), data.targets)
    arguments = training_arguments(
        tmp_path, device=torch.device("cpu"), dtype=torch.float32, max_steps=1, learning_rate=0.1
    )
    trainer = TaskTrainer(
        model, arguments, train_dataset=encoded, score=lambda logits: {}, layer_decay=0.5
    )
    optimizer = trainer.create_optimizer()
    name_of = {id(p): name for name, p in model.named_parameters()}
    rates = {
        name_of[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert set(rates) == {n for n, p in model.named_parameters() if p.requires_grad}
    for name, (rate, decay) in rates.items():
        below = 0 if "head." in name else 1 if ".layer.1." in name else 2
        below = 3 if ".embeddings." in name else below
        assert rate == pytest.approx(0.1 * 0.5**below), name
        assert decay == 0 or not name.endswith("bias"), name


def test_no_layer_decay_is_the_trainers_own_optimizer(tiny_model, tmp_path):
    trunk = Trunk.find(FinetuneConfig(model=str(tiny_model), method="full"))
    model = TaskModel(trunk.module(0), Head(HeadConfig(64, 2)), "binary")
    arguments = training_arguments(
        tmp_path, device=torch.device("cpu"), dtype=torch.float32, max_steps=1, learning_rate=0.1
    )
    trainer = TaskTrainer(model, arguments, score=lambda logits: {})
    assert {group["lr"] for group in trainer.create_optimizer().param_groups} == {0.1}


def test_only_what_the_method_says_is_trained(tiny_model):
    def trained(method):
        module = Trunk.find(FinetuneConfig(model=str(tiny_model), method=method)).module(0)
        return {name for name, p in module.named_parameters() if p.requires_grad}

    assert trained("probe") == set()
    assert len(trained("full")) == 37
    lora = trained("lora")
    assert {name.split(".lora_")[1].split(".")[0] for name in lora} == {"A", "B"}
    # Six linear layers in each of two layers, A and B of each.
    assert len(lora) == 2 * 6 * 2


# The probe


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression"])
def test_a_probe_is_scikit_learns(kind, tiny_model, task_of):
    """Its outputs equal the model of scikit-learn's that is best on dev, on the same features."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(5)
    sequences = [as_bases(random_bases(40, 100 + i)) for i in range(60)]
    scorer = load_scorer(find_task(task_of(kind, method="probe")), **EXACT)
    x = pooled_sequences(scorer, sequences)
    latent = x @ rng.normal(size=(64, 3)) * 3
    classes = len(CLASSES[kind])
    if kind in ("binary", "multiclass"):
        targets = (latent - latent.mean(axis=0))[:, :classes].argmax(axis=1)
    else:
        targets = (latent - latent.mean(axis=0))[:, :classes].astype(np.float32)
        targets = (targets > 0).astype(np.float32) if kind == "multilabel" else targets
    train, dev = np.arange(40), np.arange(40, 60)
    features = {"train": (x[train], targets[train]), "dev": (x[dev], targets[dev])}
    head = Head(HeadConfig(64, classes, dense=False))
    fit_probe(head, kind, features)
    with torch.no_grad():
        logits = head(torch.from_numpy(x)).double().numpy()
    z = StandardScaler().fit(x[train]).transform(x)
    strengths = [10.0**e for e in range(-4, 2)]

    def best_classifier(y):
        models = [LogisticRegression(C=c, max_iter=5000).fit(z[train], y[train]) for c in strengths]
        return min(
            models, key=lambda m: log_loss(y[dev], m.predict_proba(z[dev]), labels=m.classes_)
        )

    if kind in ("binary", "multiclass"):
        wanted = best_classifier(targets).predict_proba(z)
        got = np.exp(logits - logits.max(axis=1, keepdims=True))
        got /= got.sum(axis=1, keepdims=True)
    elif kind == "multilabel":
        columns = [best_classifier(column).predict_proba(z)[:, 1] for column in targets.T]
        wanted, got = np.stack(columns, axis=1), 1 / (1 + np.exp(-logits))
    else:
        wanted, got = [], logits
        for y in targets.T:
            models = [Ridge(alpha=1 / c).fit(z[train], y[train]) for c in strengths]
            best = min(models, key=lambda m: np.mean((m.predict(z[dev]) - y[dev]) ** 2))
            wanted.append(best.predict(z))
        wanted = np.stack(wanted, axis=1)
    np.testing.assert_allclose(got, wanted, atol=2e-3)


@pytest.mark.parametrize(
    ("kind", "outputs", "in_train"),
    [
        ("multiclass", 2, (0, 1)),
        ("multiclass", 4, (0, 2, 3)),
        ("multiclass", 4, (1, 3)),
        ("multilabel", 3, (0, 2)),
    ],
)
def test_a_probe_of_classes_that_train_has_not(kind, outputs, in_train):
    """They are never likely, and those that are there are told as well as without them."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 5)).astype(np.float32)
    best = x[:, list(in_train)].argmax(axis=1)
    if kind == "multiclass":
        targets = np.array(in_train)[best]
        dev = np.where(np.arange(120) < 4, outputs - 2, targets)
    else:
        targets = np.zeros((120, outputs), dtype=np.float32)
        targets[np.arange(120), np.array(in_train)[best]] = 1
        dev = targets
    head = Head(HeadConfig(5, outputs, dense=False))
    fit_probe(head, kind, {"train": (x, targets), "dev": (x, dev)})
    with torch.no_grad():
        logits = head(torch.from_numpy(x)).numpy()
    if kind == "multiclass":
        assert (logits.argmax(axis=1) == targets).mean() > 0.9
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        absent = [c for c in range(outputs) if c not in in_train]
        assert p[:, absent].max(initial=0) < 0.05
        assert np.isfinite(np.log(p)).all()
    else:
        assert ((logits > 0) == targets).mean() > 0.9
        assert (logits[:, 1] == logits[0, 1]).all()
        assert logits[0, 1] < -4


@pytest.mark.parametrize("how", [{"method": "probe"}, {"method": "lora", "head_start": "probe"}])
def test_the_head_of_a_probe_is_written_as_it_was_fitted(how, tiny_model, tmp_path):
    """Its weights are large and cancel out: half precision would move probabilities by 0.004."""
    trunk = Trunk.find(FinetuneConfig(model=str(tiny_model), **how))
    head = Head(HeadConfig(64, 2, dense=False))
    with torch.no_grad():
        head.out.weight.normal_(0, 9, generator=torch.Generator().manual_seed(0))
    trunk.write(TaskModel(trunk.module(0), head, "binary"), tmp_path)
    written = load_file(tmp_path / "head.safetensors")
    torch.testing.assert_close(written, dict(head.state_dict()), atol=0, rtol=0)


def test_class_weights_move_a_probe_towards_the_rare_class():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=200) > 1.8).astype(np.int64)
    features = {"train": (x, y), "dev": (x, y)}
    positive = {}
    for weights in ("none", "balanced"):
        head = Head(HeadConfig(4, 2, dense=False))
        fit_probe(head, "binary", features, class_weights=weights)
        with torch.no_grad():
            positive[weights] = int((head(torch.from_numpy(x)).argmax(dim=1) == 1).sum())
    assert positive["balanced"] > 2 * positive["none"]


# Adapters that do not fit


def test_an_adapter_of_another_trunk_is_told(tiny_model, tmp_path):
    directory = make_task(tmp_path / "t", tiny_model)
    other = make_task(tmp_path / "o", make_model(tmp_path / "m", num_hidden_layers=3))
    (directory / "adapter_model.safetensors").write_bytes(
        (other / "adapter_model.safetensors").read_bytes()
    )
    with pytest.raises(ModelError, match="fits nothing in the trunk"):
        load_scorer(find_task(directory), **EXACT)


def test_from_scratch_is_full_and_has_other_weights(tiny_model):
    with pytest.raises(InputError, match="use --method full"):
        FinetuneConfig(model=str(tiny_model), from_scratch=True)
    trunk = Trunk.find(FinetuneConfig(model=str(tiny_model), method="full", from_scratch=True))
    one, same, other = (trunk.module(seed).state_dict() for seed in (0, 0, 1))
    loaded = NativeTrunk.load(tiny_model).state_dict()
    name = "model.encoder.layer.0.output.dense.weight"
    torch.testing.assert_close(one[name], same[name], atol=0, rtol=0)
    assert not torch.equal(one[name], other[name])
    assert not torch.equal(one[name], loaded[name])
    assert one[name].std() == pytest.approx(0.02, rel=0.2)


def test_packed_training_does_not_see_across_sequences(tiny_model):
    trunk = NativeTrunk.load(tiny_model).eval()
    tokens = KmerTokens(6)
    ids = [tokens.encode(as_bases(s.upper())) for s in SEQUENCES]

    def forward(sequences):
        ids_T, position_T, lengths = pack(tokens, sequences)
        with torch.no_grad():
            return trunk(torch.from_numpy(ids_T), torch.from_numpy(position_T), lengths)

    together = forward(ids).split([len(i) + 2 for i in ids])
    for alone, part in zip(ids, together, strict=True):
        torch.testing.assert_close(forward([alone]), part, atol=1e-5, rtol=1e-5)
    assert isinstance(trunk, nn.Module)
