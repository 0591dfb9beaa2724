"""Full disks, closed pipes, signals, changed inputs and damaged files: told in one line, nothing
lost."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import killing
import pytest
from conftest import make_model, make_task
from killing import (
    OUTPUTS,
    Input,
    assert_as_whole,
    assert_one_line,
    committed,
    content,
    content_of_table,
    partial,
    reference,
    rows_in,
)

from dnatk.output.hdf5 import create

processes, given, references = killing.processes, killing.given, killing.references

KEPT = 9


def slow(*values):
    """Of the cases of a test one that `pytest -m slow` runs: others of the kind run always."""
    return pytest.param(*values, marks=pytest.mark.slow)


NO_SPACE = "No space left on device"


def cut(processes, args, cwd: Path, parts: int = KEPT) -> None:
    """A run that was killed when it had so many parts."""
    cwd.mkdir(exist_ok=True)
    plan = {"site": "commit", "call": parts, "when": "after"}
    assert processes.run(args, cwd, kill=plan).code == -signal.SIGKILL


def until(condition, limit_s: float = 60.0):
    """What it gives as soon as that is true."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return value


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("kind", ["embed genome", "predict both", slow("predict stdout")])
def test_a_signal_ends_it_and_tells_how_to_go_on(
    processes, given, references, tmp_path, kind, number, code
):
    directory = partial(tmp_path, kind)
    process = processes.start(given.args(kind), tmp_path, slow=0.01)
    until(lambda: rows_in(directory))
    process.send(number)
    process.wait()
    assert process.code == code, process.err
    said = re.search(
        r"^dnatk: (\d+) rows are kept in (\S+): the same command with --resume goes on$",
        process.err,
        re.MULTILINE,
    )
    assert said, process.err
    assert (int(said[1]), said[2]) == (rows_in(directory), directory.name)
    others = process.err.replace(said[0], "").split("\n")
    assert [line for line in others if line] == ["dnatk: interrupted"] * (code == 130)
    done = processes.run([*given.args(kind), "--resume"], tmp_path)
    assert done.kept == int(said[1]) > 0
    assert_as_whole(tmp_path, kind, references(kind), done)


# Full disks


@pytest.fixture
def disk(tmp_path):
    """``disk(kind, free)``: a small disk of its own, and its ballast file."""
    if sys.platform != "linux":
        pytest.skip("no tmpfs")
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "dnatk-test", path],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def leave_free(disk: Path, size: int) -> Path:
    """Fill a disk but for ``size`` bytes."""
    ballast = disk / "ballast"
    with open(ballast, "wb") as file:
        state = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - size)
    return ballast


# Sizes at which different calls fail: opening, growing, writing and closing of a file.
FREE = [0, 8_192, 40_960, 90_112, 131_072, 196_608]


@pytest.mark.parametrize(
    "kind", ["embed genome", slow("embed tokens"), "predict table", slow("predict both")]
)
@pytest.mark.parametrize("moment", ["parts", "merge"])
def test_a_full_disk(processes, given, references, disk, kind, moment):
    cwd, args = disk / "run", given.args(kind)
    cwd.mkdir()
    if moment == "merge":
        site = "publish" if kind == "predict table" else "merge"
        plan = {"site": site, "call": 1, "when": "before"}
        assert processes.run(args, cwd, kill=plan).code == -signal.SIGKILL
        if kind == "predict table":
            (partial(cwd, kind) / "merged.txt").unlink()
    else:
        cut(processes, args, cwd, 4)
    kept = rows_in(partial(cwd, kind))
    # Parts may still fit into what is free for a while, then there is none.
    sizes = [0, 4096] if kind == "predict table" else FREE
    for free in sizes:
        ballast = leave_free(disk, free)
        done = processes.run([*args, "--resume"], cwd)
        assert_one_line(done, 1, NO_SPACE)
        assert re.search(r"^dnatk: \d+ rows are kept in ", done.err, re.MULTILINE)
        ballast.unlink()
        assert rows_in(partial(cwd, kind)) >= kept
    for name in OUTPUTS[kind]:
        assert not (cwd / name).exists()
    done = processes.run([*args, "--resume"], cwd)
    assert done.kept >= kept > 0
    assert_as_whole(cwd, kind, references(kind), done)


