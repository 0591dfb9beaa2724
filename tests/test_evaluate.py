"""``dnatk evaluate``: its numbers are those of the training, and scikit-learn's."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import (
    CLASSES,
    SAVE_PLOT,
    files,
    label_options,
    no_plot,
    random_bases,
    without_pace,
    write_fasta,
    write_labelled,
)
from sklearn import metrics

import dnatk
from dnatk.labelled.read import ReadOptions
from dnatk.tasks.registry import find_task

EXACT = ("--device", "cpu", "--precision", "fp32")

pytestmark = pytest.mark.usefixtures("clean_home")


@pytest.fixture(autouse=True)
def without_plots(monkeypatch):
    monkeypatch.setattr(SAVE_PLOT, no_plot)


@pytest.fixture
def evaluated(run, tables):
    """``evaluated(task, kind)``: the JSON of dnatk evaluate on the test table of a kind."""

    def call(task, kind="binary", *options, data=None) -> dict:
        data = data or tables / f"{kind}.test.csv"
        result = run("evaluate", task, data, "--json", *EXACT, *label_columns(kind), *options)
        assert result.code == 0, result.err
        return json.loads(result.out)

    return call


def label_columns(kind: str) -> list[str]:
    return label_options(kind)[2:]


def read(path) -> list[dict]:
    with open(path) as handle:
        return list(csv.DictReader(handle))


def measured(task) -> dict:
    """What task.json says of the test set."""
    return json.loads((task / "task.json").read_text())["metrics"]["test"]


def same(found: dict, wanted: dict) -> None:
    """The same estimates; probabilities pass through float32 at scoring."""
    assert list(found) == list(wanted)
    for name, each in wanted.items():
        assert found[name] == pytest.approx(each, abs=1e-6, rel=1e-5), name


@pytest.mark.parametrize("method", ["lora", "full", "probe"])
@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_evaluate_gives_what_the_training_measured(kind, method, trained, evaluated, tables):
    task = trained(kind, method)
    whole = json.loads((task / "task.json").read_text())["metrics"]
    found = evaluated(task, kind)
    assert found["examples"] == 30
    same(found["metrics"], measured(task))
    dev = evaluated(task, kind, data=tables / f"{kind}.dev.csv")["metrics"]
    same({name: {"value": each["value"]} for name, each in dev.items()}, whole["dev"])


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "per-base"])
def test_evaluate_gives_what_the_training_measured_of_other_kinds(kind, trained, evaluated):
    task = trained(kind)
    same(evaluated(task, kind)["metrics"], measured(task))


def test_bases_that_no_window_scores_count_for_nothing(trained, tmp_path):
    """predict writes NA for them; they are no predictions of the first class."""
    task = find_task(trained("per-base"))
    first, second = random_bases(60, 1), random_bases(60, 2)
    path = tmp_path / "gap.csv"
    path.write_text(f"sequence,label\n{first}{'N' * 240}{second},{task.classes[-1] * 360}\n")
    result = dnatk.evaluate(task, path, device="cpu", resamples=10)
    assert 120 <= len(result.targets) < 240
    assert len(result.targets) == len(result.outputs)
    assert result.outputs.any(axis=1).all()


@pytest.fixture
def predicted(run, tables, tmp_path):
    """``predicted(task, kind)``: (frame of predict's HDF5, rows of its table) of the test set."""

    def call(task, kind, *options):
        rows = read(tables / f"{kind}.test.csv")
        sequences = {f"s{i}": row["sequence"] for i, row in enumerate(rows)}
        fasta = write_fasta(tmp_path / "test.fa", sequences)
        h5 = tmp_path / "p.h5"
        result = run("predict", fasta, "--task", task, "--h5", h5, "--force", *EXACT, *options)
        assert result.code == 0, result.err
        lines = [line.lstrip("#") for line in result.out.splitlines() if line[:2] != "##"]
        return dnatk.read_predictions(h5)[0], list(csv.DictReader(lines, delimiter="\t"))

    return call


def ece(p, right):
    """Expected calibration error over 15 bins (i/15, (i+1)/15], by the definition."""
    p, right, gap = np.asarray(p), np.asarray(right), 0.0
    for low in np.arange(15) / 15:
        inside = (p > low) & (p <= low + 1 / 15)
        if inside.any():
            gap += inside.mean() * abs(p[inside].mean() - right[inside].mean())
    return gap


def test_binary_metrics_are_scikit_learns(trained, evaluated, predicted, tables):
    task = trained("binary")
    frame, rows = predicted(task, "binary", "--probabilities")
    truth = [int(row["label"]) for row in read(tables / "binary.test.csv")]
    got = {name: each["value"] for name, each in evaluated(task)["metrics"].items()}
    for p, label, tolerance in (
        (frame["p_1"].to_numpy(np.float64), frame["label"].astype(int), 1e-6),
        (np.array([float(row["p_1"]) for row in rows]), [int(r["label"]) for r in rows], 2e-4),
    ):
        wanted = {
            "accuracy": metrics.accuracy_score(truth, label),
            "f1": metrics.f1_score(truth, label),
            "mcc": metrics.matthews_corrcoef(truth, label),
            "auroc": metrics.roc_auc_score(truth, p),
            "auprc": metrics.average_precision_score(truth, p),
            "brier": metrics.brier_score_loss(truth, p),
            "nll": metrics.log_loss(truth, p),
            "ece": ece(np.maximum(p, 1 - p), (p > 0.5) == np.array(truth)),
        }
        assert got == pytest.approx(wanted, abs=tolerance), tolerance


def test_multiclass_metrics_are_scikit_learns(trained, evaluated, predicted, tables):
    task = trained("multiclass")
    frame, _ = predicted(task, "multiclass")
    names = CLASSES["multiclass"]
    truth = np.array([names.index(row["label"]) for row in read(tables / "multiclass.test.csv")])
    p = frame[[f"p_{name}" for name in names]].to_numpy(np.float64)
    p = p / p.sum(axis=1, keepdims=True)
    label = p.argmax(axis=1)
    one_hot = np.eye(3)[truth]
    wanted = {
        "accuracy": metrics.accuracy_score(truth, label),
        "f1": metrics.f1_score(truth, label, average="macro"),
        "mcc": metrics.matthews_corrcoef(truth, label),
        "auroc": metrics.roc_auc_score(truth, p, multi_class="ovr", average="macro"),
        "auprc": metrics.average_precision_score(one_hot, p, average="macro"),
        "brier": np.square(p - one_hot).sum(axis=1).mean(),
        "nll": metrics.log_loss(truth, p),
        "ece": ece(p.max(axis=1), label == truth),
    }
    got = {name: each["value"] for name, each in evaluated(task, "multiclass")["metrics"].items()}
    assert got == pytest.approx(wanted, abs=1e-5)


def test_multilabel_metrics_are_scikit_learns(trained, evaluated, predicted, tables):
    task = trained("multilabel")
    frame, _ = predicted(task, "multilabel")
    names = CLASSES["multilabel"]
    truth = np.array(
        [[int(row[name]) for name in names] for row in read(tables / "multilabel.test.csv")]
    )
    p = frame[[f"p_{name}" for name in names]].to_numpy(np.float64)
    label = np.array([[name in text.split(",") for name in names] for text in frame["label"]])
    columns = range(3)
    wanted = {
        "accuracy": metrics.accuracy_score(truth, label),
        "f1": metrics.f1_score(truth, label, average="macro"),
        "mcc": np.mean([metrics.matthews_corrcoef(truth[:, c], label[:, c]) for c in columns]),
        "auroc": metrics.roc_auc_score(truth, p, average="macro"),
        "auprc": metrics.average_precision_score(truth, p, average="macro"),
        "brier": np.mean([metrics.brier_score_loss(truth[:, c], p[:, c]) for c in columns]),
        "nll": np.mean([metrics.log_loss(truth[:, c], p[:, c]) for c in columns]),
    }
    got = {name: each["value"] for name, each in evaluated(task, "multilabel")["metrics"].items()}
    assert {name: got[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)


def test_regression_metrics_are_scikit_learns(trained, evaluated, predicted, tables):
    from scipy.stats import pearsonr, spearmanr

    task = trained("regression")
    frame, rows = predicted(task, "regression")
    names = CLASSES["regression"]
    truth = np.array(
        [[float(row[name]) for name in names] for row in read(tables / "regression.test.csv")]
    )
    values = frame[[f"value_{name}" for name in names]].to_numpy(np.float64)
    shown = [[float(row[f"value_{name}"]) for name in names] for row in rows]
    np.testing.assert_allclose(shown, values, rtol=1e-5)
    assert 100 < values[:, 0].mean() < 120, "in the unit of the targets"
    wanted = {
        "pearson": np.mean([pearsonr(truth[:, c], values[:, c]).statistic for c in (0, 1)]),
        "spearman": np.mean([spearmanr(truth[:, c], values[:, c]).statistic for c in (0, 1)]),
        "r2": metrics.r2_score(truth, values),
        "mse": metrics.mean_squared_error(truth, values),
    }
    got = {name: each["value"] for name, each in evaluated(task, "regression")["metrics"].items()}
    assert got == pytest.approx(wanted, rel=1e-4)


def test_a_new_process_gives_the_same(trained, run, tables, evaluated):
    """What was trained, saved and loaded elsewhere: the same figures to the last digit."""
    task = trained("binary", "full")
    command = [sys.executable, "-m", "dnatk", "evaluate", task, tables / "binary.test.csv"]
    command = [*map(str, command), "--json", *EXACT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == evaluated(task)


def test_the_table_is_on_stdout_and_the_rest_on_stderr(trained, run, tables):
    result = run("evaluate", trained(), tables / "binary.test.csv", *EXACT)
    lines = result.out.splitlines()
    assert lines[0].split("  ")[0] == "metric"
    assert [line.split()[0] for line in lines[1:]] == [
        "accuracy", "f1", "mcc", "auroc", "auprc", "brier", "ece", "nll",
    ]  # fmt: skip
    assert without_pace(result.err) == "30 examples, 95 % bootstrap intervals\n"
    assert run("-q", "evaluate", trained(), tables / "binary.test.csv", *EXACT).err == ""


def test_seed_and_resamples_decide_the_intervals(trained, evaluated):
    task = trained("regression")
    one, two = (
        evaluated(task, "regression", "--seed", 1),
        evaluated(task, "regression", "--seed", 2),
    )
    assert one["metrics"]["mse"]["value"] == two["metrics"]["mse"]["value"]
    assert one["metrics"]["mse"]["low"] != two["metrics"]["mse"]["low"]
    assert evaluated(task, "regression", "--seed", 1) == one


def test_classes_may_be_named_in_words(trained, evaluated, tables, tmp_path, run, tiny_model):
    out = tmp_path / "t"
    result = run(
        "finetune", *files(tables, "binary"), "-o", out, "--model", tiny_model, "--method", "probe",
        "--class-names", "poor, rich", *EXACT,
    )  # fmt: skip
    assert result.code == 0, result.err
    words = tmp_path / "words.csv"
    rows = read(tables / "binary.test.csv")
    lines = [f"{row['sequence']},{('poor', 'rich')[int(row['label'])]}\n" for row in rows]
    words.write_text("sequence,label\n" + "".join(lines))
    assert evaluated(out, data=words)["metrics"] == evaluated(out)["metrics"]
    write_fasta(tmp_path / "s.fa", {"a": "GGC" * 20})
    assert "\trich\t" in run("predict", tmp_path / "s.fa", "--task", out, *EXACT).out


def test_the_longest_sequence_of_all_sets_is_the_length(
    run, tables, tmp_path, tiny_model, evaluated
):
    """So that what was measured in training are whole sequences, as they are in evaluation."""
    out, test = tmp_path / "t", write_labelled(tmp_path / "long.csv", "binary", 20, 9, length=90)
    result = run(
        "finetune", *files(tables, "binary")[:-1], test, "-o", out, "--model", tiny_model,
        "--method", "probe", *EXACT,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert json.loads((out / "task.json").read_text())["length"] == 90
    same(evaluated(out, data=test)["metrics"], measured(out))


def test_data_cropped_in_training_are_cropped_alike(run, tables, tmp_path, tiny_model, evaluated):
    """--length of the training holds: the same file gives the same figures."""
    out = tmp_path / "t"
    result = run(
        "finetune", *files(tables, "binary"), "-o", out, "--model", tiny_model, "--method", "probe",
        "--length", 40, *EXACT,
    )  # fmt: skip
    assert result.code == 0, result.err
    same(evaluated(out)["metrics"], measured(out))


@pytest.mark.parametrize(
    ("how", "length", "fit", "said"),
    [
        (("--length", 60), 60, "tile", ""),
        (("--length", 32), 32, "center", "and so predict reads longer regions (--fit center)"),
        (("--length", 32, "--fit", "tile"), 32, "tile", "figures may differ"),
        ((), 35, "tile", "islands.bed: regions of 30 to 35 bases are all read as 35 (--length"),
        (("--fit", "tss:-10,+30"), 40, "tss:-10,+30", ""),
        (("--fit", "center"), 35, "center", "are all read as 35"),
    ],
)
def test_a_bed_gives_what_the_training_measured(how, length, fit, said, run, tmp_path, tiny_model):
    """Regions become the same bases in training, in evaluation and for predict."""
    genome, bed = genome_with_islands(tmp_path)
    out = tmp_path / "t"
    options = ["--genome", genome, "--label-column", "5", *EXACT]
    result = run(
        "finetune", bed, "-o", out, "--model", tiny_model, "--method", "probe", *how,
        "--test-contig", "chr4", *options,
    )  # fmt: skip
    assert result.code == 0, result.err
    task = json.loads((out / "task.json").read_text())
    assert (task["length"], task["fit"]) == (length, fit)
    assert said in result.err
    assert said or "read" not in result.err
    test = tmp_path / "test.bed"
    lines = bed.read_text().splitlines(keepends=True)
    test.write_text("".join(line for line in lines if line.startswith("chr4\t")))
    found = run("evaluate", out, test, "--json", *options)
    assert found.code == 0, found.err
    if "figures may differ" in said:
        assert json.loads(found.out)["metrics"] != measured(out)
    else:
        same(json.loads(found.out)["metrics"], measured(out))
    rows = run("predict", test, "--task", out, "--genome", genome, "--no-provenance", *EXACT).out
    right = [row.split("\t")[4] == row.split("\t")[6] for row in rows.splitlines()[1:]]
    assert np.mean(right) == pytest.approx(json.loads(found.out)["metrics"]["accuracy"]["value"])


@pytest.mark.parametrize("fit", ["tile", "center", "tss:-40,+20"])
@pytest.mark.parametrize("combine", ["mean", "max"])
def test_what_is_evaluated_is_what_predict_scores(fit, combine, run, tmp_path, task_of, genome):
    """Of regions of any length, on both strands, and of sequences."""
    task = task_of("binary", fit=fit, combine=combine)
    sizes = [1, 30, 59, 60, 61, 100, 131, 240]
    lines = [
        f"chr1\t{1000 + 10 * i}\t{1000 + 10 * i + size}\tr\t{i % 2}\t{strand}\n"
        for i, size in enumerate(sizes)
        for strand in "+-"
    ]
    bed = tmp_path / "r.bed"
    bed.write_text("".join(lines))
    options = ReadOptions(genome=str(genome), labels=("5",))
    exact = {"device": "cpu", "precision": "fp32"}
    outputs = dnatk.evaluate(task, bed, options=options, resamples=1, **exact).outputs
    rows = run("predict", bed, "--task", task, "--genome", genome, "--no-provenance", *EXACT).out
    scores = [float(row.split("\t")[7]) for row in rows.splitlines()[1:]]
    np.testing.assert_allclose(outputs[:, 1], scores, atol=6e-5)
    sequences = [random_bases(size, seed=size) for size in sizes[1:]]
    table = tmp_path / "s.csv"
    table.write_text(
        "sequence,label\n" + "".join(f"{s},{i % 2}\n" for i, s in enumerate(sequences))
    )
    outputs = dnatk.evaluate(task, table, resamples=1, **exact).outputs
    scores = dnatk.predict_sequences(sequences, task=task, **exact).score
    np.testing.assert_allclose(outputs[:, 1], scores, atol=1e-6)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chr1\t100\t200\tr\t1\t.", "has no strand, and the fit tss:-40,-20 reads strands"),
        ("chr1\t10\t200\tr\t1\t+", "nothing of chr1 lies at tss:-40,-20 of 10-200 (remove"),
    ],
)
def test_a_five_prime_end_that_nothing_can_be_read_of(line, said, run, tmp_path, task_of, genome):
    bed = tmp_path / "r.bed"
    bed.write_text(f"chr1\t100\t200\tr\t0\t+\n{line}\n")
    task = task_of("binary", fit="tss:-40,-20")
    result = run("evaluate", task, bed, "--genome", genome, "--label-column", "5", *EXACT)
    one_line(result, 1, f"r.bed:2: {said}")


def test_sequences_with_other_classes_than_the_task_are_refused(tmp_path, task_of):
    """Their numbers would be taken for the task's."""
    table = tmp_path / "s.csv"
    rows = [f"{random_bases(60, seed=i)},{i % 2}\n" for i in range(4)]
    table.write_text("sequence,label\n" + "".join(rows))
    task = task_of("binary")
    turned = dnatk.read_labelled(table, ReadOptions(positive="0"))
    with pytest.raises(dnatk.errors.InputError, match=r"s.csv: binary \(1, 0\) labels, where the"):
        dnatk.evaluate(task, turned, device="cpu")
    as_the_tasks = dnatk.read_labelled(table, None, find_task(task).space)
    assert dnatk.evaluate(task, as_the_tasks, resamples=1, device="cpu").examples == 4


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("d.csv", ("--labels-from", "l.tsv"), "--labels-from: none of the labelled files is FASTA"),
        ("d.csv", ("--header-label", "y"), "--header-label: none of the labelled files is FASTA"),
        ("d.csv", ("--negatives", "gc"), "--negatives: none of the labelled files is BED"),
        ("d.fa", ("--sequence-column", "s"), "--sequence-column: none of the labelled files is a "),
        (
            *("d.bed", ("--label-column", "5", "--negative-ratio", "2")),
            "--negative-ratio: none are drawn where regions have labels",
        ),
        (
            *("named.bed", ("--negatives", "random")),
            "--negatives: none are drawn where regions have labels",
        ),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "finetune", "inspect"])
