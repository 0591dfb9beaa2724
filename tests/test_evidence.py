"""examples/evidence: arms, labelled sets without leakage, the ledger's table."""

import gzip
import importlib
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import random_bases, write_fasta

from dnatk.model.cpus import usable

FOLDER = Path(__file__).parents[1] / "examples" / "evidence"
OWN = ("arms", "places", "labelled_sets", "run", "table", "pretrain", "figures")
BORROWED = ("ledger", "sets", "shift_regions", "evaluate_bits", "ledger_table")
OTHER = str.maketrans("ACGT", "TGCA")


@pytest.fixture
def evidence(monkeypatch):
    """The scripts as modules, under their own names for this test alone."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    for name in (*OWN, *BORROWED):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield type("Evidence", (), {name: importlib.import_module(name) for name in OWN})
    for name in (*OWN, *BORROWED):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> dict[str, str]:
    return {"chrA": random_bases(20_000, 1), "chrB": random_bases(8_000, 2)}


def as_bases(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


# Arms


def options_of(words: list[str]) -> dict:
    """What `dnatk pretrain` makes of a command line."""
    from dnatk.cli.pretrain import command

    # click keeps the help option that it makes here.
    names = ["-h", "--help"]
    own = words[words.index("pretrain") + 1 :]
    return command.make_context("pretrain", own, help_option_names=names).params


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_every_arm_is_a_command_and_differs_in_its_own_options_alone(evidence, scale):
    scale = evidence.arms.SCALES[scale]
    seen = {
        arm: options_of(evidence.arms.command(["dnatk"], scale, arm, 1, "data", "runs"))
        for arm in evidence.arms.names()
    }
    may_differ = {
        "output", "masking", "span", "order", "phases", "mask_ratio", "kmer_stride", "window",
        "start", "max_steps",
    }  # fmt: skip
    for arm, options in seen.items():
        differing = {name for name, value in options.items() if value != seen["rm-fixed"][name]}
        assert differing <= may_differ, arm
        assert options["output"] == f"runs/{arm}-s1"
        assert options["start"] == ("normal" if arm.endswith("-normal") else seen[arm]["start"])
    assert seen["untrained"]["max_steps"] == 1
    assert {name: seen[name]["order"] for name in ("rm-fixed", "wide", "contracting")} == {
        "rm-fixed": "growing", "wide": "fixed", "contracting": "contracting",
    }  # fmt: skip


def test_arms_see_as_many_tokens_in_a_window(evidence):
    for scale in evidence.arms.SCALES.values():
        window = int(scale.options[scale.options.index("--window") + 1])
        assert (scale.longest - 6) // 6 == window - 6


def test_an_unknown_arm_is_named(evidence, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "data", "runs", "--arms", "dnabert,rm"])
    with pytest.raises(SystemExit):
        evidence.pretrain.main()
    assert "no arm rm:" in capsys.readouterr().err


def test_commands_are_printed_for_a_queue(evidence, monkeypatch, capsys):
    argv = ["pretrain.py", "data", "runs", "--arms", "wide", "--seeds", "1,2", "--print",
            "--launcher", "torchrun -m dnatk"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", argv)
    assert evidence.pretrain.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines] == [["torchrun", "-m", "dnatk", "pretrain"]] * 2
    assert "runs/wide-s2" in lines[1]


def test_arms_that_train_beside_each_other_have_logs(evidence, tmp_path, monkeypatch, capfd):
    fails = shlex.join([sys.executable, "-c", "import sys; sys.exit(sys.argv[-1])"])
    argv = ["pretrain.py", "data", str(tmp_path), "--arms", "wide,ratio", "--jobs", "2",
            "--launcher", fails]  # fmt: skip
    monkeypatch.setattr(sys, "argv", argv)
    assert evidence.pretrain.main() == 1
    assert f"error: wide, seed 1: see {tmp_path}/wide-s1.log\n" in capfd.readouterr().err
    threads = (tmp_path / "wide-s1.log").read_text().strip()
    assert int(threads) == max(1, usable() // 2)


# Places


def test_sequences_are_placed_on_either_strand_with_mutations(evidence, genome, tmp_path):
    index = evidence.places.SeedIndex(write_fasta(tmp_path / "g.fa", genome))
    rng = np.random.default_rng(5)
    for number in range(60):
        contig = ("chrA", "chrB")[number % 2]
        start = int(rng.integers(0, len(genome[contig]) - 500))
        text = list(genome[contig][start : start + 500])
        for at in rng.integers(0, 500, size=4):
            text[at] = rng.choice(list("ACGT"))
        text, strand = "".join(text), "+-"[number // 2 % 2]
        if strand == "-":
            text = text.translate(OTHER)[::-1]
        region = index.place(as_bases(text))
        found = (region.contig, region.start, region.end, region.strand)
        assert found == (contig, start, start + 500, strand)


def test_what_is_from_elsewhere_has_no_place(evidence, genome, tmp_path):
    index = evidence.places.SeedIndex(write_fasta(tmp_path / "g.fa", genome))
    for text in (random_bases(500, 77), "N" * 500, "ACGT", ""):
        assert index.place(as_bases(text)) is None


@pytest.mark.parametrize(("shift", "shared"), [(0, True), (99, True), (100, False), (-99, True)])
def test_one_shared_base_is_an_overlap(evidence, genome, tmp_path, shift, shared):
    index = evidence.places.SeedIndex(write_fasta(tmp_path / "g.fa", genome))
    ours = as_bases(genome["chrA"][500:600])
    theirs = as_bases(genome["chrA"][500 + shift : 600 + shift].translate(OTHER)[::-1])
    found_N, unplaced = evidence.places.overlapping(index, [ours], [theirs])
    assert (found_N.tolist(), unplaced) == ([shared], 0)


# Labelled sets


def test_training_windows_that_touch_a_dev_window_are_left_out(evidence, genome, tmp_path):
    (tmp_path / "yeast").mkdir()
    fasta = write_fasta(tmp_path / "plain.fa", genome)
    (tmp_path / "yeast/sacCer3.fa.gz").write_bytes(gzip.compress(fasta.read_bytes()))
    folder = tmp_path / "emp/H4"
    folder.mkdir(parents=True)
    dev = [genome["chrA"][s : s + 200] for s in range(0, 8000, 400)]
    far = [genome["chrB"][s : s + 200] for s in range(0, 8000, 50)]
    touching = [genome["chrA"][s + 199 : s + 399] for s in range(0, 4000, 400)]
    for part, texts in (("train", [*far, *touching, dev[0]]), ("dev", dev)):
        rows = "".join(f"{text},{i % 2}\n" for i, text in enumerate(texts) if len(text) == 200)
        (folder / f"{part}.csv.gz").write_bytes(gzip.compress(f"sequence,label\n{rows}".encode()))
    parts, counts = evidence.labelled_sets.load(tmp_path, "H4")
    assert counts == {"dropped": len(touching) + 1, "unplaced": 0}
    kept = {s.tobytes().decode() for part in ("train", "valid") for s in parts[part].sequences}
    assert kept == {text for text in far if len(text) == 200}
    assert len(parts["dev"]) == len(dev)


# Cells and figures, of models that saw next to nothing


@pytest.fixture(scope="module")
def runs(genome, tmp_path_factory) -> Path:
    from dnatk.training.config import PretrainConfig
    from dnatk.training.pretrain import pretrain

    folder = tmp_path_factory.mktemp("runs")
    inputs = (str(write_fasta(folder / "g.fa", genome)),)
    for arm, masking in (("dnabert", "dnabert"), ("rm-fixed", "random-mask")):
        config = PretrainConfig(
            inputs=inputs, preset="tiny", masking=masking, max_steps=4, batch_tokens=256,
            window=69, save_steps=2, log_steps=1, holdout=("chrB",), precision="fp32",
        )  # fmt: skip
        pretrain(config, folder / f"{arm}-s1", device="cpu")
    return folder


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_cell_is_measured_once_and_arms_that_are_missing_are_named(
    evidence, runs, genome, tmp_path, monkeypatch, capsys, jobs
):
    folder = tmp_path / "emp/H3"
    folder.mkdir(parents=True)
    (tmp_path / "yeast").mkdir()
    plain = write_fasta(tmp_path / "plain.fa", genome)
    (tmp_path / "yeast/sacCer3.fa.gz").write_bytes(gzip.compress(plain.read_bytes()))
    for part, first in (("train", 1000), ("dev", 2000)):
        texts = [random_bases(60, first + i, ("AAAT", "GGGC")[i % 2]) for i in range(100)]
        rows = "".join(f"{text},{i % 2}\n" for i, text in enumerate(texts))
        (folder / f"{part}.csv.gz").write_bytes(gzip.compress(f"sequence,label\n{rows}".encode()))
    argv = ["run.py", tmp_path, runs, "--arms", "dnabert,wide", "--sets", "H3", "--methods",
            "probe", "--seeds", "1", "--ledger", tmp_path / "l.jsonl", "--jobs", jobs]  # fmt: skip
    monkeypatch.setattr(sys, "argv", [str(word) for word in argv])
    for _ in range(2):
        assert evidence.run.main() == 0
        assert capsys.readouterr().err.endswith("not pre-trained: wide-s1\n")
        (cell,) = evidence.run.ledger.read(tmp_path / "l.jsonl")
    assert (cell["model"], cell["set"], cell["n_dev"]) == ("dnabert/probe", "H3", 100)
    assert cell["dev"]["mcc"] == 1


def test_figures_have_a_line_for_each_arm(evidence, runs, genome, tmp_path, monkeypatch):
    fasta = write_fasta(tmp_path / "g.fa", genome)
    argv = ["figures.py", runs, tmp_path / "out", "--genome", fasta, "--contig", "chrB",
            "--windows", "2", "--window", "69", "--bits-windows", "3"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", [str(word) for word in argv])
    (tmp_path / "out").mkdir()
    other = {"2": {"wide": {"kept": "as it is"}}, "1": {"dnabert": {"of": "an older run"}}}
    (tmp_path / "out/evidence.json").write_text(json.dumps(other))
    monkeypatch.setattr(evidence.figures, "draw", lambda measured, _: drawn.update(measured))
    drawn = {}
    assert evidence.figures.main() == 0
    numbers = json.loads((tmp_path / "out/evidence.json").read_text())
    assert numbers["2"] == other["2"]
    assert list(drawn) == ["dnabert", "rm-fixed", "wide"]
    monkeypatch.undo()
    evidence.figures.draw(numbers["1"], tmp_path / "out")
    assert list(numbers["1"]) == ["dnabert", "rm-fixed"]
    for of in numbers["1"].values():
        assert [point["step"] for point in of["checkpoints"]] == [2, 4]
        assert len(of["attention"]["received_effective_tokens"]) == 2
        assert list(of["heldout_bits"]) == ["6", "8", "10", "12", "14"]
    for name in ("loss", "tokens", "attention"):
        assert "<svg" in (tmp_path / f"out/{name}.svg").read_text()


# Table


def row(
    arm: str, name: str, seed: int, mcc: float | None, config: str = "c", method: str = "probe"
) -> dict:
    return {"model": f"{arm}/{method}", "arm": arm, "method": method, "set": name, "seed": seed,
            "config_hash": config, "dev": {"mcc": mcc}}  # fmt: skip


def cells(text: str) -> dict[str, list[str]]:
    """The first cell of each line of a table -> the others."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return {line[0]: line[1:] for line in lines}


