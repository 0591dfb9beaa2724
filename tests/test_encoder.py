"""dnatk's encoder and model directories against transformers itself."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import make_model, random_bases
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertModel

from dnatk.errors import ModelError
from dnatk.kmers import Vocabulary, encode, spaced
from dnatk.kmers.vocab import CLS, SEP
from dnatk.model.attention import packed_attention
from dnatk.model.encoder import Encoder
from dnatk.model.loading import load_encoder, read_model, read_weights
from dnatk.model.placement import bf16_units, resolve_device, resolve_precision


def packed(sequences: list[str], k: int = 6, stride: int = 1):
    ids = [np.concatenate([[CLS], encode(s, k, stride), [SEP]]).astype(np.int64) for s in sequences]
    lengths = [len(i) for i in ids]
    positions = np.concatenate([np.arange(n) for n in lengths])
    return torch.from_numpy(np.concatenate(ids)), torch.from_numpy(positions), lengths


@pytest.fixture(scope="module")
def sequences() -> list[str]:
    return [random_bases(n, n) for n in (300, 40, 515, 40, 6)]


def reference(path, sequences, layer=-1, dtype=torch.float32, k=6, stride=1):
    """Hidden states of transformers' own eager model, one sequence at a time."""
    model = BertModel.from_pretrained(path, dtype=dtype, attn_implementation="eager")
    model.eval()
    out = []
    with torch.inference_mode():
        for sequence in sequences:
            ids, _, _ = packed([sequence], k, stride)
            hidden = model(ids[None], output_hidden_states=True).hidden_states[layer]
            out.append(hidden[0].float())
    return torch.cat(out)


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_fp32_equals_transformers_eager(tiny_model, sequences, layer):
    encoder = load_encoder(tiny_model, device="cpu", precision="fp32")
    ours = encoder(*packed(sequences), layer=layer)
    torch.testing.assert_close(ours, reference(tiny_model, sequences, layer), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (4, 4)])
def test_other_k_and_stride_equal_transformers(tmp_path, k, stride):
    path = make_model(tmp_path / "m", k=k, kmer_stride=stride)
    sequences = [random_bases(99, 5), random_bases(12, 6)]
    info = read_model(path)
    assert (info.k, info.kmer_stride) == (k, stride)
    ours = load_encoder(info, device="cpu", precision="fp32")(*packed(sequences, k, stride))
    theirs = reference(path, sequences, k=k, stride=stride)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_bf16_is_as_near_to_fp32_as_transformers_own(tiny_model, sequences):
    exact = reference(tiny_model, sequences)
    theirs = reference(tiny_model, sequences, dtype=torch.bfloat16)
    ours = load_encoder(tiny_model, device="cpu", precision="bf16")(*packed(sequences)).float()
    assert (ours - exact).abs().mean() <= 1.5 * (theirs - exact).abs().mean()
    assert torch.cosine_similarity(ours, exact, dim=1).min() > 0.999


def test_no_sequence_sees_another(tiny_model):
    encoder = load_encoder(tiny_model, device="cpu", precision="fp32")
    a, b, c = (random_bases(n, n) for n in (80, 80, 33))
    alone = encoder(*packed([a]))
    with_b = encoder(*packed([a, b, c]))[: len(alone)]
    torch.testing.assert_close(alone, with_b, atol=1e-6, rtol=0)


def test_tokens_that_fill_a_batch_up_are_neither_seen_nor_returned(tiny_model, monkeypatch):
    encoder = load_encoder(tiny_model, device="cpu", precision="fp32")
    given = packed([random_bases(130, n) for n in range(5)])
    as_they_are = encoder(*given)
    seen = []
    monkeypatch.setattr(
        "dnatk.model.encoder.packed_attention",
        lambda q, k, v, lengths, scaling: (
            seen.append(sum(lengths)) or packed_attention(q, k, v, lengths, scaling)
        ),
    )
    monkeypatch.setattr("dnatk.model.encoder._CPU_LEAST", 600)
    filled = encoder(*given)
    assert len(given[0]) == 5 * 127
    assert set(seen) == {640}
    torch.testing.assert_close(filled, as_they_are, atol=1e-6, rtol=0)


def test_chunks_of_attention_do_not_change_it(monkeypatch):
    torch.manual_seed(0)
    q, k, v = (torch.randn(7 * 20 + 5, 2, 8) for _ in range(3))
    lengths = [20] * 7 + [5]
    whole = packed_attention(q, k, v, lengths, 0.3)
    monkeypatch.setattr("dnatk.model.attention._CPU_SCORES", 2 * 20 * 20 * 3)
    torch.testing.assert_close(packed_attention(q, k, v, lengths, 0.3), whole)


def test_cpu_attention_equals_sdpa():
    torch.manual_seed(0)
    q, k, v = (torch.randn(30, 2, 8) for _ in range(3))
    ours = packed_attention(q, k, v, [30], 0.3)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.3)
    torch.testing.assert_close(ours, theirs[0].transpose(0, 1), atol=1e-6, rtol=1e-5)


@pytest.mark.gpu
def test_cuda_equals_cpu(tiny_model, sequences):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    ids, positions, lengths = packed(sequences)
    cpu = load_encoder(tiny_model, device="cpu", precision="fp32")(ids, positions, lengths)
    encoder = load_encoder(tiny_model, device="cuda", precision="fp32")
    cuda = encoder(ids.cuda(), positions.cuda(), lengths).cpu()
    torch.testing.assert_close(cuda, cpu, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("k", "stride"), [(6, 1), (3, 1), (6, 6)])
