"""Several processes at one run, and shards of it: together they give what one process gives.

The processes are real ones that torchrun starts; they meet by gloo.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import Result, random_bases, write_fasta, write_labelled

import dnatk
from dnatk.errors import InputError, OutputError
from dnatk.inference.ranks import Ranks
from dnatk.inference.run import opened_store
from dnatk.output.part_store import PartStore

LENGTHS = (9000, 300, 6000, 20, 8000, 515, 5000, 6, 64)
# 64 tokens a batch: parts of some 4096 bases, nine of the whole genome.
SMALL = ("--device", "cpu", "-t", "1", "--batch-tokens", "64")
LIMIT_S = 120

pytestmark = pytest.mark.usefixtures("clean_home")


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """g.fa, s.fa (records) and r.bed (regions of all lengths, some that cannot be scored)."""
    path = tmp_path_factory.mktemp("ranks")
    bases = {f"c{i}": random_bases(n, i) for i, n in enumerate(LENGTHS)}
    bases["c2"] = bases["c2"][:2000] + "N" * 1500 + bases["c2"][3500:]
    write_fasta(path / "g.fa", bases)
    write_fasta(path / "s.fa", {f"s{i}": random_bases(3 + i * 7 % 190, i) for i in range(180)})
    rng = np.random.default_rng(0)
    rows = []
    for i in range(160):
        contig = int(rng.choice([0, 2, 4, 6]))
        start = int(rng.integers(0, LENGTHS[contig] - 10))
        end = min(start + int(rng.integers(1, 700)), LENGTHS[contig])
        rows.append(f"c{contig}\t{start}\t{end}\tr{i}\t{i}\t{'+-'[i % 2]}\n")
    (path / "r.bed").write_text("".join(rows))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun(*args: object, n: int = 2, program=("-m", "dnatk"), given: bytes = b"") -> Result:
    """``dnatk ARGS...`` in ``n`` processes; none of them outlives the call."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", n,
        "--master-port", free_port(), *program, *args,
    ]  # fmt: skip
    quiet = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    running = subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, **quiet}, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = running.communicate(given, timeout=LIMIT_S)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    return Result(running.returncode, out.decode(), err.decode())


def told(result: Result) -> list[str]:
    """What dnatk itself says; torchrun has much to say of processes that failed."""
    lines = result.err.splitlines()
    return [line for line in lines if line.startswith(("dnatk: ", "/")) or ".h5: " in line]


def contents(path: Path, but: tuple[str, ...] = ("command",)) -> dict[str, object]:
    """Every dataset and attribute of a file, but those that tell how it was made."""
    found: dict[str, object] = {}
    with h5py.File(path) as file:

        def visit(name: str, item) -> None:
            for key, value in item.attrs.items():
                found[f"{name}@{key}"] = repr(value)
            if isinstance(item, h5py.Dataset):
                found[name] = str(item.dtype), item.shape, item[()].tobytes()
                if item.dtype.kind == "O":
                    found[name] = item.asstr()[()].tolist()

        file.visititems(visit)
        for key, value in file.attrs.items():
            if key not in but:
                found[f"@{key}"] = repr(value)
    assert found
    return found


def assert_same(mine: Path, theirs: Path, but: tuple[str, ...] = ("command",)) -> None:
    got, wanted = contents(mine, but), contents(theirs, but)
    assert got.keys() == wanted.keys()
    assert [name for name in wanted if got[name] != wanted[name]] == []


def rows_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def embed_args(here, tiny_model):
    """The arguments of an embedding, by what is embedded."""

    def call(what: str, out: Path, *more: object) -> list[object]:
        bed = ["--bed", here / "r.bed", "--on-error", "na"] if what == "bed" else []
        precision = ["--precision", "auto" if what == "bed" else "fp32"]
        return ["embed", here / "g.fa", "-o", out, "--model", tiny_model, *bed, *precision,
                *SMALL, *more]  # fmt: skip

    return call


@pytest.fixture(scope="module")
def predict_args(here, task_of):
    def call(what: str, out: object, *more: object) -> list[object]:
        source = [here / "r.bed", "--genome", here / "g.fa"] if what == "bed" else [here / "s.fa"]
        return ["predict", *source, "-o", out, "--task", task_of(), "--precision", "fp32",
                *SMALL, *more]  # fmt: skip

    return call


