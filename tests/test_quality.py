"""examples/quality: the ledger and its table, on generated sets."""

import gzip
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import random_bases

FOLDER = Path(__file__).parents[1] / "examples" / "quality"
MODULES = ("sets", "ledger", "kmer", "cnn", "trunk", "run", "table")
QUICK = {"epochs": 3, "max_steps": 60}


@pytest.fixture
def quality(monkeypatch):
    """The scripts as modules, under their own names for this test alone."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    modules = {name: importlib.import_module(name) for name in MODULES}
    yield type("Quality", (), modules)
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def gue(tmp_path) -> Path:
    """mouse-2 and core-tata: positives hold TATAAAA; two test sequences stand in train."""
    for name, compress in (("prom/prom_core_tata", False), ("mouse/2", True)):
        folder = tmp_path / "gue" / name
        folder.mkdir(parents=True)
        parts = {}
        for number, (part, size) in enumerate((("train", 200), ("dev", 40), ("test", 40))):
            rows = []
            for i in range(size):
                bases = random_bases(60, 1000 * number + i)
                if i % 2:
                    bases = bases[:20] + "TATAAAA" * 2 + bases[34:]
                rows.append((bases, i % 2))
            parts[part] = rows
        other = {"A": "T", "C": "G", "G": "C", "T": "A"}
        parts["test"][0] = parts["train"][0]
        bases, label = parts["train"][1]
        parts["test"][1] = ("".join(other[base] for base in reversed(bases)), label)
        for part, rows in parts.items():
            text = "sequence,label\n" + "".join(f"{bases},{label}\n" for bases, label in rows)
            if compress:
                (folder / f"{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
            else:
                (folder / f"{part}.csv").write_text(text)
    return tmp_path


def run(quality, gue: Path, *more: str) -> tuple[int, list[dict]]:
    path = gue / "ledger.jsonl"
    arguments = [str(gue), "--sets", "core-tata,mouse-2", "--ledger", str(path), *more]
    code = quality.run.main(arguments)
    return code, quality.ledger.read(path)


def test_a_cell_is_scored_recorded_and_not_run_again(quality, gue, monkeypatch):
    code, rows = run(quality, gue, "--models", "kmer", "--predictions", str(gue / "kept"))
    assert code == 0
    assert [(r["model"], r["set"], r["seed"]) for r in rows] == [
        ("kmer", "core-tata", 1),
        ("kmer", "mouse-2", 1),
    ]
    row = rows[0]
    assert (row["n_train"], row["n_dev"], row["n_test"], row["n_leaked"]) == (200, 40, 40, 2)
    assert row["test"]["mcc"] > 0.8
    assert row["config_hash"] == quality.ledger.config_hash(row["config"])
    assert row["trunk_sha256"] is None
    kept = np.load(gue / "kept" / f"kmer_core-tata_1_{row['config_hash']}.npz")
    parts = quality.sets.load(gue, "core-tata")
    assert quality.ledger.rounded(parts["test"], kept["test_NC"]) == row["test"]
    leaked = quality.sets.leaked(parts["train"], parts["test"])
    assert np.flatnonzero(leaked).tolist() == [0, 1]
    unleaked = quality.ledger.rounded(parts["test"].take(~leaked), kept["test_NC"][~leaked])
    assert unleaked == row["test_unleaked"]
    monkeypatch.setattr(quality.kmer, "train_and_predict", None)
    assert run(quality, gue, "--models", "kmer")[1] == rows


def test_another_configuration_is_another_cell(quality, gue, monkeypatch):
    run(quality, gue, "--models", "kmer")
    config = quality.kmer.configuration("kmer", "mouse-2") | {"k": [3]}
    monkeypatch.setattr(quality.kmer, "configuration", lambda *_: config)
    rows = run(quality, gue, "--models", "kmer")[1]
    assert len(rows) == 4
    found = quality.table.latest(rows, "test")
    assert found["kmer", "mouse-2"] == {1: pytest.approx(100 * rows[3]["test"]["mcc"])}


def test_the_network_learns_and_repeats_itself(quality, gue, monkeypatch):
    made = quality.cnn.configuration
    monkeypatch.setattr(quality.cnn, "configuration", lambda *a: made(*a) | QUICK)
    code, rows = run(quality, gue, "--models", "cnn", "--seeds", "1,2")
    assert code == 0
    assert [(r["set"], r["seed"]) for r in rows] == [
        ("core-tata", 1),
        ("mouse-2", 1),
        ("core-tata", 2),
        ("mouse-2", 2),
    ]
    parts = quality.sets.load(gue, "mouse-2")
    again = [quality.cnn.train_and_predict(*parts.values(), 1, rows[1]["config"]) for _ in range(2)]
    np.testing.assert_array_equal(again[0][1], again[1][1])
    assert quality.ledger.rounded(parts["test"], again[0][1]) == rows[1]["test"]
    assert rows[1]["test"] != rows[3]["test"]


def test_the_network_averages_strands(quality):
    import torch

    config = quality.cnn.configuration("cnn", "tf-0")
    torch.manual_seed(0)
    net = quality.cnn.network(config, 2)
    sequences = [np.frombuffer(random_bases(50, i).encode(), dtype=np.uint8) for i in range(3)]
    from dnatk.kmers import reverse_complement

    other = [reverse_complement(sequence) for sequence in sequences]
    np.testing.assert_allclose(
        quality.cnn.probabilities(net, sequences, rc=True),
        quality.cnn.probabilities(net, other, rc=True),
        rtol=1e-5,
    )
    for name in ("tf-0", "core-all"):
        net = quality.cnn.network(quality.cnn.configuration("cnn", name), 2)
        assert 80_000 < sum(p.numel() for p in net.parameters()) < 100_000


def test_seeds_come_first_and_seedless_models_once(quality):
    planned = list(quality.run.cells(["kmer", "cnn"], ["tf-0", "tf-1"], [1, 2]))
    assert [(c.seed, c.model, c.set) for c in planned] == [
        (1, "kmer", "tf-0"),
        (1, "kmer", "tf-1"),
        (1, "cnn", "tf-0"),
        (1, "cnn", "tf-1"),
        (2, "cnn", "tf-0"),
        (2, "cnn", "tf-1"),
    ]


def test_time_and_interrupts_leave_whole_cells(quality, gue, monkeypatch, capsys):
    assert run(quality, gue, "--models", "kmer", "--hours", "-1") == (0, [])
    calls = []
    trained = quality.kmer.train_and_predict

    def second_is_stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return trained(*arguments)

    monkeypatch.setattr(quality.kmer, "train_and_predict", second_is_stopped)
    code, rows = run(quality, gue, "--models", "kmer")
    assert (code, len(rows)) == (130, 1)
    assert "the cell in work is dropped" in capsys.readouterr().err


def test_what_is_wrong_is_said(quality, gue, capsys):
    assert run(quality, gue, "--models", "kmer", "--sets", "tf-0") == (1, [])
    assert "tf/0/train.csv: no such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        quality.run.main([str(gue), "--models", "bert"])
    assert "no bert: known are kmer, cnn" in capsys.readouterr().err
    broken = gue / "broken.jsonl"
    broken.write_text('{"model": "kmer"')
    assert quality.table.main([str(broken)]) == 1
    assert "broken.jsonl:1: is no cell of a ledger" in capsys.readouterr().err


@pytest.mark.slow
def test_trunk_cells_keep_their_tasks_and_take_them_again(quality, gue, tiny_model, monkeypatch):
    monkeypatch.setattr(quality.trunk, "TRUNK", str(tiny_model))
    monkeypatch.setattr(quality.trunk, "STEPS", {"core-tata": 4, "mouse-2": 4})
    kept = gue / "tasks"
    models = ("--models", "scratch,lora,probe", "--seeds", "1", "--tasks", str(kept))
    code, rows = run(quality, gue, *models)
    assert (code, len(rows)) == (0, 6)
    names = {path.name for path in kept.iterdir()}
    assert {"prom-prom_core_tata-lora-1", "mouse-2-scratch-1"} <= names
    assert len({row["trunk_sha256"] for row in rows}) == 1

    def no_training(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("dnatk.training.finetune.finetune", no_training)
    (gue / "ledger.jsonl").unlink()
    code, again = run(quality, gue, *models)
    assert [row["test"] for row in again] == [row["test"] for row in rows]


def test_the_table_shows_what_there_is_and_no_more(quality, tmp_path, capsys):
    rows = []
    for number, name in enumerate(quality.sets.SETS):
        for seed in (1, 2):
            mcc = 0.5 + number / 100 + seed / 500
            rows.append(row("cnn", name, seed, "aaa", mcc))
    rows.append(row("lora", "tf-1", 1, "old", 0.9))
    rows.append(row("lora", "tf-1", 2, "new", 0.7))
    rows.append(row("full", "tf-1", 1, "x", None))
    path = tmp_path / "ledger.jsonl"
    for each in rows:
        quality.ledger.append(path, each)
    assert quality.table.main([str(path)]) == 0
    text = capsys.readouterr().out
    lines = {line.split(" | ")[0].strip("| "): line for line in text.split("\n\n")[1].splitlines()}
    header = lines["model"].strip("| ").split(" | ")

    def cells(title: str) -> dict[str, str]:
        return dict(zip(header, lines[title].strip("| ").split(" | "), strict=True))

    cnn = cells("CNN from one-hot")
    assert cnn["core-all"] == "50.3 ± 0.1 (2)"
    assert cnn["mean"] == "54.3 ± 0.1 (2)"
    dash = "\N{EN DASH}"
    lora = cells("trunk, LoRA")
    assert (lora["tf-1"], lora["tf-2"], lora["mean"]) == ("70.0 (1)", dash, dash)
    assert set(cells("trunk, full fine-tuning").values()) == {"trunk, full fine-tuning", dash}
    assert cells("DNABERT 6-mer, published")["mean"] == "65.7"
    assert cells("DNABERT-2, published")["mean"] == "70.4"
    assert "(core-all 3 of 10" in text
    assert text.count("published") == 2


def row(model: str, name: str, seed: int, digest: str, mcc: float | None) -> dict:
    scores = {"mcc": mcc}
    return {
        "model": model, "set": name, "seed": seed, "config_hash": digest, "n_test": 10,
        "n_leaked": 3 if name == "core-all" else 0, "test": scores, "test_unleaked": scores,
    }  # fmt: skip


def test_the_committed_ledger_is_sound(quality):
    """Every line is whole, no cell stands twice, and hashes are those of the configurations."""
    rows = quality.ledger.read(FOLDER / "ledger.jsonl")
    keys = [quality.ledger.key(row) for row in rows]
    assert len(keys) == len(set(keys))
    for each in rows:
        assert each["config_hash"] == quality.ledger.config_hash(each["config"])
        assert each["set"] in quality.sets.SETS
        assert each["model"] in quality.run.MODULES
        json.dumps(each, allow_nan=False)


def test_the_page_shows_the_committed_ledger(quality):
    page = (FOLDER.parents[1] / "docs" / "quality.md").read_text()
    tables = quality.table.report(quality.ledger.read(FOLDER / "ledger.jsonl"))
    assert quality.ledger.put_into(page, tables) == page, "run `just docs`"
