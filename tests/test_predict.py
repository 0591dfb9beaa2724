"""``dnatk predict``: which bases are scored, what is written, what is said where nothing can be."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from itertools import chain
from pathlib import Path

import h5py
import numpy as np
import pytest
from Bio.Seq import reverse_complement
from conftest import CLASSES, make_task, random_bases, without_pace, write_fasta
from safetensors.numpy import load_file, save_file

import dnatk
from dnatk.errors import InputError, OutputError
from dnatk.genome.files import is_bgzip
from dnatk.genome.sniff import open_regions_or_sequences
from dnatk.inference.predict import PredictOptions, predict
from dnatk.inference.sequences import score_sequences
from dnatk.kmers import KmerTokens
from dnatk.progress import NullProgress
from dnatk.tasks.registry import find_task
from dnatk.tasks.scorer import load_scorer

GOLDEN = Path(__file__).parent / "golden"
EXACT = ("--device", "cpu", "--precision", "fp32")
L = 60  # the bases that every task here reads

pytestmark = pytest.mark.usefixtures("clean_home")


@pytest.fixture
def predict_on(run, tmp_path, genome, task_of):
    """``predict_on(bed lines)``: rows as dicts by column, scores as numbers; fp32 on the CPU."""

    def call(text: str, *options, task=None, code=0, kind="binary", source="in.bed", **more):
        (tmp_path / source).write_text(text)
        task = task_of(kind) if task is None else task
        result = run(
            "predict", tmp_path / source, "--task", task, "--genome", genome, *EXACT, *options
        )
        assert result.code == code, result.err
        return table(result.out) if code == 0 else result

    return call


def table(text: str) -> list[dict]:
    lines = [line for line in text.splitlines() if not line.startswith("##")]
    header = lines[0].lstrip("#").split("\t")
    rows = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]
    return [
        {k: float(v) if re.fullmatch(r"-?\d+\.\d+", v) else v for k, v in row.items()}
        for row in rows
    ]


@pytest.fixture(scope="module")
def probability(task_of):
    """P(positive) of each window, by the library's way for sequences in memory."""

    def call(*windows: str, rc="none", **facts) -> np.ndarray:
        scorer = load_scorer(find_task(task_of("binary", **facts)), device="cpu", precision="fp32")
        bases = [np.frombuffer(w.encode(), dtype=np.uint8) for w in windows]
        return np.array([p[1] for p in score_sequences(scorer, bases)])

    return call


@pytest.mark.parametrize(
    ("combine", "wanted"), [("mean", (2, "regions")), ("tiles", (None, "windows"))]
)
def test_a_total_is_told_where_it_is_known(combine, wanted, genome, task_of, tmp_path):
    """Of windows that are rows of their own it is not: the bar would stand at 5 of 2."""
    told = []

    class Told(NullProgress):
        def start(self, stage: str, total: int | None, unit: str) -> None:
            told.append((total, unit))

    (tmp_path / "in.bed").write_text("chr1\t0\t200\nchr1\t300\t360\n")
    options = PredictOptions(combine=combine, device="cpu", precision="fp32")
    output = io.StringIO()
    predict(tmp_path / "in.bed", output, task=task_of(), genome=genome, options=options,
            progress=Told())  # fmt: skip
    assert told == [wanted]


def disk_that_fails(*_: object):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("what", ["genome", "bed", "fasta"])
def test_an_input_that_cannot_be_read_is_told_as_such(what, genome, task_of, tmp_path, monkeypatch):
    """Not as an output that cannot be written; the disk fails when the run is at work."""
    path = tmp_path / "in.bed"
    path.write_text("chr1\t0\t60\n")
    if what == "fasta":
        write_fasta(path, {"a": random_bases(60, 1)})
    if what == "genome":
        monkeypatch.setattr("pyfaidx.Faidx.fetch", disk_that_fails)
    else:
        name = "dnatk.inference.predict.open_regions_or_sequences"
        kind, items = open_regions_or_sequences(path)
        failing = chain(items, map(disk_that_fails, "a"))
        monkeypatch.setattr(name, lambda _: (kind, failing))
    options = PredictOptions(device="cpu", precision="fp32")
    with pytest.raises(InputError) as told:
        predict(path, tmp_path / "o", task=task_of(), genome=genome, options=options)
    read = genome if what == "genome" else path
    assert str(told.value) == f"{read}: cannot be read: Input/output error"


@pytest.mark.parametrize("at", ["table", "end"])
def test_nothing_stays_in_another_directory_where_the_files_cannot_be_put(
    at, genome, task_of, tmp_path, monkeypatch
):
    """The rows are kept; a file that waits for its name beside that can be made again."""
    (tmp_path / "in.bed").write_text("chr1\t0\t60\n")
    (tmp_path / "there").mkdir()
    h5, options = tmp_path / "there" / "o.h5", PredictOptions(device="cpu", precision="fp32")
    given = {"task": task_of(), "genome": genome, "h5": h5, "options": options}
    with monkeypatch.context() as patch:
        name = "packed_by_name" if at == "table" else "PartStore.publish"
        patch.setattr(f"dnatk.inference.predict_sink.{name}", disk_that_fails)
        with pytest.raises(OutputError, match="cannot be written: Input/output error"):
            predict(tmp_path / "in.bed", tmp_path / "o.bed", **given)
    assert os.listdir(h5.parent) == []
    assert predict(tmp_path / "in.bed", tmp_path / "o.bed", resume=True, **given).kept == 1
    assert os.listdir(h5.parent) == ["o.h5"]


# Which bases are scored


def test_a_region_of_the_tasks_length_is_read_as_its_strand_says(
    predict_on, probability, genome_sequences
):
    window = genome_sequences["chr1"][100:160]
    rows = predict_on("chr1\t100\t160\ta\t0\t+\nchr1\t100\t160\tb\t0\t-\nchr1\t100\t160\tc\t0\t.\n")
    wanted = probability(window, reverse_complement(window), window)
    np.testing.assert_allclose([row["score"] for row in rows], wanted, atol=1e-4)
    assert abs(wanted[0] - wanted[1]) > 0.01, "the strands must differ for this to say anything"
    assert [row["label"] for row in rows] == ["1" if p >= 0.5 else "0" for p in wanted]


def test_a_shorter_region_is_extended_by_the_genome(predict_on, probability, genome_sequences):
    """At both ends alike; an odd base more is upstream."""
    chr1 = genome_sequences["chr1"]
    rows = predict_on("chr1\t200\t240\tx\t0\t.\nchr1\t200\t241\tx\t0\t+\nchr1\t200\t201\tx\t0\t-\n")
    windows = [chr1[190:250], chr1[190:250], reverse_complement(chr1[171:231])]
    np.testing.assert_allclose([row["score"] for row in rows], probability(*windows), atol=1e-4)