# A process and its place


@pytest.mark.parametrize("method", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_two_processes_finetune_a_task(method, tmp_path, tiny_model):
    """Each measures the task that it wrote, and one of them leaves its own."""
    sets = {
        name: write_labelled(tmp_path / f"{name}.csv", "binary", n, n)
        for name, n in (("train", 64), ("dev", 20), ("test", 20))
    }
    done = torchrun(
        "finetune", sets["train"], "--dev", sets["dev"], "--test", sets["test"], "-o",
        tmp_path / "task", "--model", tiny_model, "--method", method, "--head-start", "probe",
        "--max-steps", 2, "--lr", "1e-5",
        "--device", "cpu", "--precision", "fp32",
    )  # fmt: skip
    assert done.code == 0, done.err
    task = json.loads((tmp_path / "task" / "task.json").read_text())
    found = dnatk.evaluate(
        tmp_path / "task", sets["test"], resamples=1, device="cpu", precision="fp32"
    )
    assert found.metrics["mcc"].value == pytest.approx(task["metrics"]["test"]["mcc"]["value"])


def test_alone_without_torchrun(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    alone = Ranks.from_environment()
    assert (alone, alone.device("auto"), alone.device("cuda")) == (Ranks(0, 1, 0), "auto", "cuda")
    alone.wait()
    alone.leave()


@pytest.mark.parametrize(
    ("rank", "world", "local", "wanted"),
    [
        ("0", "1", "0", Ranks(0, 1, 0)),
        ("3", "4", "1", Ranks(3, 4, 1)),
        ("1", "2", None, Ranks(1, 2, 0)),
        (None, "2", "1", Ranks()),
        ("1", None, "1", Ranks()),
        ("", "", "", Ranks()),
    ],
)
def test_a_place_is_read(monkeypatch, rank, world, local, wanted):
    put(monkeypatch, rank, world, local)
    assert Ranks.from_environment() == wanted


@pytest.mark.parametrize(
    ("rank", "world", "local"),
    [("a", "2", "0"), ("0", "two", "0"), ("0", "2", "x"), ("2", "2", "0"), ("-1", "2", "0"),
     ("0", "0", "0"), ("0", "2", "-1")],
)  # fmt: skip
def test_a_place_that_cannot_be_is_told(monkeypatch, rank, world, local):
    """Else parts would be made by nobody."""
    put(monkeypatch, rank, world, local)
    with pytest.raises(InputError) as error:
        Ranks.from_environment()
    assert str(error.value).startswith("RANK, WORLD_SIZE, LOCAL_RANK are no place of a process: ")
    assert repr(rank) in str(error.value)


def test_processes_that_do_not_find_each_other(monkeypatch):
    """As where another launcher has set these, and not where to meet."""
    put(monkeypatch, "0", "2", "0")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError) as error:
        Ranks.from_environment().wait()
    assert str(error.value).startswith("the 2 processes do not find each other: ")
    assert "MASTER_" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def put(monkeypatch, rank, world, local) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", world), ("LOCAL_RANK", local)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


def test_each_process_has_its_own_gpu(monkeypatch):
    third = Ranks(3, 4, 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [third.device(asked) for asked in ("auto", "cuda", "cuda:0", "cpu", "mps")] == [
        "cuda:1", "cuda:1", "cuda:0", "cpu", "mps",
    ]  # fmt: skip
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [third.device(asked) for asked in ("auto", "cuda")] == ["auto", "cuda"]


# Two processes


@pytest.mark.parametrize("what", [pytest.param("tiles", marks=pytest.mark.slow), "bed"])
def test_two_processes_embed_as_one(what, embed_args, run, tmp_path):
    result = run(*embed_args(what, tmp_path / "one.h5"))
    assert result.code == 0, result.err
    two = torchrun(*embed_args(what, tmp_path / "two.h5"))
    assert two.code == 0, two.err
    # One of them speaks, and says what one process says, but for how much each read.
    said = [line.partition(": ")[2].partition(";")[0] for line in told(two)]
    assert said == [result.err.splitlines()[-1].partition(": ")[2].partition(";")[0]]
    assert "process, of 2" in told(two)[0]
    assert_same(tmp_path / "two.h5", tmp_path / "one.h5")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != "") == [
        "one.h5", "two.h5",
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["bed", pytest.param("fasta", marks=pytest.mark.slow)])
def test_two_processes_predict_as_one(what, predict_args, run, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    more = ("--no-provenance", "--embeddings", "--probabilities")
    result = run(*predict_args(what, one / "o.tsv", "--h5", one / "o.h5", *more))
    assert result.code == 0, result.err
    done = torchrun(*predict_args(what, two / "o.tsv", "--h5", two / "o.h5", *more))
    assert done.code == 0, done.err
    assert (two / "o.tsv").read_bytes() == (one / "o.tsv").read_bytes()
    assert len(rows_of((one / "o.tsv").read_text())) > 100
    assert_same(two / "o.h5", one / "o.h5")
    assert sorted(path.name for path in two.iterdir()) == ["o.h5", "o.tsv"]


# A process that is killed after its second part; the arguments are dnatk's.
KILLED = """
import os, signal, sys
from dnatk.cli import main
from dnatk.output.part_store import PartStore

whole = PartStore.commit
made = []

def commit(self, *args, **more):
    whole(self, *args, **more)
    made.append(args)
    if os.environ.get("RANK") == "1" and len(made) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

PartStore.commit = commit
main()
"""


@pytest.mark.parametrize(
    ("killed", "again"),
    [
        (2, 1),
        pytest.param(3, 2, marks=pytest.mark.slow),
        pytest.param(2, 3, marks=pytest.mark.slow),
    ],
)
def test_what_is_left_of_a_killed_run_another_number_goes_on_with(
    killed, again, embed_args, run, tmp_path
):
    out, whole = tmp_path / "o.h5", tmp_path / "whole.h5"
    (tmp_path / "killed.py").write_text(KILLED)
    result = torchrun(*embed_args("tiles", out), n=killed, program=[tmp_path / "killed.py"])
    assert result.code != 0
    assert "this is a bug" not in result.err
    assert "traceback" not in "".join(told(result))
    assert not out.exists()
    parts = sorted((tmp_path / "o.h5.partial").glob("*.h5"))
    assert len(parts) >= 2
    before = {path: path.stat().st_mtime_ns for path in parts}
    refused = run(*embed_args("tiles", out))
    assert refused.code == 1
    assert "--resume" in refused.err
    assert {path: path.stat().st_mtime_ns for path in parts} == before
    arguments = embed_args("tiles", out, "--resume")
    result = run(*arguments) if again == 1 else torchrun(*arguments, n=again)
    assert result.code == 0, result.err
    assert "going on after " in result.err
    assert "made before" in result.err
    assert run(*embed_args("tiles", whole)).code == 0
    assert_same(out, whole)
    assert not (tmp_path / "o.h5.partial").exists()


def refusals(result: Result) -> set[str]:
    """What processes say of an error that all of them meet: the same; no traceback of theirs."""
    assert result.code == 1
    assert "dnatk/inference" not in result.err
    return {line for line in result.err.splitlines() if line.startswith("dnatk: ")}


def test_processes_cannot_share_stdout(predict_args, tmp_path):
    result = torchrun(*predict_args("bed", "-"))
    assert refusals(result) == {
        "dnatk: error: the processes of torchrun cannot share stdout (give -o FILE)"
    }
    assert result.out == ""


@pytest.mark.parametrize("h5", [False, True])
def test_a_process_among_others_refuses_stdout(h5, predict_args, run, tmp_path, monkeypatch):
    """Whatever file is written beside it."""
    put(monkeypatch, "0", "2", "0")
    more = ("--h5", tmp_path / "o.h5") if h5 else ()
    result = run(*predict_args("bed", "-", *more))
    wanted = "dnatk: error: the processes of torchrun cannot share stdout (give -o FILE)"
    assert (result.code, result.err.splitlines()[-1]) == (1, wanted)
    assert (result.out, list(tmp_path.iterdir())) == ("", [])


@pytest.mark.slow
def test_processes_cannot_share_stdin(embed_args, here, tmp_path):
    arguments = embed_args("tiles", tmp_path / "o.h5")
    arguments[1] = "-"
    result = torchrun(*arguments, given=(here / "g.fa").read_bytes())
    assert refusals(result) == {
        "dnatk: error: work can be shared only where its input can be read more than once "
        "(give files, not pipes)"
    }
    assert list(tmp_path.glob("o.h5*")) == []


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_run(here, tiny_model, tmp_path):
    """A part of the second process holds the region; the first waits for it in vain."""
    lines = [f"c0\t{i * 20}\t{i * 20 + 100}\n" for i in range(200)]
    lines[40] = "c2\t2000\t3000\n"  # of N
    (tmp_path / "r.bed").write_text("".join(lines))
    result = torchrun("embed", here / "g.fa", "--bed", tmp_path / "r.bed", "-o", tmp_path / "o.h5",
                      "--model", tiny_model, *SMALL)  # fmt: skip
    assert result.code == 1
    assert "this is a bug" not in result.err
    errors = [line for line in result.err.splitlines() if line.startswith("dnatk: error: ")]
    assert errors[0].startswith(f"dnatk: error: {tmp_path / 'r.bed'}:41: c2:2000-3000 has no 6-mer")
    assert not (tmp_path / "o.h5").exists()


@pytest.mark.slow
def test_one_part_among_three_processes(here, tiny_model, tmp_path, run):
    """Some of them have nothing to do."""
    arguments = ["embed", here / "s.fa", "--model", tiny_model, "--device", "cpu", "-t", "1"]
    assert run(*arguments, "-o", tmp_path / "one.h5").code == 0
    result = torchrun(*arguments, "-o", tmp_path / "three.h5", n=3)
    assert result.code == 0, result.err
    assert_same(tmp_path / "three.h5", tmp_path / "one.h5")


@pytest.mark.slow
def test_a_shard_among_two_processes(embed_args, run, tmp_path):
    assert run(*embed_args("tiles", tmp_path / "one.h5", "--shard", "2/3")).code == 0
    result = torchrun(*embed_args("tiles", tmp_path / "two.h5", "--shard", "2/3"))
    assert result.code == 0, result.err
    assert_same(tmp_path / "two.h5", tmp_path / "one.h5")


# The parts of several processes

RUN = {"output": "a format", "device": "cuda", "files": (".h5",), "command": "embed -t 1"}


def commit(store: PartStore, number: int, rows: int) -> None:
    store.path(number, ".h5").write_bytes(b"rows")
    store.commit(number, rows, {}, "digest", [".h5"])


def test_a_process_whose_run_is_another_is_told(tmp_path):
    """As one that found no GPU: its parts would be others. How it was asked for does not count."""
    out = tmp_path / "o.h5"
    first = PartStore(out, RUN)
    PartStore(out, {**RUN, "command": "embed -t 2", "model": "tiny"}, rank=1).close()
    with pytest.raises(OutputError) as error:
        PartStore(out, {**RUN, "device": "cpu"}, rank=2)
    assert str(error.value) == (
        f"{out}.partial: process 2 has device cpu, the first one has cuda "
        "(all must run alike: has each found its GPU?)"
    )
    first.close()
    assert list(tmp_path.iterdir()) == []


def test_parts_of_others_are_kept_where_the_first_process_has_none(tmp_path):
    out = tmp_path / "o.h5"
    first = PartStore(out, RUN)
    second = PartStore(out, RUN, rank=1)
    commit(second, 1, 30)
    first.close()
    second.close()
    with closing(PartStore(out, RUN, resume=True)) as again:
        assert again.rows() == 30


class Unmet(Ranks):
    """The first of two processes, which does not wait for the other."""

    def wait(self) -> None: ...


def test_rows_that_are_kept_are_those_of_all_processes(tmp_path, caplog):
    out = tmp_path / "o.h5"

    def cut_off() -> None:
        with opened_store(out, RUN, Unmet(0, 2), resume=False, force=False) as store:
            commit(store, 0, 5)
            with closing(PartStore(out, RUN, rank=1)) as other:
                commit(other, 1, 30)
            raise InputError("broken")

    with pytest.raises(InputError):
        cut_off()
    assert caplog.messages == [
        f"35 rows are kept in {out}.partial: the same command with --resume goes on"
    ]


# Shards


def vectors(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(all vectors, name and place of each row)."""
    import dnatk

    regions, found = dnatk.read_embeddings(path)
    places = regions[["contig", "start", "end", "strand", "name", "status"]]
    return found, places.to_numpy(dtype=str)


@pytest.mark.parametrize(
    ("what", "pool", "count"), [("tiles", "mean", 3), ("tiles", "mean", 11), ("bed", "none", 3)]
)
def test_shards_of_an_embedding_are_the_whole(what, pool, count, embed_args, run, tmp_path):
    """Each is complete; those beyond the parts are empty."""
    whole = tmp_path / "whole.h5"
    assert run(*embed_args(what, whole, "--pool", pool)).code == 0
    shards = [tmp_path / f"{i:02d}.h5" for i in range(1, count + 1)]
    rows = []
    for i, shard in enumerate(shards, 1):
        result = run(*embed_args(what, shard, "--pool", pool, "--shard", f"{i}/{count}"))
        assert result.code == 0, result.err
        found, places = vectors(shard)
        rows.append(len(places))
        with h5py.File(shard) as file:
            assert file.attrs["complete"]
            assert file.attrs["shard"] == f"{i}/{count}"
            assert len(file.attrs["shard_input"]) == 16
        assert f"{len(places)} rows" in result.err
    assert (min(rows) > 0) == (count == 3), rows
    wanted, places = vectors(whole)
    found = [vectors(shard) for shard in shards]
    np.testing.assert_array_equal(np.concatenate([each for each, _ in found]), wanted)
    np.testing.assert_array_equal(np.concatenate([each for _, each in found]), places)
    merged = run("h5", "merge", *shards, "-o", tmp_path / "merged.h5")
    assert merged.code == 0, merged.err
    # They are of the same input, and no shards any more.
    assert_same(tmp_path / "merged.h5", whole)


@pytest.mark.parametrize("command", ["embed", "predict"])
def test_shards_of_other_input_are_not_merged(command, here, tiny_model, task_of, run, tmp_path):
    """As where one machine has yesterday's BED."""
    lines = (here / "r.bed").read_text().splitlines(keepends=True)
    for i, bed in ((1, lines), (2, lines[:-1])):
        (tmp_path / f"{i}.bed").write_text("".join(bed))
        words = (
            ("embed", here / "g.fa", "--bed", tmp_path / f"{i}.bed", "--model", tiny_model, "-o")
            if command == "embed"
            else ("predict", tmp_path / f"{i}.bed", "--genome", here / "g.fa", "--task", task_of(),
                  "-o", tmp_path / f"{i}.txt", "--h5")
        )  # fmt: skip
        more = ("--shard", f"{i}/2", "--on-error", "na", *SMALL)
        assert run(*words, tmp_path / f"{i}.h5", *more).code == 0
    result = run("h5", "merge", tmp_path / "1.h5", tmp_path / "2.h5", "-o", tmp_path / "all.h5")
    assert result.code == 1
    assert re.search(r"2\.h5: has shard_input \w{16}, \S*1\.h5 has \w{16}", result.err), result.err
    assert not (tmp_path / "all.h5").exists()


@pytest.mark.parametrize("command", ["embed", "predict"])
def test_shards_cut_elsewhere_are_not_merged(command, embed_args, predict_args, run, tmp_path):
    """As where one machine has a GPU: parts of another size hold other rows, some of them twice."""
    files = [tmp_path / "1.h5", tmp_path / "2.h5"]
    for i, file, tokens in ((1, files[0], 64), (2, files[1], 96)):
        more = ("--shard", f"{i}/2", "--batch-tokens", tokens)
        words = (
            embed_args("tiles", file, *more)
            if command == "embed"
            else predict_args("bed", tmp_path / f"{i}.bed", "--h5", file, *more)
        )
        assert run(*words).code == 0
    result = run("h5", "merge", *files, "-o", tmp_path / "all.h5")
    assert result.code == 1
    assert re.search(r"2\.h5: has shard_input \w{16}, \S*1\.h5 has \w{16}", result.err), result.err
    assert result.err.endswith("(all shards need the same input and the same --batch-tokens)\n")
    assert not (tmp_path / "all.h5").exists()


def test_a_shard_is_not_resumed_with_other_batches(embed_args, run, tmp_path):
    """Which is told as such: what is told of the digest of its input helps nobody."""
    arguments = embed_args("tiles", tmp_path / "o.h5", "--shard", "1/2")
    directory = tmp_path / "o.h5.partial"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dnatk.inference.embed.merged_h5", broken)
        assert run(*arguments).code == 1
    result = run(*arguments, "--batch-tokens", 96, "--resume")
    assert result.code == 1
    assert f"{directory}: was begun with batch_tokens 64, now it is 96 " in result.err


def broken(*_: object) -> None:
    raise OutputError("broken")


@pytest.mark.parametrize(("what", "count"), [("bed", 3), ("fasta", 8)])
def test_tables_of_shards_are_put_together_by_cat(what, count, predict_args, run, tmp_path):
    bare = ("--no-header", "--no-provenance")
    whole = tmp_path / "whole.tsv"
    assert run(*predict_args(what, whole, *bare, "--h5", tmp_path / "whole.h5")).code == 0
    tables, files = [], []
    for i in range(1, count + 1):
        table, file = tmp_path / f"{i}.tsv", tmp_path / f"{i}.h5"
        result = run(*predict_args(what, table, *bare, "--h5", file, "--shard", f"{i}/{count}"))
        assert result.code == 0, result.err
        tables.append(table.read_bytes())
        files.append(file)
    assert b"".join(tables) == whole.read_bytes()
    assert (min(map(len, tables)) > 0) == (count == 3)
    merged = run("h5", "merge", *files, "-o", tmp_path / "merged.h5")
    assert merged.code == 0, merged.err
    assert_same(tmp_path / "merged.h5", tmp_path / "whole.h5")


def test_a_shard_goes_to_stdout_too(predict_args, run):
    bare = ("--no-header", "--no-provenance")
    whole = run(*predict_args("bed", "-", *bare))
    shards = [run(*predict_args("bed", "-", *bare, "--shard", f"{i}/3")) for i in (1, 2, 3)]
    assert [shard.code for shard in shards] == [0, 0, 0]
    assert "".join(shard.out for shard in shards) == whole.out
    assert all(shard.out for shard in shards)


def test_a_shard_of_stdin_is_refused(here, tiny_model, task_of, tmp_path, run, monkeypatch):
    wanted = (
        "dnatk: error: work can be shared only where its input can be read more than once "
        "(give files, not pipes)"
    )
    out = tmp_path / "o.h5"
    for arguments in (
        ["embed", "-", "-o", out, "--model", tiny_model],
        ["embed", here / "g.fa", "--bed", "-", "-o", out, "--model", tiny_model],
        ["predict", "-", "-o", out, "--task", task_of(), "--genome", here / "g.fa"],
    ):
        given = here / ("g.fa" if arguments[1] == "-" and arguments[0] == "embed" else "r.bed")
        with open(given) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            result = run(*arguments, "--shard", "1/2", "--device", "cpu", "-t", "1")
        assert (result.code, result.err.splitlines()[-1]) == (1, wanted)
        assert list(tmp_path.glob("o.h5*")) == []


@pytest.mark.parametrize("shard", ["0/3", "4/3", "x"])
def test_no_such_shard(shard, embed_args, run, tmp_path):
    result = run(*embed_args("tiles", tmp_path / "o.h5", "--shard", shard))
    assert result.code == 2
    assert result.err.splitlines()[-1] == (
        f"Error: Invalid value for '--shard': no shard '{shard}' (write 2/8: the second of eight)."
    )


def test_a_shard_is_not_resumed_as_another(embed_args, run, tmp_path):
    assert run(*embed_args("tiles", tmp_path / "o.h5", "--shard", "1/3")).code == 0
    result = run(*embed_args("tiles", tmp_path / "o.h5", "--shard", "2/3", "--resume"))
    assert result.code == 1
    assert "is finished, but with shard 1/3, not 2/3" in result.err


@pytest.mark.parametrize("what", ["embed", "predict"])
def test_a_shard_is_not_resumed_as_the_whole(what, embed_args, predict_args, run, tmp_path):
    """Nor the whole as a shard."""

    def arguments(name: str, *more: str) -> list[object]:
        if what == "embed":
            return embed_args("tiles", tmp_path / f"{name}.h5", *more)
        return predict_args(
            "fasta", tmp_path / f"{name}.tsv", "--h5", tmp_path / f"{name}.h5", *more
        )

    assert run(*arguments("part", "--shard", "1/2")).code == 0
    result = run(*arguments("part", "--resume"))
    assert result.code == 1
    assert "is finished, but with shard 1/2, not none" in result.err
    assert run(*arguments("whole")).code == 0
    result = run(*arguments("whole", "--shard", "1/2", "--resume"))
    assert result.code == 1
    assert "is finished, but with shard none, not 1/2" in result.err