def test_what_says_nothing_of_the_labelled_files_is_refused(
    command, name, words, said, run, tmp_path
):
    (tmp_path / "d.csv").write_text("sequence,label\nACGTACGT,1\n")
    (tmp_path / "d.fa").write_text(">a label=1\nACGTACGT\n")
    (tmp_path / "named.bed").write_text("#chrom start end label\nchr1 100 200 1\n")
    (tmp_path / "d.bed").write_text("chr1\t100\t200\tr\t1\t+\n")
    data, out = tmp_path / name, ("-o", tmp_path / "out")
    before = {
        "evaluate": ("promoter", data),
        "finetune": (data, *out),
        "inspect": ("dnatk-small", "--labelled", data, *out),
    }
    result = run(command, *before[command], *words)
    assert result.code == 2, result.err
    assert said in result.err


def test_an_option_for_one_of_several_files_is_taken(run, tmp_path):
    write_fasta(tmp_path / "d.fa", {"a": random_bases(60, 1), "b": random_bases(60, 2)})
    (tmp_path / "l.tsv").write_text("name\tlabel\na\t1\nb\t0\n")
    (tmp_path / "dev.csv").write_text("sequence,label\nACGTACGT,2\n")
    words = ("--dev", tmp_path / "dev.csv", "--labels-from", tmp_path / "l.tsv")
    result = run("finetune", tmp_path / "d.fa", "-o", tmp_path / "t", *words)
    one_line(result, 1, "dev.csv:2: ")


