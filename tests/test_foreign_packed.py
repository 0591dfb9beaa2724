"""Models of other makes without padding: what their own forward gives, or padded and said so."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_bases
from hypothesis import given, settings
from hypothesis import strategies as st
from test_foreign import tokenizer_of

from dnatk.kmers.tokens import pack
from dnatk.model import foreign_check
from dnatk.model.foreign import ForeignTrunk, load_foreign
from dnatk.model.foreign_attention import ATTENTION, windowed_attention

SIZES = {
    "vocab_size": 9,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 514,
    "pad_token_id": 1,
    "initializer_range": 0.2,
}
SPECIAL = {"bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
LOCAL = {"local_attention": 16, "global_attn_every_n_layers": 2, **SPECIAL}
NOVEL = {"mask_token_id": 4, "token_dropout": True}
# name: (make, its own settings, the position of a first token)
PACKED = {
    "modernbert": ("ModernBert", LOCAL, 0),
    "modernbert-wide": ("ModernBert", {**LOCAL, "local_attention": 128}, 0),
    "esm-rotary": ("Esm", {**NOVEL, "position_embedding_type": "rotary"}, 0),
    "esm-absolute": ("Esm", {**NOVEL, "emb_layer_norm_before": True}, 2),
    "bert": ("Bert", {}, 0),
    "roformer": ("RoFormer", {}, 0),
    "roformer-values": ("RoFormer", {"rotary_value": True, "embedding_size": 16}, 0),
    "roberta": ("Roberta", {}, 2),
    "eurobert": ("EuroBert", {**SPECIAL, "num_key_value_heads": 2}, 0),
}
# Sees only what comes before; adds a bias to its scores; lets nothing of its attention be replaced.
PADDED = {
    "llama": ("Llama", {"bos_token_id": 0, "eos_token_id": 2}, None),
    "mpnet": ("MPNet", {}, None),
}
# Twice the same length, a single token between the special ones, and longer than any window.
LENGTHS = (41, 200, 200, 3, 90, 17)

packed = pytest.mark.parametrize("name", PACKED)


def make(path: Path, make: str, more: dict, **changes) -> Path:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{make}Config")(**{**SIZES, **more, **changes})
    network = getattr(transformers, f"{make}Model")(config)
    network.save_pretrained(path)
    tokenizer = tokenizer_of("letters")
    tokenizer.model_max_length = 400
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    made = {}

    def call(name: str) -> Path:
        if name not in made:
            path = tmp_path_factory.mktemp("packed") / name
            made[name] = make(path, *{**PACKED, **PADDED}[name][:2])
        return made[name]

    return call


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(foreign_check, "_told", set())


@pytest.fixture
def trunk_of(directory):
    def call(name: str) -> ForeignTrunk:
        return load_foreign(directory(name))[0]

    return call


def batch(lengths=LENGTHS, seed: int = 0):
    """ids_T, position_T, lengths of random bases as the tests' tokenizer reads them."""
    rng = np.random.default_rng(seed)
    position_T = np.concatenate([np.arange(length) for length in lengths])
    parts = [[0, *rng.integers(5, 9, length - 2), 2] for length in lengths]
    return torch.tensor(np.concatenate(parts)), torch.from_numpy(position_T), list(lengths)


