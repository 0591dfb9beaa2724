"""The pages of finetune, evaluate, pretrain and predict: what they count and what they say."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from conftest import CLASSES, SAVE_PLOT, no_plot
from html_pages import Page

from dnatk.inference.predict_page import predict_page
from dnatk.labelled.dataset import LabelSpace
from dnatk.output.part_store import PartStore
from dnatk.output.prediction_figures import genome_tracks, histogram, tracked
from dnatk.output.prediction_tally import MOST_CONTIGS, Bins, PredictionTally
from dnatk.tasks.task import Task
from dnatk.training.config import PretrainConfig
from dnatk.training.metrics import PRIMARY, metrics_of
from dnatk.training.pretrain_page import pretrain_page
from dnatk.training.sources import SourceSummary
from dnatk.training.task_page import evaluation_page, task_page

EXACT = ("--device", "cpu", "--precision", "fp32")
EVIL = "<script>x</script>"
BED = ["chrom", "start", "end", "name", "bed_score", "strand", "label", "score", "note"]

pytestmark = pytest.mark.usefixtures("clean_home")


def shown(text: str, tmp_path) -> Page:
    path = tmp_path / "shown.html"
    path.write_text(text)
    return Page(path)


def columns(page: Page) -> str:
    """Its text with a space for each run of white space."""
    return re.sub(r"\s+", " ", page.text)


# Training


def test_the_report_of_a_task(trained):
    directory = trained("binary")
    page = Page(directory / "report.html")
    task = Task.read(directory)
    for part in ("test", "dev"):
        for estimate in task.metrics[part].values():
            assert f"{estimate['value']:.3f}" in page.text
    assert task.details["data"]["train"]["sha256"][:16] in page.text
    assert page.figures == [
        "ROC curve", "Precision and recall", "Calibration", "Confusion matrix", "Learning curve",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_every_kind_of_task_has_a_page(kind, trained, task_of, tmp_path):
    details = Task.read(trained("binary")).details
    metric, metrics = PRIMARY[kind], metrics_of(kind)
    runs = {str(seed): {"dev": dict.fromkeys(metrics, seed / 8)} for seed in (1, 2)}
    estimate = {"value": 0.375, "low": 0.25, "high": 1234.5}
    task = replace(
        Task.read(task_of(kind)),
        details=details | {"config": details["config"] | {"metric": metric}, "seeds": runs},
        metrics={"dev": dict.fromkeys(metrics, estimate)},
    )
    page = shown(task_page(task, {}), tmp_path)
    assert page.text.count("0.375 (0.250 to 1234)") == len(metrics)
    assert page.text.count("0.1875 ± 0.0884") == len(metrics)
    assert "There was no test set" in page.text


def test_the_report_says_what_is_wrong_with_the_data(trained, tmp_path):
    task = Task.read(trained("binary"))
    check = task.details["check"]
    assert [row[0] for row in check["rows"]] == ["train", "dev", "test"]
    details = task.details | {
        "split": f"dev as given; 7 training sequence(s) left out {EVIL}",
        "check": check | {"flaws": [f"test: 3 of 9 stand in train too {EVIL}"]},
    }
    evil = replace(task, name=EVIL, description=EVIL, class_names=(EVIL, "b"), details=details)
    page = shown(task_page(evil, {}), tmp_path)
    assert "7 training sequence(s) left out" in page.text
    assert "3 of 9 stand in train" in page.text
    assert page.text.count(EVIL) >= 5
    old = {k: v for k, v in task.details.items() if k != "check"}
    assert "What the check" not in shown(task_page(replace(task, details=old), {}), tmp_path).text


def test_the_report_of_an_evaluation(run, trained, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(SAVE_PLOT, no_plot)
    data, report = tables / "binary.test.csv", tmp_path / "e.html"
    result = run("evaluate", trained("binary"), data, *EXACT, "--report", report, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)["metrics"]
    page = Page(report)
    assert f"{found['mcc']['value']:.3f} ({found['mcc']['low']:.3f} to" in page.text
    assert result.err.splitlines()[-1] == str(report)
    again = run("evaluate", trained("binary"), data, *EXACT, "--report", report)
    assert again.code == 1
    assert "--force overwrites it" in again.err


def test_an_evaluation_where_something_is_undefined(trained, tmp_path):
    task = Task.read(trained("binary"))
    nan = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    data = {"file": EVIL, "examples": 12, "classes": {"0": 0, "1": 12}, "sha256": "ab"}
    text = evaluation_page(
        task, {"mcc": nan}, {}, data=data, unscored=2, notes=["mcc is undefined"]
    )
    page = shown(text, tmp_path)
    assert "undefined" in page.text
    assert "2 example(s) left out" in page.text
    assert "10examples" in page.text


def test_the_report_of_a_pre_training(tmp_path):
    config = PretrainConfig(inputs=(EVIL,), max_steps=100, holdout=("chrX",), window=515)
    speed = {"masked_share": 0.15, "tokens_per_second": 2000, "tokens": 123_456}
    rows = [
        {"step": s, "bits": 12 - s / 20, "span": config.schedule().at(s - 1).width, **speed}
        for s in range(10, 101, 10)
    ]
    rows.append({"step": 100, "tokens": 123_456, "heldout_bits": {"6": 6.5, "14": 8.25}})
    source = SourceSummary(f"/data/{EVIL}", "f" * 64, 16, 11_000_000, 120, 1, 2, 3)
    page = shown(pretrain_page(EVIL, config, [source], 4_000_000, rows, ""), tmp_path)
    for said in ("8.25", "4 M", "123 k", "11,000,000", "15.0 %", "2,000", "Held out: chrX"):
        assert said in page.text
    assert "Nothing was held out" not in page.text
    phases = len(config.schedule().phases)
    assert len(re.findall(r"\d+ to \d+", page.text)) == phases
    assert (
        "Nothing was held out"
        in shown(pretrain_page("m", config, [source], 1, rows[:3], ""), tmp_path).text
    )


# Predictions


def regions(n: int) -> str:
    lines = [f"chr{1 + i % 2}\t{20 * i}\t{20 * i + 60}\tr{i}\t0\t{'+-'[i % 2]}" for i in range(n)]
    return "\n".join([*lines, "chrQ\t0\t60\tno\t0\t+", "chr1\t9\t9999\tfar\t0\t+"]) + "\n"


@pytest.fixture
def predicted(run, genome, tmp_path):
    """``predicted(task, *options)``: (result, page of r.html)."""
    bed = tmp_path / "in.bed"
    bed.write_text(regions(30))

    def call(task, *options, code=0):
        result = run(
            "predict", bed, "--task", task, "--genome", genome, *EXACT, "--report",
            tmp_path / "r.html", *options,
        )  # fmt: skip
        assert result.code == code, result.err
        return result, Page(tmp_path / "r.html") if code == 0 else None

    return call


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_every_kind_has_a_report(kind, predicted, task_of):
    result, page = predicted(task_of(kind), "--no-provenance")
    rows = [line.split("\t") for line in result.out.splitlines()[1:]]
    assert f"{len(rows)}rows30scored" in page.text
    assert "unknown contig1" in page.text
    assert "out of bounds1" in page.text
    scored = [row for row in rows if row[8] == "."]
    best = max(scored, key=lambda row: float(row[7]))
    if kind in ("binary", "regression"):
        assert re.search(rf"\n1{best[0]}{best[1]}{best[2]}\{best[5]}{best[3]}", page.text)
    if kind in ("binary", "multiclass"):
        for label, count in Counter(row[6] for row in scored).items():
            assert f"{label}{count}{100 * count / 30:.1f} %" in page.text
    assert len(page.figures) == 2


def test_the_report_is_the_same_however_the_rows_were_written(
    predicted, task_of, tmp_path, monkeypatch
):
    task = task_of("multiclass")
    _, streamed = predicted(task)
    for options in (
        ("--format", "jsonl"),
        ("--no-header", "--no-provenance"),
        ("--probabilities",),
    ):
        assert predicted(task, *options, "--force")[1].source == streamed.source
    out = tmp_path / "o.bed"
    assert predicted(task, "-o", out, "--force")[1].source == streamed.source
    # A finished run gives it again, and a table that is there without one gets it.
    (tmp_path / "r.html").unlink()
    page = predicted(task, "-o", out, "--resume")[1]
    assert page.source == streamed.source
    assert out.exists()


@pytest.mark.parametrize("to_stdout", [True, False])
def test_rows_of_a_run_that_was_cut_off_count(predicted, task_of, tmp_path, monkeypatch, to_stdout):
    task = task_of("binary")
    to = ("--h5", tmp_path / "o.h5") if to_stdout else ("-o", tmp_path / "o.bed")
    small = ("--batch-tokens", "8", *to)
    _, whole = predicted(task, *small)
    commits, commit = [], PartStore.commit

    def cut(*args):
        if len(commits) == 2:
            raise KeyboardInterrupt
        commits.append(commit(*args))

    with monkeypatch.context() as patch:
        patch.setattr(PartStore, "commit", cut)
        (tmp_path / "r.html").unlink()
        predicted(task, *small, "--force", code=130)
    assert not (tmp_path / "r.html").exists()
    result, page = predicted(task, *small, "--resume")
    assert "made before" in result.err
    assert page.source == whole.source


def test_a_shard_says_that_it_is_one(predicted, task_of, tmp_path):
    small = ("--batch-tokens", "8", "-o", tmp_path / "o.bed")
    _, page = predicted(task_of("binary"), *small, "--shard", "1/2")
    assert "These are the rows of shard 1/2 alone" in page.text
    assert not page.text.startswith("32rows")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--report", "-"), 2, "the report is a file of its own"),
        (("-o", "same", "--report", "same"), 1, "cannot be both the report and what it tells of"),
        (("--report", "there"), 1, "--force overwrites it"),
    ],
)
def test_reports_that_cannot_be(run, genome, task_of, tmp_path, monkeypatch, options, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.bed").write_text(regions(2))
    (tmp_path / "there").write_text("kept")
    result = run("predict", "in.bed", "--task", task_of("binary"), "--genome", genome, *options)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert (tmp_path / "there").read_text() == "kept"


def test_a_finished_stream_is_not_told_again(predicted, task_of, tmp_path):
    predicted(task_of("binary"), "--h5", tmp_path / "o.h5")
    result, _ = predicted(task_of("binary"), "--h5", tmp_path / "o.h5", "--resume", code=1)
    assert "its rows are not told again" in result.err


# The tally


def tally_of(kind: str, classes: tuple[str, ...], rows, more=()) -> PredictionTally:
    tally = PredictionTally([*BED, *more], "bed", LabelSpace(kind, classes))
    for row in rows:
        tally.add("\t".join(map(str, row)) + "\n")
    return tally


def row(i: int, label: str, score: object, note: str = ".", *more: object) -> tuple:
    return (f"c{i % 3}", 10 * i, 10 * i + 5, f"n{i}", 0, "+", label, score, note, *more)


def test_counts_of_labels():
    tally = tally_of("multilabel", ("a", "b"), [
        row(0, "a,b", 0.9, ".", 0.9, 0.8), row(1, ".", 0.1, ".", 0.1, 0.0),
        row(2, "b", 0.7, ".", 0.2, 0.7), row(3, "NA", "NA", "no_kmer", "NA", "NA"),
    ], ("p_a", "p_b"))  # fmt: skip
    assert tally.labels == {"a": 1, "b": 2, ".": 1}
    assert (tally.rows, tally.scored, tally.unscored) == (4, 3, {"no_kmer": 1})
    assert [(p.name, p.by) for p in tally.lists["b"]] == [("n0", 0.8), ("n2", 0.7)]
    bases = tally_of("per-base", ("i", "e"), [row(0, "i:3,NA:2,e:1,i:4", 0.9), row(1, "e:7", 0.8)])
    assert bases.labels == {"i": 7, "NA": 2, "e": 8}
    assert [(p.name, p.by) for p in bases.lists["e"]] == [("n1", 7), ("n0", 1)]


def test_scores_that_are_no_numbers_are_counted_apart():
    tally = tally_of("regression", ("v",), [row(0, ".", "inf"), row(1, ".", "NA"), row(2, ".", -3)])
    assert (tally.scored, tally.unscored) == (1, {"no_number": 2})
    assert (tally.lowest, tally.highest, tally.mean) == (-3, -3, -3)


def test_the_best_are_the_first_of_equals():
    rng = np.random.default_rng(1)
    scores = np.round(rng.random(3000), 2)
    tally = tally_of("binary", ("n", "p"), [row(i, "p", s) for i, s in enumerate(scores)])
    order = np.argsort(-scores, kind="stable")[:50]
    assert [place.name for place in tally.lists["p"]] == [f"n{i}" for i in order]


def test_bins_hold_what_was_given():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(size=5000), [1e12, -1e-9]])
    bins = Bins(2.0**-40)
    for value in values:
        bins.add(value, 2 * value)
    assert len(bins.count) <= 512
    assert bins.count.total() == len(values)
    for at, count in bins.count.items():
        inside = values[(values >= at * bins.width) & (values < (at + 1) * bins.width)]
        assert len(inside) == count
        assert bins.total[at] == pytest.approx(2 * inside.sum())


def test_the_tally_does_not_grow_with_the_rows():
    tally = PredictionTally(BED, "bed", LabelSpace("binary", ("n", "p")))

    def feed(low: int, high: int) -> None:
        for i in range(low, high):
            line = f"c{i % 4000}\t{i * 997 % 10**8}\t{i * 997 % 10**8 + 9}\tn\t0\t+\tp\t0.5\t."
            tally.add(line)

    feed(0, 20_000)
    tracemalloc.start()
    feed(20_000, 40_000)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(tally.tracks) == MOST_CONTIGS
    assert tally.more_contigs
    assert grown < 4_000_000, "bins of the tracks may still fill, rows may not be kept"


def test_tracks_are_of_the_longest_contigs_in_the_genomes_order():
    rows = [row(i, "p", 0.25 if i % 3 else 0.75) for i in range(30)]
    tally = tally_of("binary", ("n", "p"), [*rows, ("lone", 0, 5, "x", 0, "+", "p", 0.5, ".")])
    lengths = {"c2": 1000, "c0": 1000, "lone": 10**6}
    assert tracked(tally, lengths) == ["c2", "c0", "c1"]
    figure = genome_tracks(tally, ["c0"], {"c0": 1000}, "p", True)
    segments = figure.axes[0].collections[0].get_segments()
    assert {round(float(high), 6) for (_, _), (_, high) in segments} == {0.75}
    assert max(float(x) for (x, _), _ in segments) < 300


@pytest.mark.parametrize(("thresholds", "at"), [((), 0.5), ((0.0,), 0.0), ((0.25,), 0.25)])
def test_the_threshold_is_drawn_where_it_is_told(task_of, tmp_path, monkeypatch, thresholds, at):
    drawn = []

    def seen(tally, classes, name, threshold, unit):
        drawn.append(threshold)
        return histogram(tally, classes, name, threshold, unit)

    monkeypatch.setattr("dnatk.inference.predict_page.histogram", seen)
    task = replace(Task.read(task_of("binary")), thresholds=thresholds)
    tally = tally_of("binary", ("n", "p"), [row(i, "p", 0.9) for i in range(3)])
    page = shown(predict_page(tally, task, source="s", lengths={}, provenance=[]), tmp_path)
    assert drawn == [at]
    assert f"The dashed line is the threshold, {at:.3g}. Two heaps" in columns(page)


def test_evil_names_on_the_page_of_predictions(task_of, tmp_path):
    task = replace(Task.read(task_of("binary")), class_names=("n", EVIL), description=EVIL)
    rows = [(EVIL, i, i + 1, EVIL, 0, "+", EVIL, 0.9, ".") for i in range(3)]
    tally = tally_of("binary", ("n", EVIL), rows)
    lines = [f"##dnatk command=dnatk predict '{EVIL}'"]
    text = predict_page(tally, task, source=EVIL, lengths={}, provenance=lines)
    page = shown(text, tmp_path)
    assert page.text.count(EVIL) >= 12
    empty = PredictionTally(BED, "bed", LabelSpace("binary", ("n", "p")))
    page = shown(predict_page(empty, task, source="-", lengths={}, provenance=[]), tmp_path)
    assert "stdin, scored by" in columns(page)
    assert page.figures == []