def test_a_class_in_words_that_is_misspelt_is_named(run, tmp_path, task_of):
    table = tmp_path / "s.csv"
    rows = [f"{random_bases(60, seed=i)},{('poor', 'rich')[i % 2]}\n" for i in range(4)]
    table.write_text("sequence,label\n" + "".join(rows) + f"{random_bases(60, 9)},ricch\n")
    result = run("evaluate", task_of("binary", class_names=("poor", "rich")), table, *EXACT)
    one_line(result, 1, "s.csv:6: ", "'ricch'", "poor, rich")


@pytest.mark.parametrize("rc", ["none", "average"])
def test_a_stranded_task_is_measured_on_strands_alone(rc, run, tmp_path, task_of, genome):
    """predict scores no region that has none; averaged over both strands it does."""
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t100\t200\tr\t0\t+\nchr1\t300\t400\tr\t1\t.\n")
    task = task_of("binary", stranded=True, rc=rc)
    arguments = ("--genome", genome, "--label-column", "5", "--json", *EXACT)
    done = run("evaluate", task, bed, *arguments)
    predicted = run("predict", bed, "--task", task, "--genome", genome, *EXACT)
    assert predicted.out.count("no_strand") == (rc == "none")
    if rc == "average":
        assert json.loads(done.out)["examples"] == 2
    else:
        one_line(done, 1, "r.bed:2: has no strand, and the task reads strands")