@pytest.mark.parametrize("kind", ["embed genome", "predict both"])
def test_a_disk_full_from_the_start(processes, given, references, disk, kind):
    cwd, args = disk / "run", given.args(kind)
    cwd.mkdir()
    ballast = leave_free(disk, 0)
    assert_one_line(processes.run(args, cwd), 1, NO_SPACE)
    assert not committed(partial(cwd, kind))
    ballast.unlink()
    assert_as_whole(cwd, kind, references(kind), processes.run([*args, "--resume"], cwd))


@pytest.mark.parametrize(
    ("kind", "most", "merging"),
    [
        ("embed genome", 300, False),
        slow("embed genome", 5_000, False),
        slow("embed genome", 100_000, False),
        ("embed tokens", 1_500_000, True),
        ("predict table", 300, False),
        ("predict table", 4_000, True),
        slow("predict both", 100_000, False),
        ("predict stdout", 20_000, False),
    ],
)
def test_a_limit_of_the_size_of_files(processes, given, references, tmp_path, kind, most, merging):
    args = given.args(kind)
    done = processes.run(args, tmp_path, fsize=most)
    # stdout is a file too, but that of "predict stdout" stays below.
    assert_one_line(done, 1, "File too large")
    parts = committed(partial(tmp_path, kind))
    assert bool(parts) == merging
    done = processes.run([*args, "--resume"], tmp_path)
    assert bool(done.kept) == merging
    assert_as_whole(tmp_path, kind, references(kind), done)


# Places that cannot be written


@pytest.mark.parametrize("kind", ["embed regions", "predict both"])
def test_a_directory_that_may_not_be_written(processes, given, references, tmp_path, kind):
    args = given.args(kind)
    tmp_path.chmod(0o555)
    assert_one_line(processes.run(args, tmp_path, plain=True), 1, "may not be written")
    tmp_path.chmod(0o755)
    directory = partial(tmp_path, kind)
    directory.mkdir(mode=0o555)
    for option in ((), ("--force",), ("--resume",)):
        done = processes.run([*args, *option], tmp_path, plain=True)
        assert_one_line(done, 1, f"{directory.name}: cannot be written: Permission denied")
    directory.chmod(0o755)
    cut(processes, args, tmp_path)
    before = snapshot(directory)
    for path in directory.iterdir():
        path.chmod(0o444)
    directory.chmod(0o555)
    for option in ("--force", "--resume"):
        done = processes.run([*args, option], tmp_path, plain=True)
        assert_one_line(done, 1, f"{directory.name}: cannot be written: Permission denied")
    assert snapshot(directory) == before
    directory.chmod(0o755)
    for path in directory.iterdir():
        path.chmod(0o644)
    done = processes.run([*args, "--resume"], tmp_path, plain=True)
    assert done.kept > 0
    assert_as_whole(tmp_path, kind, references(kind), done)


@pytest.mark.parametrize("kind", ["embed regions", "predict stdout"])
def test_other_things_in_its_place(processes, given, tmp_path, kind):
    args, directory = given.args(kind), partial(tmp_path, kind)
    directory.write_text("mine")
    for option in ((), ("--force",), ("--resume",)):
        done = processes.run([*args, *option], tmp_path)
        assert_one_line(done, 1, f"{directory.name}: is a file, no directory")
    assert directory.read_text() == "mine"
    directory.unlink()
    (tmp_path / "out.h5").mkdir()
    for option in ((), ("--force",), ("--resume",)):
        done = processes.run([*args, *option], tmp_path)
        assert_one_line(done, 1, "out.h5: is a directory")
    assert os.listdir(tmp_path) == ["out.h5"]


@pytest.mark.parametrize("kind", ["embed genome", slow("predict table"), "predict both"])
def test_the_directory_vanishes(processes, given, tmp_path, kind):
    cwd = tmp_path / "gone"
    cwd.mkdir()
    process = processes.start(given.args(kind), cwd, slow=0.01)
    until(lambda: rows_in(partial(cwd, kind)))
    until(lambda: not shutil.rmtree(cwd, ignore_errors=True) and not cwd.exists())
    assert_one_line(process.wait(), 1, "No such file or directory")
    assert os.listdir(tmp_path) == []