def own(path: Path, dtype: torch.dtype = torch.float32):
    """The model as transformers runs it, with eager attention."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(path, dtype=dtype, attn_implementation="eager").eval()


def own_hidden(model, ids_T, lengths, layer: int = -1) -> torch.Tensor:
    """(T, D) one sequence at a time, without padding."""
    parts = []
    for ids in ids_T.split(lengths):
        out = model(input_ids=ids[None], output_hidden_states=layer != -1)
        hidden = out.last_hidden_state if layer == -1 else out.hidden_states[layer]
        parts.append(hidden[0])
    return torch.cat(parts)


def apart(got: torch.Tensor, want: torch.Tensor) -> float:
    """The largest difference, in standard deviations of ``want``."""
    assert got.shape == want.shape
    return ((got.float() - want.float()).abs().max() / want.float().std()).item()


@packed
@torch.no_grad()
def test_packed_is_its_own_forward(name, trunk_of, directory, caplog):
    trunk, model = trunk_of(name), own(directory(name))
    assert (trunk.first_position, caplog.messages) == (PACKED[name][2], [])
    assert trunk.model.config._attn_implementation == ATTENTION
    ids_T, position_T, lengths = batch()
    for layer in (-1, 0, 1, 3):
        got = trunk(ids_T, position_T, lengths, layer)
        assert apart(got, own_hidden(model, ids_T, lengths, layer)) < 1e-5, layer
    alone = trunk(*batch((3,)))
    assert apart(alone, own_hidden(model, *batch((3,))[::2])) < 1e-5


@packed
@torch.no_grad()
def test_padded_is_its_own_forward_too(name, directory):
    model = own(directory(name))
    trunk = ForeignTrunk(model, pad_id=1)
    ids_T, position_T, lengths = batch()
    for layer in (-1, 1):
        got = trunk(ids_T, position_T, lengths, layer)
        assert apart(got, own_hidden(model, ids_T, lengths, layer)) < 1e-5, layer


@packed
@torch.no_grad()
def test_in_bf16_it_is_as_near_as_its_own_forward(name, trunk_of, directory):
    trunk = trunk_of(name).to(torch.bfloat16)
    ids_T, position_T, lengths = batch()
    exact = own_hidden(own(directory(name)), ids_T, lengths)
    rough = own_hidden(own(directory(name), torch.bfloat16), ids_T, lengths)
    got = trunk(ids_T, position_T, lengths)
    assert got.dtype == torch.bfloat16
    error = (got.float() - exact).norm() / exact.norm()
    assert error < 1.3 * (rough.float() - exact).norm() / exact.norm()
    assert error < 0.03


@packed
@torch.no_grad()
def test_autocast(name, trunk_of, directory):
    ids_T, position_T, lengths = batch()
    trunk = trunk_of(name)
    exact = trunk(ids_T, position_T, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        got = trunk(ids_T, position_T, lengths)
    assert 0 < (got.float() - exact).norm() / exact.norm() < 0.03


@packed
@torch.no_grad()
def test_neighbours_are_not_seen(name, trunk_of):
    trunk = trunk_of(name)
    ids_T, position_T, lengths = batch()
    before = trunk(ids_T, position_T, lengths).split(lengths)
    for changed in (1, 3):
        other_T = ids_T.clone()
        start = sum(lengths[:changed])
        other_T[start + 1 : start + lengths[changed] - 1] = 5
        after = trunk(other_T, position_T, lengths).split(lengths)
        for i in range(len(lengths)):
            assert torch.equal(before[i], after[i]) == (i != changed), (changed, i)


@packed
@torch.no_grad()
def test_more_tokens_than_positions(name, trunk_of):
    """The model's positions limit a sequence, not what is packed."""
    trunk = trunk_of(name)
    ids_T, position_T, lengths = batch((90,) * 12)
    got = trunk(ids_T, position_T, lengths)
    last = slice(-90, None)
    assert apart(got[last], trunk(ids_T[last], position_T[last], [90])) < 1e-5


@packed
def test_gradients(name, trunk_of, directory):
    ids_T, position_T, lengths = batch()
    model, trunk = own(directory(name)), trunk_of(name)
    weight_TD = torch.randn(len(ids_T), 32, generator=torch.Generator().manual_seed(1))
    (own_hidden(model, ids_T, lengths) * weight_TD).sum().backward()
    (trunk(ids_T, position_T, lengths) * weight_TD).sum().backward()
    theirs = dict(model.named_parameters())
    seen = 0
    for key, parameter in trunk.model.named_parameters():
        want = theirs[key].grad
        assert (parameter.grad is None) == (want is None), key
        # A key's bias shifts all scores alike: its gradient is nothing but rounding.
        if want is not None and not key.endswith("key.bias"):
            assert (parameter.grad - want).norm() <= 2e-4 * want.norm() + 1e-6, key
            seen += 1
    assert seen > 10


@pytest.mark.parametrize("name", ["modernbert", "esm-rotary", "roformer"])
def test_dropout_of_attention_in_training(name, tmp_path):
    """By nothing but the model's own rate, and in training alone."""
    maker, more, _ = PACKED[name]
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.3}
    if maker == "ModernBert":  # another dropout, after attention, has the same rate
        rates = {"attention_dropout": 0.3}
    trunk = load_foreign(make(tmp_path / "model", maker, more, **rates))[0]
    for module in trunk.model.modules():
        if getattr(module, "out_drop", None):
            module.out_drop = torch.nn.Identity()
    ids_T, position_T, lengths = batch()
    still = trunk(ids_T, position_T, lengths)
    assert torch.equal(still, trunk(ids_T, position_T, lengths))
    trunk.train()
    torch.manual_seed(0)
    first = trunk(ids_T, position_T, lengths)
    assert apart(first, still) > 0.05
    assert not torch.equal(first, trunk(ids_T, position_T, lengths))
    torch.manual_seed(0)
    assert torch.equal(first, trunk(ids_T, position_T, lengths))