def genome_with_islands(directory, contigs=5, islands=12):
    """A genome of AT-rich contigs with GC-rich islands; a BED of both, labelled in column 5."""
    rng = np.random.default_rng(8)
    sequences, lines = {}, []
    for number in range(1, contigs + 1):
        contig, bases = f"chr{number}", rng.choice(list("AATTATGC"), 200 * islands)
        for i in range(islands):
            bases[200 * i + 100 : 200 * i + 160] = rng.choice(list("GCGCGCAT"), 60)
            start = 200 * i + 110 + int(rng.integers(0, 10))
            lines.append(f"{contig}\t{start}\t{start + 30}\tisland\t1\t{'+-'[i % 2]}\n")
            lines.append(f"{contig}\t{200 * i + 20}\t{200 * i + 55}\tsea\t0\t{'-+'[i % 2]}\n")
        sequences[contig] = "".join(bases)
    bed = directory / "islands.bed"
    bed.write_text("".join(lines))
    return write_fasta(directory / "islands.fa", sequences), bed


# What does not fit


def one_line(result, code: int, *parts: str) -> None:
    assert result.code == code, result.err
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    assert result.err.startswith("dnatk: error: ")
    for part in parts:
        assert part in result.err


def test_a_report_replaces_no_labels(run, tmp_path, task_of):
    (tmp_path / "s.fa").write_text(">a\nACGTACGTAC\n>b\nTTGACCAGTA\n")
    labels = tmp_path / "labels.csv"
    labels.write_text("name,label\na,0\nb,1\n")
    words = ("evaluate", task_of(), tmp_path / "s.fa", "--labels-from", labels)
    result = run(*words, "--report", labels, "--force")
    assert result.err == f"dnatk: error: {labels}: is what is read (name another output)\n"
    assert labels.read_text().startswith("name,label\n")


