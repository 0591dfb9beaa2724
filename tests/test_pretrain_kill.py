"""``dnatk pretrain`` killed at any moment goes on, and gives the same bit for bit."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pretraining
import pytest
from conftest import without_pace
from pretraining import arguments, digest, metrics, names, steps_kept, untimed

given, pretrainings = pretraining.given, pretraining.pretrainings

# fp32 and bf16, both with dropout.
KINDS = {"fp32": (), "bf16": ("--precision", "bf16")}


@pytest.fixture(scope="session")
def whole(pretrainings, given, tmp_path_factory):
    """``whole(kind)``: an uninterrupted run, and the seconds that it took."""
    made: dict[str, tuple[Path, float]] = {}

    def call(kind: str) -> tuple[Path, float]:
        if kind not in made:
            cwd = tmp_path_factory.mktemp("whole")
            done = pretrainings.run(arguments(given, "run", *KINDS[kind]), cwd)
            assert done.code == 0, done.err
            made[kind] = cwd / "run", done.seconds
        return made[kind]

    return call


class Run:
    """One run that is cut off and goes on."""

    def __init__(self, pretrainings, given, whole, kind: str, cwd: Path) -> None:
        self.processes, self.cwd, self.directory = pretrainings, cwd, cwd / "run"
        self.args = [*arguments(given, "run", *KINDS[kind]), "--resume"]
        self.whole, self.seconds = whole(kind)
        self.cuts = 0

    def go(self, *, after_s: float | None = None, **plan):
        """Begin or go on; be killed after a time, or as the plan says."""
        process = self.processes.start(self.args, self.cwd, **plan)
        if after_s is not None:
            time.sleep(after_s)
            process.send(signal.SIGKILL)
        process.wait()
        self.cuts += process.code == -signal.SIGKILL
        return process

    def end(self) -> None:
        """Go on to the end: nothing tells that it was ever cut off."""
        done = self.go()
        assert done.code == 0, done.err
        # A kill after the run was finished leaves its lock, which hinders nobody.
        assert set(names(self.directory)) - {".lock"} == set(names(self.whole))
        assert untimed(self.directory) == untimed(self.whole)
        for name in ("model.safetensors", "checkpoint-24/optimizer.pt"):
            assert digest(self.directory / name) == digest(self.whole / name), name


@pytest.fixture
def killed(pretrainings, given, whole, tmp_path):
    return lambda kind: Run(pretrainings, given, whole, kind, tmp_path)


def at(site: str, call: int, when: str = "before") -> dict:
    return {"kill": {"site": site, "call": call, "when": when}}


def test_the_whole_run_is_what_it_should_be(whole):
    run, _ = whole("fp32")
    assert steps_kept(run) == [21, 24]
    assert [row["step"] for row in metrics(run) if "loss" in row] == [4, 8, 12, 16, 20, 24]
    assert [row["step"] for row in metrics(run) if "heldout_bits" in row] == [7, 14, 21, 24]


# One of each sort; `pytest -m slow` has more.
@pytest.mark.parametrize(
    ("kind", "site", "call", "when", "left"),
    [
        ("fp32", "pass", 13, "after", [7]),
        ("bf16", "pass", 24, "before", [14, 21]),
        ("fp32", "torch.save", 5, "half", [7]),
        ("fp32", "seal", 2, "after", [7]),
        ("fp32", "line", 4, "half", [7]),
        ("fp32", "publish", 1, "before", [21, 24]),
    ],
)
def test_a_run_that_was_killed_goes_on(killed, kind, site, call, when, left):
    run = killed(kind)
    assert run.go(**at(site, call, when)).code == -signal.SIGKILL
    assert steps_kept(run.directory) == left
    run.end()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_killed_twice_goes_on(killed, kind):
    run = killed(kind)
    run.go(**at("pass", 9))
    run.go(**at("pass", 9))
    assert (run.cuts, steps_kept(run.directory)) == (2, [7, 14])
    run.end()


SITES = [
    ("start", 1, ("before", "after")),
    ("text", 6, ("before", "half", "after")),
    ("corpus", 2, ("before", "after")),
    ("pass", 24, ("before", "after")),
    ("line", 10, ("before", "half", "after")),
    ("weights", 5, ("half", "after")),
    ("torch.save", 12, ("before", "half", "after")),
    ("seal", 4, ("before", "after")),
    ("fsync", 60, ("before", "after")),
    ("move", 8, ("before", "after")),
    ("prune", 4, ("before", "after")),
    ("rmtree", 12, ("before", "after")),
    ("publish", 1, ("before", "after")),
    ("unlink", 3, ("before", "after")),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_anywhere(pretrainings, given, whole, kind, tmp_path_factory, capsys):
    draw = random.Random(f"pretrain {kind}")
    inside = outside = again = kept = 0

    def fresh() -> Run:
        return Run(pretrainings, given, whole, kind, tmp_path_factory.mktemp("killed"))

    def go_on(run: Run) -> None:
        nonlocal again, kept
        if draw.random() < 0.3:
            again += run.go(after_s=draw.uniform(0, run.seconds)).code != 0
        kept += run.directory.exists() and bool(steps_kept(run.directory))
        run.end()

    for site, calls, moments in SITES:
        run = fresh()
        place = at(site, draw.randint(1, calls), draw.choice(moments))
        assert run.go(**place).code == -signal.SIGKILL, f"{place} is never reached"
        inside += 1
        go_on(run)
    for _ in range(20):
        run = fresh()
        outside += run.go(after_s=draw.uniform(0, run.seconds)).code != 0
        go_on(run)
    with capsys.disabled():
        print(f"\n{kind}: {inside} inside, {outside} outside, {again} again, {kept} kept steps")
    assert inside + outside >= 20


# Asked to stop


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGUSR1", 0), ("SIGINT", 130)])
def test_a_signal_ends_the_run_after_the_step(killed, name, code):
    run = killed("fp32")
    number = getattr(signal, name)
    done = run.go(signal={"site": "pass", "call": 10, "when": "before"}, number=number)
    assert (done.code, done.err.splitlines()[-1]) == (
        code, f"stopped by {name} after step 10; --resume goes on",
    )  # fmt: skip
    assert steps_kept(run.directory) == [7, 10]
    assert not (run.directory / "dnatk.json").exists()
    assert not (run.directory / ".lock").exists()
    # The checkpoint was not planned: nothing is measured for it, and the log is as it would be.
    assert [row["step"] for row in metrics(run.directory)] == [4, 7, 8]
    run.end()


def test_a_signal_in_the_last_step_changes_nothing(killed):
    run = killed("fp32")
    where = {"site": "pass", "call": 24, "when": "before"}
    done = run.go(signal=where, number=signal.SIGTERM)
    assert done.code == 0
    assert without_pace(done.err.splitlines()[-1]).startswith("model in run: ")
    run.end()


def test_a_signal_while_a_checkpoint_is_written_waits_for_it(killed):
    run = killed("bf16")
    where = {"site": "torch.save", "call": 5, "when": "before"}
    done = run.go(signal=where, number=signal.SIGUSR1)
    assert done.err.splitlines()[-1] == "stopped by SIGUSR1 after step 15; --resume goes on"
    assert steps_kept(run.directory) == [14, 15]
    run.end()