@pytest.mark.parametrize("name", ["modernbert", "roformer"])
def test_an_adapter_in_a_copy(name, trunk_of):
    """As fine-tuning has it: copied, wrapped by peft, trained."""
    from peft import LoraConfig, get_peft_model

    trunk = trunk_of(name)
    ids_T, position_T, lengths = batch()
    with torch.no_grad():
        want = trunk(ids_T, position_T, lengths)
    other = copy.deepcopy(trunk)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an attribute that peft asks for by its old name
        other.model = get_peft_model(other.model, LoraConfig(r=2, target_modules="all-linear"))
    other.train()
    hidden = other(ids_T, position_T, lengths)
    assert apart(hidden, want) < 1e-5 or name == "roformer"  # which has dropout
    hidden.square().sum().backward()
    found = [p.grad for key, p in other.named_parameters() if "lora_B" in key]
    assert found
    assert all(grad is not None and grad.abs().max() > 0 for grad in found)


@pytest.mark.parametrize("name", ["modernbert", "roformer", "esm-absolute"])
@torch.no_grad()
def test_what_is_written_needs_no_dnatk(name, trunk_of, tmp_path):
    trunk = trunk_of(name)
    trunk.model.save_pretrained(tmp_path)
    assert "dnatk" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    ids_T, position_T, lengths = batch()
    got = trunk(ids_T, position_T, lengths)
    assert apart(got, own_hidden(own(tmp_path), ids_T, lengths)) < 1e-5


# At load


@pytest.mark.parametrize("name", PADDED)
@torch.no_grad()
def test_what_cannot_be_packed_is_padded_and_told_once(name, directory, caplog):
    caplog.set_level(logging.WARNING)
    trunk, _, _ = load_foreign(directory(name))
    assert trunk.first_position is None
    assert trunk.model.config._attn_implementation == {"llama": "sdpa", "mpnet": "eager"}[name]
    (message,) = caplog.messages
    assert message.startswith(f"{type(trunk.model).__name__}: packed attention ")
    assert message.endswith(", running it padded")
    assert ("differs from the model's own forward by 1" in message) == (name == "llama")
    ids_T, position_T, lengths = batch()
    for layer in (-1, 1):
        want = own_hidden(own(directory(name)), ids_T, lengths, layer)
        assert apart(trunk(ids_T, position_T, lengths, layer), want) < 1e-5
    load_foreign(directory(name))
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("name", ["bert", "roformer", "modernbert"])
@torch.no_grad()
def test_whatever_fails_is_a_difference(name, directory, monkeypatch, caplog):
    """Any error; and the model runs as it did before."""
    caplog.set_level(logging.INFO, logger="dnatk")

    def broken(*args, **more):
        raise ZeroDivisionError("of its own")

    for module in ("foreign_attention", "foreign_roformer"):
        monkeypatch.setattr(f"dnatk.model.{module}.packed_attention", broken)
    trunk, _, longest = load_foreign(directory(name))
    assert caplog.messages == [
        f"{directory(name)}: ZeroDivisionError: of its own",
        f"{type(trunk.model).__name__}: packed attention cannot run this model, running it padded",
    ]
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING"]
    assert (trunk.first_position, longest) == (None, 400)
    ids_T, position_T, lengths = batch()
    want = own_hidden(own(directory(name)), ids_T, lengths)
    assert apart(trunk(ids_T, position_T, lengths), want) < 1e-5


@pytest.mark.parametrize("reach", [7, 9])
def test_a_wrong_window_is_seen(reach, directory, monkeypatch, caplog):
    """One token more or less on either side, of sequences longer than the window."""

    def wrong(*args, **more):
        return windowed_attention(*args, **{**more, "reach": reach})

    monkeypatch.setattr("dnatk.model.foreign_attention.windowed_attention", wrong)
    assert load_foreign(directory("modernbert"))[0].first_position is None
    assert len(caplog.messages) == 1


def test_the_check_reaches_beyond_a_wide_window(tmp_path, monkeypatch):
    """Also where that is longer than the sequences it takes anyhow."""
    seen = []
    whole = foreign_check._difference

    def difference(trunk, batch, want_TD):
        seen.append((max(batch[2]), torch.is_grad_enabled()))
        return whole(trunk, batch, want_TD)

    monkeypatch.setattr(foreign_check, "_difference", difference)
    load_foreign(make(tmp_path / "model", "ModernBert", {**LOCAL, "local_attention": 600}))
    assert seen == [(372, False)]  # 300 tokens on either side, and some more


@pytest.mark.parametrize("name", ["modernbert", "roformer", "llama", "mpnet"])
def test_the_check_leaves_no_trace(name, directory, trunk_of):
    _, tokens, longest = load_foreign(directory(name))
    trunk = ForeignTrunk(own(directory(name)), pad_id=1)
    trunk.train()
    list(trunk.modules())[-1].eval()
    trained = [parameter.requires_grad for parameter in trunk.parameters()]
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    modes = [module.training for module in trunk.modules()]
    torch.manual_seed(5)
    random, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    foreign_check.run_packed(trunk, tokens, longest, "x")
    assert (trunk.first_position is None) == (name in PADDED)
    assert [module.training for module in trunk.modules()] == modes
    assert True in modes
    assert False in modes
    assert torch.equal(torch.get_rng_state(), random)
    assert np.array_equal(np.random.get_state()[1], numbers)
    after = trunk.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert {p.dtype for p in trunk.parameters()} == {torch.float32}
    assert [parameter.requires_grad for parameter in trunk.parameters()] == trained
    assert all(parameter.grad is None for parameter in trunk.parameters())
    assert torch.is_grad_enabled()


