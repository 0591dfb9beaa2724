"""Terminals: progress, closing lines, widths, colours, encodings."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from conftest import random_bases, without_pace, write_fasta, write_labelled
from terminals import read_terminal

import dnatk
from dnatk.cli import COMMANDS
from dnatk.cli.amounts import bases_in_words, seconds_in_words
from dnatk.cli.console import Measured, Pace
from dnatk.cli.tables import aligned
from dnatk.progress import NullProgress

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(command: list[str], columns: int, **environment: str) -> str:
    """What a command shows on a terminal of so many columns (stdout and stderr)."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    unset = ("COLUMNS", "LINES", "NO_COLOR")
    kept = {k: v for k, v in os.environ.items() if k not in unset}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower,
        env={**kept, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(follower)
    shown = read_terminal(leader)
    assert process.wait() == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


BAR = """
import time
from dnatk.cli.console import Console
with Console().progress() as progress:
    progress.start("embedding", 2000, "windows")
    progress.skip(500)
    for _ in range(3):
        time.sleep(0.06)
        progress.advance(400, "a note beside it")
    time.sleep(0.15)
"""


@pytest.mark.parametrize("columns", [40, 60, 100, 140])
def test_the_bar_fits_the_terminal(columns):
    shown = on_terminal([sys.executable, "-c", BAR], columns)
    frames = ESCAPE.sub("", shown).replace("\r", "\n").splitlines()
    assert max(map(len, frames)) <= columns
    last = frames[-1] or frames[-2]
    assert "embedding" in last
    assert "1700/2000" in last
    assert "left" in last, "300 units at the pace of 1200 in some tenths of a second"
    assert ("windows/s" in last, "a note beside it" in last) == (columns >= 100,) * 2


def test_no_color_and_dumb_terminals():
    coloured = re.compile(r"\x1b\[[0-9;]*(3[0-9]|38;)[0-9;]*m")
    assert coloured.search(on_terminal([sys.executable, "-c", BAR], 100))
    assert not coloured.search(on_terminal([sys.executable, "-c", BAR], 100, NO_COLOR="1"))
    assert on_terminal([sys.executable, "-c", BAR], 100, TERM="dumb") == ""


def test_a_bar_in_ascii():
    shown = on_terminal([sys.executable, "-c", BAR], 100, PYTHONIOENCODING="ascii")
    assert shown.isascii()
    assert "embedding" in shown


def test_rows_on_a_terminal_have_no_bar_among_them(genome, task_of, tmp_path):
    """It is drawn over and over on the line that they end at."""
    (tmp_path / "r.bed").write_text("chr1\t0\t300\tone\nchr2\t5\t65\ttwo\n")
    command = [
        sys.executable, "-m", "dnatk", "predict", tmp_path / "r.bed", "--genome", genome,
        "--task", task_of(), "--device", "cpu", "--no-provenance",
    ]  # fmt: skip
    shown = on_terminal(command, 100)
    assert not ESCAPE.search(shown)
    lines = shown.splitlines()
    assert [line.split("\t")[3] for line in lines[1:3]] == ["one", "two"]
    assert without_pace(lines[3]) == "stdout: 2 rows"
    assert "predicting" in on_terminal([*command, "-o", tmp_path / "o.bed"], 100)


class Clock:
    """Time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_is_of_late_and_falls_where_nothing_comes():
    clock = Clock()
    pace = Pace(window=60, clock=clock)
    assert pace.rate() is None
    assert pace.left(10) is None
    for _ in range(10):
        clock.now += 10
        pace.add(100)
    assert pace.rate() == pytest.approx(10)
    assert pace.left(500) == pytest.approx(50)
    for _ in range(10):  # five times slower since
        clock.now += 10
        pace.add(20)
    assert pace.rate() == pytest.approx(2)
    clock.now += 10  # nothing is overdue yet
    assert pace.rate() == pytest.approx(2)
    clock.now += 600
    assert pace.rate() < 0.5
    assert pace.left(None) is None


def test_long_steps_have_a_pace_too():
    clock = Clock()
    pace = Pace(window=60, clock=clock)
    for _ in range(5):
        clock.now += 200
        pace.add(1)
    assert pace.left(3) == pytest.approx(600)


def test_what_was_made_before_counts_neither_as_read_nor_as_pace(monkeypatch):
    clock = Clock()
    measured = Measured(NullProgress(), clock)
    assert measured.closing("o.h5: 3 rows") == "o.h5: 3 rows"
    measured.start("embedding", 10, "regions")
    measured.skip(7)
    clock.now = 12.3
    measured.advance(3)
    measured.read(1_537_500)
    assert measured.done == 3
    wanted = "o.h5: 10 rows; 1.5 Mb in 12.3 s (125 kb/s)"
    assert measured.closing("o.h5: 10 rows") == wanted
    assert without_pace(wanted) == "o.h5: 10 rows"
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert measured.closing("o.h5") == "o.h5; 1.5 Mb in 12.3 s (125 kb/s) by this process, of 4"


def test_amounts():
    lengths = 0, 812, 999, 1000, 12_345, 125_000, 999_700, 3_100_000_000
    assert [bases_in_words(n) for n in lengths] == [
        "0 bp", "812 bp", "999 bp", "1.0 kb", "12.3 kb", "125 kb", "1.0 Mb", "3.1 Gb",
    ]  # fmt: skip
    assert [seconds_in_words(s) for s in (0.4213, 9.999, 59.97, 245, 3599.6, 7980)] == [
        "0.42 s", "10.0 s", "1 min 00 s", "4 min 05 s", "1 h 00 min", "2 h 13 min",
    ]  # fmt: skip


class Recorder(NullProgress):
    """Counts, and breaks off after some units."""

    def __init__(self, until: int = 10**9) -> None:
        self.bases = self.advanced = self.skipped = 0
        self.until = until

    def advance(self, amount: int, note: str = "") -> None:
        self.advanced += amount
        if self.advanced >= self.until:
            raise KeyboardInterrupt

    def skip(self, amount: int) -> None:
        self.skipped += amount

    def read(self, bases: int) -> None:
        self.bases += bases


EXACT = {"device": "cpu", "precision": "fp32", "batch_tokens": 128}


@pytest.mark.parametrize("stride", [None, 20, 100])
def test_bases_of_a_genome_are_counted_once(tiny_model, tmp_path, stride):
    """However windows overlap; those of N alone are not counted."""
    lengths = {"a": 1000, "b": 37, "c": 301}
    bases = {name: random_bases(n, n) for name, n in lengths.items()}
    fasta = write_fasta(tmp_path / "g.fa", {**bases, "n": "N" * 64})
    options = dnatk.EmbedOptions(window=64, stride=stride, **EXACT)
    dnatk.embed(
        fasta, tmp_path / "o.h5", model=tiny_model, options=options, progress=(r := Recorder())
    )
    covered = sum(lengths.values())
    if stride == 100:
        sizes = [min(64, n - at) for n in lengths.values() for at in range(0, n, 100)]
        covered = sum(size for size in sizes if size >= 6)  # a base alone is no k-mer
    assert r.bases == covered


def test_bases_of_regions_are_counted(genome, tiny_model, task_of, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text(
        "chr1\t0\t1300\tlong\t0\t-\nchr1\t10\t70\tshort\t0\t+\nchr9\t0\t60\tlost\t0\t+\n"
    )
    options = dnatk.EmbedOptions(on_error="na", **EXACT)
    dnatk.embed(
        genome, tmp_path / "o.h5", bed=bed, model=tiny_model, options=options,
        progress=(r := Recorder()),
    )  # fmt: skip
    assert r.bases == 1360
    dnatk.predict(
        bed, tmp_path / "o.bed", task=task_of(), genome=genome,
        options=dnatk.PredictOptions(**EXACT), progress=(r := Recorder()),
    )  # fmt: skip
    assert r.bases == 1360, "windows of 60 bases, half a length apart"


def test_a_resumed_run_counts_what_it_does_itself(tiny_model, tmp_path):
    fasta = write_fasta(tmp_path / "g.fa", {"a": random_bases(16_000, 1)})
    options = dnatk.EmbedOptions(window=69, **EXACT)
    given = {"model": tiny_model, "options": options}
    first = Recorder(until=150)
    with pytest.raises(KeyboardInterrupt):
        dnatk.embed(fasta, tmp_path / "o.h5", **given, progress=first)
    again = Recorder()
    summary = dnatk.embed(fasta, tmp_path / "o.h5", **given, resume=True, progress=again)
    assert 0 < summary.kept < summary.rows
    assert again.skipped > 0
    assert again.skipped + again.advanced == summary.rows
    assert again.bases < 16_000
    assert again.bases == pytest.approx(16_000 * (1 - summary.kept / summary.rows), rel=0.02)


PACE = r"; [\d.]+ ..? in .* s \([\d.]+ ..?/s\)\n$"


def test_commands_close_with_what_they_measured(run, genome, tiny_model, task_of, tmp_path):
    made = run("embed", genome, "-o", tmp_path / "o.h5", "--model", tiny_model)
    assert re.search(r"o.h5: 16 rows, 1 window.*; 7.7 kb in .*/s\)\n$", made.err)
    again = run("embed", genome, "-o", tmp_path / "o.h5", "--model", tiny_model, "--resume")
    assert again.err.endswith("16 rows, 16 of them made before\n"), "nothing was measured"
    (tmp_path / "r.bed").write_text("chr1\t0\t300\n")
    task = ("--task", task_of(), "--genome", genome)
    assert re.fullmatch(f"stdout: 1 rows{PACE}", run("predict", tmp_path / "r.bed", *task).err)
    assert run("-q", "predict", tmp_path / "r.bed", *task).err == ""
    labelled = write_labelled(tmp_path / "t.csv", "binary", 20, 1)
    for more in ((), ("--json",)):
        said = run("evaluate", task_of(), labelled, "--resamples", "10", *more).err
        assert re.fullmatch(f"20 examples, 95 % bootstrap intervals{PACE}", said)


# ---------------------------------------------------------------- narrow terminals


@pytest.mark.parametrize("columns", [40, 60])
def test_help_is_no_wider_than_the_terminal(run, monkeypatch, columns):
    """But for examples, which are lines to copy, and for long lists of choices."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in COMMANDS:
        lines = run(name, "--help").out.splitlines()
        wide = [line for line in lines if len(line) > columns]
        assert not [line for line in wide if not re.match(r"    \S|  --\S+ \S+$", line)], wide
        text = " ".join(" ".join(lines).split())
        monkeypatch.delenv("COLUMNS")
        assert text.replace(" ", "") == "".join(run(name, "--help").out.split()), "no word is cut"
        monkeypatch.setenv("COLUMNS", str(columns))


ROWS = [("promoter", "300 bp", "Human promoters, against random ones"), ("tf", "101 bp", "Factors")]
HEADER = ("name", "length", "description")


def test_tables_on_narrow_terminals():
    full = aligned(HEADER, ROWS, right=("length",))
    assert aligned(HEADER, ROWS, right=("length",), width=80) == full
    assert aligned(HEADER, ROWS, right=("length",), width=30).splitlines() == [
        "name      length",
        "promoter  300 bp",
        "    Human promoters, against",
        "    random ones",
        "tf        101 bp",
        "    Factors",
    ]
    assert aligned(HEADER, ROWS, width=14).splitlines()[:5] == [
        "promoter", "  length", "       300 bp", "  description", "       Human",
    ]  # fmt: skip


def test_tasks_and_files_are_shown_within_the_terminal(run, genome, tiny_model, tmp_path):
    run("embed", genome, "-o", tmp_path / "o.h5", "--model", tiny_model)
    for arguments in (["tasks"], ["h5", "info", str(tmp_path / "o.h5")]):
        command = [sys.executable, "-m", "dnatk", *arguments]
        lines = on_terminal(command, 60).splitlines()
        # A digest and a path have no place to be broken.
        assert [line for line in lines if len(line) > 60 and " " in line.strip()] == []
        piped = run(*arguments).out
        assert "".join("".join(lines).split()) == "".join(piped.split()) or arguments == ["tasks"]


def test_a_pipe_gets_whole_lines(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = run("tasks").out.splitlines()
    assert lines[0].split() == ["name", "kind", "length", "measured", "origin", "description"]
    assert max(map(len, lines)) > 80


# ---------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "l1"}],
    ids=["C", "latin-1"],
)
def test_other_encodings_stop_nothing(environment, task_of, tmp_path):
    task = tmp_path / "task"
    task.symlink_to(task_of())
    card = task_of() / "README.md"
    card.write_text("# Größe → 1\n", "utf-8")
    wanted = ["# Größe → 1".encode(), "# Größe ? 1".encode("latin-1")]

    def shell(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "dnatk", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, env={**os.environ, **environment})

    try:
        shown = shell("tasks", "show", task)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.splitlines()[0] in wanted
        failed = shell("embed", "größe.fa", "-o", tmp_path / "o.h5")
        assert failed.returncode == 1
        assert b"no such file" in failed.stderr
        assert failed.stderr.count(b"\n") == 1
    finally:
        card.unlink()


# ---------------------------------------------------------------- machines


def test_a_stdout_that_is_closed_stops_nothing_but_what_needs_it(
    run, genome, task_of, tmp_path, monkeypatch
):
    """As some daemons start programs, and a shell by >&-."""

    def closed(*args: object) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", None)
            patch.setattr(sys, "__stdout__", None)
            result = run(*args)
            sys.stdout.close()  # what stood in for it
            assert result.out == ""
            return result.code, result.err

    (tmp_path / "r.bed").write_text("chr1\t0\t60\n")
    predict = ("-q", "predict", tmp_path / "r.bed", "--task", task_of(), "--genome", genome)
    h5, need = tmp_path / "o.h5", "stdout is closed; name a file with -o."
    assert closed(*predict, "-o", tmp_path / "o.bed") == (0, "")
    assert closed(*predict, "--h5", h5) == (0, "")
    assert (tmp_path / "o.bed").exists()
    assert h5.exists()
    assert closed("h5", "info", h5) == (0, "")
    assert closed("h5", "export", h5, "-o", tmp_path / "o.tsv")[0] == 0
    for args in (predict, ("h5", "export", h5)):
        code, said = closed(*args)
        assert (code, need in said) == (2, True), said


def test_facts_are_json_where_a_machine_reads(run, genome, tiny_model, task_of, tmp_path):
    shown = json.loads(run("tasks", "show", "promoter", "--json").out)
    (listed,) = (
        each for each in json.loads(run("tasks", "--json").out) if each["name"] == "promoter"
    )
    assert {name: shown[name] for name in listed} == listed
    assert (shown["origin"], shown["fit"], shown["model"]) == ("bundled", "tile", "dnatk-small")
    assert json.loads(run("tasks", "show", task_of(), "--json").out)["origin"] == "directory"
    path, bad = tmp_path / "o.h5", tmp_path / "bad.h5"
    run("embed", genome, "-o", path, "--model", tiny_model)
    bad.write_bytes(path.read_bytes()[:2000])
    result = run("h5", "verify", path, bad, "--json")
    good, damaged = map(json.loads, result.out.splitlines())
    assert (result.code, good) == (1, {"file": str(path), "rows": 16, "problems": []})
    assert damaged["problems"]


# ---------------------------------------------------------------- one program, and what was meant


def test_the_module_is_the_command(tmp_path):
    command = os.path.join(os.path.dirname(sys.executable), "dnatk")
    if not os.path.exists(command):
        pytest.skip("dnatk is not installed beside this Python")
    for arguments in ([], ["--version"], ["h5", "--help"], ["tasks", "show", "promotr"]):
        ways = ([command], [sys.executable, "-m", "dnatk"])
        one, two = (
            subprocess.run([*way, *arguments], capture_output=True, cwd=tmp_path) for way in ways
        )
        assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["h5", "inf"], "Did you mean 'info'?"),
        (["tasks", "shw"], "Did you mean 'show'?"),
        (["embed", "g.fa", "--layr", "1"], "'--layer'"),
        (["predict", "r.bed", "--task", "promotr"], "did you mean 'promoter'?"),
        (["embed", "g.fa", "--model", "dnatk-smal"], "did you mean 'dnatk-small'?"),
        (["embed", "g.fa", "--region", "1:1-9"], "did you mean 'chr1'?"),
        (["embed", "g.fa", "--region", "chrI:1-9"], "did you mean 'chr1'?"),
        (["evaluate", "promoter", "t.csv", "--label-column", "clas"], "did you mean 'class'?"),
        (
            ["evaluate", "promoter", "t.bed", "--genome", "g.fa", "--label-column", "clas"],
            "did you mean 'class'?",
        ),
    ],
)
def test_what_was_probably_meant(run, tmp_path, monkeypatch, arguments, hint):
    monkeypatch.chdir(tmp_path)
    write_fasta(tmp_path / "g.fa", {"chr1": random_bases(600, 1)})
    (tmp_path / "t.csv").write_text("sequence,class\nACGTACGTAC,1\n")
    (tmp_path / "t.bed").write_text("#chrom\tstart\tend\tclass\nchr1\t0\t300\t1\n")
    result = run(*arguments)
    assert result.code in (1, 2)
    assert hint in result.err
