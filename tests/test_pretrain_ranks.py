"""``dnatk pretrain`` in several processes: they see the rows of one, and give what one gives.

The processes are real ones that torchrun starts; they meet by gloo.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pretraining
import psutil
import pytest
import torch
from conftest import cli, without_pace
from pretraining import (
    STEPS,
    TIMED,
    arguments,
    digest,
    metrics,
    names,
    steps_kept,
    untimed,
    weights,
)
from test_ranks import free_port, torchrun

from dnatk.errors import InputError, OutputError
from dnatk.training.config import PretrainConfig
from dnatk.training.ranks import PeerGone, peers

given = pretraining.given

ABOUT = {"loss", "bits", "grad_norm", "heldout_bits"}


def told(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("dnatk: error")]


@pytest.fixture(scope="module")
def one(given, tmp_path_factory) -> Path:
    """A run of one process."""
    out = tmp_path_factory.mktemp("one") / "run"
    assert cli("-q", *arguments(given, out, dropout=False)) == 0
    return out


def assert_same(run: Path, one: Path) -> None:
    """Counts are the same, what is computed is so within 1e-4."""
    assert names(run) == names(one)
    for row, wanted in zip(metrics(run), metrics(one), strict=True):
        exact = row.keys() - TIMED - ABOUT
        assert {k: row[k] for k in exact} == {k: wanted[k] for k in exact}
        for key in row.keys() & ABOUT:
            # As many digits as the log has: bits are rounded to 1e-4.
            assert row[key] == pytest.approx(wanted[key], abs=2e-4, rel=1e-4), key
    got, expected = weights(run), weights(one)
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, atol=1e-4, rtol=0)


def test_two_processes_train_as_one(given, one, tmp_path):
    done = torchrun(*arguments(given, tmp_path / "run", dropout=False))
    assert done.code == 0, done.err
    assert without_pace(done.err.splitlines()[-1]).startswith(f"model in {tmp_path / 'run'}: ")
    assert_same(tmp_path / "run", one)


@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_passes_of_a_step_are_one_step(given, one, tmp_path, n):
    """The mean is over all masked tokens of the step, not one of each pass."""
    args = arguments(given, tmp_path / "run", "--accumulate", 2, dropout=False)
    if n == 1:
        assert cli("-q", *args) == 0
    else:
        done = torchrun(*args, n=n)
        assert done.code == 0, done.err
    assert_same(tmp_path / "run", one)


def test_another_number_of_processes_goes_on(given, one, tmp_path):
    """Two begin and are asked to stop, one goes on."""
    run = tmp_path / "run"
    args = arguments(given, run, dropout=False)
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    done = torchrun(*args, program=[script])
    assert (done.code, done.err.splitlines()[-1]) == (
        0, "stopped by SIGUSR1 after step 10; --resume goes on",
    )  # fmt: skip
    assert steps_kept(run) == [7, 10]
    assert cli("-q", *args, "--resume") == 0
    assert_same(run, one)


# The second process gets a signal in its tenth step.
STOPPED = """
import os, signal
from dnatk.cli import main
from dnatk.training.trainer import MaskedLMTrainer

whole = MaskedLMTrainer.training_step

def step(self, *args, **more):
    if os.environ["RANK"] == "1" and self.state.global_step == 9:
        os.kill(os.getpid(), signal.SIGUSR1)
    return whole(self, *args, **more)

MaskedLMTrainer.training_step = step
main()
"""

# The second process meets what no other does.
WRONG = """
import os, sys
from dnatk.cli import main
from dnatk.training import masked_lm
from dnatk.training.batches import RowDataset
from dnatk.errors import InputError

kind = sys.argv.pop(1)
if os.environ["RANK"] == "1" and kind == "nan":
    whole = masked_lm.PackedMaskedLM.forward
    def forward(self, *args, **more):
        out = whole(self, *args, **more)
        return {"loss": out["loss"] * float("nan")} if self.training else out
    masked_lm.PackedMaskedLM.forward = forward
if os.environ["RANK"] == "1" and kind == "error":
    def get(self, rows):
        raise InputError("cannot be read any more", path="g.fa")
    RowDataset.__getitems__ = get