def test_a_plain_script_gets_the_same_ids_and_logits(tmp_path, k, stride):
    """AutoTokenizer on space-joined k-mers and AutoModelForMaskedLM, no remote code."""
    path = make_model(tmp_path / "m", k=k, kmer_stride=stride)
    sequence = "N" + random_bases(100, 1) + "RY" + random_bases(60, 2)
    tokenizer = AutoTokenizer.from_pretrained(path)
    inputs = tokenizer(spaced(sequence, k, stride), return_tensors="pt")
    ids, positions, lengths = packed([sequence], k, stride)
    assert inputs["input_ids"][0].tolist() == ids.tolist()
    assert tokenizer.mask_token_id == 4
    assert tokenizer.pad_token_id == 0
    model = AutoModelForMaskedLM.from_pretrained(path, dtype=torch.float32)
    assert type(model).__name__ == "BertForMaskedLM"
    with torch.inference_mode():
        logits = model(**inputs).logits[0]
        hidden = load_encoder(path, device="cpu", precision="fp32")(ids, positions, lengths)
        torch.testing.assert_close(model.cls(hidden), logits, atol=1e-4, rtol=0)


def test_lower_case_is_the_same_to_both(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert tokenizer(spaced("acgtacgtaa"))["input_ids"][1:-1] == encode("acgtacgtaa", 6).tolist()


def test_dnabert_original_layout_loads(tmp_path):
    """config.json, vocab.txt and pytorch_model.bin of old: gamma and beta, no dnatk.json."""
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=69, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    model = BertModel(config)
    config.save_pretrained(tmp_path)
    old = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in model.state_dict().items()
    }
    torch.save(old, tmp_path / "pytorch_model.bin")
    (tmp_path / "vocab.txt").write_text("\n".join(Vocabulary(3).tokens))
    info = read_model(tmp_path)
    assert (info.k, info.kmer_stride, info.max_window) == (3, 1, 64)
    ids, positions, lengths = packed(["ACGTTGCAACGT"], k=3)
    model.eval()
    with torch.inference_mode():
        theirs = model(ids[None]).last_hidden_state[0]
    ours = load_encoder(info, device="cpu", precision="fp32")(ids, positions, lengths)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.fixture
def broken(tiny_model, tmp_path):
    """A copy of the model to damage."""
    return shutil.copytree(tiny_model, tmp_path / "broken")


def test_alphabetical_vocabulary_is_refused_naming_both_orders(broken):
    import itertools

    kmers = ["".join(p) for p in itertools.product("ACGT", repeat=6)]
    (broken / "vocab.txt").write_text("\n".join(Vocabulary(6).tokens[:5] + kmers) + "\n")
    with pytest.raises(ModelError, match=r"vocab.txt:7: .*AAAAAC AAAAAG.*AAAAAT AAAAAC"):
        read_model(broken)


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "model.safetensors").unlink(), "has no weights"),
        (lambda d: (d / "config.json").unlink(), "has no config.json"),
        (lambda d: (d / "vocab.txt").unlink(), "vocab.txt"),
        (lambda d: (d / "config.json").write_text("{"), "config.json: cannot be read"),
        (lambda d: edit(d / "config.json", model_type="gpt2"), "model_type is 'gpt2'"),
        (lambda d: edit(d / "config.json", vocab_size=70), "vocab_size is 70"),
        (lambda d: edit(d / "config.json", hidden_act="swish"), "activation 'swish'"),
        (lambda d: edit(d / "dnatk.json", format_version=99), "newer dnatk"),
        (lambda d: edit(d / "dnatk.json", k=3), "4101 tokens where 3-mers have 69"),
        (lambda d: edit(d / "config.json", num_hidden_layers=3), "no tensor 'encoder.layer.2"),
        (lambda d: edit(d / "config.json", intermediate_size=99), "config.json says"),
        (
            lambda d: (d / "model.safetensors").write_bytes(
                (d / "model.safetensors").read_bytes()[:5000]
            ),
            "cannot be read",
        ),
    ],
)
def test_damaged_directories_are_named(broken, damage, message):
    damage(broken)
    with pytest.raises(ModelError, match=message):
        read_weights(read_model(broken))


def test_unknown_model_names_those_installed():
    with pytest.raises(ModelError, match="no model 'nothing'"):
        read_model("nothing")


def test_absent_device_is_an_error():
    with pytest.raises(ModelError, match="cuda:7"):
        resolve_device("cuda:7")
    with pytest.raises(ModelError, match="no device 'gpu'"):
        resolve_device("gpu")


def test_fp16_on_a_cpu_is_refused_with_the_reason():
    with pytest.raises(ModelError, match="slower"):
        resolve_precision("fp16", torch.device("cpu"))


def test_auto_precision_follows_the_hardware():
    cpu = torch.device("cpu")
    expected = torch.bfloat16 if bf16_units(cpu) else torch.float32
    assert resolve_precision("auto", cpu) == expected


def test_layers_outside_the_model_are_refused(tiny_model):
    encoder = load_encoder(tiny_model, device="cpu", precision="fp32")
    assert isinstance(encoder, Encoder)
    for layer in (3, -4):
        with pytest.raises(ModelError, match="the model has 2"):
            encoder(*packed(["ACGTACGT"]), layer=layer)


def test_a_moved_encoder_uses_its_own_weights(tiny_model, sequences):
    ids, positions, lengths = packed(sequences)
    exact = load_encoder(tiny_model, device="cpu", precision="fp32")
    wanted = exact(ids, positions, lengths)
    rough = exact.to(torch.bfloat16)(ids, positions, lengths)
    fresh = load_encoder(tiny_model, device="cpu", precision="bf16")(ids, positions, lengths)
    assert torch.equal(rough, fresh)
    assert not torch.equal(rough.float(), wanted)
