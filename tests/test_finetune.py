"""``dnatk finetune``: from labelled files to a task directory, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import (
    CLASSES,
    QUICK,
    SAVE_PLOT,
    files,
    label_options,
    labelled_rows,
    no_plot,
    without_pace,
    write_fasta,
    write_labelled,
)
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState

import dnatk
from dnatk.errors import InputError
from dnatk.training.finetune_config import FinetuneConfig
from dnatk.training.metrics import metrics_of
from dnatk.training.task_trainer import KeepBest

EXACT = ("--device", "cpu", "--precision", "fp32")

pytestmark = pytest.mark.usefixtures("clean_home")


@pytest.fixture(autouse=True)
def without_plots(monkeypatch):
    """They take longer than everything else; the tasks of ``trained`` have them."""
    monkeypatch.setattr(SAVE_PLOT, no_plot)


@pytest.fixture
def finetune(run, tmp_path, tiny_model):
    """``finetune(arguments)``: the run's Result, its task directory as ``.task`` if it wrote one.

    A probe on the CPU in fp32 unless told otherwise.
    """

    def call(*args, code=0, out="task", method="probe"):
        out = tmp_path / out
        options = ["-o", out, "--model", tiny_model, "--method", method, *EXACT]
        options += QUICK if method != "probe" else ()
        result = run("finetune", *options, *args)
        assert result.code == code, result.err
        assert result.out == "", "stdout belongs to results"
        assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []
        if code:
            assert not out.exists()
        else:
            result.task = json.loads((out / "task.json").read_text())
            result.directory = out
        return result

    return call


def error_of(result) -> str:
    """The one line of an error, without what the data check said before it."""
    last = result.err.splitlines()[-1]
    assert last.startswith("dnatk: error: "), result.err
    assert "Traceback" not in result.err
    assert "bug in dnatk" not in result.err
    return last.removeprefix("dnatk: error: ")


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """All that training made."""
    return {
        f"{path.name}:{name}": tensor
        for path in sorted(directory.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def log_of(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


# What is written


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_every_kind_of_labels_is_learnt(kind, trained):
    task = json.loads((trained(kind) / "task.json").read_text())
    assert (task["kind"], tuple(task["classes"])) == (kind, CLASSES[kind])
    assert (task["method"], task["length"]) == ("lora", 60)
    test = {name: each["value"] for name, each in task["metrics"]["test"].items()}
    assert list(test) == list(metrics_of(kind))
    least = {"mcc": 0.5, "auroc": 0.7, "pearson": 0.7}
    metric = task["details"]["config"]["metric"]
    assert test[metric] > least[metric]
    for each in task["metrics"]["test"].values():
        assert each["low"] <= each["value"] <= each["high"]


@pytest.mark.parametrize("method", ["lora", "full", "probe"])
def test_a_task_directory_holds_what_it_needs(method, trained, tiny_model):
    directory = trained("binary", method)
    task = json.loads((directory / "task.json").read_text())
    found = {path.name for path in directory.iterdir()}
    own = {
        "lora": {"adapter_config.json", "adapter_model.safetensors"},
        "full": {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json",
                 "tokenizer_config.json", "dnatk.json"},
        "probe": set(),
    }  # fmt: skip
    always = {"task.json", "head.safetensors", "README.md", "config.toml", "report.html"}
    plots = {path for path in found if path.endswith(".png")}
    log = set() if method == "probe" else {"metrics.jsonl"}
    assert found - plots == always | own[method] | log
    if method == "lora":
        assert {"roc.png", "pr.png", "calibration.png", "confusion.png", "learning_curve.png"} <= (
            plots
        )
    assert task["trunk"]["name"] == str(tiny_model)
    umask = os.umask(0)
    os.umask(umask)
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, f"{path.name}: others cannot read it"


def test_a_full_task_is_a_model_directory_of_its_own(trained, run, tmp_path):
    write_fasta(tmp_path / "s.fa", {"a": "ACGT" * 20})
    out = tmp_path / "o.h5"
    directory = trained("binary", "full")
    assert run("embed", tmp_path / "s.fa", "--model", directory, "-o", out, *EXACT).code == 0


def test_the_card_tells_what_the_task_is(trained, tables):
    card = (trained("binary") / "README.md").read_text()
    assert card.startswith("# binary-lora\n")
    assert "- labels: binary, 0, 1" in card
    assert "- windows of 60 bases, regions by `--fit tile`" in card
    assert re.search(r"temperature \d+\.\d{3}", card)
    for metric in metrics_of("binary"):
        assert re.search(rf"\| {metric} \| [\d.]+ \| [\d.]+ \([\d.]+ to [\d.]+\) \|", card)
    for part, n in (("train", 60), ("dev", 24), ("test", 30)):
        assert f"| {part} | binary.{part}.csv | {n} | 0: {n // 2}, 1: {n // 2} | `" in card
    for name in re.findall(r"\]\((\w+\.png)\)", card):
        assert (trained("binary") / name).stat().st_size > 1000
    assert str(tables) not in card, "the card travels; paths of this machine do not"


def test_checksums_of_the_data_are_kept(trained, tables):
    import hashlib

    data = json.loads((trained("binary") / "task.json").read_text())["details"]["data"]
    for part in ("train", "dev", "test"):
        content = (tables / f"binary.{part}.csv").read_bytes()
        assert data[part]["sha256"] == hashlib.sha256(content).hexdigest()


def test_stderr_shows_the_check_and_the_metrics(finetune, tables):
    result = finetune(*files(tables, "binary"))
    lines = result.err.splitlines()
    assert lines[0].split()[:2] == ["split", "n"]
    assert [line.split()[0] for line in lines[1:4]] == ["train", "dev", "test"]
    assert "on test:" in lines
    assert re.fullmatch(r"task in .*: 60 training sequences", without_pace(lines[-1]))
    assert re.search(r"^mcc +\d\.\d{4}  ", result.err, re.MULTILINE)


def test_quiet_says_nothing(run, tables, tmp_path, tiny_model):
    result = run(
        "-q", "finetune", *files(tables, "binary"), "-o", tmp_path / "t", "--model", tiny_model,
        "--method", "probe", *EXACT,
    )  # fmt: skip
    assert (result.code, result.out, result.err) == (0, "", "")


# Where data come from


def test_what_is_not_given_is_split_off(finetune, tables, tmp_path):
    data = write_labelled(tmp_path / "all.csv", "binary", 100, 3)
    result = finetune(data)
    counts = {name: each["examples"] for name, each in result.task["details"]["data"].items()}
    assert counts == {"train": 80, "dev": 10, "test": 10}
    result = finetune(data, "--test-share", 0, "--dev-share", 0.3, out="no-test")
    counts = {name: each["examples"] for name, each in result.task["details"]["data"].items()}
    assert counts == {"train": 70, "dev": 30}
    assert list(result.task["metrics"]) == ["dev"]
    assert "low" in result.task["metrics"]["dev"]["mcc"]
    result = finetune(data, "--dev", tables / "binary.dev.csv", out="dev-given")
    counts = {name: each["examples"] for name, each in result.task["details"]["data"].items()}
    assert counts == {"train": 90, "dev": 24, "test": 10}


def test_fasta_with_labels_in_its_headers(finetune, tmp_path):
    rows = labelled_rows("multiclass", 100, 4)
    fasta = tmp_path / "s.fa"
    fasta.write_text("".join(f">s{i} label={y}\n{s}\n" for i, (s, y) in enumerate(rows)))
    assert finetune(fasta).task["classes"] == ["a", "b", "c"]
    fasta.write_text("".join(f">s{i}|x|{y}\n{s}\n" for i, (s, y) in enumerate(rows)))
    assert finetune(fasta, out="bar").task["classes"] == ["a", "b", "c"]
    fasta.write_text("".join(f">s{i} tissue={y}\n{s}\n" for i, (s, y) in enumerate(rows)))
    assert finetune(fasta, "--header-label", "tissue", out="key").task["kind"] == "multiclass"
    fasta.write_text("".join(f">s{i}\n{s}\n" for i, (s, _) in enumerate(rows)))
    side = tmp_path / "labels.tsv"
    side.write_text("name\tlabel\n" + "".join(f"s{i}\t{y}\n" for i, (_, y) in enumerate(rows)))
    assert finetune(fasta, "--labels-from", side, out="side").task["classes"] == ["a", "b", "c"]


@pytest.fixture(scope="module")
def islands(tmp_path_factory):
    """(genome, BED): five AT-rich contigs, and islands of GGC in them on both strands."""
    rng = np.random.default_rng(6)
    directory = tmp_path_factory.mktemp("islands")
    sequences, lines = {}, []
    for contig in ("chr1", "chr2", "chr3", "chr4", "chr5"):
        bases = rng.choice(list("AATTATGC"), 6000)
        for i in range(12):
            start = 500 * i + 200
            bases[start : start + 60] = list(("GGC" if i % 2 else "GCC") * 20)
            lines.append(f"{contig}\t{start}\t{start + 60}\tr{i}\t0\t{'-+'[i % 2]}\n")
        sequences[contig] = "".join(bases)
    bed = directory / "islands.bed"
    bed.write_text("".join(lines))
    return write_fasta(directory / "islands.fa", sequences), bed


@pytest.mark.parametrize("negatives", ["gc", "dinucleotide", "random"])
def test_a_bed_of_positives_draws_its_negatives(negatives, finetune, islands):
    genome, bed = islands
    result = finetune(
        bed, "--genome", genome, "--negatives", negatives, "--test-contig", "chr2",
        "--dev-contig", "chr4", "--negative-ratio", "2",
    )  # fmt: skip
    assert result.task["classes"] == ["negative", "positive"]
    data = result.task["details"]["data"]
    assert data["test"]["classes"]["positive"] == data["dev"]["classes"]["positive"] == 12
    assert data["train"]["classes"]["positive"] == 36
    assert sum(each["classes"]["negative"] for each in data.values()) == 120


def test_a_task_from_a_bed_predicts_on_a_bed(finetune, islands, run, tmp_path):
    """Contigs chosen by the seed; what comes out separates what went in."""
    genome, bed = islands
    directory = finetune(bed, "--genome", genome, "--negatives", "random").directory
    sea = tmp_path / "sea.bed"
    sea.write_text(
        "".join(f"chr{c}\t{500 * i}\t{500 * i + 60}\n" for c in (1, 2) for i in range(12))
    )

    def scores(regions):
        result = run(
            "predict", regions, "--task", directory, "--genome", genome, "--no-provenance",
            "--no-header", *EXACT,
        )  # fmt: skip
        assert result.code == 0, result.err
        return [float(line.split("\t")[-2]) for line in result.out.splitlines()]

    assert np.mean(scores(bed)) > np.mean(scores(sea)) + 0.5


def test_strict_stops_at_a_flaw_and_drop_leaks_mends_it(finetune, tables, tmp_path):
    leaky = tmp_path / "leaky.csv"
    test = (tables / "binary.test.csv").read_text().splitlines()
    leaky.write_text((tables / "binary.train.csv").read_text() + "\n".join(test[1:4]) + "\n")
    args = [leaky, *files(tables, "binary")[1:]]
    result = finetune(*args)
    assert "check: test: 3 of 30 sequences stand in train too" in result.err
    measured = result.task["metrics"]
    assert set(measured) == {"dev", "test", "test_unleaked"}
    assert measured["test"] != measured["test_unleaked"]
    assert "test_unleaked leaves out" in (result.directory / "README.md").read_text()
    result = finetune(*args, "--strict", code=1, out="strict")
    assert error_of(result).startswith(f"{leaky}: the data check found ")
    result = finetune(*args, "--drop-leaks", out="dropped")
    assert "3 training sequence(s) that stand in dev or test dropped" in result.err
    assert result.task["details"]["data"]["train"]["examples"] == 60
    assert set(result.task["metrics"]) == {"dev", "test"}


def test_strict_is_content_with_leaks_that_are_dropped(finetune, tmp_path):
    """Its own hint says --drop-leaks."""
    rows = [",".join(row) for row in labelled_rows("binary", 60, 0)]
    train, dev, test = rows[:40], rows[40:50], [*rows[50:], rows[0], rows[1]]
    for name, part in (("train", train), ("dev", dev), ("test", test)):
        (tmp_path / f"{name}.csv").write_text("\n".join(["sequence,label", *part]) + "\n")
    args = [tmp_path / "train.csv", "--dev", tmp_path / "dev.csv", "--test", tmp_path / "test.csv"]
    finetune(*args, "--strict", code=1)
    assert (
        finetune(*args, "--strict", "--drop-leaks").task["details"]["data"]["train"]["examples"]
        == 38
    )


# How it is trained


def test_the_same_seed_gives_the_same_weights(finetune, tables):
    args = [*files(tables, "binary"), "--rc-augment", "--max-steps", "4"]
    one, same = (finetune(*args, out=name, method="lora").directory for name in ("a", "b"))
    other = finetune(*args, "--seed", "7", out="c", method="lora").directory
    first, second, third = map(weights, (one, same, other))
    assert first.keys() == second.keys() == third.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], third[name]) for name in first if "lora_A" in name)


def test_seeds_tell_mean_and_sd_and_keep_the_best_on_dev(finetune, tables):
    result = finetune(*files(tables, "binary"), "--seeds", "2", method="full")
    seeds = result.task["details"]["seeds"]
    assert list(seeds) == ["42", "43"]
    dev = [each["dev"]["mcc"] for each in seeds.values()]
    kept = result.task["details"]["seed"]
    assert dev[kept - 42] == max(dev)
    test = [each["test"]["mcc"] for each in seeds.values()]
    assert result.task["metrics"]["test"]["mcc"]["value"] == test[kept - 42]
    mean, sd = np.mean(test), np.std(test, ddof=1)
    assert f"seed {kept} is kept; test mcc over 2 seeds {mean:.4f} ± {sd:.4f}" in result.err
    card = (result.directory / "README.md").read_text()
    assert f"| {mean:.4f} ± {sd:.4f} |" in card
    assert not [path for path in result.directory.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    "options",
    [
        ("--class-weights", "balanced"),
        ("--rc-augment",),
        ("--layer-decay", "0.5"),
        ("--pool", "all"),
        ("--rc", "average"),
        ("--metric", "nll"),
    ],
)
def test_options_of_training_work_and_change_something(options, finetune, tables, trained):
    result = finetune(*files(tables, "multiclass"), *options, method="lora")
    plain = trained("multiclass")
    key = options[0].lstrip("-").replace("-", "_")
    value = {"rc_augment": True, "layer_decay": 0.5}.get(key, options[-1])
    assert result.task["details"]["config"].get(key, result.task.get(key)) == value
    mine, others = weights(result.directory), weights(plain)
    differ = [name for name in mine if not torch.equal(mine[name], others[name])]
    assert bool(differ) == (options[0] != "--rc")


def test_seeds_of_a_metric_that_is_undefined(finetune, tables, tmp_path):
    """A test set of one class has no MCC; the task is made all the same."""
    test = tmp_path / "one.csv"
    rows = (tables / "binary.test.csv").read_text().splitlines()
    test.write_text("\n".join([rows[0], *(row for row in rows[1:] if row.endswith(",1"))]) + "\n")
    train, dev = tables / "binary.train.csv", tables / "binary.dev.csv"
    result = finetune(train, "--dev", dev, "--test", test, "--seeds", "2", method="lora")
    assert "test mcc over 2 seeds undefined" in result.err
    assert "undefined" in (result.directory / "README.md").read_text()
    assert "undefined" in (result.directory / "report.html").read_text()


@pytest.mark.parametrize(
    ("examples", "options", "steps"),
    [
        (33, {}, 8),
        (8, {}, 4),
        (64, {}, 8),
        (65, {"epochs": 0.5}, 2),
        (33, {"max_steps": 3}, 3),
        (33, {"max_steps": 30}, 8),
    ],
)
def test_so_many_passes_are_so_many_steps(examples, options, steps):
    assert FinetuneConfig(**options).steps(examples) == steps


def test_a_step_is_shared_evenly():
    assert FinetuneConfig(batch_size=32).rows(4) == 8
    with pytest.raises(InputError, match=r"3 processes cannot share 32 .* \(--batch-size 33\)"):
        FinetuneConfig(batch_size=32).rows(3)


def test_a_few_examples_are_learnt_from(finetune, tmp_path):
    """The only step of a training is none of a learning rate of 0."""
    data = write(tmp_path / "data.csv", *GOOD[:8])
    dev = write(tmp_path / "dev.csv", *GOOD)
    args = (data, "--dev", dev, "--test", dev, "--batch-size", "32", "--max-steps", "1")
    result = finetune(*args, method="lora")
    other = finetune(*args, "--lr", "0.02", method="lora", out="other")
    one, two = weights(result.directory), weights(other.directory)
    assert any(not torch.equal(one[name], two[name]) for name in one)


class Looks:
    """What a training does to a callback that looks at dev."""

    def __init__(self, patience: int) -> None:
        self.best = KeepBest("mcc", patience)
        self.model = torch.nn.Linear(1, 1)

    def at(self, step: int, mcc: float, nll: float) -> bool:
        """Whether the training stops after this look."""
        control = TrainerControl()
        with torch.no_grad():
            self.model.weight.fill_(step)
        self.best.on_evaluate(
            None, TrainerState(global_step=step), control,
            metrics={"eval_mcc": mcc, "eval_nll": nll}, model=self.model,
        )  # fmt: skip
        return control.should_training_stop


def test_a_surer_look_is_a_better_one_for_patience_too():
    looks = Looks(patience=2)
    assert not any(looks.at(step, 0.9, 1 / step) for step in range(1, 9))
    assert [looks.at(9, 0.9, 0.5), looks.at(10, 0.8, 0.01)] == [False, True]
    looks.best.restore(looks.model)
    assert (looks.best.step, looks.model.weight.item()) == (8, 8)


def test_what_starts_from_a_probe_may_fall_below_it_for_a_while():
    looks = Looks(patience=2)
    seen = [looks.at(step, mcc, 1) for step, mcc in enumerate((0.6, 0.1, 0.3, 0.5, 0.4, 0.4))]
    assert seen == [False] * 5 + [True]
    looks.best.restore(looks.model)
    assert (looks.best.step, looks.model.weight.item()) == (0, 0)


def test_training_stops_early_and_keeps_the_best(finetune, tables):
    result = finetune(
        *files(tables, "binary"), "--max-steps", "40", "--patience", "2", "--lr", "0.02",
        method="lora",
    )  # fmt: skip
    log = log_of(result.directory)
    looks = [row for row in log if row["part"] == "dev"]
    assert len(looks) < 20
    best = max(range(len(looks)), key=lambda i: looks[i]["mcc"])
    assert len(looks) == best + 1 + 2
    # The written weights are those of the best look: half precision moves little.
    assert result.task["metrics"]["dev"]["mcc"]["value"] == pytest.approx(
        looks[best]["mcc"], abs=0.1
    )


def test_the_learning_rate_falls_to_nothing_and_losses_are_logged(trained):
    train = [row for row in log_of(trained("regression")) if row["part"] == "train"]
    assert [row["step"] for row in train] == list(range(1, 13))
    rates = [row["learning_rate"] for row in train]
    assert max(rates) == pytest.approx(0.01)
    assert rates[-1] < 0.002
    assert np.mean([row["loss"] for row in train[-3:]]) < train[0]["loss"]


def test_class_names_are_shown_in_the_order_of_the_labels(finetune, tables):
    task = finetune(*files(tables, "multiclass"), "--class-names", "none, low,high").task
    assert task["class_names"] == ["none", "low", "high"]
    assert task["classes"] == ["a", "b", "c"]
    result = finetune(*files(tables, "multiclass"), "--class-names", "x,y", code=1, out="few")
    assert error_of(result) == "2 class names for 3 classes (in the order of a, b, c)"


def test_the_positive_class_may_be_named(finetune, tables):
    assert finetune(*files(tables, "binary"), "--positive", "0").task["classes"] == ["1", "0"]


# A run that collapses


@pytest.fixture
def collapsing(monkeypatch):
    """``collapsing(n)``: the first n runs predict class 1 for everything."""
    from dnatk.training.fitting import Fitting

    whole, runs = Fitting._logits, []

    def call(n: int) -> list:
        def logits(self, task, name):
            if name == "dev":
                runs.append(task.directory.name)
            out = whole(self, task, name)
            return np.tile(np.float32([-1, 1]), (len(out), 1)) if len(runs) <= n else out

        monkeypatch.setattr(Fitting, "_logits", logits)
        return runs

    return call


def test_a_collapsed_run_is_started_again_with_another_seed(collapsing, finetune, tables):
    runs = collapsing(1)
    result = finetune(*files(tables, "binary"), method="lora")
    assert runs == ["seed-42", "seed-1042"]
    assert "dnatk: seed 42 collapsed: the model predicts class '1' for every dev" in result.err
    assert result.task["details"]["seed"] == 1042


def test_a_run_that_always_collapses_fails_and_leaves_nothing(collapsing, finetune, tables):
    runs = collapsing(99)
    result = finetune(*files(tables, "binary"), "--max-steps", "2", method="full", code=1)
    assert len(runs) == 3
    assert error_of(result).startswith(
        "the model predicts class '1' for every dev sequence, with 3"
    )


def test_a_model_that_learns_nothing_collapses_by_itself(finetune, tables):
    """A learning rate that moves nothing: the head's random weights decide for one class."""
    result = finetune(
        *files(tables, "binary"), "--max-steps", "1", "--lr", "1e-9", method="full", code=1
    )
    assert "for every dev sequence, with 3 seed(s)" in error_of(result)