def test_the_directory_vanishes_while_a_file_is_made_in_it(tmp_path, monkeypatch):
    """Between the open and the stat of HDF5, whose own text names no cause."""
    gone = tmp_path / "gone"
    gone.mkdir()

    def file(*_, **__):
        shutil.rmtree(gone)
        raise OSError("Unable to synchronously create file (can't retrieve stat info for file)")

    monkeypatch.setattr("h5py.File", file)
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        create(gone / "000001.h5", "format", 1, {})


@pytest.mark.parametrize("kind", ["embed genome", slow("predict table"), "predict both"])
def test_the_parts_vanish(processes, given, tmp_path, kind):
    """Before the merge even: no file is made of fewer parts."""
    process = processes.start(given.args(kind), tmp_path, slow=0.01)
    directory = partial(tmp_path, kind)
    until(lambda: len(committed(directory)) > 3)
    for path in directory.glob("000001.*"):
        path.unlink()
    assert_one_line(process.wait(), 1, "000001.")
    assert os.listdir(tmp_path) == [directory.name]
    done = processes.run([*given.args(kind), "--resume"], tmp_path)
    assert (done.code, sorted(os.listdir(tmp_path))) == (0, OUTPUTS[kind])
    assert done.kept > 100


# Inputs that change


@pytest.fixture
def mine(given, tmp_path) -> Input:
    """Inputs that may be changed."""
    shutil.copytree(given.root, tmp_path / "mine", ignore=shutil.ignore_patterns("*.fai"))
    return Input(tmp_path / "mine")


def change_base(text: str, contig: str, position: int) -> str:
    """Another base at a position, from 0, of a contig."""
    lines = text.split("\n")
    at, column = lines.index(f">{contig}") + 1 + position // 60, position % 60
    line = list(lines[at])
    line[column] = {"A": "C", "C": "G", "G": "T", "T": "A"}[line[column]]
    lines[at] = "".join(line)
    return "\n".join(lines)


def without(text: str, contig: str) -> str:
    return re.sub(rf">{contig}\n[ACGT\n]+", "", text)


def shuffled(text: str) -> str:
    lines = text.splitlines(keepends=True)
    random.Random(3).shuffle(lines)
    return "".join(lines)


def line_of(text: str, number: int, new: str) -> str:
    """``text`` with another line of that number, from 0; the old one is {}."""
    lines = text.splitlines(keepends=True)
    lines[number] = new.format(lines[number])
    return "".join(lines)


# name -> how the text of the file changes, words of the error; kept are rows of chr0 and chr1.
CHANGES = {
    "base in the first part": ("genome.fa", lambda t: change_base(t, "chr0", 1100), ["chr0:"]),
    "base in a part amid": ("genome.fa", lambda t: change_base(t, "chr1", 3100), ["chr1:"]),
    "first contig gone": ("genome.fa", lambda t: without(t, "chr0"), []),
    "contigs change places": (
        "genome.fa",
        lambda t: t.replace(">chr0", ">x").replace(">chr1", ">chr0").replace(">x", ">chr1"),
        [],
    ),
    "name changed": ("regions.bed", lambda t: t.replace("\tr3\t", "\tother\t"), ["chr0:"]),
    "start changed": ("regions.bed", lambda t: t.replace("\t", "\t1", 1), []),
    "strand changed": (
        "regions.bed",
        lambda t: line_of(t, 2, t.splitlines()[2][:-1] + "." + "\n"),
        ["chr0:"],
    ),
    "line inserted": ("regions.bed", lambda t: line_of(t, 4, "chr0\t5\t90\tnew\t0\t+\n{}"), []),
    "line doubled": ("regions.bed", lambda t: line_of(t, 0, "{0}{0}"), ["chr0:"]),
    "line removed": ("regions.bed", lambda t: line_of(t, 1, ""), ["chr0:"]),
    "lines shuffled": ("regions.bed", shuffled, []),
    "lines cut off": ("regions.bed", lambda t: t[:300], []),
}