main()
"""


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param("nan", "the loss is nan at step 1", marks=pytest.mark.slow),
        ("error", "g.fa: cannot be read any more"),
    ],
)
def test_an_error_of_one_process_ends_the_run(given, tmp_path, kind, message):
    (tmp_path / "wrong.py").write_text(WRONG)
    run = tmp_path / "run"
    done = torchrun(kind, *arguments(given, run, dropout=False), program=[tmp_path / "wrong.py"])
    assert done.code == 1
    errors = [line for line in told(done.err) if "another process" not in line]
    assert len(set(errors)) == 1, done.err
    assert message in errors[0]
    assert "this is a bug" not in done.err
    assert len(told(done.err)) <= 2
    assert steps_kept(run) == []
    assert not (run / "model.safetensors").exists()


def test_an_error_of_all_is_said_by_the_first(given, tmp_path):
    done = torchrun(*arguments(given, tmp_path / "run", "--window", 600, dropout=False))
    assert done.code == 1
    assert told(done.err) == [
        "dnatk: error: a window of 600 bases does not fit (6 to 515 bases do)"
    ]


def test_rows_that_cannot_be_shared_are_refused():
    config = PretrainConfig(inputs=("g.fa",), batch_tokens=512 * 8, window=515)
    assert [config.rows(ranks) for ranks in (1, 2, 4, 8)] == [8, 4, 2, 1]
    with pytest.raises(InputError) as error:
        config.rows(3)
    assert str(error.value) == (
        "a step has 8 rows of 512 tokens, which 3 processes with 1 passes each cannot share "
        "evenly (--batch-tokens 4608 makes it 9 rows)"
    )
    assert PretrainConfig(inputs=(), batch_tokens=4608, window=515).rows(3) == 3


def test_what_is_no_fault_of_others_is_not_laid_to_them():
    with pytest.raises(RuntimeError, match="connection of no process") as error, peers():
        raise RuntimeError("connection of no process")
    assert not isinstance(error.value, (OutputError, PeerGone))


def launched(
    *args: object, config: Path, n: int = 2, program=("-m", "dnatk")
) -> subprocess.CompletedProcess:
    """``dnatk ARGS...`` by accelerate launch."""
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", config,
        "--num_processes", n, "--main_process_port", free_port(), *program, *args,
    ]  # fmt: skip
    quiet = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return subprocess.run(
        [str(part) for part in command], env={**os.environ, **quiet}, timeout=300,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


PLAIN = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_CPU
machine_rank: 0
mixed_precision: 'no'
num_machines: 1
use_cpu: true
"""


@pytest.mark.slow
def test_accelerate_launch_trains_as_one(given, one, tmp_path):
    (tmp_path / "plain.yaml").write_text(PLAIN)
    args = arguments(given, tmp_path / "run", dropout=False)
    done = launched(*args, config=tmp_path / "plain.yaml")
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "run", one)


FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: 'no'
num_machines: 1
use_cpu: true
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_transformer_layer_cls_to_wrap: BertLayer
  fsdp_state_dict_type: {kind}
"""

# accelerate shards on accelerators alone, so that it is told that this is one; torch's FSDP then
# runs on the CPU. Weights that are not spread over processes end the run.
SHARDED = """
from accelerate.state import AcceleratorState, DistributedType, PartialState
from dnatk.cli import main
from dnatk.training.trainer import MaskedLMTrainer
from torch.distributed.tensor import DTensor

whole, step = AcceleratorState.__init__, MaskedLMTrainer.training_step

def init(self, *args, **more):
    state = PartialState()._shared_state
    if state["distributed_type"] == DistributedType.MULTI_CPU:
        state["distributed_type"] = DistributedType.MULTI_HPU
    whole(self, *args, **more)

def checked(self, *args, **more):
    assert all(isinstance(each, DTensor) for each in self.model_wrapped.parameters())
    return step(self, *args, **more)

AcceleratorState.__init__, MaskedLMTrainer.training_step = init, checked
main()
"""


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        ("FULL_STATE_DICT", False),
        pytest.param("FULL_STATE_DICT", True, marks=pytest.mark.slow),
        pytest.param("SHARDED_STATE_DICT", True, marks=pytest.mark.slow),
    ],
)
def test_weights_spread_over_processes_train_as_one(given, one, tmp_path, kind, again):
    """And go on as one, where ``again``."""
    (tmp_path / "fsdp.yaml").write_text(FSDP.format(kind=kind))
    (tmp_path / "sharded.py").write_text(SHARDED)
    run = tmp_path / "run"
    args = arguments(given, run, dropout=False)
    where = {"config": tmp_path / "fsdp.yaml", "program": [tmp_path / "sharded.py"]}
    done = launched(*args, **where)
    assert done.returncode == 0, done.stderr
    assert_same(run, one)
    assert weights(run).keys() == weights(one).keys(), "tied weights are written once"
    if not again:
        return
    finished, log = digest(run / "model.safetensors"), untimed(run)
    shutil.rmtree(run / f"checkpoint-{STEPS}")
    (run / "dnatk.json").unlink()
    done = launched(*args, "--resume", **where)
    assert done.returncode == 0, done.stderr
    assert f"resuming after {run / 'checkpoint-21'}" in done.stderr
    assert (digest(run / "model.safetensors"), untimed(run)) == (finished, log)


@pytest.mark.slow
def test_a_signal_to_torchrun_and_all_that_it_started(given, tmp_path):
    """As Slurm sends it; torchrun itself is told to leave it to the others."""
    run = tmp_path / "run"
    args = arguments(given, run, "--max-steps", 2000, dropout=False)
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2,
             "--master-port", free_port(), "-m", "dnatk", *args]  # fmt: skip
    running = subprocess.Popen(
        ["bash", "-c", "trap '' USR1; exec \"$@\"", "-", *map(str, words)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    root = psutil.Process(running.pid)
    try:
        end = time.monotonic() + 120
        while not steps_kept(run) and time.monotonic() < end:
            time.sleep(0.1)
        for process in [root, *root.children(recursive=True)]:
            process.send_signal(signal.SIGUSR1)
        _, err = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            for process in [*root.children(recursive=True), root]:
                process.kill()
            running.wait()
    assert running.returncode == 0, err
    step = steps_kept(run)[-1]
    assert f"stopped by SIGUSR1 after step {step}; --resume goes on" in err