def test_extension_stops_at_the_ends_of_a_contig(predict_on, probability, genome_sequences):
    chr3 = genome_sequences["chr3"]
    rows = predict_on("chr3\t0\t20\tx\t0\t+\nchr3\t190\t200\tx\t0\t-\n")
    windows = [chr3[0:40], reverse_complement(chr3[165:200])]
    np.testing.assert_allclose([row["score"] for row in rows], probability(*windows), atol=1e-4)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_longer_region_is_tiled(strand, predict_on, probability, genome_sequences):
    """Windows of L every L/2 from the 5' end, the last one at the region's other end."""
    bed = f"chr1\t1000\t1130\tlong\t7\t{strand}\n"
    starts = [1000, 1030, 1060, 1070] if strand == "+" else [1000, 1010, 1040, 1070]
    windows = [genome_sequences["chr1"][s : s + L] for s in starts]
    if strand == "-":
        windows = [reverse_complement(window) for window in windows]
    wanted = probability(*windows)
    for options, value in (
        ((), wanted.mean()),
        (("--combine", "mean"), wanted.mean()),
        (("--combine", "max"), wanted.max()),
    ):
        (row,) = predict_on(bed, *options)
        assert row["score"] == pytest.approx(value, abs=1e-4)
        assert (row["start"], row["end"], row["name"]) == ("1000", "1130", "long")
    rows = predict_on(bed, "--combine", "tiles")
    assert [(int(r["start"]), int(r["end"])) for r in rows] == [(s, s + L) for s in starts]
    assert {(r["name"], r["bed_score"], r["strand"]) for r in rows} == {("long", "7", strand)}
    np.testing.assert_allclose([row["score"] for row in rows], wanted, atol=1e-4)


def test_a_tile_of_a_region_without_a_name_is_called_by_its_own_place(
    run, genome, task_of, tmp_path
):
    bed, out = tmp_path / "in.bed", tmp_path / "out.h5"
    bed.write_text("chr1\t1000\t1090\n")
    options = ("--combine", "tiles", "-o", tmp_path / "out.bed", "--h5", out)
    done = run("predict", bed, "--task", task_of("binary"), "--genome", genome, *options, *EXACT)
    assert done.code == 0, done.err
    names = dnatk.read_predictions(out)[0].name.tolist()
    assert names == ["chr1:1001-1060", "chr1:1031-1090"]


def test_the_centre_of_a_sequence_is_one_row_though_tiles_are_asked_for(run, task_of, tmp_path):
    fasta = write_fasta(tmp_path / "s.fa", {"a": random_bases(200, 3)})
    options = ("--fit", "center", "--combine", "tiles", *EXACT)
    (row,) = table(run("predict", fasta, "--task", task_of("binary"), *options).out)
    assert (row["name"], row["start"], row["end"]) == ("a", "0", "200")


def test_a_contig_of_which_the_middle_alone_is_read_is_told_of(run, task_of, tmp_path):
    fasta = write_fasta(tmp_path / "s.fa", {"a": random_bases(600, 3), "b": random_bases(601, 3)})
    done = run("predict", fasta, "--task", task_of("binary", fit="center"), *EXACT)
    assert done.err.count("of its") == 1
    assert "dnatk: b: of its 601 bases the middle 60 are read (--fit tile reads all)" in done.err


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_max_takes_the_probabilities_of_one_window(kind, predict_on):
    """Those of the window that is surest: their sum is 1."""
    bed = "chr1\t1000\t1130\tlong\t7\t+\n"
    names = [f"p_{name}" for name in CLASSES[kind]]
    options = ("--probabilities", "--combine")
    each = [[row[n] for n in names] for row in predict_on(bed, *options, "tiles", kind=kind)]
    (row,) = predict_on(bed, *options, "max", kind=kind)
    highest = max(each, key=(lambda p: p[1]) if kind == "binary" else max)
    assert [row[name] for name in names] == pytest.approx(highest, abs=2e-4)
    assert row["score"] == pytest.approx(highest[1] if kind == "binary" else max(highest), abs=2e-4)


@pytest.mark.parametrize("name", ["s.bed.gz", "s.bed.bgz"])
def test_a_table_is_packed_as_its_name_says(name, predict_on, run, tmp_path, genome, task_of):
    bed = "".join(f"chr1\t{i}\t{i + 60}\tr{i}\t0\t+\n" for i in range(0, 600, 60))
    wanted = predict_on(bed)
    out, page = tmp_path / name, tmp_path / "page.html"
    words = ("predict", tmp_path / "in.bed", "--task", task_of(), "--genome", genome, *EXACT)
    assert run(*words, "-o", out, "--report", page).code == 0
    assert is_bgzip(out)
    assert table(gzip.decompress(out.read_bytes()).decode()) == wanted
    assert "r540" in page.read_text()
    result = run(*words, "-o", out, "--resume")
    assert result.code == 0, result.err


def test_the_genome_that_a_setting_names_is_not_replaced(genome, monkeypatch, tmp_path, task_of):
    own = tmp_path / "own.fa"
    own.write_bytes(genome.read_bytes())
    monkeypatch.setenv("DNATK_GENOME", str(own))
    (tmp_path / "r.bed").write_text("chr1\t0\t60\tr\t0\t+\n")
    with pytest.raises(OutputError, match="is what is read"):
        dnatk.predict(tmp_path / "r.bed", own, task=task_of(), force=True)
    assert own.read_bytes() == genome.read_bytes()


def test_center_reads_the_middle(predict_on, probability, genome_sequences):
    rows = predict_on("chr1\t1000\t1130\tx\t0\t-\nchr1\t1000\t1020\tx\t0\t+\n", "--fit", "center")
    chr1 = genome_sequences["chr1"]
    wanted = probability(reverse_complement(chr1[1035:1095]), chr1[980:1040])
    np.testing.assert_allclose([row["score"] for row in rows], wanted, atol=1e-4)


def test_tss_reads_round_the_five_prime_end(predict_on, probability, genome_sequences):
    bed = "chr1\t1000\t3000\tx\t0\t+\nchr1\t1000\t3000\tx\t0\t-\nchr1\t10\t11\tx\t0\t+\n"
    rows = predict_on(bed, "--fit", "tss:-20,+40")
    chr1 = genome_sequences["chr1"]
    windows = [chr1[980:1040], reverse_complement(chr1[2960:3020]), chr1[0:50]]
    np.testing.assert_allclose([row["score"] for row in rows], probability(*windows), atol=1e-4)


def test_a_window_beyond_the_contig_has_no_bases(predict_on):
    """chr3 ends at 200; of the second window 10 bases are left, of the third 3."""
    bed = "".join(f"chr3\t{start}\t{start + 1}\tx\t0\t+\n" for start in (170, 140, 147))
    rows = predict_on(bed, "--fit", "tss:+50,+100")
    assert [row["note"] for row in rows] == ["out_of_bounds", ".", "too_short"]