def test_rare_positives_are_no_collapse_where_a_threshold_is_chosen(finetune, tmp_path):
    """Every one below one half, and in the right order: as a good model of few positives is."""
    table = tmp_path / "rare.csv"
    rows = [row for row in labelled_rows("binary", 900, 4) if row[1] == "0"]
    rare = [row for row in labelled_rows("binary", 90, 5) if row[1] == "1"]
    lines = [f"{sequence},{label}\n" for sequence, label in [*rows, *rare[:40]]]
    table.write_text("sequence,label\n" + "".join(lines))
    few = ("--max-steps", "1", "--lr", "1e-9", "--metric", "auroc")
    result = finetune(table, *few, "--threshold", "mcc", method="full")
    assert "collapsed" not in result.err
    assert result.task["metrics"]["dev"]["mcc"]["value"] >= 0


def test_bases_that_are_all_one_class_collapse_in_a_dev_of_few_sequences(
    collapsing, finetune, tmp_path
):
    collapsing(99)
    paths = [
        write_labelled(tmp_path / f"{name}.csv", "per-base", n, n)
        for name, n in (("train", 40), ("dev", 4))
    ]
    result = finetune(
        paths[0], "--dev", paths[1], "--kind", "per-base", "--max-steps", "2", method="full", code=1
    )
    assert "for every dev base, with 3 seed(s)" in error_of(result)