def test_positions_that_begin_late_take_room(tmp_path):
    """ESM's absolute positions begin after the one of padding."""
    for name, wanted in (("esm-absolute", 62), ("bert", 64)):
        path = make(tmp_path / name, *PACKED[name][:2], max_position_embeddings=64)
        trunk, tokens, longest = load_foreign(path)
        assert longest == wanted
        ids = tokens.encode(np.full(longest - 2, ord("A"), dtype=np.uint8))
        ids_T, position_T, lengths = pack(tokens, [ids])
        trunk(torch.from_numpy(ids_T), torch.from_numpy(position_T), lengths)


# The window itself


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    reach=st.integers(0, 50),
    seed=st.integers(0, 99),
)
def test_a_window_within_each_sequence(lengths, reach, seed):
    """As one mask over all would have it, gradients too."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(sum(lengths), 2, 4, generator=generator).double() for _ in range(3)]
    wanted, got = ([x.clone().requires_grad_() for x in made] for _ in range(2))
    owner_T = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    at_T = torch.arange(len(owner_T))
    seen_TT = owner_T[:, None] == owner_T
    seen_TT &= (at_T[:, None] - at_T).abs() <= reach
    scores = torch.einsum("qhe,khe->hqk", *wanted[:2]) * 0.7
    weights = scores.masked_fill(~seen_TT, -torch.inf).softmax(dim=-1)
    want_THE = torch.einsum("hqk,khe->qhe", weights, wanted[2])
    got_THE = windowed_attention(*got, lengths, 0.7, 0.0, reach)
    torch.testing.assert_close(got_THE, want_THE)
    for out in (want_THE, got_THE):
        out.square().sum().backward()
    for x, y in zip(wanted, got, strict=True):
        torch.testing.assert_close(y.grad, x.grad)


def test_dropout_within_a_window():
    """Some of the probabilities go, the rest grow: the mean stays."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(100, 2, 4, generator=generator) for _ in range(3))
    torch.manual_seed(0)
    wanted = windowed_attention(q, k, v, [100], 0.5, 0.0, 20)
    draws = torch.stack([windowed_attention(q, k, v, [100], 0.5, 0.4, 20) for _ in range(400)])
    assert (draws[0] - wanted).abs().max() > 0.1
    assert (draws.mean(dim=0) - wanted).abs().max() < 0.15
    assert (draws.mean(dim=0) - wanted).abs().mean() < 0.02


# First tokens


@pytest.mark.parametrize("name", ["mpnet", "longformer"])
@torch.no_grad()
def test_padded_models_whose_positions_begin_late(name, tmp_path):
    """The longest sequence they can take, and no more; also where that is less than the check's."""
    more = {"mpnet": ("MPNet", {}), "longformer": ("Longformer", {"attention_window": 16})}[name]
    trunk, _, longest = load_foreign(make(tmp_path / "m", *more, max_position_embeddings=98))
    assert (trunk.first_position, longest) == (None, 96)
    ids_T, position_T, lengths = batch((96, 5))
    assert torch.isfinite(trunk(ids_T, position_T, lengths)).all()


@pytest.mark.parametrize(("name", "tells"), [("bert", True), ("mpnet", True), ("llama", False)])
def test_whether_the_first_token_tells_of_a_sequence(name, tells, trunk_of):
    assert trunk_of(name).has_cls is tells


@pytest.mark.parametrize("command", ["embed", "finetune"])
def test_cls_is_refused_where_nothing_tells_of_a_sequence(command, run, directory, tmp_path):
    lines = (f"{random_bases(20, seed)},{seed % 2}\n" for seed in range(60))
    (tmp_path / "s.csv").write_text("sequence,label\n" + "".join(lines))
    (tmp_path / "s.fa").write_text(">a\nACGTACGT\n")
    data, pool = {"embed": ("s.fa", "cls"), "finetune": ("s.csv", "all")}[command]
    options = ("--model", directory("llama"), "--pool", pool, "--device", "cpu")
    result = run(command, tmp_path / data, "-o", tmp_path / "out", *options)
    assert result.code == 1
    assert result.err.splitlines()[-1] == (
        f"dnatk: error: --pool {pool}: this model has no first token that tells of a sequence "
        "(--pool mean or max)"
    )
    assert not (tmp_path / "out").exists()