def test_an_unknown_class_names_the_line_and_the_known_ones(trained, run, tmp_path):
    data = tmp_path / "d.csv"
    data.write_text(f"sequence,label\n{'ACGT' * 15},1\n{'AACC' * 15},2\n")
    one_line(run("evaluate", trained(), data), 1, f"{data}:3: unknown class '2' (known: 0, 1)")


def test_labels_that_are_no_numbers(trained, run, tmp_path):
    data = tmp_path / "d.csv"
    data.write_text(f"sequence,height,width\n{'ACGT' * 15},1,tall\n")
    one_line(run("evaluate", trained("regression"), data), 1, f"{data}:2: 'tall' in 'width'")


def test_a_missing_column_or_label(trained, run, tmp_path):
    data = tmp_path / "d.csv"
    data.write_text(f"sequence,class\n{'ACGT' * 15},1\n")
    one_line(run("evaluate", trained(), data), 1, "no column 'label'", "--label-column")
    data.write_text(f"sequence,label\n{'ACGT' * 15},\n")
    one_line(run("evaluate", trained(), data), 1, f"{data}:2: no label")
    one_line(run("evaluate", trained(), tmp_path / "none.csv"), 1, "none.csv: ")


def test_sequences_of_n_are_left_out_and_counted(trained, run, tables, tmp_path):
    data = tmp_path / "d.csv"
    data.write_text((tables / "binary.test.csv").read_text() + "N" * 60 + ",1\n")
    result = run("evaluate", trained(), data, "--json", *EXACT)
    facts = json.loads(result.out)
    assert (facts["examples"], facts["unscored"]) == (30, 1)
    assert "1 example(s) left out" in result.err
    data.write_text("sequence,label\n" + "N" * 60 + ",1\n" + "N" * 60 + ",0\n")
    one_line(run("evaluate", trained(), data, *EXACT), 1, "nothing can be scored")


def test_one_class_leaves_metrics_undefined_and_says_so(trained, run, tables, tmp_path):
    data = tmp_path / "d.csv"
    rows = [row["sequence"] for row in read(tables / "binary.test.csv") if row["label"] == "1"]
    data.write_text("sequence,label\n" + "".join(f"{s},1\n" for s in rows))
    result = run("evaluate", trained(), data, "--json", *EXACT)
    assert result.code == 0
    found = json.loads(result.out)["metrics"]
    assert found["mcc"] == {"value": None, "low": None, "high": None}
    assert found["accuracy"]["value"] is not None
    assert "all examples are 1: mcc, auroc and auprc are undefined" in result.err
    shown = run("evaluate", trained(), data, *EXACT).out
    assert "nan to" not in shown


def test_longer_sequences_are_scored_in_windows(trained, evaluated, tmp_path):
    data = write_labelled(tmp_path / "d.csv", "binary", 20, 9, length=150)
    assert evaluated(trained(), data=data)["examples"] == 20