def test_a_task_stores_its_own_way(predict_on, probability, genome_sequences, task_of):
    task = task_of("binary", fit="center", combine="max", rc="none")
    bed = "chr1\t1000\t1130\n"
    (row,) = predict_on(bed, task=task)
    assert row["score"] == pytest.approx(
        probability(genome_sequences["chr1"][1035:1095])[0], abs=1e-4
    )
    (row,) = predict_on(bed, "--fit", "tile", task=task)
    starts = [1000, 1030, 1060, 1070]
    windows = [genome_sequences["chr1"][s : s + L] for s in starts]
    assert row["score"] == pytest.approx(probability(*windows).max(), abs=1e-4)


def test_windows_without_a_base_but_n_do_not_count(predict_on, probability, genome_sequences):
    """chr2 is N from 1000 to 1700: of the windows of a region, those that hold bases count."""
    rows = predict_on("chr2\t940\t1120\tpart\nchr2\t1100\t1300\tnone\nchr2\t1690\t1720\tsome\n")
    chr2 = genome_sequences["chr2"]
    part = probability(chr2[940:1000], chr2[970:1030]).mean()
    assert rows[0]["score"] == pytest.approx(part, abs=1e-4)
    assert (rows[1]["label"], rows[1]["score"], rows[1]["note"]) == ("NA", "NA", "no_valid_kmer")
    assert rows[2]["score"] == pytest.approx(probability(chr2[1675:1735])[0], abs=1e-4)


def test_soft_masked_bases_are_bases(predict_on, probability, genome_sequences):
    (row,) = predict_on("chr2\t1800\t1860\n")
    window = genome_sequences["chr2"][1800:1860]
    assert window.islower()
    assert row["score"] == pytest.approx(probability(window.upper())[0], abs=1e-4)


def test_sequences_are_scored_as_they_are(predict_on, probability):
    """A record shorter than L whole, one of L, and a longer one tiled; the strand is its own."""
    long = random_bases(100, 5)
    text = f">a some words\n{long[:20]}\n>b\n{long[:60].lower()}\n>c\n{long}\n"
    rows = predict_on(text, source="in.fa")
    tiles = [long[0:60], long[30:90], long[40:100]]
    a, b, *c = probability(long[:20], long[:60], *tiles)
    np.testing.assert_allclose([row["score"] for row in rows], [a, b, np.mean(c)], atol=1e-4)
    assert [(r["name"], r["start"], r["end"]) for r in rows] == [
        ("a", "0", "20"),
        ("b", "0", "60"),
        ("c", "0", "100"),
    ]
    rows = predict_on(text, "--combine", "tiles", source="in.fa")
    assert [(r["name"], r["start"], r["end"]) for r in rows[2:]] == [
        ("c", "0", "60"),
        ("c", "30", "90"),
        ("c", "40", "100"),
    ]
    np.testing.assert_allclose([row["score"] for row in rows], [a, b, *c], atol=1e-4)


def test_rc_average_is_the_mean_of_both_strands_logits(predict_on, genome_sequences, task_of):
    task = task_of("multiclass", temperature=1.5)
    scorer = load_scorer(find_task(task), device="cpu", precision="fp32")
    window = genome_sequences["chr1"][300:360]
    bases = [
        np.frombuffer(w.encode(), dtype=np.uint8) for w in (window, reverse_complement(window))
    ]
    logits = np.mean(score_sequences(scorer, bases, raw=True), axis=0) / 1.5
    wanted = np.exp(logits) / np.exp(logits).sum()
    rows = predict_on(
        "chr1\t300\t360\ta\t0\t+\nchr1\t300\t360\tb\t0\t-\n",
        "--rc", "average", "--probabilities", task=task,
    )  # fmt: skip
    for row in rows:
        got = [row[f"p_{name}"] for name in CLASSES["multiclass"]]
        np.testing.assert_allclose(got, wanted, atol=1e-4)
        assert row["label"] == CLASSES["multiclass"][wanted.argmax()]


@pytest.fixture
def scored_sequences(monkeypatch):
    """What the tokenizer was given, as text."""
    seen = []
    whole = KmerTokens.encode

    def encode(self, bases):
        seen.append(bases.tobytes().decode())
        return whole(self, bases)

    monkeypatch.setattr(KmerTokens, "encode", encode)
    return seen


def records(text: str) -> list[str]:
    return ["".join(part.split("\n")[1:]) for part in text.split(">")[1:]]


@pytest.mark.parametrize(("name", "fit"), [("getfasta", "tile"), ("getfasta_tss", "tss:-20,+40")])
def test_the_sequences_scored_are_those_of_bedtools_getfasta(
    name, fit, scored_sequences, run, task_of, tmp_path
):
    """Recorded from bedtools 2.30.0 on a genome generated from a seed:

    bedtools getfasta -s -nameOnly -fi getfasta_genome.fa -bed getfasta.bed
    bedtools slop -s -l 20 -r 39 -i getfasta_tss.bed -g sizes | bedtools getfasta -s ... -bed -
    """
    genome = shutil.copy(GOLDEN / "getfasta_genome.fa", tmp_path)
    bed = GOLDEN / f"{name}.bed"
    result = run("predict", bed, "--task", task_of(), "--genome", genome, "--fit", fit, *EXACT)
    assert result.code == 0, result.err
    assert scored_sequences == records((GOLDEN / f"{name}.fa").read_text())