@pytest.mark.parametrize("kind", ["embed genome", slow("embed regions"), "predict both"])
def test_an_input_that_changed_is_refused_and_nothing_lost(processes, mine, tmp_path, kind):
    args, cwd = mine.args(kind), tmp_path / "run"
    cut(processes, args, cwd)
    directory = partial(cwd, kind)
    before = snapshot(directory)
    for name, (file, change, words) in CHANGES.items():
        if kind == "embed genome" and file == "regions.bed":
            continue
        path = mine.root / file
        text = path.read_text()
        path.write_text(change(text))
        assert path.read_text() != text, name
        done = processes.run([*args, "--resume"], cwd)
        assert done.code == 1, f"{name}: {done.err}"
        assert_one_line(done, 1, *words)
        assert snapshot(directory) == before, name
        assert [path.name for path in cwd.iterdir()] == [directory.name]
        path.write_text(text)
    done = processes.run([*args, "--resume"], cwd)
    lines = before["parts-0.jsonl"].splitlines()
    assert done.kept == sum(json.loads(line)["rows"] for line in lines)
    (tmp_path / "whole").mkdir()
    whole = reference(processes, mine, kind, tmp_path / "whole")
    assert_as_whole(cwd, kind, whole, done)


LATER = {
    "base": ("genome.fa", lambda t: change_base(t, "chr3", 4250)),
    "contig gone": ("genome.fa", lambda t: without(t, "chr3")),
    "contig longer": ("genome.fa", lambda t: t + "ACGT" * 11 + "\n"),
    "contig more": ("genome.fa", lambda t: t + ">chr9\n" + "GATTACA" * 90 + "\n"),
    "region": ("regions.bed", lambda t: line_of(t, 197, "chr3\t5\t300\tnew\t0\t-\n")),
    "region gone": ("regions.bed", lambda t: line_of(t, 198, "")),
    "region more": ("regions.bed", lambda t: t + "chr2\t5\t300\tnew\t0\t-\n"),
}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *(("embed genome", name) for name in LATER if not name.startswith("region")),
        *(slow("embed regions", name) for name in LATER if name.startswith("region")),
        slow("embed regions", "base"),
        slow("embed regions", "contig more"),
        ("predict both", "base"),
        slow("predict both", "region"),
        ("predict both", "contig gone"),
    ],
)
def test_what_changed_after_the_kept_parts_is_as_of_a_fresh_run(
    processes, mine, tmp_path, kind, change
):
    args, cwd, fresh = mine.args(kind), tmp_path / "run", tmp_path / "fresh"
    cut(processes, args, cwd)
    file, made = LATER[change]
    (mine.root / file).write_text(made((mine.root / file).read_text()))
    done = processes.run([*args, "--resume"], cwd)
    assert done.code == 0, done.err
    assert done.kept > 0
    fresh.mkdir()
    again = processes.run(args, fresh)
    assert again.code == 0, again.err
    for name in OUTPUTS[kind]:
        assert content(cwd / name) == content(fresh / name), name
    assert sorted(os.listdir(cwd)) == OUTPUTS[kind]


def test_a_contig_that_grew_behind_its_kept_rows(processes, mine, tmp_path):
    """Its length stands in the file: what is kept is not of this genome any more."""
    kind = "embed regions"
    args, cwd = mine.args(kind), tmp_path / "run"
    cut(processes, args, cwd, 2)
    text = mine.fasta.read_text()
    mine.fasta.write_text(text.replace(">chr1", "ACGT\n>chr1"))
    before = snapshot(partial(cwd, kind))
    done = processes.run([*args, "--resume"], cwd)
    assert_one_line(done, 1, "the input has changed since the run began", "chr0:")
    assert snapshot(partial(cwd, kind)) == before
    mine.fasta.write_text(text)
    done = processes.run([*args, "--resume"], cwd)
    (tmp_path / "whole").mkdir()
    assert_as_whole(cwd, kind, reference(processes, mine, kind, tmp_path / "whole"), done)


