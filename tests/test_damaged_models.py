"""Model files that are damaged, edited by hand or absurd: one error of one line, at once.

Nothing may be allocated for sizes that only a file claims, and no NaN may pass for a result.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_model
from damage import (
    BROKEN_JSON,
    CPU,
    HUGE,
    NAN,
    WEIGHTS,
    change_tensor,
    edit,
    header_length,
    refusal,
    sequences,
)

import dnatk
from dnatk.errors import DnatkError
from dnatk.inference.embed import EmbedOptions


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """model, and seq.fa."""
    root = tmp_path_factory.mktemp("originals")
    make_model(root / "model", num_hidden_layers=1, k=3)
    sequences(root / "seq.fa")
    return root


@pytest.fixture
def model(originals, tmp_path) -> Path:
    return Path(shutil.copytree(originals / "model", tmp_path / "model"))


@pytest.fixture
def refused(tmp_path):
    return lambda model: refusal(tmp_path, model=model)


def test_what_is_not_damaged_runs(originals, tmp_path):
    """Else the rest would say nothing."""
    fasta, options = originals / "seq.fa", EmbedOptions(**CPU)
    assert dnatk.embed(fasta, tmp_path / "e", model=originals / "model", options=options).rows == 6


# Weights


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_that_are_damaged(what, model, refused):
    path = model / "model.safetensors"
    path.write_bytes(WEIGHTS[what](path.read_bytes(), header_length(path)))
    assert str(refused(model)).startswith(f"{path}: ")


@pytest.mark.parametrize("position", range(12))
def test_a_flipped_bit_in_the_header_is_refused_or_harmless(position, model, originals, tmp_path):
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(position)
    data[8 + rng.integers(header_length(path))] ^= 1 << rng.integers(7)
    path.write_bytes(data)
    options = EmbedOptions(**CPU)
    try:
        dnatk.embed(originals / "seq.fa", tmp_path / "r", model=model, options=options)
    except DnatkError as error:
        message = str(error)
    else:
        message = str(path)  # in what is not read: the pooler, or the metadata
    assert message.startswith(str(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1].copy(),
        lambda t: t[..., None],
        lambda t: t[:0].copy(),
        lambda t: np.float32(0),
        lambda t: t.astype("i8"),
        lambda t: t > 0,
    ],
    ids=["short", "deep", "empty", "scalar", "int", "bool"],
)
def test_a_tensor_of_another_shape_or_type(change, model, refused):
    change_tensor(model / "model.safetensors", "query.weight", lambda t: np.array(change(t)))
    assert "query.weight" in str(refused(model))


@pytest.mark.parametrize("end", ["word_embeddings.weight", "output.dense.bias"])
@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
def test_no_row_of_nan_passes_for_an_embedding(value, end, model, originals, tmp_path):
    """An error, or rows with a status: but not NaN in a row that is said to be scored."""
    change_tensor(model / "model.safetensors", end, lambda t: np.full_like(t, value))
    options = EmbedOptions(**CPU)
    try:
        dnatk.embed(originals / "seq.fa", tmp_path / "r", model=model, options=options)
    except DnatkError:
        return
    regions, vectors = dnatk.read_embeddings(tmp_path / "r")
    scored = (regions["status"] == 0).to_numpy()
    assert np.isfinite(vectors[scored]).all()


def test_layers_that_config_json_leaves_out(refused, tmp_path):
    """The first of two layers alone would run, and mean nothing."""
    model = make_model(tmp_path / "deep", num_hidden_layers=2, k=3)
    edit(model / "config.json", num_hidden_layers=1)
    path = model / "model.safetensors"
    said = f"{path}: does not fit what config.json says: its tensor 'encoder.layer.1."
    assert str(refused(model)).startswith(said)


@pytest.mark.parametrize("content", [[], {"a": 1}, 5, {1: "x"}], ids=str)
def test_a_pickle_of_no_weights(content, model, refused):
    import torch

    (model / "model.safetensors").unlink()
    torch.save(content, model / "pytorch_model.bin")
    assert str(refused(model)).startswith(f"{model / 'pytorch_model.bin'}: ")


def test_a_pickle_of_more_than_tensors(model, refused):
    """torch's own message tells how to run the code in it."""
    import argparse

    import torch

    (model / "model.safetensors").unlink()
    torch.save({"args": argparse.Namespace(a=1)}, model / "pytorch_model.bin")
    assert str(refused(model)) == (
        f"{model / 'pytorch_model.bin'}: holds more than tensors, or is damaged: dnatk runs no "
        "code of a pickle (save the weights as safetensors)"
    )