def test_the_table_pairs_sets_and_seeds(evidence):
    sets = evidence.labelled_sets.GROUPS["yeast marks"]
    rows = [row("dnabert", name, seed, 0.1 * seed) for name in sets for seed in (1, 2)]
    # Ahead by 10 on the first nine sets, behind by 10 on the last; only seed 2 is shared.
    rows += [row("wide", name, 2, 0.3 if name != sets[-1] else 0.1) for name in sets]
    # The same cell again, with another configuration: it takes the place of the first.
    rows += [row("token", sets[0], 1, 0.9), row("token", sets[0], 1, None, "d")]
    text = evidence.table.markdown(rows, "probe", "dnabert")
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in text.splitlines()}
    title = evidence.arms.title
    assert lines[title("dnabert")][1] == "15.0 ± 7.1 (2)"
    assert lines[title("wide")][1] == "28.0 (1)"
    mean, low_high, ahead = lines[title("wide")][-1].strip(" |").replace("],", "];").partition(" [")
    assert mean == "+8.0"
    # Nine differences of +10 and one of -10: sd 6.32, t(9) 2.262, half-width 4.52.
    assert ahead == "+3.5, +12.5]; 9 of 10"
    assert low_high == " ["
    assert lines[title("token")][1] == "\N{EN DASH}", "a set is missing"