@pytest.mark.skipif(shutil.which("bedtools") is None, reason="bedtools is not installed")
def test_the_sequences_scored_are_those_of_bedtools_at_hand(
    scored_sequences, run, task_of, genome, genome_sequences, tmp_path
):
    rng = np.random.default_rng(3)
    lines = []
    for i in range(60):
        contig = str(rng.choice(list(genome_sequences)))
        start = int(rng.integers(0, len(genome_sequences[contig]) - L + 1))
        if "N" * 50 not in genome_sequences[contig][start : start + L]:
            lines.append(f"{contig}\t{start}\t{start + L}\tr{i}\t0\t{'+-'[i % 2]}\n")
    (tmp_path / "r.bed").write_text("".join(lines))
    fasta = shutil.copy(genome, tmp_path / "g.fa")
    command = ["bedtools", "getfasta", "-s", "-fi", fasta, "-bed", tmp_path / "r.bed"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = run("predict", tmp_path / "r.bed", "--task", task_of(), "--genome", fasta, *EXACT)
    assert result.code == 0, result.err
    assert scored_sequences == records(made)


# What is written


@pytest.fixture(scope="session")
def golden_model(tiny_model, tmp_path_factory) -> Path:
    """``tiny_model`` with weights that numpy drew: the same whatever torch is installed."""
    path = tmp_path_factory.mktemp("golden") / "model"
    shutil.copytree(tiny_model, path)
    rng = np.random.default_rng(7)
    weights = load_file(path / "model.safetensors")
    for name in sorted(weights):
        drawn = rng.normal(size=weights[name].shape) * 0.1
        norm = name.endswith("LayerNorm.weight")
        weights[name] = (np.ones(drawn.shape) if norm else drawn).astype("f4")
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


INPUTS = {
    "bed": "\n".join(
        [
            "track name=regions",
            "chr1\t120\t180\tgene A\t960\t+\t120\t180\t255,0,0",
            "chr1\t007\t50\t.\t.\t-\t\t50\t0",
            "chr2\t1100\t1200\tonly N\t0\t+\t0\t0\t0",
            "chr9\t0\t10\tunknown\t0\t.\t0\t0\t0",
            "chr3\t150\t201\tpast the end\t0\t.\t0\t0\t0",
            "chr1\t2000\t2150\tlong\t0.5\t-\t0\t0\t0",
        ]
    ),
    "fasta": "\n".join(
        [
            f">first one\n{random_bases(60, 1)}",
            f">short\n{random_bases(30, 2).lower()}",
            ">n\n" + "N" * 60,
            ">tiny\nACGT",
            f">long|x\n{random_bases(100, 3)}",
        ]
    ),
}
CASES = {
    "binary": ("--probabilities",),
    "binary tiles": ("--combine", "tiles", "--no-provenance"),
    "multiclass": ("--probabilities", "--rc", "average", "--no-provenance"),
    "multilabel": ("--no-provenance", "--combine", "max"),
    "regression": ("--no-provenance", "--fit", "center"),
    "per-base": ("--no-provenance", "--no-header"),
}


@pytest.mark.parametrize("source", ["bed", "fasta"])
@pytest.mark.parametrize("format", ["bed", "tsv", "jsonl"])
def test_the_output_is_as_the_golden_file(
    format, source, golden_model, genome, run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(genome, "genome.fa")
    Path(f"in.{source}").write_text(INPUTS[source] + "\n")
    parts = []
    for case, options in CASES.items():
        kind = case.split()[0]
        names = {"class_names": ("not, yet", "yes")} if kind == "binary" else {}
        task = Path("tasks", kind)
        if not task.exists():
            make_task(task, golden_model, kind, **names)
        args = ["predict", f"in.{source}", "--task", task, "--format", format, *options]
        args += ["--genome", "genome.fa"] if source == "bed" else []
        monkeypatch.setattr(sys, "argv", ["dnatk", *map(str, args)])
        result = run(*args, *EXACT)
        assert result.code == 0, result.err
        parts.append(f"== {case}\n{result.out}\n-- stderr\n{without_pace(result.err)}")
    text = re.sub(r"(sha256=)[0-9a-f]{64}", r"\1...", "".join(parts))
    text = text.replace(f"version={dnatk.__version__}", "version=0.0")
    golden = GOLDEN / f"predict_{source}.{format}.txt"
    if os.environ.get("DNATK_WRITE_GOLDEN"):
        golden.write_text(text, "utf-8")
    same_but_for_rounding(text, golden.read_text("utf-8"))


def same_but_for_rounding(text: str, golden: str) -> None:
    """Equal, and numbers with decimals equal to 2e-4: sums differ from CPU to CPU."""
    number = re.compile(r"(?<![\w.])-?\d+\.\d+(?![\w.])")
    assert number.sub("#", text) == number.sub("#", golden)
    values, wanted = (np.array(number.findall(t), dtype=float) for t in (text, golden))
    np.testing.assert_allclose(values, wanted, atol=2e-4, rtol=2e-4)


def test_batches_and_order_do_not_change_a_byte(genome, genome_sequences, task_of, tmp_path):
    """fp32: the same bytes. bf16: within 0.01 in other batches, and within 0.05 of fp32."""
    rng = np.random.default_rng(11)
    rows = []
    for i in range(40):
        contig = str(rng.choice(["chr1", "chr2"]))
        start = int(rng.integers(0, len(genome_sequences[contig]) - 200))
        length = int(rng.integers(1, 200))
        rows.append(f"{contig}\t{start}\t{start + length}\tr{i}\t0\t{'+-.'[i % 3]}")
    shuffled = [rows[i] for i in rng.permutation(len(rows))]

    def lines(rows, precision, batch_tokens=None):
        (tmp_path / "r.bed").write_text("\n".join(rows) + "\n")
        stream = io.StringIO()
        options = PredictOptions(
            device="cpu", precision=precision, batch_tokens=batch_tokens, provenance=False,
            header=False, probabilities=True,
        )  # fmt: skip
        predict(tmp_path / "r.bed", stream, task=task_of(), genome=genome, options=options)
        found = stream.getvalue().splitlines()
        assert [line.split("\t")[:6] for line in found] == [row.split("\t") for row in rows]
        return found

    exact = lines(rows, "fp32")
    for batch_tokens in (1, 500, 100_000):
        assert lines(rows, "fp32", batch_tokens) == exact
    assert sorted(lines(shuffled, "fp32")) == sorted(exact)
    found = exact, lines(rows, "bf16", 500), lines(shuffled, "bf16", 3000)
    scores = [[line.split("\t")[7] for line in sorted(each)] for each in found]
    exact, half, other = (
        np.array([s.replace("NA", "nan") for s in each], float) for each in scores
    )
    np.testing.assert_allclose(half, exact, atol=0.05)
    np.testing.assert_allclose(other, half, atol=0.01)


def test_hdf5_is_read_back(run, tmp_path, genome, task_of, genome_sequences):
    task = task_of("multiclass", pool="all")
    (tmp_path / "r.bed").write_text(
        "chr1\t100\t160\tfirst\t0\t-\nchr9\t0\t9\tlost\t0\t+\nchr1\t1000\t1130\tlong\t0\t+\n"
    )
    out = tmp_path / "p.h5"
    result = run(
        "predict", tmp_path / "r.bed", "--task", task, "--genome", genome, "--h5", out,
        "--embeddings", "--probabilities", *EXACT,
    )  # fmt: skip
    assert result.code == 0, result.err
    last = result.err.splitlines()[-1]
    assert without_pace(last) == "stdout: 3 rows, 1 NA (unknown contig)"
    frame, vectors = dnatk.read_predictions(out)
    rows = table(result.out)
    assert frame["name"].tolist() == ["first", "lost", "long"]
    assert frame["strand"].tolist() == ["-", "+", "+"]
    assert frame["label"].tolist() == [row["label"] for row in rows]
    for column in ("score", *(f"p_{name}" for name in "abc")):
        wanted = [np.nan if row[column] == "NA" else row[column] for row in rows]
        np.testing.assert_allclose(frame[column], wanted, atol=6e-5)
    attributes = {
        "task": "multiclass",
        "length": 60,
        "fit": "tile",
        "combine": "mean",
        "rc": "none",
    }
    assert attributes.items() <= frame.attrs.items()
    # What the head saw: mean, max and [CLS] side by side; of a tiled region the mean.
    head = load_file(task / "head.safetensors")
    assert vectors.shape == (3, 192)
    assert np.isnan(vectors[1]).all()
    logits = vectors[0].astype("f4") @ head["out.weight"].T + head["out.bias"]
    wanted = np.exp(logits - logits.max())
    got = [rows[0][f"p_{name}"] for name in "abc"]
    np.testing.assert_allclose(got, wanted / wanted.sum(), atol=0.01)
    (tmp_path / "r.bed").write_text("chr1\t1000\t1130\n")
    run(
        "predict", tmp_path / "r.bed", "--task", task, "--genome", genome, "--h5", out,
        "--embeddings", "--force", "--combine", "tiles", *EXACT,
    )  # fmt: skip
    tiles = dnatk.read_predictions(out)[1]
    assert len(tiles) == 4
    np.testing.assert_allclose(tiles.mean(axis=0), vectors[2], atol=2e-3)


def test_hdf5_of_sequences(run, tmp_path, task_of):
    write_fasta(
        tmp_path / "s.fa", {"a": random_bases(50, 1), "b": "NNNN", "c": random_bases(99, 2)}
    )
    out = tmp_path / "p.h5"
    result = run("predict", tmp_path / "s.fa", "--task", task_of("regression"), "--h5", out, *EXACT)
    assert result.code == 0, result.err
    frame, vectors = dnatk.read_predictions(out)
    rows = table(result.out)
    assert vectors is None
    assert frame["contig"].tolist() == ["a", "b", "c"]
    assert frame["end"].tolist() == [50, 4, 99]
    assert frame["label"].tolist() == [".", "NA", "."]
    wanted = [np.nan if r["score"] == "NA" else float(r["score"]) for r in rows]
    np.testing.assert_allclose(frame["value_height"], wanted, rtol=1e-5)
    np.testing.assert_allclose(frame["score"], wanted, rtol=1e-5)


@pytest.mark.parametrize("names", [("scored.out", "vectors.out"), ("scored", "vectors")])
def test_table_and_hdf5_may_end_alike(names, run, tmp_path, task_of):
    """Both wait in the same directory until they are whole."""
    write_fasta(tmp_path / "s.fa", {"a": random_bases(60, 1), "b": random_bases(60, 2)})
    out, h5 = (tmp_path / name for name in names)
    args = ("predict", tmp_path / "s.fa", "--task", task_of(), "-o", out, "--h5", h5, *EXACT)
    assert run(*args).code == 0
    frame, _ = dnatk.read_predictions(h5)
    assert frame["contig"].tolist() == [row["name"] for row in table(out.read_text())] == ["a", "b"]


def test_a_finished_table_that_says_nothing_of_its_run_is_told_of(run, tmp_path, task_of):
    write_fasta(tmp_path / "s.fa", {"a": random_bases(60, 1)})
    out = tmp_path / "o.jsonl"
    args = ("predict", tmp_path / "s.fa", "--task", task_of(), "-o", out, "--format", "jsonl")
    assert run(*args, *EXACT).code == 0
    before = out.read_text()
    result = run(*args, *EXACT, "--resume")
    assert result.code == 0
    assert f"{out}: is there already and is left as it is" in result.err
    assert out.read_text() == before
    result = run(*args[:-3], tmp_path / "o.tsv", *EXACT)
    assert result.code == 0
    assert "is there already" not in run(*args[:-3], tmp_path / "o.tsv", *EXACT, "--resume").err


@pytest.mark.parametrize("option", ["-o", "--h5", "--report"])
@pytest.mark.parametrize("what", ["bed", "genome"])
def test_no_force_replaces_what_is_read(option, what, run, tmp_path, genome, task_of):
    paths = {"bed": tmp_path / "in.bed", "genome": tmp_path / "g.fa"}
    paths["genome"].write_bytes(genome.read_bytes())
    paths["bed"].write_text("chr1\t0\t60\tx\t0\t+\n")
    before = paths[what].read_bytes()
    more = () if option == "-o" else ("-o", tmp_path / "table")
    result = run(
        "predict", paths["bed"], "--task", task_of(), "--genome", paths["genome"], *more,
        option, tmp_path / "." / paths[what].name, "--force", *EXACT,
    )  # fmt: skip
    assert result.code == 1
    assert result.err == f"dnatk: error: {paths[what]}: is what is read (name another output)\n"
    assert paths[what].read_bytes() == before


def test_a_finished_file_gives_stdout_no_rows_and_gets_no_vectors(run, tmp_path, task_of):
    write_fasta(tmp_path / "s.fa", {"a": random_bases(60, 1), "b": random_bases(60, 2)})
    h5 = tmp_path / "p.h5"
    args = ("predict", tmp_path / "s.fa", "--task", task_of(), "--h5", h5, *EXACT)
    assert run(*args).code == 0
    result = run(*args, "--resume")
    assert (result.code, result.out) == (0, "")
    assert result.err == f"{h5}: 2 rows, 2 of them made before, none to stdout\n"
    result = run(*args, "--resume", "--embeddings")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"dnatk: error: {h5}: is finished, but with embeddings False, not True "
        "(name another output, or --force overwrites it)\n"
    )


def test_what_no_file_keeps_is_refused(run, tmp_path, task_of):
    write_fasta(tmp_path / "s.fa", {"a": random_bases(60, 1)})
    task = task_of()
    result = run("predict", tmp_path / "s.fa", "--task", task, "--resume", *EXACT)
    assert result.code == 1
    assert result.err == (
        "dnatk: error: nothing can be resumed: of what goes to a stream alone no row is kept "
        "(write to a file, with -o or --h5)\n"
    )
    options = dnatk.PredictOptions(embeddings=True, device="cpu")
    with pytest.raises(InputError, match="embeddings go into an HDF5 file"):
        dnatk.predict(tmp_path / "s.fa", tmp_path / "o.tsv", task=task, options=options)
    assert not (tmp_path / "o.tsv").exists()


def test_a_run_that_read_strands_otherwise_is_not_resumed(
    run, tmp_path, genome, task_of, monkeypatch
):
    def stop(*_):
        raise KeyboardInterrupt

    (tmp_path / "r.bed").write_text("chr1\t100\t200\tr\t0\t.\nchr1\t300\t400\tr\t0\t+\n")
    monkeypatch.setattr("dnatk.inference.predict_sink.Sink.publish", stop)
    words = ("predict", tmp_path / "r.bed", "--task", task_of(stranded=True), "--genome", genome)
    out = ("-o", tmp_path / "o.bed", *EXACT)
    assert run(*words, *out).code == 130
    monkeypatch.undo()
    result = run(*words, *out, "--resume", "--ignore-strand")
    assert result.code == 1
    assert "ignore_strand" in result.err
    assert run(*words, *out, "--resume").code == 0


def test_a_finished_file_that_is_damaged_is_told(run, tmp_path, task_of):
    write_fasta(tmp_path / "s.fa", {"a": random_bases(60, 1)})
    h5 = tmp_path / "p.h5"
    args = ("predict", tmp_path / "s.fa", "--task", task_of(), "--h5", h5, *EXACT)
    assert run(*args).code == 0
    with h5py.File(h5, "a") as file:
        del file["region/start"]
    result = run(*args, "--resume")
    assert (result.code, result.out) == (1, "")
    assert result.err == (f"dnatk: error: {h5}: is a damaged HDF5 file (--force overwrites it)\n")


def test_a_file_is_written_whole_or_not_at_all(predict_on, tmp_path):
    out = tmp_path / "out.bed"
    result = predict_on("chr1\t0\t60\nchr9\t0\t60\n", "-o", out, "--on-error", "fail", code=1)
    assert not out.exists()
    assert sorted(p.name for p in tmp_path.iterdir() if "partial" in p.name) == []
    assert result.out == ""


def test_on_a_file_stderr_says_what_became_of_the_rows(run, tmp_path, genome, task_of):
    (tmp_path / "r.bed").write_text("chr1\t0\t60\nchr9\t0\t60\n")
    out = tmp_path / "out.bed"
    args = ("predict", tmp_path / "r.bed", "--task", task_of(), "--genome", genome, "-o", out)
    result = run(*args, *EXACT)
    assert (result.code, result.out) == (0, "")
    warning, summary = result.err.splitlines()
    assert warning.startswith(f"dnatk: {tmp_path}/r.bed:2: no contig 'chr9' in {genome}")
    assert without_pace(summary) == f"{out}: 2 rows, 1 NA (unknown contig)"
    before = out.read_bytes()
    again = run(*args, *EXACT)
    assert (again.code, out.read_bytes()) == (1, before)
    assert again.err == f"dnatk: error: {out}: exists already (--force overwrites it)\n"
    assert run("-q", *args, *EXACT, "--force").err == ""
    assert out.read_bytes().count(b"\n") == before.count(b"\n")


def test_no_header_and_no_provenance_leave_rows_alone(predict_on, run, tmp_path, genome, task_of):
    (tmp_path / "r.bed").write_text("chr1\t0\t60\n")
    args = ("predict", tmp_path / "r.bed", "--task", task_of(), "--genome", genome, *EXACT)
    whole = run(*args).out.splitlines()
    assert [line[:2] for line in whole] == ["##"] * (len(whole) - 2) + ["#c", "ch"]
    keys = [line.split("=")[0].split()[1] for line in whole[:-2]]
    wanted = ["version", "command", "task", "task_sha256", "trunk_sha256", "genome", "input"]
    assert keys == wanted
    assert run(*args, "--no-provenance").out.splitlines() == whole[-2:]
    assert run(*args, "--no-provenance", "--no-header").out.splitlines() == whole[-1:]
    assert run(*args).out == run(*args).out


# What cannot be scored


BAD = {
    "chr9\t0\t60\tx\t0\t+": "unknown_contig",
    "chr3\t150\t201\tx\t0\t+": "out_of_bounds",
    "chr2\t1100\t1200\tx\t0\t+": "no_valid_kmer",
    "chr1\t0\t60\tx\t0\t.": "no_strand",
}


def test_every_row_in_is_a_row_out(predict_on, task_of):
    good = "chr1\t0\t60\tx\t0\t+"
    lines = [line for bad in BAD for line in (bad, good)]
    rows = predict_on("\n".join(lines) + "\n", task=task_of("binary", stranded=True))
    wanted = [note for bad in BAD.values() for note in (bad, ".")]
    assert [row["note"] for row in rows] == wanted
    for row in rows[::2]:
        assert (row["label"], row["score"]) == ("NA", "NA")
    assert len({row["score"] for row in rows[1::2]}) == 1


FAILURES = {
    "chr9\t0\t60\tx\t0\t+": "no contig 'chr9' in {genome}",
    "1\t0\t60\tx\t0\t+": "no contig '1' in {genome} (did you mean 'chr1'? ",
    "I\t0\t60\tx\t0\t+": "no contig 'I' in {genome} (did you mean 'chr1'? ",
    "chr3\t150\t201\tx\t0\t+": "chr3:150-201 (0-based) is outside the contig of 200 bases",
    "chr2\t1100\t1200\tx\t0\t+": "chr2:1100-1200 cannot be scored: no valid kmer "
    "(--on-error na writes an NA row instead)",
    "chr1\t0\t60\tx\t0\t.": "has no strand, and the task reads strands "
    "(give + or - in column 6, or --ignore-strand to read forward)",
}


@pytest.mark.parametrize("line", FAILURES)
def test_fail_stops_at_the_first_and_names_its_line(line, predict_on, task_of, genome, tmp_path):
    text = f"chr1\t0\t60\tx\t0\t+\n{line}\n"
    task = task_of("binary", stranded=True)
    result = predict_on(text, "--on-error", "fail", task=task, code=1)
    message = FAILURES[line].format(genome=genome)
    assert result.err.startswith(f"dnatk: error: {tmp_path}/in.bed:2: {message}"), result.err
    assert result.err.count("\n") == 1


def test_a_strand_missing_late_stops_a_run_before_its_first_row(predict_on, task_of, tmp_path):
    text = "chr1\t0\t60\tx\t0\t+\n" * 500 + "chr1\t0\t60\tx\t0\t.\n"
    task = task_of("binary", stranded=True)
    result = predict_on(text, "--on-error", "fail", task=task, code=1)
    assert f"{tmp_path}/in.bed:501: has no strand" in result.err
    assert result.out == ""


def test_na_rows_name_an_alias_of_the_contig(run, tmp_path, genome, task_of):
    """All rows NA for want of a "chr" is a mistake that should not go unseen."""
    (tmp_path / "r.bed").write_text("1\t0\t60\n2\t0\t60\n")
    result = run("predict", tmp_path / "r.bed", "--task", task_of(), "--genome", genome, *EXACT)
    assert result.code == 0
    warning, summary = result.err.splitlines()
    assert warning.startswith(f"dnatk: {tmp_path}/r.bed:1: no contig '1' in {genome}")
    assert "did you mean 'chr1'?" in warning
    assert without_pace(summary) == "stdout: 2 rows, 2 NA (unknown contig)"


def test_a_stranded_task_needs_a_strand_column(predict_on, task_of, tmp_path):
    task = task_of("binary", stranded=True)
    result = predict_on("chr1\t0\t60\tname\n", task=task, code=1)
    assert result.err == (
        f"dnatk: error: {tmp_path}/in.bed:1: has no strand column, and the task reads strands "
        "(give + or - in column 6, or --ignore-strand to read forward)\n"
    )
    for option in (("--ignore-strand",), ("--rc", "average")):
        (row,) = predict_on("chr1\t0\t60\tname\n", *option, task=task)
        assert row["note"] == "."
    result = predict_on("chr1\t0\t60\n", "--fit", "tss:-20,40", code=1)
    assert "has no strand column" in result.err


def test_a_five_prime_end_needs_a_strand_whatever_is_averaged(predict_on, task_of, tmp_path):
    """Both strands of a window give one score, but the strand says which window."""
    bed, fit = "chr1\t500\t560\tx\t0\t{}\n", ("--fit", "tss:-20,40")
    average = (*fit, "--rc", "average")
    result = predict_on("chr1\t500\t560\n", *average, code=1)
    assert "has no strand column" in result.err
    (row,) = predict_on(bed.format("."), *average)
    assert row["note"] == "no_strand"
    scores = [predict_on(bed.format(s), *average)[0]["score"] for s in "+-"]
    assert scores[0] != scores[1]
    (row,) = predict_on(bed.format("."), *average, "--ignore-strand")
    assert (row["note"], row["score"]) == (".", scores[0])


def test_a_shorter_line_has_no_strand(predict_on, task_of, tmp_path):
    """Where the first has one: it stops no run that has written rows already."""
    task = task_of("binary", stranded=True)
    text = "chr1\t0\t60\tx\t0\t+\nchr1\t0\t60\ty\nchr1\t0\t60\tz\t0\t-\n"
    assert [row["note"] for row in predict_on(text, task=task)] == [".", "no_strand", "."]
    result = predict_on(text, "--on-error", "fail", task=task, code=1)
    said = f"dnatk: error: {tmp_path}/in.bed:2: has no strand, and the task reads strands"
    assert result.err.startswith(said), result.err


def test_records_that_cannot_be_scored(predict_on, tmp_path):
    text = f">a\n{'N' * 60}\n>b\nACGTA\n>c\n\n>d\n{random_bases(60, 1)}\n"
    rows = predict_on(text, source="in.fa")
    assert [row["note"] for row in rows] == ["no_valid_kmer", "too_short", "too_short", "."]
    result = predict_on(text, "--on-error", "fail", source="in.fa", code=1)
    said = f"dnatk: error: {tmp_path}/in.fa: a:0-60 cannot be scored: no valid kmer"
    assert result.err.startswith(said), result.err


def test_a_malformed_line_stops_before_anything_is_written(predict_on, tmp_path):
    result = predict_on("chr1\t0\t60\nchr1\t60\t50\n", code=1)
    assert result.err.startswith(f"dnatk: error: {tmp_path}/in.bed:2: end (50) <= start (60)")
    assert result.out == ""


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--fit", "tss:-250,+50"), 1, "the fit 'tss:-250,+50' is 300 bases, the task reads 60"),
        (("--fit", "middle"), 2, "cannot read the fit 'middle' (write tile, center or tss:-250"),
        (("--embeddings",), 2, "--embeddings go into the file of --h5."),
        (("--h5", "-"), 2, "HDF5 cannot go to stdout; name a file with --h5."),
        (("--combine", "median"), 2, "'median' is not one of 'mean', 'max', 'tiles'"),
        (("--device", "cuda:77"), 1, "device 'cuda:77' is not here"),
        (("-o", "{here}/x", "--h5", "{here}/x"), 1, "x: cannot be both the table and the HDF5"),
        (
            ("-o", "{here}/x", "--h5", "{here}/../{here.name}/x"),
            1,
            "x: cannot be both the table and the HDF5",
        ),
    ],
)
def test_options_that_do_not_fit(options, code, message, predict_on, tmp_path):
    options = [option.format(here=tmp_path) for option in options]
    result = predict_on("chr1\t0\t60\n", *options, code=code)
    assert message in result.err
    assert result.out == ""