# config.json


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "t5"},
        {"model_type": None},
        {"model_type": ...},
        {"hidden_size": ...},
        {"num_hidden_layers": ...},
        {"vocab_size": ...},
        {"vocab_size": HUGE},
        {"vocab_size": "69"},
        {"hidden_size": 63},
        {"hidden_size": 128},
        {"hidden_size": -64},
        {"hidden_size": HUGE},
        {"intermediate_size": -1},
        {"intermediate_size": HUGE},
        {"intermediate_size": None},
        {"max_position_embeddings": 0},
        {"max_position_embeddings": -5},
        {"max_position_embeddings": HUGE},
        {"type_vocab_size": 0},
        {"hidden_act": "swish"},
        {"position_embedding_type": "relative_key"},
        {"num_hidden_layers": 2},
        {"is_decoder": True},
        {"hidden_size": None},
        {"hidden_size": "64"},
        {"hidden_size": [64]},
        {"hidden_size": True},
        {"hidden_size": 0},
        {"num_attention_heads": 0},
        {"num_attention_heads": -1},
        {"num_attention_heads": "2"},
        {"num_attention_heads": 1.5},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": "1"},
        {"num_hidden_layers": 1.0},
        {"num_hidden_layers": HUGE},
        {"max_position_embeddings": "512"},
        {"max_position_embeddings": None},
        {"layer_norm_eps": "tiny"},
        {"layer_norm_eps": -1.0},
        {"layer_norm_eps": NAN},
        {"layer_norm_eps": None},
        {"hidden_act": ["gelu"]},
        {"hidden_act": None},
    ],
    ids=str,
)
def test_a_config_with_values_that_cannot_be(changes, model, refused):
    edit(model / "config.json", **changes)
    assert str(refused(model)).startswith(str(model))


@pytest.mark.parametrize("name", ["config.json", "dnatk.json"])
@pytest.mark.parametrize("what", BROKEN_JSON)
def test_a_json_file_of_a_model_that_is_none(name, what, model, refused):
    (model / name).write_bytes(BROKEN_JSON[what])
    assert str(refused(model)).startswith(f"{model / name}: ")


@pytest.mark.parametrize("name", ["config.json", "dnatk.json", "vocab.txt", "model.safetensors"])
def test_a_file_of_a_model_that_is_a_directory(name, model, refused):
    (model / name).unlink()
    (model / name).mkdir()
    assert str(model) in str(refused(model))


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
def test_a_file_of_a_model_that_is_not_there(name, model, refused):
    (model / name).unlink()
    assert str(refused(model)).startswith(f"{model}: ")


# vocab.txt and dnatk.json


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text[:-2],
        lambda text: text.replace("\n", " "),
        lambda text: text.replace("[MASK]\n", ""),
        lambda text: "\n" + text,
        lambda text: text + "AAA\n",
        lambda text: "\n".join(reversed(text.splitlines())),
        lambda text: text.lower(),
        lambda text: "A" * 10**6,
    ],
)
def test_a_vocabulary_that_is_cut_or_changed(change, model, refused):
    path = model / "vocab.txt"
    path.write_text(change(path.read_text()))
    error = refused(model)
    assert str(error).startswith(f"{path}:")
    assert len(str(error)) < 1000


def test_a_vocabulary_that_is_no_text(model, refused):
    (model / "vocab.txt").write_bytes(b"\xff\xfe\0\0")
    assert str(refused(model)).startswith(f"{model}: has no readable vocab.txt")


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 4},
        {"k": "six"},
        {"k": 0},
        {"k": -3},
        {"k": HUGE},
        {"format_version": 99},
        {"k": None},
        {"k": [3]},
        {"k": 3.7},
        {"kmer_stride": 0},
        {"kmer_stride": -1},
        {"kmer_stride": HUGE},
        {"kmer_stride": "one"},
        {"kmer_stride": None},
        {"kmer_stride": 1.5},
        {"format_version": "1"},
        {"format_version": None},
        {"format_version": [1]},
    ],
    ids=str,
)
def test_model_facts_that_cannot_be(changes, model, refused):
    edit(model / "dnatk.json", **changes)
    assert str(model) in str(refused(model))


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "{}/seq.fa", "{}/none"], ids=range(5))
def test_a_model_that_is_no_directory(name, refused, tmp_path):
    assert str(refused(name.format(tmp_path)))
