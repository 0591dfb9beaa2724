"""Killed at any moment, a run goes on and gives what it would have given, byte for byte."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import killing
import pytest
from killing import KINDS, OUTPUTS, Process, assert_as_whole, command, committed, partial, rows_in

processes, given, references = killing.processes, killing.given, killing.references

# What can be cut: the calls that a short run makes of each, and the moments of a call.
# Those of the merge and after come once for each part, file or column.
INSIDE = {
    "embed": [
        ("run.json", 1, ("half",)),
        ("replace", 1, ("before", "after")),
        ("fsync", 40, ("before", "after")),
        ("column", 60, ("before", "half", "after")),
        ("finish", 10, ("before", "after")),
        ("close", 10, ("before", "after")),
        ("commit", 10, ("before", "after")),
        ("manifest", 10, ("before", "half")),
        ("merge", 8, ("before", "after")),
        ("merge column", 6, ("before", "half")),
        ("merge end", 1, ("before", "after")),
        ("merge close", 1, ("before", "after")),
        ("merge sync", 1, ("before", "after")),
        ("publish", 1, ("before",)),
        ("replace", 2, ("before", "after")),
        ("remove", 1, ("before",)),
        ("unlink", 12, ("before", "after")),
        ("rmdir", 1, ("before",)),
    ],
    "table": [("rows", 40, ("before", "after")), ("merge text", 8, ("before", "half", "after"))],
}
NOT_OF_TABLES = ("column", "finish", "close", "merge")


def places(kind: str, draw: random.Random) -> list[dict]:
    """Where to cut a run of a kind: once at each site, at a call and moment drawn."""
    sites = INSIDE["embed"] + (INSIDE["table"] if kind.startswith("predict") else [])
    if kind == "predict table":
        sites = [each for each in sites if not each[0].startswith(NOT_OF_TABLES)]
        sites.append(INSIDE["table"][1])
    if kind == "predict stdout":
        sites = [each for each in sites if each[0] != "merge text"]
    if kind == "predict both":  # both files get their names
        sites = [*sites, ("replace", 3, ("before", "after"))]
    return [
        # Replacing is rare: its calls are all different, and each is meant.
        {"site": site, "call": n if site == "replace" else draw.randint(1, n),
         "when": draw.choice(moments)}
        for site, n, moments in sites
    ]  # fmt: skip


class Killed:
    """One run that is killed, perhaps again, and goes on; counts what was seen."""

    def __init__(self, processes, given, references, kind: str, cwd: Path) -> None:
        self.processes, self.kind, self.cwd = processes, kind, cwd
        self.args, self.whole = given.args(kind), references(kind)
        self.directory = partial(cwd, kind)
        self.done: list[Process] = []
        self.command = ""
        self.kept = 0

    @property
    def kills(self) -> int:
        return sum(process.code == -signal.SIGKILL for process in self.done)

    def run(self, *, at: dict | None = None, after_s: float | None = None) -> Process:
        """Begin or go on, and be killed at a place or after a time."""
        args = [*self.args, "--resume"] if self.done else self.args
        before, finished = rows_in(self.directory), self.finished()
        if not (self.finished() or (self.directory / "run.json").exists()):
            self.command = command(args)  # what begins a run gives it its name
        plan = {} if at is None else {"kill": at}
        process = self.processes.start(args, self.cwd, **plan)
        if after_s is not None:
            time.sleep(after_s)
            process.send(signal.SIGKILL)
        self.done.append(process.wait())
        if not finished:
            self.told = process  # a finished run is left as it is: its table has gone to stdout
        assert process.code in (0, -signal.SIGKILL), process.err
        # A kill may come before it has said so.
        assert process.kept == before or (process.code and not process.err), process.err
        self.kept = max(self.kept, process.kept)
        return process

    def finished(self) -> bool:
        """Whether the files have their names and the run is over."""
        there = all((self.cwd / name).exists() for name in OUTPUTS[self.kind])
        return there and not (self.directory / "run.json").exists()

    def end(self) -> None:
        """Go on to the end: nothing tells that it was ever cut off."""
        done = self.run()
        assert self.told is done or done.out == b""
        assert_as_whole(self.cwd, self.kind, self.whole, done, self.told.out, self.command)


@pytest.fixture
def killed(processes, given, references, tmp_path_factory):
    def call(kind: str) -> Killed:
        return Killed(processes, given, references, kind, tmp_path_factory.mktemp("killed"))

    return call


# One of each sort; `pytest -m slow` has them all.
@pytest.mark.parametrize(
    ("kind", "site", "call", "when"),
    [
        ("embed genome", "merge column", 3, "half"),
        ("embed regions", "manifest", 4, "half"),
        ("embed regions", "replace", 2, "after"),
        ("predict table", "merge text", 5, "half"),
        ("predict both", "replace", 2, "after"),
        ("predict stdout", "column", 20, "half"),
    ],
)
def test_a_run_that_was_killed_goes_on(killed, kind, site, call, when):
    run = killed(kind)
    assert run.run(at={"site": site, "call": call, "when": when}).code == -signal.SIGKILL
    assert committed(partial(run.cwd, kind)), "no part was whole"
    run.end()
    assert run.kept > 0


def test_a_run_that_was_killed_twice_goes_on(killed):
    run = killed("embed genome")
    for call in (3, 2):
        run.run(at={"site": "commit", "call": call, "when": "after"})
    assert run.kills == 2
    assert len(committed(partial(run.cwd, run.kind))) == 5
    run.end()


@pytest.mark.parametrize("call", [2, 9])
def test_a_kill_while_the_parts_are_removed_costs_nothing(killed, call):
    """The first unlinking of all is of what a run before might have left."""
    run = killed("embed regions")
    file = run.cwd / "out.h5"
    assert run.run(at={"site": "unlink", "call": call, "when": "after"}).code == -signal.SIGKILL
    assert run.directory.exists()
    made = file.stat().st_mtime_ns
    run.end()
    assert file.stat().st_mtime_ns == made, "it was made again"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_anywhere(killed, references, kind, capsys):
    draw = random.Random(f"kill {kind}")
    whole = references(kind)
    inside = outside = again = kept = 0

    def go_on(run: Killed) -> None:
        nonlocal again, kept
        if draw.random() < 0.3:
            again += run.run(at=draw.choice(places(kind, draw))).code != 0
        run.end()
        kept += run.kept > 0

    for at in places(kind, draw):
        run = killed(kind)
        assert run.run(at=at).code == -signal.SIGKILL, f"{at} is never reached"
        inside += 1
        go_on(run)
    for _ in range(40):
        run = killed(kind)
        # One that is over by then is not counted, but must be as good.
        outside += run.run(after_s=draw.uniform(0, whole.seconds)).code != 0
        go_on(run)
        if outside == 8:
            break
    with capsys.disabled():
        print(f"\n{kind}: {inside} inside, {outside} outside, {again} again, {kept} had rows kept")
    assert inside >= 10
    assert inside + outside >= 20
    assert kept * 2 >= inside + outside