# Other options


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (
            "embed regions",
            {
                "model_sha256": ["--model", "OTHER"],
                "pool": ["--pool", "max"],
                "layer": ["--layer", "0"],
                "rc": ["--rc", "average"],
                "dtype": ["--dtype", "float32"],
                "window": ["--window", "100"],
                "stride": ["--stride", "50"],
                "batch_tokens": ["--batch-tokens", "31"],
                "shard": ["--shard", "1/2"],
            },
        ),
        (
            "predict both",
            {
                "task_sha256": ["--task", "OTHER"],
                "fit": ["--fit", "center"],
                "combine": ["--combine", "max"],
                "rc": ["--rc", "average"],
                "columns": ["--probabilities"],
                "embeddings": ["--embeddings"],
                "format": ["--format", "jsonl"],
                "batch_tokens": ["--batch-tokens", "31"],
            },
        ),
    ],
)
def test_other_options_are_refused_by_name(processes, given, references, tmp_path, kind, options):
    cut(processes, given.args(kind), tmp_path / "run")
    directory = partial(tmp_path / "run", kind)
    before = snapshot(directory)
    make_model(tmp_path / "other-model", seed=1)
    make_task(tmp_path / "other-task", given.root / "tiny", seed=1, length=100)
    other = str(tmp_path / ("other-task" if kind.startswith("predict") else "other-model"))
    for name, option in options.items():
        option = [part.replace("OTHER", other) for part in option]
        # Of an option given twice the last one counts.
        done = processes.run([*given.args(kind), *option, "--resume"], tmp_path / "run")
        assert_one_line(done, 1, f"was begun with {name} ", "now it is", "--force")
        assert snapshot(directory) == before
    done = processes.run([*given.args(kind), "--resume"], tmp_path / "run")
    assert done.kept > 0
    assert_as_whole(tmp_path / "run", kind, references(kind), done)


# Damage


def lines_of(directory: Path) -> list[bytes]:
    return (directory / "parts-0.jsonl").read_bytes().splitlines(keepends=True)


def write_lines(directory: Path, lines: list[bytes]) -> None:
    (directory / "parts-0.jsonl").write_bytes(b"".join(lines))


def edit(path: Path, change) -> None:
    path.write_bytes(change(path.read_bytes()))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


