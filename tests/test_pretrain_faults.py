"""``dnatk pretrain`` when something is wrong: one line says what, and nothing is lost."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pretraining
import pytest
from killing import assert_one_line
from pretraining import arguments, digest, names, steps_kept, untimed

from dnatk.errors import OutputError, TrainingError
from dnatk.training.checkpoints import damage, last_whole, prune, seal, staged
from dnatk.training.config import PretrainConfig
from dnatk.training.run_directory import begin, locked

given, pretrainings = pretraining.given, pretraining.pretrainings
SLURM = Path(__file__).parents[1] / "examples" / "slurm" / "pretrain.sbatch"


@pytest.fixture(scope="module")
def whole(given, pretrainings, tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("whole")
    assert pretrainings.run(arguments(given), cwd).code == 0
    return cwd / "run"


@pytest.fixture(scope="module")
def stopped(given, pretrainings, tmp_path_factory) -> Path:
    """A directory whose run was killed in step 16: checkpoints 7 and 14 are there."""
    cwd = tmp_path_factory.mktemp("stopped")
    shutil.copy(given / "g.fa", cwd / "g.fa")
    plan = {"site": "pass", "call": 16, "when": "before"}
    args = command(given, cwd)
    assert pretrainings.run(args, cwd, kill=plan).code == -signal.SIGKILL
    assert steps_kept(cwd / "run") == [7, 14]
    return cwd


def command(given: Path, cwd: Path, *more: object) -> list[str]:
    """As arguments(), of a genome that may be changed."""
    args = arguments(given, "run", *more)
    return [args[0], "g.fa", *args[2:]]


@pytest.fixture
def cut(stopped, tmp_path) -> Path:
    """A copy of it, to be harmed."""
    shutil.copytree(stopped, tmp_path / "cut")
    return tmp_path / "cut"


@pytest.fixture
def go_on(given, pretrainings):
    return lambda cwd, *more, **plan: pretrainings.run(
        command(given, cwd, "--resume", *more), cwd, **plan
    )


def assert_whole(run: Path, whole: Path) -> None:
    assert names(run) == names(whole)
    assert untimed(run) == untimed(whole)
    assert digest(run / "model.safetensors") == digest(whole / "model.safetensors")


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# Damaged checkpoints


@pytest.mark.parametrize(
    ("name", "harm", "told"),
    [
        ("model.safetensors", half, "model.safetensors is cut off or changed"),
        pytest.param("optimizer.pt", flip, "optimizer.pt is cut off or changed",
                     marks=pytest.mark.slow),
        pytest.param("trainer_state.json", half, "trainer_state.json is cut off or changed",
                     marks=pytest.mark.slow),
        ("checkpoint.json", half, "checkpoint.json is cut off or changed"),
        pytest.param("optimizer.pt", Path.unlink, "optimizer.pt: No such file or directory",
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_passed_over(go_on, cut, whole, name, harm, told):
    harm(cut / "run" / "checkpoint-14" / name)
    done = go_on(cut)
    assert done.code == 0, done.err
    assert done.err.splitlines()[:2] == [
        f"dnatk: run/checkpoint-14 is damaged ({told}), taking the one before",
        "dnatk: resuming after run/checkpoint-7",
    ]
    assert_whole(cut / "run", whole)


def test_with_no_checkpoint_left_the_run_is_refused(go_on, cut):
    half(cut / "run" / "checkpoint-14" / "optimizer.pt")
    (cut / "run" / "checkpoint-7" / "checkpoint.json").unlink()
    (cut / "run" / ".lock").unlink()
    before = names(cut / "run")
    done = go_on(cut)
    assert_one_line(
        done, 1, "run: no checkpoint is whole (checkpoint-14: optimizer.pt is cut off or changed; "
        "checkpoint-7: checkpoint.json: No such file or directory)",
    )  # fmt: skip
    assert names(cut / "run") == before


def test_the_manifest_knows_every_file(stopped, tmp_path):
    """Whatever file of a checkpoint is changed, cut off or gone, it is seen."""
    paths = sorted((stopped / "run" / "checkpoint-14").iterdir())
    assert len(paths) == 11
    for harm in (half, flip, Path.unlink):
        for path in paths:
            copy = tmp_path / f"{harm.__name__} {path.name}"
            shutil.copytree(path.parent, copy)
            assert damage(copy) == ""
            harm(copy / path.name)
            assert damage(copy).startswith(path.name)


def test_what_lies_deeper_is_known_too(tmp_path):
    checkpoint = tmp_path / "checkpoint-1"
    (checkpoint / "shards").mkdir(parents=True)
    (checkpoint / "shards" / "0").write_bytes(b"weights")
    seal(checkpoint, {"tokens": 3})
    assert last_whole(tmp_path) == (checkpoint, {})
    half(checkpoint / "shards" / "0")
    with pytest.raises(TrainingError, match=r"checkpoint-1: shards/0 is cut off or changed"):
        last_whole(tmp_path)


@pytest.mark.parametrize(("keep", "left"), [(0, [1, 2, 3]), (1, [3]), (2, [2, 3]), (5, [1, 2, 3])])
def test_so_many_checkpoints_are_kept(tmp_path, keep, left):
    for step in (1, 2, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
    prune(tmp_path, keep)
    assert steps_kept(tmp_path) == left
    assert len(names(tmp_path)) == len(left)


def test_what_a_kill_left_of_a_checkpoint_is_not_in_the_way(tmp_path):
    for step in (1, 2, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / ".partial" / "checkpoint-4").mkdir(parents=True)
    prune(tmp_path, 1)
    assert names(tmp_path) == ["checkpoint-3"]


# Another run


def test_a_changed_input_is_refused(go_on, cut):
    genome = cut / "g.fa"
    then = digest(genome)
    genome.write_text(genome.read_text().replace("A", "C", 1))
    done = go_on(cut)
    now = digest(genome)
    assert_one_line(
        done, 1, f"g.fa: has changed since the run began: its SHA-256 was {then}, now it is {now}"
    )
    assert steps_kept(cut / "run") == [7, 14]


def test_an_input_that_is_gone_is_refused(go_on, cut):
    (cut / "g.fa").unlink()
    assert_one_line(go_on(cut), 1, "g.fa: no such file")
    assert steps_kept(cut / "run") == [7, 14]


def test_what_the_inputs_were_is_gone(go_on, cut):
    (cut / "run" / "inputs.json").unlink()
    assert_one_line(go_on(cut), 1, "run/inputs.json: cannot be read")


def test_another_option_is_refused(go_on, cut):
    assert_one_line(go_on(cut, "--lr", 0.1), 1, "run/config.toml: lr was 0.0005 and is now 0.1")


def test_passes_and_kept_checkpoints_may_be_others(go_on, cut):
    done = go_on(cut, "--accumulate", 2, "--keep", 0)
    assert done.code == 0, done.err
    assert steps_kept(cut / "run") == [7, 14, 21, 24]


# Nobody else


def test_a_second_run_is_refused(given, pretrainings, whole, tmp_path):
    first = pretrainings.start(arguments(given), tmp_path)
    end = time.monotonic() + 60
    while not (tmp_path / "run" / ".lock").exists():
        assert time.monotonic() < end
        time.sleep(0.005)
    for more in ((), ("--resume",)):
        second = pretrainings.run(arguments(given, "run", *more), tmp_path)
        assert_one_line(second, 1, "run: another run is at work here")
    assert first.wait().code == 0, first.err
    assert_whole(tmp_path / "run", whole)


def test_the_lock_goes_with_the_run(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "run"):
            assert names(tmp_path / "run") == [".lock"]
            with pytest.raises(OutputError, match="another run is at work"):
                locked(tmp_path / "run").__enter__()
        assert names(tmp_path / "run") == []


def test_of_two_that_wait_for_a_lock_one_gets_it(tmp_path, monkeypatch):
    """The file may be removed between being opened and being locked."""
    import fcntl

    flock, calls = fcntl.flock, []

    def removed_before(handle, how):
        if not calls:
            (tmp_path / ".lock").unlink()
        calls.append(handle)
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", removed_before)
    with locked(tmp_path), pytest.raises(OutputError, match="another run"):
        locked(tmp_path).__enter__()
    assert len(calls) == 3


# Where nothing can be written


def test_a_directory_that_may_not_be_written(go_on, cut):
    run = cut / "run"
    run.chmod(0o555)
    try:
        done = go_on(cut, plain=True)
    finally:
        run.chmod(0o755)
    assert_one_line(done, 1, "run: cannot be written: Permission denied")
    assert steps_kept(run) == [7, 14]


def test_a_finished_run_may_lie_where_nothing_is_written(given, pretrainings, whole):
    whole.chmod(0o555)
    try:
        done = pretrainings.run(arguments(given, "run", "--resume"), whole.parent, plain=True)
    finally:
        whole.chmod(0o755)
    assert (done.code, done.err) == (
        0, "dnatk: run is finished: 24 steps\nmodel in run\n",
    )  # fmt: skip


def test_a_file_where_the_directory_should_be(given, pretrainings, tmp_path):
    (tmp_path / "run").write_text("mine")
    done = pretrainings.run(arguments(given), tmp_path)
    assert_one_line(done, 1, "run: cannot be written: File exists")
    assert (tmp_path / "run").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path):
    """A file system in memory of some MB; it takes the right to mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(size: str) -> Path:
        if libc.mount(b"tmpfs", bytes(path), b"tmpfs", 0, f"size={size}".encode()):
            pytest.skip(f"no file system can be mounted: {os.strerror(ctypes.get_errno())}")
        return path

    yield mount
    libc.umount2(bytes(path), 2)