# Runs that are stopped


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_stopped_run_leaves_nothing(number, code, finetune, tables, monkeypatch, tmp_path):
    from dnatk.training.task_trainer import History

    def stop(self, args, state, control, **_):
        if state.global_step == 3:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(History, "on_step_end", stop)
    before = set(tmp_path.iterdir())
    finetune(*files(tables, "binary"), method="lora", code=code)
    assert set(tmp_path.iterdir()) == before


def test_a_loss_that_is_no_number_stops(finetune, tables):
    result = finetune(
        *files(tables, "binary"), "--lr", "1e30", "--layer-decay", "1", method="full", code=1
    )
    assert error_of(result) == (
        "the model gives no finite numbers after step 2 (start again with a lower --lr)"
    )


def test_a_loss_that_is_not_finite_stops_before_the_weights(finetune, tables, monkeypatch):
    from dnatk.training.task_model import TaskModel

    whole, calls = TaskModel._loss, []

    def loss(self, *args):
        calls.append(1)
        return whole(self, *args) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(TaskModel, "_loss", loss)
    result = finetune(
        *files(tables, "regression"), *label_options("regression"), method="lora", code=1
    )
    assert error_of(result) == "the loss is nan at step 3 (start again with a lower --lr)"


# The output


def test_force_replaces_a_task_and_nothing_else(finetune, tables, tmp_path, run, tiny_model):
    args = ("finetune", *files(tables, "binary"), "--model", tiny_model, "--method", "probe")
    first = finetune(*files(tables, "binary")).directory
    before = (first / "task.json").read_bytes()
    result = run(*args, "-o", first, *EXACT)
    assert (result.code, error_of(result)) == (1, f"{first}: exists already (--force replaces it)")
    assert (first / "task.json").read_bytes() == before
    (first / "stale.txt").write_text("x")
    assert run(*args, "-o", first, "--force", "--pool", "max", *EXACT).code == 0
    assert not (first / "stale.txt").exists()
    own = first / "train.csv"
    own.write_bytes((tables / "binary.train.csv").read_bytes())
    result = run("finetune", own, "-o", first, "--force", *EXACT)
    assert error_of(result) == f"{first}: holds what is read ({own}), so it is not replaced"
    own.unlink()
    for name, make in (("dir", Path.mkdir), ("file", Path.touch)):
        other = tmp_path / name
        make(other)
        result = run(*args, "-o", other, "--force", *EXACT)
        assert (result.code, error_of(result)) == (
            1,
            f"{other}: has no task.json, so it is not replaced",
        )