def test_options_that_a_kind_has_not(predict_on, tmp_path):
    result = predict_on("chr1\t0\t60\n", "--probabilities", kind="regression", code=1)
    assert "a regression task gives values, no probabilities" in result.err
    result = predict_on("chr1\t0\t60\n", "--h5", tmp_path / "x.h5", kind="per-base", code=1)
    assert "a per-base task gives runs of bases" in result.err
    for fit in ("tss:-20,+0", "tss:+0,+40", "tss:+310,+360"):
        result = predict_on("chr1\t600\t900\tx\t0\t+\n", "--fit", fit, kind="per-base", code=1)
        assert result.err == (
            f"dnatk: error: a per-base task labels the bases of regions, --fit {fit} reads others "
            "(tile or center)\n"
        )
    assert not list(tmp_path.glob("*.h5"))


def test_runs_of_bases_follow_the_strand(predict_on, genome_sequences, task_of):
    scorer = load_scorer(find_task(task_of("per-base")), device="cpu", precision="fp32")
    window = genome_sequences["chr1"][400:460]
    rows = predict_on("chr1\t410\t450\tx\t0\t+\nchr1\t410\t450\tx\t0\t-\n", kind="per-base")
    for row, text in zip(rows, (window, reverse_complement(window)), strict=True):
        (output,) = score_sequences(scorer, [np.frombuffer(text.encode(), dtype=np.uint8)])
        inside = output[10:50]  # the region without what it was extended by
        names = "".join(CLASSES["per-base"][i] for i in inside.argmax(axis=1))
        runs = re.findall(r"e+|i+", names)
        assert row["label"] == ",".join(f"{run[0]}:{len(run)}" for run in runs)
        assert row["score"] == pytest.approx(inside.max(axis=1).mean(), abs=1e-4)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_bases_of_a_tiled_region_take_the_mean_of_its_windows(
    strand, predict_on, genome_sequences, task_of
):
    """Windows and runs are those of the strand."""
    scorer = load_scorer(find_task(task_of("per-base")), device="cpu", precision="fp32")
    (row,) = predict_on(f"chr1\t1000\t1130\tx\t0\t{strand}\n", kind="per-base")
    total_BC, count_B = np.zeros((130, 2)), np.zeros((130, 1))
    text = genome_sequences["chr1"][1000:1130]
    if strand == "-":
        text = reverse_complement(text)
    for start in (0, 30, 60, 70):
        window = text[start : start + 60]
        (output,) = score_sequences(scorer, [np.frombuffer(window.encode(), dtype=np.uint8)])
        total_BC[start : start + 60] += output
        count_B[start : start + 60] += 1
    mean_BC = total_BC / count_B
    names = "".join(CLASSES["per-base"][i] for i in mean_BC.argmax(axis=1))
    runs = re.findall(r"e+|i+", names)
    assert row["label"] == ",".join(f"{run[0]}:{len(run)}" for run in runs)
    assert row["score"] == pytest.approx(mean_BC.max(axis=1).mean(), abs=1e-4)