def test_means_are_over_the_sets_of_the_baseline(evidence):
    rows = [row("dnabert", name, 1, 0.1) for name in ("H4", "H3", "tf-0")]
    rows += [row("wide", name, 1, 0.3) for name in ("H3", "H4", "H4ac")]
    lines = cells(evidence.table.markdown(rows, "probe", "dnabert"))
    assert lines["pre-training"][:2] == ["yeast marks: H3, H4", "GUE: tf-0"]
    assert lines[evidence.arms.title("wide")][:2] == ["30.0 (1)", "\N{EN DASH}"]


def test_sets_of_fewer_seeds_have_a_table_of_their_own(evidence):
    rows = [row("dnabert", name, seed, 0.1) for name in ("H3", "H4") for seed in (2, 3)]
    assert list(evidence.table.split(rows, "probe", "dnabert")) == ["probe"]
    rows += [row("dnabert", "H4ac", 2, 0.9), row("wide", "H4ac", 2, 0.9), row("wide", "H3", 2, 0.3)]
    tables = evidence.table.split(rows, "probe", "dnabert")
    found = {
        heading: cells(evidence.table.markdown(own, "probe", "dnabert"))
        for heading, own in tables.items()
    }
    assert list(found) == ["probe, 2 seeds", "probe, seed 2, all sets"]
    first, second = found.values()
    assert first["pre-training"][0] == "yeast marks: H3, H4"
    assert first[evidence.arms.title("dnabert")][0] == "10.0 ± 0.0 (2)"
    assert second["pre-training"][0] == "yeast marks: H3, H4, H4ac"
    assert second[evidence.arms.title("dnabert")][0] == "36.7 (1)"


