"""``dnatk tasks`` and what ``--task`` means: where tasks lie, what they need, what breaks them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_model, make_task, random_bases, write_fasta

from dnatk.errors import ModelError
from dnatk.tasks.places import BUNDLED, known_tasks, user_tasks
from dnatk.tasks.registry import find_task

EXACT = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(autouse=True)
def home(clean_home, monkeypatch, tmp_path) -> Path:
    """The user's own tasks; none come with dnatk."""
    monkeypatch.setattr("dnatk.tasks.places.BUNDLED", tmp_path / "bundled")
    return clean_home / "data/dnatk/tasks"


@pytest.fixture
def fasta(tmp_path) -> Path:
    return write_fasta(tmp_path / "s.fa", {"a": random_bases(60, 1), "b": random_bases(90, 2)})


def error_of(result, code: int = 1) -> str:
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("dnatk: error: ")
    assert result.err.count("\n") == 1, result.err
    assert "bug in dnatk" not in result.err
    return result.err.removeprefix("dnatk: error: ").rstrip("\n")


# Names


def test_a_task_is_found_by_name_or_directory(home, tiny_model, tmp_path, run, fasta):
    assert user_tasks() == home
    assert user_tasks({}) == Path.home() / ".local/share/dnatk/tasks"
    own = make_task(home / "mine", tiny_model)
    away = make_task(tmp_path / "elsewhere", tiny_model, seed=1)
    assert known_tasks() == {"mine": own}
    assert find_task("mine").directory == own
    assert find_task(away).directory == away
    by_name, by_path = (run("predict", fasta, "--task", t, *EXACT).out for t in ("mine", own))
    assert by_name.splitlines()[-1] == by_path.splitlines()[-1]


def test_a_users_task_goes_before_a_bundled_one_and_a_directory_before_both(
    home, tiny_model, tmp_path, monkeypatch
):
    bundled = make_task(tmp_path / "bundled" / "promoter", tiny_model)
    assert find_task("promoter").directory == bundled
    own = make_task(home / "promoter", tiny_model)
    assert find_task("promoter").directory == own
    monkeypatch.chdir(tmp_path)
    (tmp_path / "promoter").mkdir()
    assert find_task("promoter").directory == own, "a directory of that name that is no task"
    make_task(tmp_path / "x" / "promoter", tiny_model)
    monkeypatch.chdir(tmp_path / "x")
    assert find_task("promoter").directory == Path("promoter")


def test_an_unknown_name_shows_those_there_are(home, tiny_model, run, fasta):
    missing = run("predict", fasta, "--task", "promotor")
    assert (
        error_of(missing) == "no task 'promotor' (give a directory, or one of: none is installed)"
    )
    for name in ("promoter", "splice-site"):
        make_task(home / name, tiny_model)
    for command in (("predict", fasta, "--task", "promotor"), ("tasks", "show", "promotor")):
        assert error_of(run(*command)) == "no task 'promotor' (did you mean 'promoter'?)"
    assert error_of(run("evaluate", "xyz", fasta)) == (
        "no task 'xyz' (give a directory, or one of: promoter, splice-site)"
    )


# The list


def test_tasks_are_listed(home, tiny_model, tmp_path, run):
    result = run("tasks")
    assert result.code == 0
    assert result.out.split() == ["name", "kind", "length", "measured", "origin", "description"]
    make_task(home / "own", tiny_model, description="What I made", length=70)
    metrics = {"dev": {"mcc": {"value": 0.1}}, "test": {"mcc": {"value": 0.75}}}
    make_task(tmp_path / "bundled" / "b", tiny_model, "multiclass", metrics=metrics)
    rows = [line.split("  ") for line in run("tasks").out.splitlines()[1:]]
    cells = [[cell.strip() for cell in row if cell] for row in rows]
    assert cells == [
        ["b", "multiclass", "60 bp", "test mcc 0.750", "bundled"],
        ["own", "binary", "70 bp", "dev mcc 0.500", "yours", "What I made"],
    ]
    facts = json.loads(run("tasks", "--json").out)
    assert [fact["name"] for fact in facts] == ["b", "own"]
    assert facts[0]["classes"] == ["a", "b", "c"]
    assert facts[0]["metrics"]["test"]["mcc"]["value"] == 0.75
    assert facts[1]["directory"] == str(home / "own")