# Genomes


def test_without_a_genome_all_ways_to_name_one_are_shown(run, tmp_path, task_of):
    (tmp_path / "r.bed").write_text("chr1\t0\t60\n")
    result = run("predict", tmp_path / "r.bed", "--task", task_of())
    assert (result.code, result.out) == (2, "")
    for way in ("--genome FILE", "export DNATK_GENOME=FILE", "dnatk config set genome FILE"):
        assert way in result.err
    assert "genomepy" in result.err


def test_the_genome_may_be_named_in_three_places(
    run, tmp_path, genome, task_of, monkeypatch, clean_home
):
    (tmp_path / "r.bed").write_text("chr1\t100\t160\n")
    args = ("predict", tmp_path / "r.bed", "--task", task_of(), *EXACT, "--no-provenance")
    wanted = run(*args, "--genome", genome).out
    other = write_fasta(tmp_path / "other.fa", {"chr1": random_bases(300, 77)})
    monkeypatch.chdir(genome.parent)
    result = run("config", "set", "genome", genome.name)
    assert result.code == 0, result.err
    monkeypatch.chdir(tmp_path)
    assert run(*args).out == wanted, "a relative path holds from everywhere"
    monkeypatch.setenv("DNATK_GENOME", str(other))
    assert run(*args).out not in ("", wanted), "the environment goes before the settings"
    assert run(*args, "--genome", genome).out == wanted, "the option goes before all"


