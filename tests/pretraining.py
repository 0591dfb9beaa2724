"""What the tests of ``dnatk pretrain`` share: a corpus, its command line, what a run has given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import killing
import pytest
import torch
from conftest import make_model, random_bases, write_fasta
from safetensors.torch import load_file

from dnatk.training.checkpoints import checkpoints

STEPS = 24
# What a line of the log says of the clock.
TIMED = {"seconds_per_step", "tokens_per_second", "mfu"}


def metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def untimed(run: Path) -> list[dict]:
    """What the lines say, but for the clock."""
    return [{k: v for k, v in row.items() if k not in TIMED} for row in metrics(run)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def steps_kept(run: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in checkpoints(run)]


@pytest.fixture(scope="session")
def given(tmp_path_factory) -> Path:
    """A directory with g.fa, and "model": a tiny one with dropout."""
    path = tmp_path_factory.mktemp("given")
    write_fasta(path / "g.fa", {name: random_bases(3000, i) for i, name in enumerate("abc")})
    make_model(path / "model", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    return path


def arguments(given: Path, out: object = "run", *more: object, dropout: bool = True) -> list[str]:
    """A run of 8 rows a step, whose checkpoints do not fall on lines of its log."""
    start = ["--init", given / "model"] if dropout else ["--preset", "tiny"]
    args = [
        "pretrain", given / "g.fa", "-o", out, *start, "--max-steps", STEPS,
        "--batch-tokens", 528, "--window", 69, "--save-steps", 7, "--log-steps", 4,
        "--holdout", "c", "--precision", "fp32", "--device", "cpu", "-t", 1, *more,
    ]  # fmt: skip
    return [str(each) for each in args]


@pytest.fixture(scope="session")
def pretrainings(tmp_path_factory) -> Iterator[killing.Processes]:
    """Starts runs of ``dnatk pretrain`` in processes that can be killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(killing, "KILLER", Path(__file__).with_name("pretrain_killer.py"))
        made = killing.Processes(tmp_path_factory.mktemp("processes"))
    yield made
    made.close()