def test_scores_stand_set_by_set(evidence):
    rows = [row("dnabert", "H4", 1, 0.25), row("wide", "H3", 1, 0.5), row("wide", "H3", 2, 0.6)]
    lines = cells(evidence.table.by_set([*rows, row("wide", "H4", 1, 0.9, method="full")], "probe"))
    assert lines == {
        "set": ["dnabert", "wide"],
        "---": ["---:", "---:"],
        "H3": ["\N{EN DASH}", "55.0 ± 7.1"],
        "H4": ["25.0", "\N{EN DASH}"],
    }


def test_strides_are_compared_where_both_were_tuned(evidence):
    both = {"H3": (0.5, 0.6), "H4": (0.5, 0.8), "tf-0": (0.5, 0.7)}
    # The first of a pair is of the tokens the arm was pre-trained on.
    rows = [
        row(arm, name, 1, mcc, method=method)
        for arm in ("dnabert", "stride")
        for name, pair in both.items()
        for method, mcc in zip(("full", "full-other"), pair, strict=True)
    ]
    rows += [row("dnabert", "tf-2", 1, 0.1, method="full"), row("wide", "H3", 1, 0, method="full")]
    lines = cells(evidence.table.strides(rows))
    title = evidence.arms.title
    # Differences of 10, 20 and 30: sd 10, t(2) 4.303, half-width 24.8.
    assert lines.pop(title("dnabert")) == [
        "H3, H4, tf-0", "50.0 (1)", "70.0 (1)", "+20.0 [-4.8, +44.8], 3 of 3",
    ]  # fmt: skip
    assert lines.pop(title("stride")) == [
        "H3, H4, tf-0", "70.0 (1)", "50.0 (1)", "-20.0 [-44.8, +4.8], 0 of 3",
    ]  # fmt: skip
    assert len(lines) == 2, "the third was tuned on one kind alone"


