"""``dnatk pretrain``'s inputs: mixtures, repeats, and what a run leaves of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from conftest import random_bases, write_fasta

from dnatk.errors import InputError
from dnatk.training import heldout
from dnatk.training.config import PretrainConfig
from dnatk.training.pretrain import pretrain


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PretrainConfig:
    """A soft-masked genome but for its first tenth, and a small one."""
    directory = tmp_path_factory.mktemp("inputs")
    bases = random_bases(5000, 1)
    one = write_fasta(directory / "one.fa", {"a": bases[:500] + bases[500:].lower()})
    two = write_fasta(directory / "two.fa", {"b": random_bases(500, 2), "c": "acgt" * 100})
    return PretrainConfig(
        inputs=(str(one), str(two)), preset="tiny", max_steps=2, batch_tokens=2048, window=69,
        save_steps=2, log_steps=1, precision="fp32",
    )  # fmt: skip


def masked(run) -> list[int]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["masked_tokens"] for row in rows if "loss" in row]


def test_repeats_of_weight_0_are_neither_masked_nor_left_behind(config, tmp_path):
    plain = pretrain(config, tmp_path / "plain", device="cpu")
    without = pretrain(replace(config, repeat_weight=0.0), tmp_path / "without", device="cpu")
    assert 0 < sum(masked(without)) < 0.5 * sum(masked(plain))
    facts = json.loads((without / "dnatk.json").read_text())
    assert facts["training"]["repeat_weight"] == 0
    assert not list(tmp_path.rglob(".corpus"))


def test_held_out_bits_are_of_repeats_too(config, tmp_path, monkeypatch):
    seen = []
    real = heldout.masked_batch

    def spy(sampler, masker, *args):
        batch = real(sampler, masker, *args)
        seen.append(int(batch["counts"][2]))
        return batch

    monkeypatch.setattr(heldout, "masked_batch", spy)
    # Contig c is soft-masked from end to end.
    settings = replace(config, holdout=("c",), repeat_weight=0.0)
    pretrain(settings, tmp_path / "run", device="cpu")
    assert seen
    assert min(seen) > 0


def test_weights_and_temperature_exclude_each_other(config, run, tmp_path):
    result = run("pretrain", *config.inputs, "-o", tmp_path / "m", "--weights", "1,2",
                 "--temperature", "0.5")  # fmt: skip
    assert result.code == 2
    assert "--weights and --temperature exclude each other" in result.err
    with pytest.raises(InputError, match="exclude each other"):
        pretrain(replace(config, weights=(1.0, 2.0), temperature=0.5), tmp_path / "m", device="cpu")


def test_weights_are_of_training_alone(config, tmp_path):
    """An input of weight 0 may be there to be measured on."""
    settings = replace(config, weights=(1.0, 0.0), holdout=("two.fa:b", "two.fa:c"))
    run = pretrain(settings, tmp_path / "run", device="cpu")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("heldout_bits" in row for row in rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--warmup", "nan"), "nan is no number to count with"),
        (("--lr", "inf"), "inf is no number to count with"),
        (("--weight-decay", "inf"), "inf is no number to count with"),
        (("--seed", "5000000000"), "is not in the range"),
        (("--weights", "2,,1"), "must be numbers with commas"),
        (("--masking", "dnabert", "--phases", "6,10"), "--phases goes with --masking random-mask"),
        (("--masking", "token", "--order", "contracting"), "token has one width"),
    ],
)
def test_options_that_cannot_be_meant(config, run, tmp_path, options, said):
    result = run("pretrain", *config.inputs, "-o", tmp_path / "m", *options)
    assert result.code == 2
    assert said in result.err
    assert not (tmp_path / "m").exists()


def test_a_wrong_number_of_weights_is_told_before_anything_is_read(config, tmp_path):
    missing = replace(config, inputs=("missing.fa",), weights=(1.0, 2.0))
    with pytest.raises(InputError, match="1 inputs need as many weights, not 2"):
        pretrain(missing, tmp_path / "m", device="cpu")
    assert not (tmp_path / "m").exists()


def test_inputs_that_fail_leave_nothing_of_the_corpus(config, tmp_path):
    with pytest.raises(InputError, match="no contig 'z'"):
        pretrain(replace(config, holdout=("z",)), tmp_path / "m", device="cpu")
    assert not list(tmp_path.rglob(".corpus"))