@pytest.mark.parametrize("size", ["7m", pytest.param("11m", marks=pytest.mark.slow)])
def test_a_full_disk_leaves_the_checkpoints_before(
    given, pretrainings, whole, small_disk, tmp_path, size
):
    """A checkpoint takes 5 MB: one fits, or two, but not one more beside them."""
    disk = small_disk(size)
    done = pretrainings.run(arguments(given), disk)
    assert_one_line(done, 1, "run: the model cannot be written: No space left on device")
    left = steps_kept(disk / "run")
    assert left
    assert not (disk / "run" / ".partial").exists()
    shutil.copytree(disk / "run", tmp_path / "run")
    done = pretrainings.run(arguments(given, "run", "--resume"), tmp_path)
    assert done.code == 0, done.err
    assert f"dnatk: resuming after run/checkpoint-{left[-1]}" in done.err
    assert_whole(tmp_path / "run", whole)


def test_what_a_killed_start_left_is_swept_away(tmp_path):
    config = PretrainConfig(inputs=("g.fa",))
    (tmp_path / ".config.toml.123.partial").write_text("half")
    assert not begin(tmp_path, config, resume=True).finished
    assert names(tmp_path) == []
    config.write(tmp_path)
    begin(tmp_path, replace(config, accumulate=4, keep=0), resume=True)
    with pytest.raises(OutputError, match="already holds a run"):
        begin(tmp_path, config, resume=False)