def test_the_other_tokens_are_those_the_arm_was_not_pre_trained_on(evidence, runs):
    other = {
        arm: evidence.run.configuration(arm, "full-other", "H3", runs / "dnabert-s1")["kmer_stride"]
        for arm in ("dnabert", "stride", "stride-normal")
    }
    assert other == {"dnabert": "k", "stride": "1", "stride-normal": "1"}


def test_the_numbers_of_the_figures_are_tables(evidence):
    def arm(curve, bits, received):
        r2 = {"central": 0.126, "marginal": 0.02, "additive": 0.5, "offsets": [0.1] * 6}
        last = {"step": 4, "tokens": 9, "r2": r2, "silhouette": 0.4}
        return {"curve": curve, "heldout_bits": bits, "checkpoints": [{}, last],
                "attention": {"received_effective_tokens": received}}  # fmt: skip

    def bits(model):
        return {"model": model, "unread": 0.1, "markov": 1.9, "uniform": 2.0}

    wide = arm([[1, 12.0], [2, 11.0]], {"6": bits(2.5), "14": bits(7.777)}, [3.2])
    other = arm([[1, 12.0]], {"6": bits(2.7), "14": bits(7.777)}, [1.0])
    token = arm([[1, 12.0]], {"6": bits(5.5), "14": bits(9.0)}, [1.0])
    measured = {
        "1": {"stride": arm([[1, 12.0]], {}, [9.6, 8.4]), "wide": wide},
        "2": {"wide": other, "token": token},
    }
    title = evidence.arms.title
    lines = cells(evidence.table.heldout(measured))
    assert lines["pre-training"] == ["m = 6", "m = 14", "seeds"]
    assert lines[title("wide")] == ["2.60 ± 0.14 (0.10)", "7.78 ± 0.00 (0.10)", "2"]
    assert lines[title("token")] == ["5.50 (0.10)", "9.00 (0.10)", "1"]
    assert lines["order-5 Markov chain"] == ["1.90", "1.90", "\N{EN DASH}"]
    assert title("stride") not in lines, "it has other tokens"
    lines = cells(evidence.table.inside(measured))
    assert lines[title("stride")] == ["0.13", "0.02", "0.50", "0.40", "10", "8"]
    assert lines[title("wide")][-2:] == ["3", "\N{EN DASH}"], "of the first seed"


def test_the_ledger_that_is_published_holds_whole_cells(evidence):
    path = FOLDER / "ledger.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows
    keys = [(r["model"], r["set"], r["seed"], r["config_hash"]) for r in rows]
    assert len(set(keys)) == len(keys)
    for each in rows:
        assert each["arm"] in evidence.arms.names()
        assert each["set"] in evidence.labelled_sets.LOADERS
        assert min(each["n_train"], each["n_valid"], each["n_dev"]) > 0


def test_the_page_has_the_tables_of_the_ledger(evidence):
    rows = evidence.table.ledger.read(FOLDER / "ledger.jsonl")
    docs = FOLDER.parents[1] / "docs"
    measured = json.loads((docs / "evidence" / "evidence.json").read_text())
    page = (docs / "evidence.md").read_text()
    fresh = evidence.table.ledger.put_into(page, evidence.table.report(rows, "dnabert", measured))
    assert page == fresh, "run `just docs`"