# name -> (what is done to the parts, how many of KEPT parts are left)
DAMAGE = {
    "part cut": (lambda d: edit(d / "000002.h5", lambda b: b[: len(b) // 2]), KEPT - 1),
    "part emptied": (lambda d: edit(d / "000002.h5", lambda b: b""), KEPT - 1),
    "bit flipped": (lambda d: edit(d / "000000.h5", flipped), KEPT - 1),
    "part longer": (lambda d: edit(d / "000001.h5", lambda b: b + b"x"), KEPT - 1),
    "part deleted": (lambda d: (d / "000003.h5").unlink(), KEPT - 1),
    "two parts changed": (
        lambda d: (
            (d / "000003.h5").rename(d / "x"),
            (d / "000004.h5").rename(d / "000003.h5"),
            (d / "x").rename(d / "000004.h5"),
        ),
        KEPT - 2,
    ),
    "last line cut": (lambda d: edit(d / "parts-0.jsonl", lambda b: b[:-20]), KEPT - 1),
    "newline lost": (lambda d: edit(d / "parts-0.jsonl", lambda b: b[:-1]), KEPT - 1),
    "lines twice": (lambda d: write_lines(d, lines_of(d) * 2), KEPT),
    "lines garbage": (
        lambda d: write_lines(
            d,
            [b"5\n", b"[1]\n", b'"x"\n', b"null\n", b"\xff\xfe\n", b"{}\n", *lines_of(d)[1:],
             b'{"part": 77, "rows": "many", "unscored": {}, "digest": "", "files": {}}\n',
             b'{"part": 78, "rows": 1, "unscored": [], "digest": "", "files": {}}\n',
             b'{"part": 79, "rows": 1, "unscored": {}, "digest": "", "files": [1]}\n'],
        ),
        KEPT - 1,
    ),
    "lines emptied": (lambda d: write_lines(d, []), 0),
    "lines deleted": (lambda d: (d / "parts-0.jsonl").unlink(), 0),
    "lines of zeros": (lambda d: edit(d / "parts-0.jsonl", lambda b: bytes(len(b))), 0),
    "half a file more": (lambda d: (d / "000042.h5").write_bytes(b"half"), KEPT),
}  # fmt: skip


@pytest.fixture(scope="module")
def begun(processes, given, tmp_path_factory) -> Path:
    """A directory in which a run was cut off; not to be changed."""
    path = tmp_path_factory.mktemp("begun")
    cut(processes, given.args("embed regions"), path)
    return path


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_parts_are_made_again(processes, given, references, begun, tmp_path, name):
    cwd, kind = tmp_path / "run", "embed regions"
    shutil.copytree(begun, cwd)
    damage, left = DAMAGE[name]
    rows = {line["part"]: line["rows"] for line in committed(partial(cwd, kind))}
    damage(partial(cwd, kind))
    done = processes.run([*given.args(kind), "--resume"], cwd)
    assert_as_whole(cwd, kind, references(kind), done)
    smallest = sum(sorted(rows.values())[:left])
    largest = sum(sorted(rows.values(), reverse=True)[:left])
    assert smallest <= done.kept <= largest
    assert ("damaged, it is made again" in done.err) == name.startswith(("part", "bit", "two"))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"5", b"null", b'"x"', b"{}", b"\xff\x00"])
def test_a_damaged_run_json_is_told(processes, given, references, begun, tmp_path, text):
    cwd, kind = tmp_path / "run", "embed regions"
    shutil.copytree(begun, cwd)
    (partial(cwd, kind) / "run.json").write_bytes(text)
    before = snapshot(partial(cwd, kind))
    done = processes.run([*given.args(kind), "--resume"], cwd)
    assert_one_line(done, 1, "run.json is damaged", "--force")
    assert snapshot(partial(cwd, kind)) == before
    if text != b"[]":
        return
    done = processes.run([*given.args(kind), "--force"], cwd)
    assert done.kept == 0
    assert_as_whole(cwd, kind, references(kind), done)


def test_a_run_json_that_is_gone_begins_afresh(processes, given, references, begun, tmp_path):
    cwd, kind = tmp_path / "run", "embed regions"
    shutil.copytree(begun, cwd)
    (partial(cwd, kind) / "run.json").unlink()
    done = processes.run([*given.args(kind), "--resume"], cwd)
    assert done.kept == 0
    assert_as_whole(cwd, kind, references(kind), done)


def test_files_of_others_are_left_alone(processes, given, references, begun, tmp_path):
    cwd, kind = tmp_path / "run", "embed regions"
    shutil.copytree(begun, cwd)
    notes = partial(cwd, kind) / "notes.md"
    notes.write_text("mine")
    done = processes.run([*given.args(kind), "--resume"], cwd)
    assert (done.code, notes.read_text()) == (0, "mine")
    assert os.listdir(notes.parent) == ["notes.md"]
    assert content(cwd / "out.h5") == references(kind).files["out.h5"]
    changed = (cwd / "out.h5").stat().st_mtime_ns
    done = processes.run([*given.args(kind), "--resume"], cwd)
    assert done.code == 0
    assert (cwd / "out.h5").stat().st_mtime_ns == changed, "what is finished was made again"


def test_a_damaged_final_file_is_told(processes, given, references, tmp_path):
    kind, file = "embed regions", tmp_path / "out.h5"
    assert processes.run(given.args(kind), tmp_path).code == 0
    whole = file.read_bytes()
    for change in (lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"text\n", lambda b: b[:9]):
        file.write_bytes(change(whole))
        done = processes.run([*given.args(kind), "--resume"], tmp_path)
        assert_one_line(done, 1, "out.h5: ", "--force overwrites it")
        assert file.read_bytes() == change(whole)
    done = processes.run([*given.args(kind), "--force"], tmp_path)
    assert_as_whole(tmp_path, kind, references(kind), done)


# Two at once


@pytest.mark.parametrize("kind", ["embed genome", "predict both"])
def test_a_second_run_is_refused(processes, given, references, tmp_path, kind):
    first = processes.start(given.args(kind), tmp_path, slow=0.015)
    until(lambda: rows_in(partial(tmp_path, kind)))
    for option in (["--resume"], ["--force"], []):
        done = processes.run([*given.args(kind), *option], tmp_path)
        assert first.running(), "it is over before the others are refused"
        assert_one_line(done, 1, "another run is writing here")
    assert_as_whole(tmp_path, kind, references(kind), first.wait())
    assert first.kept == 0


@pytest.mark.parametrize("options", [[], slow(["--resume"]), slow(["--force"])])
def test_begun_at_the_same_moment_one_wins(processes, given, references, tmp_path, options):
    kind = "embed regions"
    for i in range(3):
        cwd = tmp_path / str(i)
        cwd.mkdir()
        both = [processes.start([*given.args(kind), *options], cwd) for _ in range(3)]
        codes = sorted(process.wait().code for process in both)
        assert codes == [0, 1, 1], [process.err for process in both]
        for process in both:
            if process.code:
                assert_one_line(process, 1)
            else:
                winner = process
        assert_as_whole(cwd, kind, references(kind), winner)


# stdout


@pytest.mark.parametrize("h5", [True, False])
def test_a_reader_that_has_enough(processes, given, tmp_path, h5):
    args = given.args("predict stdout")
    if not h5:
        args = [arg for arg in args if arg not in ("--h5", "out.h5", "--embeddings")]
    cwd, pipe = tmp_path / "run", tmp_path / "pipe"
    cwd.mkdir()
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    process = processes.start(args, cwd, out=str(pipe), slow=0.005)
    until(lambda: select(reader))
    os.close(reader)
    process.wait()
    assert (process.code, process.err) == (0, "")
    assert os.listdir(cwd) == []


def select(reader: int) -> bytes:
    try:
        return os.read(reader, 100)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("h5", [True, False])
def test_a_full_stdout(processes, given, references, tmp_path, h5):
    args = given.args("predict stdout")
    if not h5:
        args = [arg for arg in args if arg not in ("--h5", "out.h5", "--embeddings")]
    done = processes.run(args, tmp_path, out="/dev/full")
    assert_one_line(done, 1, NO_SPACE)
    assert "out.h5" not in os.listdir(tmp_path)
    done = processes.run([*args, "--resume"] if h5 else args, tmp_path)
    whole = references("predict stdout")
    if h5:
        assert_as_whole(tmp_path, "predict stdout", whole, done)
    else:
        assert (done.code, os.listdir(tmp_path)) == (0, [])
        assert content_of_table(done.out) == whole.out


def test_a_stdout_that_fills_up_later_keeps_rows(processes, given, references, tmp_path):
    """As a disk does; the parts are on another one."""
    kind = "predict stdout"
    cut(processes, given.args(kind), tmp_path)
    done = processes.run([*given.args(kind), "--resume"], tmp_path, out="/dev/full")
    assert_one_line(done, 1, NO_SPACE)
    done = processes.run([*given.args(kind), "--resume"], tmp_path)
    assert done.kept > 0
    assert_as_whole(tmp_path, kind, references(kind), done)


# Nothing to resume


@pytest.mark.parametrize("kind", ["embed regions", slow("predict table"), "predict both"])
def test_nothing_to_go_on_with_and_nothing_left_to_do(processes, given, references, tmp_path, kind):
    args = [*given.args(kind), "--resume"]
    done = processes.run(args, tmp_path)
    assert "made before" not in done.err
    assert_as_whole(tmp_path, kind, references(kind), done)
    files = {name: (tmp_path / name).read_bytes() for name in OUTPUTS[kind]}
    times = [(tmp_path / name).stat().st_mtime_ns for name in OUTPUTS[kind]]
    done = processes.run(args, tmp_path)
    rows = references(kind).rows
    assert done.err == f"{OUTPUTS[kind][0]}: {rows} rows, {rows} of them made before\n"
    assert_as_whole(tmp_path, kind, references(kind), done)
    assert {name: (tmp_path / name).read_bytes() for name in OUTPUTS[kind]} == files
    assert [(tmp_path / name).stat().st_mtime_ns for name in OUTPUTS[kind]] == times