def test_a_failing_run_leaves_the_task_that_is_there(finetune, tables, run, tiny_model, tmp_path):
    first = finetune(*files(tables, "binary")).directory
    before = weights(first)
    bad = tmp_path / "bad.csv"
    bad.write_text("sequence,label\nACGTACGT,1\n" + "N" * 20 + ",0\n")
    result = run(
        "finetune", bad, "--dev", bad, "--test", bad, "-o", first, "--force",
        "--model", tiny_model, *EXACT,
    )  # fmt: skip
    assert result.code == 1
    after = weights(first)
    assert all(torch.equal(before[name], after[name]) for name in before)


# Data that cannot be used


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["sequence,label", *rows]) + "\n")
    return path


GOOD = [",".join(row) for row in labelled_rows("binary", 40, 1)]
BAD = {
    "no label": (["ACGTACGTAA,"], "{data}:42: no label in 'label' (fill it in or remove the row)"),
    "one class": (None, "{data}: every label is '1' (training needs two classes at least)"),
    "not a number": (["ACGTACGTAA,tall"], "{data}:42: 'tall' in 'label' is no number"),
    "all n": (["N" * 60 + ",1"], "{data}:42: no token free of N in this sequence of 60 bases"),
    "too long": (["ACGT" * 150 + ",1"], "{data}:42: a sequence of 600 bases is 597 tokens"),
    "too short": (["ACGTA,1"], "{data}:42: no token free of N in this sequence of 5 bases"),
    "not dna": (["ACGTACGTEFG,1"], "{data}:42: 'E' (letter 9 of the sequence) is no nucleotide"),
    "fields": (["ACGTACGT,1,2"], "{data}:42: 3 field(s) where the header has 2"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_data_are_told_in_one_line(case, finetune, tmp_path):
    more, message = BAD[case]
    rows = [row for row in GOOD if row.endswith(",1")] if more is None else [*GOOD, *more]
    data = write(tmp_path / "data.csv", *rows)
    options = ("--kind", "regression") if case == "not a number" else ()
    # Of the whole file: nothing is split off it.
    dev = write(tmp_path / "dev.csv", *GOOD)
    before = set(tmp_path.iterdir())
    result = finetune(data, "--dev", dev, "--test", dev, *options, code=1, out="deep/er/task")
    assert error_of(result).startswith(message.format(data=data))
    assert set(tmp_path.iterdir()) == before, "not even an empty directory"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--dev", "{none}"), 1, "{none}: "),
        (("--label-column", "class"), 1, "no column 'class' among: sequence, label"),
        (("--split", "chromosome"), 1, "has no coordinates to split by chromosome"),
        (("--dev-share", "0.6", "--test-share", "0.6"), 1, "leave nothing to train on"),
        (("--dev-share", "0"), 1, "there is no dev set"),
        (("--metric", "pearson"), 1, "no metric 'pearson' for binary labels (one of accuracy"),
        (("--model", "dnatk-smal"), 1, "no model 'dnatk-smal'"),
        (("--model", "a" * 300), 1, "no model 'aaa"),
        (("--model", "{empty}"), 1, "{empty}: has no config.json"),
        (("--fit", "tss:-250,+50"), 1, "the fit 'tss:-250,+50' is 300 bases, the task reads 60"),
        (("--length", "9999"), 1, "a task length of 9999 bases is more than the model takes"),
        (("--lr", "0"), 2, "0.0 is not in the range x>0"),
        (("--epochs", "inf"), 2, "inf is no number to count with"),
        (("--seed", "5000000000"), 2, "is not in the range"),
        (("--method", "probe", "--epochs", "3", "--seeds", "2"), 2, "--epochs, --seeds: a probe"),
        (("--kind", "regression", "--class-weights", "balanced"), 1, "have no classes to weigh"),
        (("--kind", "regression", "--threshold", "mcc"), 1, "regression labels have no threshold"),
        (("--method", "full", "--lora-r", "8"), 2, "--lora-r: --method full trains all weights"),
        (("--kind", "binary", "--positive", "5"), 1, "no label '5': they are 0, 1"),
        (("--kind", "per-base"), 1, "1 label(s) for 60 bases"),
    ],
)
def test_options_that_do_not_fit_are_told(options, code, message, finetune, tmp_path):
    data, empty = write(tmp_path / "data.csv", *GOOD), tmp_path / "empty"
    empty.mkdir()
    places = {"none": tmp_path / "none.csv", "empty": empty}
    result = finetune(data, *(each.format(**places) for each in options), code=code)
    if code == 1:
        assert message.format(**places) in error_of(result)
    else:
        assert message in result.err