@pytest.mark.parametrize("gone", [{"details": {}}, {"metrics": {}}, {"details": {"config": 1}}])
def test_a_task_that_does_not_say_how_good_it_is_is_listed(home, tiny_model, run, gone):
    make_task(home / "own", tiny_model, **gone)
    assert run("tasks").out.splitlines()[1].split() == ["own", "binary", "60", "bp", "-", "yours"]
    assert json.loads(run("tasks", "--json").out)[0]["name"] == "own"


def test_the_list_is_json_whatever_was_measured(home, tiny_model, run):
    nan = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    make_task(home / "own", tiny_model, metrics={"dev": {"mcc": nan}})
    assert run("tasks").code == 0

    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    facts = json.loads(run("tasks", "--json").out, parse_constant=refuse)
    assert facts[0]["metrics"]["dev"]["mcc"] == {"value": None, "low": None, "high": None}


def test_undefined_metrics_are_null_in_the_file_and_nan_in_memory(tmp_path, tiny_model):
    metrics = {"dev": {"mcc": {"value": float("nan"), "low": 0.5}}}
    details = {"seeds": {"1": {"dev": {"mcc": float("nan")}}}, "config": {"revision": None}}
    task = make_task(tmp_path / "task", tiny_model, metrics=metrics, details=details)
    written = json.loads((task / "task.json").read_text(), parse_constant=pytest.fail)
    assert written["metrics"] == {"dev": {"mcc": {"value": None, "low": 0.5}}}
    found = find_task(task)
    assert np.isnan(found.metrics["dev"]["mcc"]["value"])
    assert found.metrics["dev"]["mcc"]["low"] == 0.5
    assert np.isnan(found.details["seeds"]["1"]["dev"]["mcc"])
    assert found.details["config"] == {"revision": None}


def test_the_digest_is_of_what_scales_an_adapter_too(tmp_path, tiny_model):
    task = make_task(tmp_path / "task", tiny_model, method="lora")
    before = find_task(task).sha256()
    path = task / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "lora_alpha": 2 * config["lora_alpha"]}))
    assert find_task(task).sha256() != before


def test_a_damaged_task_does_not_hide_the_others(home, tiny_model, run):
    make_task(home / "good", tiny_model)
    bad = make_task(home / "bad", tiny_model)
    (bad / "task.json").write_text('{"format": "dnatk-task", "format_version": 1')
    result = run("tasks")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == ["name", "good"]
    assert result.err.startswith(f"dnatk: {bad / 'task.json'}: cannot be read: ")
    assert [fact["name"] for fact in json.loads(run("tasks", "--json").out)] == ["good"]


def test_show_prints_the_card_and_where_it_lies(home, trained, tiny_model, run):
    directory = trained("binary")
    out = run("tasks", "show", directory).out
    assert out == f"{(directory / 'README.md').read_text().rstrip()}\n\nIn {directory}\n"
    make_task(home / "bare", tiny_model)
    assert run("tasks", "show", "bare").out == f"# bare\n\nIn {home / 'bare'}\n"


# Export


@pytest.mark.parametrize("method", ["lora", "probe", "full"])
def test_an_exported_task_needs_nothing_else(method, tmp_path, run, fasta, trained):
    """Its trunk hidden, the copy runs in a new process and says the same."""
    model = make_model(tmp_path / "trunk")
    if method == "full":
        task = trained("binary", "full")
    else:
        task = make_task(tmp_path / "task", model, method=method)
    options = ["--no-provenance", *EXACT]
    wanted = run("predict", fasta, "--task", task, *options).out
    copy = tmp_path / "copy"
    result = run("tasks", "export", task, copy)
    assert (result.code, result.out) == (0, ""), result.err
    assert result.err == f"task and model in {copy}\n"
    shutil.rmtree(model)
    if method != "full":
        assert error_of(run("predict", fasta, "--task", task, *EXACT)).startswith(
            f"no model '{model}'"
        )
    moved = tmp_path / "moved"
    copy.rename(moved)
    if method == "lora":  # one new process will do
        command = [sys.executable, "-m", "dnatk", "predict", fasta, "--task", moved, *options]
        done = subprocess.run(
            [str(each) for each in command], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, wanted), done.stderr
    assert run("predict", fasta, "--task", moved, *options).out == wanted
    again = run("tasks", "export", moved, tmp_path / "again")
    assert again.code == 0, again.err
    assert run("predict", fasta, "--task", tmp_path / "again", *options).out == wanted


