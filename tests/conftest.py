"""Shared fixtures: everything is generated from a seed; real data only through DNATK_TEST_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dnatk.cli import main

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real genomes and sets, see docs/data.md; the test is skipped where they are not."""
    root = Path(__file__).parents[1]
    path = Path(os.environ.get("DNATK_TEST_DATA", root / "../shared/data")).resolve()
    if not (path / "yeast").is_dir():
        pytest.skip(f"no real data at {path}: set DNATK_TEST_DATA")
    return path


def random_bases(length: int, seed: int, alphabet: str = "ACGT") -> str:
    rng = np.random.default_rng(seed)
    return "".join(rng.choice(list(alphabet), length))


@pytest.fixture(scope="session")
def genome_sequences() -> dict[str, str]:
    """Three contigs; chr2 has soft-masked bases and a run of N, chr3 fits one window."""
    chr2 = random_bases(3000, 2)
    return {
        "chr1": random_bases(5000, 1),
        "chr2": chr2[:1000] + "N" * 700 + chr2[1700:2000].lower() + chr2[2000:],
        "chr3": random_bases(200, 3),
    }


@pytest.fixture(scope="session")
def genome(tmp_path_factory, genome_sequences) -> Path:
    """A plain FASTA of ``genome_sequences``."""
    return write_fasta(tmp_path_factory.mktemp("genome") / "genome.fa", genome_sequences)


def write_fasta(path: Path, sequences: dict[str, str], width: int = 60) -> Path:
    lines = []
    for name, sequence in sequences.items():
        lines.append(f">{name}")
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A model directory with random weights: 2 layers x 64, k = 6."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


def make_model(path: Path, k: int = 6, kmer_stride: int = 1, seed: int = 0, **sizes) -> Path:
    from dnatk.model.presets import preset
    from dnatk.training.masked_lm import new_model

    config = {**preset("tiny").bert_config(k), "initializer_range": 0.1, **sizes}
    model = new_model(config, seed)
    model.describe(k, kmer_stride)
    model.save_pretrained(path)
    return path


class Result:
    """What one run of the command line did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capfd):
    """Run ``dnatk ARGS...`` in this process, through the real error ladder."""

    def call(*args: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        code = stop.value.code or 0
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call