def test_sequences_need_no_genome(run, tmp_path, task_of):
    write_fasta(tmp_path / "s.fa", {"a": random_bases(60, 1)})
    assert run("predict", tmp_path / "s.fa", "--task", task_of(), *EXACT).code == 0


# Streams


@pytest.fixture
def stdin(monkeypatch):
    """``stdin(text)``: what sys.stdin gives."""

    def call(text: str) -> None:
        stream = io.TextIOWrapper(io.BytesIO(text.encode()))
        monkeypatch.setattr(sys, "stdin", stream)

    return call


@pytest.mark.parametrize("source", ["bed", "fasta"])
def test_stdin_is_read_as_a_file_is(source, stdin, run, tmp_path, genome, task_of):
    (tmp_path / "in").write_text(INPUTS[source] + "\n")
    args = ("--task", task_of(), "--genome", genome, "--no-provenance", *EXACT)
    wanted = run("predict", tmp_path / "in", *args)
    stdin(INPUTS[source] + "\n")
    assert run("predict", "-", *args).out == wanted.out != ""


def test_a_file_called_as_stdin_takes_no_rows_of_it(
    stdin, run, tmp_path, genome, task_of, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    args = ("predict", "-", "--task", task_of(), "--genome", genome, "--no-provenance", *EXACT)
    stdin(INPUTS["bed"])
    wanted = run(*args).out
    Path("-").write_text("chr1\t0\t60\n")
    stdin(INPUTS["bed"])
    assert run(*args).out == wanted


def test_first_rows_come_while_the_input_is_still_open(
    genome, task_of, monkeypatch, genome_sequences
):
    """A pipe that stays open: with small batches a row comes once the next line is there."""
    read_end, write_end = os.pipe()
    rows, seen = [], threading.Event()

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            rows.append(text)
            return len(text)

        def flush(self) -> None:
            if len([row for row in rows if not row.startswith("#")]) >= 2:
                seen.set()

    def work() -> None:
        options = PredictOptions(device="cpu", precision="fp32", batch_tokens=1)
        predict("-", Stream(), task=task_of(), genome=genome, options=options)

    with os.fdopen(read_end) as handle, os.fdopen(write_end, "w") as pipe:
        monkeypatch.setattr(sys, "stdin", handle)
        thread = threading.Thread(target=work)
        thread.start()
        pipe.write("chr1\t0\t60\nchr1\t60\t120\nchr1\t120\t180\n")
        pipe.flush()
        early = seen.wait(30)
        pipe.write("chr1\t180\t240\n")
        pipe.close()
        thread.join(30)
    assert early
    assert len([row for row in rows if not row.startswith("#")]) == 4


def test_a_pipe_with_a_name_is_read_once(run, tmp_path, genome, task_of):
    """As of ``dnatk predict <(bedtools ...)``: nothing may be read ahead only to count it."""
    lines = [f"chr1\t{i}\t{i + 60}" for i in range(4000)]
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_text("\n".join(lines) + "\n"))
    writer.daemon = True
    writer.start()
    result = run(
        "predict", fifo, "--task", task_of(), "--genome", genome, *EXACT, "--fit", "center",
        "--no-provenance", "--no-header",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert [line.rsplit("\t", 3)[0] for line in result.out.splitlines()] == lines


def test_a_closed_stdout_is_quiet(tmp_path, genome, task_of):
    """dnatk predict ... | head, also where an HDF5 file is written beside it."""
    (tmp_path / "r.bed").write_text("".join(f"chr1\t{i}\t{i + 60}\n" for i in range(3000)))
    command = (
        f"{sys.executable} -m dnatk predict {tmp_path}/r.bed --task {task_of()} --genome {genome} "
        f"--fit center --batch-tokens 300 --h5 {tmp_path}/p.h5 --no-provenance "
        "| head -n 2; echo ${PIPESTATUS[0]}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    head, row, code = done.stdout.splitlines()
    assert head == "#chrom\tstart\tend\tlabel\tscore\tnote"
    assert row.startswith("chr1\t0\t60\t")
    assert (code, done.stderr) == ("0", "")
    assert not [p.name for p in tmp_path.iterdir() if p.name not in ("r.bed", "home")]


def test_a_task_that_is_not_there(run, tmp_path):
    (tmp_path / "r.bed").write_text("chr1\t0\t60\n")
    result = run("predict", tmp_path / "r.bed", "--task", "promotor")
    assert result.code == 1
    assert result.err.startswith("dnatk: error: no task 'promotor' (")
    assert result.err.count("\n") == 1


def test_the_library_says_what_an_option_may_be():
    with pytest.raises(InputError, match="combine must be one of mean, max, tiles"):
        PredictOptions(combine="median")


def test_jsonl_is_json(predict_on, run, tmp_path, genome, task_of):
    (tmp_path / "r.bed").write_text("chr1\t0\t60\tx\t3\t+\nchr9\t0\t60\ty\t.\t-\n")
    result = run(
        "predict", tmp_path / "r.bed", "--task", task_of("multilabel"), "--genome", genome,
        "--format", "jsonl", "--probabilities", *EXACT,
    )  # fmt: skip
    first, second = map(json.loads, result.out.splitlines())
    assert first["score"] == max(first[f"p_{name}"] for name in "xyz")
    assert (second["label"], second["score"], second["p_x"]) == (None, None, None)
    assert list(first) == list(second)