@pytest.mark.parametrize("option", [("--pool", "max"), ("--token-counts",)])
def test_nothing_is_pooled_or_counted_of_single_bases(option, finetune, tables):
    data = tables / "per-base.train.csv"
    result = finetune(data, "--kind", "per-base", *option, method="lora", code=1)
    assert "labels of single bases are told by their own tokens" in error_of(result)


def test_too_few_examples_to_split(finetune, tmp_path):
    data = write(tmp_path / "data.csv", *GOOD[:4])
    assert "split is empty" in error_of(finetune(data, code=1))
    header = tmp_path / "header.csv"
    header.write_text("sequence,label\n")
    assert "has no rows" in error_of(finetune(header, code=1))


def test_a_dev_set_of_one_class_measures_nothing_and_is_refused(finetune, tables, tmp_path):
    """mcc would be undefined at every look, and training would keep its first weights."""
    dev = write(tmp_path / "dev.csv", *(row for row in GOOD if row.endswith(",1")))
    train = tables / "binary.train.csv"
    result = finetune(train, "--dev", dev, "--test-share", 0, method="lora", code=1)
    assert error_of(result) == (
        f"{dev}: all examples are 1: mcc, auroc and auprc are undefined "
        "(dev chooses by mcc: give another dev set, or another --metric)"
    )
    finetune(train, "--dev", dev, "--test-share", 0, "--metric", "nll", method="probe")


