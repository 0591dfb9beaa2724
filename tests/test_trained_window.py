"""Windows are as long as those that a model was trained on, unless another length is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_model, random_bases, write_fasta
from transformers import BertForMaskedLM

import dnatk
from dnatk.analysis.inspect_inputs import InspectOptions, given_sample
from dnatk.analysis.subject import find_subject
from dnatk.kmers import KmerTokens
from dnatk.kmers.vocab import MASK
from dnatk.model.loading import read_model
from dnatk.model.models import find_model

RUN = {"k": 6, "kmer_stride": 1, "window": 131}


def trained(path: Path, training: object, **sizes) -> Path:
    """A model of 512 positions whose dnatk.json tells of ``training``."""
    make_model(path, num_hidden_layers=1, **sizes)
    facts = json.loads((path / "dnatk.json").read_text())
    (path / "dnatk.json").write_text(json.dumps({**facts, "training": training}))
    return path


@pytest.mark.parametrize(
    ("training", "window"),
    [
        (RUN, 131),
        ([RUN, {**RUN, "window": 261}], 261),
        ({**RUN, "window": 3072, "kmer_stride": 6}, 515),  # 512 positions, read without overlaps
        ({**RUN, "window": 126, "kmer_stride": 6}, 26),
        ({**RUN, "window": 9999}, 515),
        ({**RUN, "window": 0}, 515),
        ({**RUN, "window": "131"}, 515),
        ({**RUN, "window": 131.0}, 515),
        ({**RUN, "kmer_stride": True}, 515),
        ({}, 515), ([], 515), (None, 515), ("short", 515),
    ],
)  # fmt: skip
def test_dnatk_json_tells_of_the_last_run(training, window, tmp_path):
    info = read_model(trained(tmp_path / "model", training))
    assert (info.trained_window, info.max_window) == (window, 515)


def test_what_pretrain_writes_is_what_embed_takes(tmp_path, run):
    fasta = write_fasta(tmp_path / "g.fa", {"chr": random_bases(600, 1)})
    small = ["--preset", "tiny", "--max-steps", 1, "--batch-tokens", 256, "--device", "cpu"]
    model = tmp_path / "model"
    assert run("pretrain", fasta, "-o", model, "--window", 69, *small).code == 0
    assert find_model(model).trained_window == 69
    embed = ["embed", fasta, "--model", model, "--device", "cpu", "-o"]
    assert run(*embed, tmp_path / "trained.h5").err.count("trained on") == 0
    regions, _ = dnatk.read_embeddings(tmp_path / "trained.h5")
    assert (regions["end"] - regions["start"]).max() == 69
    longer = run(*embed, tmp_path / "longer.h5", "--window", 200)
    assert f"--window 200: {model} was trained on windows of 69 bases, what lies" in longer.err
    assert longer.code == 0


def test_inspect_looks_at_windows_of_the_trained_length(tmp_path):
    subject = find_subject(trained(tmp_path / "model", RUN), "cpu")
    sample = given_sample(subject, "", InspectOptions(windows=2), k=0)
    assert [len(window) for window in sample.windows] == [131, 131]
    sample = given_sample(subject, "", InspectOptions(windows=1, window=300), k=0)
    assert [len(window) for window in sample.windows] == [300]


@pytest.mark.parametrize("length", [60, 61])
def test_finetune_tells_of_a_task_that_is_longer(length, tmp_path, run):
    model = trained(tmp_path / "model", {**RUN, "window": 60})
    rows = [f"{random_bases(length, n)},{n % 2}\n" for n in range(40)]
    (tmp_path / "t.csv").write_text("sequence,label\n" + "".join(rows))
    small = ["--max-steps", 1, "--device", "cpu"]
    done = run("finetune", tmp_path / "t.csv", "-o", tmp_path / "task", "--model", model, *small)
    assert done.code == 0
    told = f"was trained on windows of 60 bases, the task's are {length}: --length cuts them"
    assert (told in done.err) == (length > 60)


def test_the_shipped_model_reads_late_positions_as_well_as_early_ones():
    """Training on short windows moves a model away from its later position embeddings."""
    info = read_model("dnatk-small")
    assert info.trained_window == info.max_window == 515
    model = BertForMaskedLM.from_pretrained(info.directory, dtype=torch.float32).eval()
    tokens = KmerTokens(info.k, info.kmer_stride)
    bits = []
    for seed in range(8):
        bases = np.frombuffer(random_bases(515, seed).encode(), dtype=np.uint8)
        ids_T = torch.tensor([*tokens.prefix, *tokens.encode(bases), *tokens.suffix])
        bits.append([_bits_of_span(model, ids_T, at) for at in (40, 140, 300, 450, 490)])
    early, _, *late = np.mean(bits, axis=0)
    assert np.max(late) < early + 0.3, "0.2 to 3 bits were lost before the last run on full windows"


def _bits_of_span(model: BertForMaskedLM, ids_T: torch.Tensor, at: int) -> float:
    """Mean bits of ten masked 6-mers, which hide five bases."""
    span = slice(at, at + 10)
    masked_T = ids_T.clone()
    masked_T[span] = MASK
    with torch.inference_mode():
        log_p = model(input_ids=masked_T[None]).logits[0, span].log_softmax(dim=-1)
    return -log_p.gather(1, ids_T[span, None]).mean().item() / np.log(2)


def test_bundled_tasks_read_what_the_trunk_was_trained_on():
    for path in sorted(Path(dnatk.__file__).parent.glob("tasks/bundled/*/task.json")):
        task = dnatk.find_task(path.parent.name)
        assert task.length <= read_model("dnatk-small").trained_window