def test_export_is_whole_or_not_at_all(tiny_model, tmp_path, run):
    task = make_task(tmp_path / "task", tiny_model)
    copy = tmp_path / "copy"
    copy.mkdir()
    before = sorted(tmp_path.iterdir())
    assert error_of(run("tasks", "export", task, copy)) == (
        f"{copy}: exists already (--force replaces it)"
    )
    assert error_of(run("tasks", "export", task, copy, "--force")) == (
        f"{copy}: has no task.json, so it is not replaced"
    )
    (task / "head.safetensors").unlink()
    new = tmp_path / "new"
    assert error_of(run("tasks", "export", task, new)) == f"{task}: has no head.safetensors"
    assert sorted(tmp_path.iterdir()) == before


def test_export_replaces_a_task_by_force(tiny_model, tmp_path, run):
    task = make_task(tmp_path / "task", tiny_model)
    copy = make_task(tmp_path / "copy", tiny_model, seed=1)
    (copy / "stale").touch()
    assert run("tasks", "export", task, copy, "--force").code == 0
    assert not (copy / "stale").exists()
    assert (copy / "trunk" / "model.safetensors").exists()


def test_a_task_that_may_only_be_read_is_exported_to_one_that_may_be_changed(
    tiny_model, tmp_path, run
):
    task = make_task(tmp_path / "task", tiny_model)
    (task / "plots").mkdir()
    for path in (task / "plots", *task.iterdir(), task):
        path.chmod(0o555 if path.is_dir() else 0o444)
    result = run("tasks", "export", task, tmp_path / "copy")
    assert result.code == 0, result.err
    for path in (tmp_path / "copy", *(tmp_path / "copy").rglob("*")):
        assert path.stat().st_mode & 0o600 == 0o600, path


def test_a_task_is_not_exported_into_itself(tiny_model, tmp_path, run):
    task = make_task(tmp_path / "task", tiny_model)
    inner = task / "deep" / "inner"
    assert error_of(run("tasks", "export", task, inner)) == (
        f"{inner}: is in the task itself (export it elsewhere)"
    )
    assert error_of(run("tasks", "export", task, task, "--force")) == (
        f"{task}: is in the task itself (export it elsewhere)"
    )
    assert not (task / "deep").exists()
    below = make_task(task / "below", tiny_model)
    assert error_of(run("tasks", "export", below, task, "--force")) == (
        f"{task}: holds what is read ({below}), so it is not replaced"
    )
    assert (task / "task.json").exists()


# What breaks a task


def predicted(run, fasta, task) -> str:
    return error_of(run("predict", fasta, "--task", task, *EXACT))


def edited(task: Path, **changes) -> Path:
    content = json.loads((task / "task.json").read_text())
    (task / "task.json").write_text(json.dumps(content | changes))
    return task


def test_a_trunk_with_other_weights_is_refused(tmp_path, run, fasta):
    model = make_model(tmp_path / "trunk")
    task = make_task(tmp_path / "task", model)
    make_model(model, seed=1)
    message = predicted(run, fasta, task)
    assert message.startswith(f"{task}: was trained on other weights of '{model}' (sha256 ")
    assert message.endswith("(point it at the model that it was trained on)")


def test_a_trunk_with_another_vocabulary_is_refused(tmp_path, run, fasta):
    model = make_model(tmp_path / "trunk")
    task = make_task(tmp_path / "task", model)
    shutil.rmtree(model)
    make_model(model, k=5)
    message = predicted(run, fasta, task)
    assert message == f"{task}: was trained on 6-mers, '{model}' has 5-mers"


@pytest.mark.parametrize("stride", [0, 3])
def test_a_tasks_kmers_overlap_wholly_or_not_at_all(tmp_path, run, fasta, stride):
    task = make_task(tmp_path / "task", make_model(tmp_path / "trunk"))
    trunk = json.loads((task / "task.json").read_text())["trunk"]
    message = predicted(run, fasta, edited(task, trunk=trunk | {"kmer_stride": stride}))
    assert message.startswith(f"{task / 'task.json'}: is damaged: trunk.native, trunk.k and ")