def test_an_unknown_class_in_a_dev_file_names_its_line(finetune, tables, tmp_path):
    dev = write(tmp_path / "dev.csv", "ACGTACGT,1", "ACGGACGT,2")
    result = finetune(tables / "binary.train.csv", "--dev", dev, code=1)
    assert error_of(result) == f"{dev}:3: unknown class '2' (known: 0, 1)"


def test_bases_of_a_bed_need_a_genome(finetune, islands):
    assert "name its genome: --genome" in error_of(finetune(islands[1], code=2))


# The model


def damaged(tiny_model: Path, path: Path) -> Path:
    import shutil

    shutil.copytree(tiny_model, path)
    return path


def test_a_model_cut_short_is_told(finetune, tables, tiny_model, tmp_path):
    model = damaged(tiny_model, tmp_path / "model")
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[:-5000])
    result = finetune(*files(tables, "binary"), "--model", model, method="lora", code=1)
    message = error_of(result)
    assert message.startswith(f"{model}/model.safetensors: cannot be read: ")
    assert message.endswith("(is the file cut short?)")


def test_a_model_that_lacks_weights_is_told(finetune, tables, tiny_model, tmp_path):
    """transformers would leave them random and only report it."""
    from safetensors.torch import save_file

    model = damaged(tiny_model, tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layer.1.output.dense.weight"))
    del tensors[name]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    result = finetune(*files(tables, "binary"), "--model", model, method="full", code=1)
    assert "has no tensor 'encoder.layer.1.output.dense.weight'" in error_of(result)


def test_a_trunk_is_remembered_by_its_whole_path(finetune, tables, tiny_model, monkeypatch):
    monkeypatch.chdir(tiny_model.parent)
    result = finetune(*files(tables, "binary"), "--model", tiny_model.name)
    assert result.task["trunk"]["name"] == str(tiny_model)


@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_several_columns_are_named(kind, trained):
    task = json.loads((trained(kind) / "task.json").read_text())
    assert tuple(task["class_names"]) == CLASSES[kind] == tuple(label_options(kind)[3::2])


# Overlapping k-mers or not, whatever the trunk was pre-trained with


@pytest.mark.parametrize("method", ["probe", "lora", "full"])
def test_a_trunk_is_tuned_on_kmers_that_do_not_overlap(method, finetune, tables, run):
    result = finetune(*files(tables, "binary"), "--kmer-stride", "k", method=method)
    assert result.task["trunk"]["kmer_stride"] == 6
    scored = run("evaluate", result.directory, tables / "binary.test.csv", "--json", *EXACT)
    assert scored.code == 0, scored.err
    known = {name: each["value"] for name, each in result.task["metrics"]["test"].items()}
    for name, each in json.loads(scored.out)["metrics"].items():
        assert each["value"] == pytest.approx(known[name], abs=1e-6)


def test_a_stride_of_the_trunks_own_changes_nothing(finetune, tables):
    first = finetune(*files(tables, "binary"), out="own")
    second = finetune(*files(tables, "binary"), "--kmer-stride", "1", out="same")
    assert weights(first.directory).keys() == weights(second.directory).keys()
    for name, tensor in weights(first.directory).items():
        assert torch.equal(tensor, weights(second.directory)[name])


def test_other_strides_are_no_strides(finetune, tables):
    finetune(*files(tables, "binary"), "--kmer-stride", "3", code=2)


# A head that begins as a probe


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("kind", ["binary", "multilabel", "regression"])
def test_training_may_start_from_the_probe(method, kind, finetune, tables):
    """With a rate that moves nothing the task is the probe itself."""
    data = (*files(tables, kind), *label_options(kind))
    probe = finetune(*data, out="probe").task
    options = ("--head-start", "probe", "--lr", "1e-12")
    still = finetune(*data, *options, method=method, out="still")
    assert still.task["metrics"]["test"].keys() == probe["metrics"]["test"].keys()
    for name, each in still.task["metrics"]["test"].items():
        assert each["value"] == pytest.approx(probe["metrics"]["test"][name]["value"], abs=1e-3)
    looks = [row for row in log_of(still.directory) if row["part"] == "dev"]
    assert looks[0]["step"] == 0, "the probe itself may be the best"
    losses = [row["loss"] for row in log_of(still.directory) if row["part"] == "train"]
    if kind != "regression":
        assert max(losses) < 3 * looks[0]["nll"], "the probe trains as it was fitted: no dropout"
    moved = finetune(*data, "--head-start", "probe", method=method, out="moved")
    metric = moved.task["details"]["config"]["metric"]
    best = max(row[metric] for row in log_of(moved.directory) if row["part"] == "dev")
    assert moved.task["metrics"]["dev"][metric]["value"] == pytest.approx(best, abs=1e-3)
    assert best >= looks[0][metric] - 1e-3


def test_labels_of_single_bases_have_no_probe_to_start_from(finetune, tables):
    data = (*files(tables, "per-base"), *label_options("per-base"))
    result = finetune(*data, "--head-start", "probe", method="lora", code=1)
    assert "no probe to start from (--head-start random)" in error_of(result)


def test_memory_that_does_not_suffice_is_told_with_what_helps(
    run, tables, tiny_model, tmp_path, monkeypatch
):
    def train(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("dnatk.training.fitting.TaskTrainer.train", train)
    task = tmp_path / "task"
    done = run("finetune", *files(tables, "binary"), "-o", task, "--model", tiny_model, *QUICK)
    assert done.code == 1
    assert "error: cpu is out of memory (a smaller --batch-size, or --length)" in done.err
    assert not task.exists()


def test_from_python_too_the_fit_is_that_of_the_training(tables, tiny_model, tmp_path):
    config = dnatk.FinetuneConfig(model=str(tiny_model), method="probe", precision="fp32")

    def fit(name: str, length: int, asked: str = "") -> str:
        options = dnatk.ReadOptions(length=length)
        sets = dnatk.split_set(dnatk.read_labelled(tables / "binary.train.csv", options))
        choices = dnatk.TaskChoices(fit=asked)
        return dnatk.finetune(config, sets, tmp_path / name, choices=choices, device="cpu").fit

    assert (fit("whole", 0), fit("cut", 40), fit("told", 40, "tile")) == ("tile", "center", "tile")


def test_a_model_on_this_disk_has_no_commits(finetune, tables, tmp_path):
    result = finetune(tables / "binary.train.csv", "--revision", "abc", code=1)
    assert "lies on this disk, a hub's model has commits" in error_of(result)


def test_each_process_measures_on_its_own_gpu(tables, tmp_path, tiny_model, monkeypatch):
    asked = []

    def stop(*arguments):
        asked.append(arguments[5])
        raise KeyboardInterrupt

    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("dnatk.training.finetune.Fitting", stop)
    sets = dnatk.split_set(dnatk.read_labelled(tables / "binary.train.csv"))
    with pytest.raises(KeyboardInterrupt):
        dnatk.finetune(FinetuneConfig(model=str(tiny_model)), sets, tmp_path / "task")
    assert asked == ["cuda:1"]


def test_sets_of_other_classes_are_refused(tables, tmp_path):
    train = dnatk.read_labelled(tables / "binary.train.csv")
    for name, positive in (("binary.dev.csv", "0"), ("multiclass.dev.csv", "")):
        other = dnatk.read_labelled(tables / name, dnatk.ReadOptions(positive=positive))
        with pytest.raises(InputError, match=r"where the training data have binary \(0, 1\)"):
            dnatk.finetune(FinetuneConfig(), {"train": train, "dev": other}, tmp_path / "task")
