"""Models of other makes, and tasks on them, that are damaged: one error of one line, at once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from conftest import CLASSES
from damage import BROKEN_JSON, HUGE, WEIGHTS, change_tensor, edit, header_length, refusal
from safetensors.numpy import load_file, save_file
from test_foreign import make_foreign
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from dnatk.model.foreign import load_foreign, state_sha256
from dnatk.model.heads import HeadConfig
from dnatk.tasks.scorer import load_scorer
from dnatk.tasks.task import Task, TrunkReference


@pytest.fixture
def refused(tmp_path):
    return lambda model: refusal(tmp_path, model=model)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("config.json", {"vocab_size": HUGE}, "cannot be loaded: its weights have other sizes"),
        ("config.json", {"num_attention_heads": 0}, "cannot be loaded: "),
        ("config.json", {"hidden_size": "32"}, "cannot be loaded: Validation error for field"),
        ("config.json", {"hidden_size": 48}, "cannot be loaded: its weights have other"),
        ("config.json", {"hidden_size": "x" * 5000}, "cannot be loaded: "),
        ("config.json", {"model_type": "nothing"}, "cannot be loaded: "),
        ("tokenizer_config.json", {"model_max_length": "x"}, "model_max_length is 'x'; it must be"),
        ("tokenizer_config.json", {"model_max_length": 0}, "model_max_length is 0; it must be"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_foreign_model_with_values_that_cannot_be(name, changes, message, refused, tmp_path):
    model = make_foreign(tmp_path / "esm")
    edit(model / name, **changes)
    assert str(refused(model)).startswith(f"{model}: {message}")


@pytest.mark.parametrize(
    ("layers", "message"),
    [(1, "has more layers than its config.json says"), (3, "lacks weights: encoder.layer.2.")],
)
def test_a_foreign_model_with_another_number_of_layers(layers, message, refused, tmp_path):
    from transformers import BertConfig, BertModel

    model = make_foreign(tmp_path / "bert")  # its tokenizer; ESM has other weights by the layer
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=9, num_hidden_layers=2, **sizes)).save_pretrained(model)
    edit(model / "config.json", num_hidden_layers=layers)
    assert str(refused(model)).startswith(f"{model}: {message}")


class BareConfig(PretrainedConfig):
    """It names no size, as of a model whose config.json keeps those of its text in a part."""

    model_type = "dnatk-test-bare"


class BareModel(PreTrainedModel):
    config_class = BareConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Embedding(9, 8)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, output_hidden_states=False):
        return BaseModelOutput(self.table(input_ids))


@pytest.mark.parametrize(
    ("sizes", "absent"), [({}, "hidden_size"), ({"hidden_size": 8}, "num_hidden_layers")]
)
def test_a_foreign_model_that_does_not_tell_a_size(sizes, absent, refused, tmp_path):
    AutoConfig.register(BareConfig.model_type, BareConfig, exist_ok=True)
    AutoModel.register(BareConfig, BareModel, exist_ok=True)
    model = make_foreign(tmp_path / "bare")  # its tokenizer
    BareModel(BareConfig(**sizes)).save_pretrained(model)
    assert str(refused(model)).startswith(f"{model}: {absent} is None; it must be a whole number")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("what", sorted(BROKEN_JSON.keys() - {"byte order mark", "huge number"}))
def test_a_json_file_of_a_foreign_model_that_is_none(name, what, refused, tmp_path):
    model = make_foreign(tmp_path / "esm")
    (model / name).write_bytes(BROKEN_JSON[what])
    assert str(refused(model)).startswith(str(model))


@pytest.fixture
def task(tmp_path):
    """A task with a LoRA adapter on a model of another make."""
    from peft import LoraConfig, get_peft_model

    trunk, _, _ = load_foreign(make_foreign(tmp_path / "esm"))
    reference = TrunkReference(
        str(tmp_path / "esm"), state_sha256(trunk.model), native=False, k=0, kmer_stride=0
    )
    path, config = tmp_path / "task", LoraConfig(r=4, target_modules="all-linear")
    with warnings.catch_warnings():
        # peft still asks transformers for an attribute by its old name.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
        adapted = get_peft_model(trunk.model, config)
    adapted.save_pretrained(path, save_embedding_layers=False)
    head = HeadConfig(32, 2, dense=False, k=1)
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape) for name, shape in head.shapes().items()}
    save_file({n: t.astype("f4") for n, t in tensors.items()}, path / "head.safetensors")
    names = CLASSES["binary"]
    Task(path, "t", "binary", names, names, "lora", reference, head.as_dict(), 60).write()
    load_scorer(Task.read(path), device="cpu", precision="fp32")  # it is well
    return path


def drop(path, end: str) -> None:
    tensors = load_file(path)
    save_file({n: t for n, t in tensors.items() if not n.endswith(end)}, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda weights, config: drop(weights, "layer.1.output.dense.lora_B.weight"),
        lambda weights, config: change_tensor(weights, "lora_A.weight", lambda t: t[:, :3].copy()),
        lambda weights, config: weights.write_bytes(
            WEIGHTS["data cut"](weights.read_bytes(), header_length(weights))
        ),
        lambda weights, config: weights.unlink(),
        lambda weights, config: config.unlink(),
        lambda weights, config: edit(config, r="4"),
        lambda weights, config: edit(config, peft_type="magic"),
        lambda weights, config: config.write_bytes(BROKEN_JSON["nested"]),
        lambda weights, config: config.write_bytes(BROKEN_JSON["binary"]),
    ],
    ids=["less", "narrow", "cut", "gone", "no config", "r", "type", "nested", "binary"],
)
def test_an_adapter_of_a_foreign_model(damage, task, tmp_path):
    damage(task / "adapter_model.safetensors", task / "adapter_config.json")
    assert str(refusal(tmp_path, task=task)).startswith(f"{task}: its adapter cannot be loaded: ")