def test_a_trunk_that_is_gone_is_told(tmp_path, run, fasta):
    model = make_model(tmp_path / "trunk")
    task = make_task(tmp_path / "task", model)
    shutil.rmtree(model)
    assert predicted(run, fasta, task).startswith(f"no model '{model}' (give a directory, or one")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("head.safetensors", "task"),
        ("adapter_model.safetensors", "task"),
        ("model.safetensors", "trunk"),
    ],
)
@pytest.mark.parametrize("keep", [0, 100, -50])
def test_a_file_cut_short_is_told(name, where, keep, tmp_path, run, fasta):
    model = make_model(tmp_path / "trunk")
    path = tmp_path / where / name
    if where == "trunk":
        path.write_bytes(path.read_bytes()[:keep])
    task = make_task(tmp_path / "task", model)
    if where == "task":
        path.write_bytes(path.read_bytes()[:keep])
    message = predicted(run, fasta, task)
    assert message.startswith(f"{path}: cannot be read: ")
    assert "cut short?" in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("head.safetensors", "{task}: has no head.safetensors"),
        ("adapter_model.safetensors", "{task}: has no adapter_model.safetensors"),
        ("adapter_config.json", "{task}: has no adapter_config.json"),
        ("task.json", "{task}: is no task: it has no task.json (was its training interrupted? "
         "run dnatk finetune again)"),
    ],
)  # fmt: skip
def test_a_file_that_is_missing_is_told(name, message, tiny_model, tmp_path, run, fasta):
    task = make_task(tmp_path / "task", tiny_model)
    (task / name).unlink()
    assert predicted(run, fasta, task) == message.format(task=task)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read: "),
        ('{"format": "dnatk-task", "form', "cannot be read: "),
        ("[]", "is no task file of dnatk"),
        ('{"format": "dnatk-model"}', "is no task file of dnatk"),
        ('{"format": "dnatk-task"}', "is damaged: 'trunk'"),
        ('{"format": "dnatk-task", "format_version": 1}', "is damaged: "),
        ('{"format": "dnatk-task", "format_version": 99}', "was written by a newer dnatk (update"),
    ],
)
def test_a_task_file_that_is_none(text, message, tmp_path, run, fasta):
    (tmp_path / "task").mkdir()
    path = tmp_path / "task" / "task.json"
    path.write_text(text)
    assert predicted(run, fasta, tmp_path / "task").startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "binary", "classes": ["a", "b", "c"]},
        {"kind": "quaternary"},
        {"head": {"hidden": 64}},
        {"head": {"hidden": 64, "outputs": 2, "shape": "round"}},
        {"trunk": {"name": "x"}},
        {"trunk": "x"},
        {"classes": None},
        {"length": "long"},
        {"length": 0},
        {"temperature": None},
        {"thresholds": ["high"]},
        {"class_names": ["only one"]},
    ],
    ids=lambda changes: "-".join(f"{k}={v}" for k, v in changes.items())[:40],
)
def test_a_task_file_with_wrong_values_is_told(changes, tiny_model, tmp_path, run, fasta):
    task = edited(make_task(tmp_path / "task", tiny_model), **changes)
    assert str(task) in predicted(run, fasta, task)


def test_a_head_of_another_size_is_told(tiny_model, tmp_path, run, fasta):
    task = make_task(tmp_path / "task", tiny_model)
    other = make_task(tmp_path / "other", tiny_model, "multiclass")
    shutil.copy(other / "head.safetensors", task)
    assert predicted(run, fasta, task).startswith(f"{task}/head.safetensors: does not fit ")


def test_an_interrupted_training_is_no_task(tiny_model, tmp_path, run, fasta):
    """What a SIGKILL leaves: a hidden directory, which nobody takes for a task."""
    staging = tmp_path / ".task.123.partial" / "seed-42"
    staging.mkdir(parents=True)
    (staging / "metrics.jsonl").touch()
    for directory in (staging, staging.parent):
        assert "is no task: it has no task.json" in predicted(run, fasta, directory)


def test_the_digest_follows_all_that_decides(tiny_model, tmp_path):
    one = find_task(make_task(tmp_path / "a" / "t", tiny_model))
    same = find_task(make_task(tmp_path / "b" / "t", tiny_model))
    assert one.sha256() == same.sha256()
    for name, changes in (("c", {"seed": 1}), ("d", {"temperature": 2.0}), ("e", {"length": 61})):
        assert find_task(make_task(tmp_path / name / "t", tiny_model, **changes)).sha256() != (
            one.sha256()
        )


# What comes with dnatk


@pytest.mark.skipif(not list(BUNDLED.glob("*/task.json")), reason="no bundled task is installed")
def test_bundled_tasks_are_small_and_whole(monkeypatch):
    monkeypatch.setattr("dnatk.tasks.places.BUNDLED", BUNDLED)
    from dnatk.tasks.scorer import load_scorer

    size = sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file())
    assert size < 25 * 2**20
    for name, directory in known_tasks().items():
        task = find_task(name)
        load_scorer(task, device="cpu", precision="fp32")
        assert task.name == name
        assert (directory / "README.md").exists()
        assert task.metrics["test"]


def test_the_library_raises_what_the_command_says():
    with pytest.raises(ModelError, match="no task 'x'"):
        find_task("x")