def test_others_files_in_the_directory_stay(tmp_path):
    """Partial ones of commands that write there; a task that is being made."""
    config = PretrainConfig(inputs=("g.fa",))
    (tmp_path / ".out.h5.123.partial").write_text("half")
    (tmp_path / ".task.55.partial").mkdir()
    begin(tmp_path, config, resume=False)
    assert names(tmp_path) == [".out.h5.123.partial", ".task.55.partial"]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "other", ["checkpoint-500", "config.json", "model.safetensors", "metrics.jsonl"]
)
def test_a_model_of_another_make_is_not_written_over(tmp_path, other, resume):
    if other.startswith("checkpoint"):
        (tmp_path / other).mkdir()
    else:
        (tmp_path / other).write_text("{}")
    with pytest.raises(OutputError, match=f"holds {other}, but no run of dnatk"):
        begin(tmp_path, PretrainConfig(inputs=("g.fa",)), resume=resume)
    assert names(tmp_path) == [other]


def test_an_error_while_staging_leaves_nothing(tmp_path):
    def full() -> None:
        with staged(tmp_path) as staging:
            staging.mkdir()
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        full()
    assert names(tmp_path) == []


# Clusters


def test_the_script_for_slurm_is_sound():
    subprocess.run(["bash", "-n", SLURM], check=True)


SRUN = 'while [[ $1 == --* ]]; do shift; done; exec "$@"'
TORCHRUN = 'printf "%s\\n" "$*" >> calls; [[ -z ${MADE:-} ]] || touch "$MADE"; exit "${CODE:-0}"'
SCONTROL = '[[ $1 == show ]] && echo node1 || echo "$*" >> calls'


@pytest.mark.parametrize(
    ("made", "code", "queued"), [("", 0, True), ("run/dnatk.json", 0, False), ("", 1, False)]
)
def test_the_script_queues_what_was_stopped(tmp_path, made, code, queued):
    """Of a run that was asked to stop; not of one that is finished, or has failed."""
    for name, text in (("srun", SRUN), ("torchrun", TORCHRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "run").mkdir()
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_GPUS_ON_NODE": "4"}
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MADE": made, "CODE": str(code), **slurm}
    done = subprocess.run(["bash", SLURM, "g.fa", "-o", "run"], cwd=tmp_path, env=env, check=False)
    assert done.returncode == code
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == (
        "--nnodes 1 --nproc-per-node 4 --rdzv-backend c10d --rdzv-id 7 --rdzv-endpoint "
        "node1:29500 -m dnatk pretrain g.fa -o run --resume"
    )
    assert calls[1:] == (["requeue 7"] if queued else [])
