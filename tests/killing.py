"""Fixtures of test_kill.py and test_faults.py: starting real processes, and what they must give.

:mod:`killer` is what runs in the processes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import make_model, make_task, random_bases, write_fasta

KILLER = Path(__file__).with_name("killer.py")
_TICK_S = 0.005
# One thread, so that runs can be compared bit by bit and the tests share a machine well.
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class Process:
    """A run of ``dnatk`` in a process of its own."""

    def __init__(self, ask, job: dict) -> None:
        self._ask, self._out, self._err = ask, job["out"], Path(job["err"])
        self.args, self.begun = job["run"], time.monotonic()
        self.pid: int = ask(job)["pid"]
        self.code: int | None = None

    def running(self) -> bool:
        """Whether it has not ended yet."""
        if self.code is None:
            self.code = self._ask({"poll": self.pid})["code"]
        return self.code is None

    def wait(self, limit_s: float = 120.0) -> Process:
        """Until it has ended; ``code`` is as :mod:`subprocess` has it."""
        while self.running():
            if time.monotonic() - self.begun > limit_s:
                self.send(signal.SIGKILL)
                raise AssertionError(f"dnatk {shlex.join(self.args)} hangs: {self.err}")
            time.sleep(_TICK_S)
        self.seconds = time.monotonic() - self.begun
        return self

    def send(self, number: int) -> None:
        """A signal, unless it has ended."""
        if self.running():
            os.kill(self.pid, number)

    @property
    def out(self) -> bytes:
        return Path(self._out).read_bytes()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def kept(self) -> int:
        """Rows that a resumed run says it goes on after."""
        said = re.search(r"going on after (\d+) rows", self.err)
        return int(said[1]) if said else 0


class Processes:
    """Starts runs, each in a directory of its own or a given one."""

    def __init__(self, log: Path) -> None:
        self._log, self._count = log, 0
        self._server = subprocess.Popen(
            [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", KILLER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **THREADS, "DNATK_GENOME": "", "XDG_CONFIG_HOME": str(log)},
        )

    def _ask(self, question: dict) -> dict:
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, args, cwd: Path, *, out: str | None = None, **plan) -> Process:
        """``dnatk ARGS...`` in ``cwd``; stdout goes to ``out`` or is kept, as stderr is."""
        self._count += 1
        log = self._log / str(self._count)
        for name in (f"{log}.out", f"{log}.err"):  # it may be killed before it has them
            Path(name).touch()
        told = {"out": out or f"{log}.out", "err": f"{log}.err", "plan": plan}
        return Process(self._ask, {"run": [str(a) for a in args], "cwd": str(cwd), **told})

    def run(self, args, cwd: Path, **plan) -> Process:
        """The same, to its end."""
        return self.start(args, cwd, **plan).wait()

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()


@pytest.fixture(scope="session")
def processes(tmp_path_factory) -> Iterator[Processes]:
    made = Processes(tmp_path_factory.mktemp("processes"))
    yield made
    made.close()


@dataclass(frozen=True)
class Input:
    """What runs read, and how they are told to."""

    root: Path

    @property
    def fasta(self) -> Path:
        return self.root / "genome.fa"

    @property
    def bed(self) -> Path:
        return self.root / "regions.bed"

    def args(self, kind: str) -> list[str]:
        """The command line of a kind of run; its outputs are named as in OUTPUTS."""
        # A part is 64 times --batch-tokens bases: about 2000, some 15 rows.
        small = ["--batch-tokens", "30", "-t", "1", "--device", "cpu"]
        embed = ["embed", self.fasta, "-o", "out.h5", "--model", self.root / "tiny", *small]
        task = ["--task", self.root / "task", "--genome", self.fasta]
        predict = ["predict", self.bed, *task, *small]
        args = {
            "embed genome": [*embed, "--window", "120", "--precision", "auto"],
            "embed regions": [*embed, "--bed", self.bed, "--precision", "fp32"],
            "embed tokens": [*embed, "--bed", self.bed, "--pool", "none", "--precision", "auto"],
            "predict table": [*predict, "-o", "out.bed", "--probabilities"],
            "predict both": [*predict, "-o", "out.bed", "--h5", "out.h5", "--precision", "fp32"],
            "predict stdout": [*predict, "--h5", "out.h5", "--embeddings", "--precision", "auto"],
        }
        return [str(arg) for arg in args[kind]]


# The files of each kind of run.
OUTPUTS = {
    "embed genome": ["out.h5"],
    "embed regions": ["out.h5"],
    "embed tokens": ["out.h5"],
    "predict table": ["out.bed"],
    "predict both": ["out.bed", "out.h5"],
    "predict stdout": ["out.h5"],
}
KINDS = tuple(OUTPUTS)
# Regions whose places the tests rely on: number -> start, length.
PLACED = {0: (1000, 200), 60: (3000, 200), 199: (4200, 100)}
CONTIGS, BASES, REGIONS = 4, 6000, 200


def write_input(root: Path) -> Input:
    """A genome, regions, a model and a task."""
    root.mkdir(exist_ok=True)
    make_model(root / "tiny", num_hidden_layers=1)  # runs are many
    make_task(root / "task", root / "tiny", length=100)
    sequences = {f"chr{i}": random_bases(BASES, i) for i in range(CONTIGS)}
    write_fasta(root / "genome.fa", sequences)
    rng = np.random.default_rng(11)
    lines = []
    for i in range(REGIONS):
        start, length = rng.integers(BASES - 300), rng.integers(40, 300)
        # In order of contigs, so that what comes after kept parts can be changed alone.
        contig, strand = i * CONTIGS // REGIONS, "+-"[rng.integers(2)]
        start, length = PLACED.get(i, (start, length))
        lines.append(f"chr{contig}\t{start}\t{start + length}\tr{i}\t0\t{strand}\n")
    (root / "regions.bed").write_text("".join(lines))
    return Input(root)


@pytest.fixture(scope="session")
def given(tmp_path_factory) -> Input:
    """What all runs read; not to be changed."""
    return write_input(tmp_path_factory.mktemp("given") / "all")


@dataclass(frozen=True)
class Reference:
    """What an uninterrupted run gives.

    Attributes:
        files: name -> content, see :func:`content`.
        seconds: that it took.
    """

    files: dict[str, object]
    out: bytes
    rows: int
    seconds: float


@pytest.fixture(scope="session")
def references(tmp_path_factory, processes, given):
    """``references(kind)``: what that kind of run gives, made once."""
    made: dict[str, Reference] = {}

    def call(kind: str) -> Reference:
        if kind not in made:
            made[kind] = reference(processes, given, kind, tmp_path_factory.mktemp("whole"))
        return made[kind]

    return call


def reference(processes: Processes, given: Input, kind: str, cwd: Path) -> Reference:
    done = processes.run(given.args(kind), cwd)
    assert (done.code, sorted(os.listdir(cwd))) == (0, OUTPUTS[kind]), done.err
    files = {name: content(cwd / name) for name in OUTPUTS[kind]}
    rows = REGIONS
    if kind == "embed genome":
        rows = len(files["out.h5"]["/region/start"][2]) // 8
    assert rows >= 150
    return Reference(files, content_of_table(done.out), rows, done.seconds)


def content(path: Path):
    """All that a file holds, for ==, but for the command that it names."""
    if path.suffix == ".bed":
        return content_of_table(path.read_bytes())
    found: dict[str, object] = {}

    def visit(name: str, item) -> None:
        if isinstance(item, h5py.Dataset):
            values = item[()]
            plain = values.tolist() if values.dtype == object else values.tobytes()
            found["/" + name] = (str(item.dtype), item.shape, plain, item.chunks)

    with h5py.File(path) as file:
        file.visititems(visit)
        for name, value in file.attrs.items():
            if name != "command":
                found[name] = str(value)
    assert found["complete"] == "True"
    return found


def content_of_table(text: bytes) -> bytes:
    return re.sub(rb"(?m)^##dnatk command=.*\n", b"", text)


def command_of(path: Path) -> str:
    """The command that a file names."""
    if path.suffix == ".bed":
        return command_of_table(path.read_bytes())
    with h5py.File(path) as file:
        return file.attrs["command"]


def command_of_table(text: bytes) -> str:
    return re.search(rb"(?m)^##dnatk command=(.*)$", text)[1].decode()


def partial(cwd: Path, kind: str) -> Path:
    """Where the parts of a run lie."""
    return cwd / f"{OUTPUTS[kind][0]}.partial"


def committed(directory: Path) -> list[dict]:
    """The lines of whole parts in a directory of parts, whose files are there."""
    if not (directory / "run.json").exists():
        return []
    text = b"".join(path.read_bytes() for path in sorted(directory.glob("parts-*.jsonl")))
    lines = [json.loads(line) for line in text.split(b"\n")[:-1]]
    return [
        line
        for line in lines
        if all((directory / f"{line['part']:06d}{suffix}").exists() for suffix in line["files"])
    ]


def rows_in(directory: Path) -> int:
    """Rows of the parts that are whole."""
    return sum(line["rows"] for line in committed(directory))


def assert_as_whole(
    cwd: Path, kind: str, whole: Reference, done: Process, out: bytes = b"", command: str = ""
) -> None:
    """A run gave what an uninterrupted one gives, and nothing else lies about."""
    assert done.code == 0, done.err
    assert sorted(os.listdir(cwd)) == OUTPUTS[kind], os.listdir(cwd)
    for name in OUTPUTS[kind]:
        assert content(cwd / name) == whole.files[name], name
        if command:
            assert command_of(cwd / name) == command, command_of(cwd / name)
    if kind == "predict stdout":
        assert content_of_table(out or done.out) == whole.out, "stdout is not the whole table"


def command(args: list[str]) -> str:
    """As a file names it."""
    return shlex.join(["dnatk", *args])


def assert_one_line(done: Process, code: int, *words: str) -> None:
    """It ended with one line that says why."""
    errors = [line for line in done.err.splitlines() if line.startswith("dnatk: error: ")]
    assert done.code == code, done.err
    assert len(errors) == 1, done.err
    for word in words:
        assert word in errors[0], errors[0]
    others = [line for line in done.err.splitlines() if not line.startswith("dnatk: ")]
    # A hint stands on the line of its error, and nothing speaks but dnatk.
    assert others == [], done.err
    assert "bug in dnatk" not in done.err
