"""Task files that are damaged, edited by hand or absurd: one error of one line, at once.

Nothing may be allocated for sizes that only a file claims, and nothing left out in silence.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_model, make_task
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
from safetensors.numpy import load_file, save_file

import dnatk
from dnatk.errors import DnatkError
from dnatk.inference.predict import PredictOptions
from dnatk.model.heads import Head, HeadConfig


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """model, task on it with a LoRA adapter, and seq.fa."""
    root = tmp_path_factory.mktemp("originals")
    make_task(root / "task", make_model(root / "model", num_hidden_layers=1, k=3))
    sequences(root / "seq.fa")
    return root


@pytest.fixture
def task(originals, tmp_path) -> Path:
    return Path(shutil.copytree(originals / "task", tmp_path / "task"))


@pytest.fixture
def refused(tmp_path):
    return lambda task: refusal(tmp_path, task=task)


def test_what_is_not_damaged_runs(originals, tmp_path):
    """Else the rest would say nothing."""
    fasta, options = originals / "seq.fa", PredictOptions(**CPU)
    summary = dnatk.predict(fasta, tmp_path / "p", task=originals / "task", options=options)
    assert (summary.rows, summary.unscored) == (3, {})


# Weights


@pytest.mark.parametrize("name", ["head.safetensors", "adapter_model.safetensors"])
@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_of_a_task_that_are_damaged(name, what, task, refused):
    path = task / name
    path.write_bytes(WEIGHTS[what](path.read_bytes(), header_length(path)))
    assert str(task) in str(refused(task))


@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.parametrize("where", ["task/head.safetensors", "task/adapter_model.safetensors"])
def test_no_row_of_nan_passes_for_a_prediction(value, where, task, originals, tmp_path):
    path = task.parent / where
    change_tensor(path, "weight", lambda t: np.full_like(t, value))
    options = PredictOptions(provenance=False, header=False, **CPU)
    try:
        with np.errstate(all="ignore"):
            dnatk.predict(originals / "seq.fa", tmp_path / "r", task=task, options=options)
    except DnatkError:
        return
    rows = [line.split("\t") for line in (tmp_path / "r").read_text().splitlines()]
    assert not [row for row in rows if row[4] in ("NA", "nan") and row[5] == "."]


# task.json and the adapter


@pytest.mark.parametrize("name", ["task.json", "adapter_config.json"])
@pytest.mark.parametrize("what", BROKEN_JSON)
def test_a_json_file_of_a_task_that_is_none(name, what, task, refused):
    (task / name).write_bytes(BROKEN_JSON[what])
    assert str(refused(task)).startswith(f"{task / name}: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"length": -1},
        {"length": 5000},
        {"length": "60"},
        {"length": NAN},
        {"length": 60.5},
        {"temperature": 0},
        {"temperature": NAN},
        {"thresholds": [NAN]},
        {"thresholds": 0.5},
        {"kind": ["binary"]},
        {"kind": None},
        {"classes": ["0"]},
        {"class_names": [None, None]},
        {"classes": 5},
        {"fit": "wide"},
        {"fit": None},
        {"fit": 5},
        {"combine": "median"},
        {"combine": ["mean"]},
        {"rc": "both"},
        {"rc": True},
        {"stranded": "no"},
        {"method": "magic"},
        {"method": None},
        {"head": None},
        {"head": {"hidden": HUGE, "outputs": 1}},
        {"head": {"hidden": 64, "outputs": HUGE}},
        {"head": {"hidden": -64, "outputs": 1}},
        {"head": {"hidden": "64", "outputs": 1}},
        {"head": {"hidden": 64, "outputs": 1, "pool": "median"}},
        {"trunk": None},
        {"trunk": {"name": 5, "sha256": "0"}},
        {"trunk": {"name": "", "sha256": "0"}},
        {"trunk": {"name": "x" * 5000, "sha256": "0"}},
        {"trunk": {"name": "a\0b", "sha256": "0"}},
        {"trunk": {"name": "a\nb", "sha256": "0", "remote_code": True}},
        {"name": "half of a letter: \ud800"},
        {"class_names": ["\ud800", "x"]},
        {"combine": ["max"]},
        {"length": 10**400},
        {"temperature": 10**400},
        {"head": {"hidden": 64, "outputs": 2, "dense": False, "shape": "round"}},
        {"format_version": "1"},
        {"format_version": None},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_task_with_values_that_cannot_be(changes, task, refused):
    edit(task / "task.json", **changes)
    assert str(refused(task))


@pytest.mark.parametrize(
    "trunk",
    [{"sha256": 5}, {"sha256": None}, {"k": "3"}, {"native": "yes", "k": 4}, {"k": 0}],
    ids=str,
)
def test_a_task_with_a_trunk_that_cannot_be(trunk, task, refused):
    before = json.loads((task / "task.json").read_text())["trunk"]
    edit(task / "task.json", trunk=before | trunk)
    assert str(task) in str(refused(task))


@pytest.mark.parametrize(
    "changes",
    [
        {"r": 0},
        {"r": ...},
        {"lora_alpha": ...},
        {"r": "4"},
        {"r": None},
        {"lora_alpha": "8"},
        {"lora_alpha": NAN},
        {"lora_alpha": [8]},
    ],
    ids=str,
)
def test_an_adapter_with_values_that_cannot_be(changes, task, refused):
    edit(task / "adapter_config.json", **changes)
    assert str(task) in str(refused(task))


@pytest.mark.parametrize(
    "change",
    [lambda t: t[:-1].copy(), lambda t: t[..., None], lambda t: t[:, :3].copy()],
    ids=["short", "deep", "narrow"],
)
@pytest.mark.parametrize("end", ["lora_A.weight", "lora_B.weight"])
def test_an_adapter_of_another_shape(change, end, task, refused):
    change_tensor(task / "adapter_model.safetensors", end, change)
    assert str(task) in str(refused(task))


def test_an_adapter_that_nobody_would_add(task, refused):
    """Not in part, and not by another rule than the one that is computed."""
    path, config = task / "adapter_model.safetensors", task / "adapter_config.json"
    tensors = load_file(path)
    save_file(tensors | {"base_model.model.lora_magnitude": np.zeros(3, "f4")}, path)
    assert str(refused(task)).endswith("'base_model.model.lora_magnitude' is left over")
    save_file({}, path)
    assert str(refused(task)) == f"{path}: holds no adapter"
    save_file(tensors, path)
    edit(config, use_rslora=True)
    assert str(refused(task)).startswith(f"{config}: use_rslora is True; it must be ")


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("regression", {"target_mean": [1.0]}, "classes, target_mean and target_scale"),
        ("multilabel", {"thresholds": [0.5]}, "classes and thresholds"),
        ("binary", {"thresholds": [0.5, 0.9]}, "classes and thresholds"),
        ("multiclass", {"class_names": ["a", "b"]}, "classes, class_names and head.outputs"),
        ("multiclass", {"kind": "per-base"}, "kind and head.per_base"),
    ],
)
def test_values_that_do_not_go_together(kind, changes, message, originals, refused, tmp_path):
    """Each of them would have run: broadcast, or under other names."""
    task = make_task(tmp_path / "task", originals / "model", kind)
    edit(task / "task.json", **changes)
    wanted = f"{task / 'task.json'}: is damaged: {message} do not go together"
    assert str(refused(task)) == wanted


@pytest.mark.parametrize("change", [{"k": 4}, {"kmer_stride": 2}], ids=str)
def test_a_head_of_other_kmers(change, originals, refused, tmp_path):
    task = make_task(tmp_path / "task", originals / "model", "per-base")
    head = json.loads((task / "task.json").read_text())["head"]
    edit(task / "task.json", head=head | change)
    assert "k-mers of trunk and head do not go together" in str(refused(task))


def test_a_head_for_a_trunk_of_another_width(task, refused):
    head = json.loads((task / "task.json").read_text())["head"]
    edit(task / "task.json", head=head | {"hidden": 32})
    change_tensor(task / "head.safetensors", "out.weight", lambda t: t[:, :32].copy())
    assert str(refused(task)) == f"{task / 'task.json'}: head.hidden is 32, the trunk has 64"


@pytest.mark.parametrize(
    "config",
    [
        HeadConfig(8, 3),
        HeadConfig(8, 3, pool="all", dense=False),
        HeadConfig(8, 2, per_base=True, dense=False),
        HeadConfig(8, 3, pool="positions", tokens=9, vocabulary=20, counted=9),
    ],
    ids=lambda config: config.pool,
)
def test_the_sizes_that_are_compared_are_the_heads(config):
    real = {name: tuple(tensor.shape) for name, tensor in Head(config).state_dict().items()}
    assert config.shapes() == real
