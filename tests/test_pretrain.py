"""``dnatk pretrain``: what a run writes, how it goes on, and where it stops."""

from __future__ import annotations

import json
import math
import shutil
import tomllib
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conftest import random_bases, write_fasta
from pretraining import metrics, untimed, weights
from transformers import AutoModelForMaskedLM, AutoTokenizer

from dnatk.errors import DnatkError, OutputError, TrainingError
from dnatk.kmers import encode, spaced
from dnatk.masking import Masker
from dnatk.model.loading import load_encoder, read_model
from dnatk.model.presets import PRESETS, preset
from dnatk.training.batches import RowDataset
from dnatk.training.checkpoints import checkpoints
from dnatk.training.config import PretrainConfig
from dnatk.training.corpus import Corpus
from dnatk.training.initialise import start_local
from dnatk.training.masked_lm import new_model, pretrained_model
from dnatk.training.pretrain import _read_corpus, pretrain
from dnatk.training.trainer import training_arguments
from dnatk.training.windows import Sampler


@pytest.fixture(autouse=True)
def _known_peak(monkeypatch):
    """Measuring it costs most of a second; the finished run of the module does."""
    monkeypatch.setattr("dnatk.training.pretrain.measured_peak", lambda *_: 1e12)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PretrainConfig:
    sequences = {name: random_bases(3000, seed) for seed, name in enumerate("abc")}
    path = write_fasta(tmp_path_factory.mktemp("corpus") / "g.fa", sequences)
    return PretrainConfig(
        inputs=(str(path),), preset="tiny", max_steps=16, batch_tokens=512, window=69,
        save_steps=5, log_steps=1, holdout=("c",), precision="fp32",
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """One finished run, read by several tests."""
    return pretrain(config, tmp_path_factory.mktemp("run") / "model", device="cpu")


def test_the_directory_is_an_ordinary_transformers_model(finished):
    names = {p.name for p in finished.iterdir()}
    assert names == {
        "checkpoint-15", "checkpoint-16", "config.json", "config.toml", "dnatk.json", "inputs.json",
        "loss.png", "metrics.jsonl", "model.safetensors", "report.html", "tokenizer.json",
        "tokenizer_config.json", "vocab.txt",
    }  # fmt: skip
    model = AutoModelForMaskedLM.from_pretrained(finished, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(finished)
    ids = tokenizer(spaced("ACGTACGTAAC"), return_tensors="pt")["input_ids"]
    logits = model(ids).logits
    assert logits.shape == (1, 8, 4101)
    assert model.config.hidden_dropout_prob == 0, "own presets train with dropout 0"
    hidden = load_encoder(finished, device="cpu", precision="fp32")(
        ids[0], torch.arange(8), [8]
    ).clone()
    torch.testing.assert_close(model.cls(hidden), logits[0], atol=1e-4, rtol=0)


def test_checkpoints_are_model_directories_too(finished):
    assert read_model(finished / "checkpoint-15").k == 6


def test_config_and_facts_say_what_was_run(finished, config):
    written = tomllib.loads((finished / "config.toml").read_text())["pretrain"]
    assert written["max_steps"] == 16
    assert written["window"] == 69
    facts = json.loads((finished / "dnatk.json").read_text())
    assert (facts["k"], facts["kmer_stride"], facts["steps"]) == (6, 1, 16)
    source = facts["training"]["sources"][0]
    assert (source["records"], source["bases"], source["held_out"]) == (2, 6000, 1)


def test_metrics_tell_the_phases(finished, config):
    rows = [row for row in metrics(finished) if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 17))
    # Phases of 16 steps begin at 1, 2, round(10/3) = 3 and 5; steps are logged counted from 1.
    assert [row["span"] for row in rows] == [6, 8, 10, 12, 12] + [14] * 11
    for row in rows:
        assert row["bits"] == pytest.approx(row["loss"] / math.log(2), abs=1e-3)
        assert 0 < row["masked_share"] < 0.6
        assert 0 < row["hidden_bases"] < row["tokens"]
    heldout = [row for row in metrics(finished) if "heldout_bits" in row]
    assert [row["step"] for row in heldout] == [5, 10, 15, 16]
    assert set(heldout[0]["heldout_bits"]) == {"6", "8", "10", "12", "14"}


def test_metrics_tell_the_speed(finished):
    rows = [row for row in metrics(finished) if "loss" in row]
    before = 0
    for row in rows:
        assert row["seconds_per_step"] > 0
        tokens = row["tokens_per_second"] * row["seconds_per_step"]
        assert tokens == pytest.approx(row["tokens"] - before, rel=0.01)
        assert 8 * (66 - 8) < row["tokens"] - before <= 8 * 66
        assert row["mfu"] > 0  # above 1 where the machine was busy while its peak was measured
        before = row["tokens"]


def test_a_line_is_the_mean_of_its_steps(config, finished, tmp_path):
    """Every fourth step is logged: losses are averaged, counts added up."""
    run = pretrain(replace(config, log_steps=4), tmp_path / "run", device="cpu")
    each = [row for row in metrics(finished) if "loss" in row]
    rows = [row for row in metrics(run) if "loss" in row]
    assert [row["step"] for row in rows] == [4, 8, 12, 16]
    for row in rows:
        steps = each[row["step"] - 4 : row["step"]]
        assert row["loss"] == pytest.approx(sum(s["loss"] for s in steps) / 4, abs=2e-5)
        for name in ("masked_tokens", "hidden_bases"):
            assert row[name] == sum(s[name] for s in steps)


def test_every_checkpoint_may_be_kept(config, tmp_path):
    run = pretrain(replace(config, keep=0, max_steps=12), tmp_path / "run", device="cpu")
    assert [p.name for p in checkpoints(run)] == [
        "checkpoint-5", "checkpoint-10", "checkpoint-12",
    ]  # fmt: skip


def test_attention_dropout_is_taken_away_alone():
    sizes = {**preset("tiny").bert_config(6), "attention_probs_dropout_prob": 0.1}
    model = new_model({**sizes, "hidden_dropout_prob": 0.2}, 0)
    model.set_attention_dropout(0.0)
    assert model.config.attention_probs_dropout_prob == 0
    chances = {n: m.p for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert chances
    for name, chance in chances.items():
        assert chance == (0 if name.endswith("attention.self.dropout") else 0.2), name


def test_same_seed_same_weights(config, finished, tmp_path):
    again = pretrain(config, tmp_path / "again", device="cpu")
    assert all(torch.equal(a, weights(again)[n]) for n, a in weights(finished).items())
    other = pretrain(replace(config, seed=1), tmp_path / "other", device="cpu")
    assert any(not torch.equal(a, weights(other)[n]) for n, a in weights(finished).items())


def test_resume_equals_the_uninterrupted_run(config, finished, tmp_path, monkeypatch):
    run = tmp_path / "cut"
    step = "dnatk.training.trainer.MaskedLMTrainer.training_step"
    from dnatk.training.trainer import MaskedLMTrainer

    whole = MaskedLMTrainer.training_step

    def cut(self, *args, **kwargs):
        if self.state.global_step == 12:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(step, cut)
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, run, device="cpu")
    monkeypatch.setattr(step, whole)
    assert [p.name for p in checkpoints(run)] == ["checkpoint-5", "checkpoint-10"]
    assert not (run / "dnatk.json").exists(), "not finished"
    with open(run / "metrics.jsonl", "a") as handle:
        handle.write('{"step": 13, "lo')
    pretrain(config, run, device="cpu", resume=True)
    assert all(torch.equal(a, weights(run)[n]) for n, a in weights(finished).items())
    assert untimed(run) == untimed(finished)


def test_resume_without_a_checkpoint_starts_afresh_and_a_finished_run_returns(config, tmp_path):
    short = replace(config, max_steps=2)
    run = pretrain(short, tmp_path / "new", device="cpu", resume=True)
    before = (run / "model.safetensors").stat().st_mtime_ns
    pretrain(short, run, device="cpu", resume=True)
    assert (run / "model.safetensors").stat().st_mtime_ns == before


def test_a_run_that_another_job_finished_meanwhile_is_left_alone(config, finished, monkeypatch):
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    monkeypatch.setattr("dnatk.training.pretrain.is_finished", lambda *_: False)
    assert pretrain(config, finished, device="cpu", resume=True) == finished
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir()} == before


@pytest.mark.parametrize("step", [5, 16])
def test_no_checkpoint_is_made_of_weights_that_are_not_finite(config, step, tmp_path, monkeypatch):
    """The loss of the step was finite, its gradients were not."""
    from dnatk.training.trainer import MaskedLMTrainer

    whole = MaskedLMTrainer._agree

    def overflow(self):
        whole(self)
        if self.state.global_step + 1 == step:
            next(self.model.parameters()).grad.fill_(float("nan"))

    monkeypatch.setattr(MaskedLMTrainer, "_agree", overflow)
    with pytest.raises(TrainingError, match=f"weights are not finite after step {step} "):
        pretrain(config, tmp_path / "run", device="cpu")
    assert f"checkpoint-{step}" not in {path.name for path in (tmp_path / "run").iterdir()}
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("stride", ["1", "k"])
@pytest.mark.parametrize("window", [6, 7, 10, 30])
def test_the_shortest_windows_are_trained_on(config, window, stride, tmp_path):
    options = {"window": window, "kmer_stride": 1 if stride == "1" else 6, "max_steps": 2}
    config = replace(config, **options, batch_tokens=64, holdout=())
    run = pretrain(config, tmp_path / "run", device="cpu")
    assert (run / "model.safetensors").exists()


@pytest.mark.parametrize(("local", "kept"), [("2", False), ("1", True), ("", True)])
def test_the_corpus_stays_while_other_machines_read_it(config, local, kept, tmp_path, monkeypatch):
    ranks = SimpleNamespace(
        num_processes=2,
        is_main_process=True,
        main_process_first=nullcontext,
        wait_for_everyone=lambda: None,
    )
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    corpus = _read_corpus(config, tmp_path, ranks)
    assert len(corpus.bases)
    assert (tmp_path / ".corpus").exists() == kept


def test_a_norm_that_overflowed_is_null_in_the_log(config, tmp_path, monkeypatch):
    """As of a step that fp16 makes again at another scale."""
    from dnatk.training.metrics_log import MetricsLog

    row = MetricsLog._row
    monkeypatch.setattr(
        MetricsLog, "_row", lambda self, step, logs: row(self, step, logs | {"grad_norm": math.inf})
    )
    run = pretrain(replace(config, max_steps=1), tmp_path / "run", device="cpu")
    assert '"grad_norm": null' in (run / "metrics.jsonl").read_text()


def test_a_single_process_trains_on_the_gpu_that_is_named(tmp_path, monkeypatch):
    from accelerate import PartialState
    from accelerate.state import AcceleratorState

    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    place = torch.device("cuda", 1)
    try:
        arguments = training_arguments(tmp_path, device=place, dtype=torch.float32)
        assert arguments.device == PartialState().device == chosen[-1] == place
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_a_changed_option_at_resume_is_named(config, finished):
    with pytest.raises(TrainingError, match=r"lr was 0.0005 and is now 0.1"):
        pretrain(replace(config, lr=0.1), finished, device="cpu", resume=True)


def test_a_directory_with_a_run_is_not_overwritten(config, finished):
    with pytest.raises(OutputError, match="already holds a run"):
        pretrain(config, finished, device="cpu")


def test_init_goes_on_from_a_model(config, finished, tmp_path):
    start = pretrained_model(finished)
    run = pretrain(
        replace(config, init=str(finished), max_steps=1, lr=1e-9), tmp_path / "init", device="cpu"
    )
    for name, tensor in start.state_dict().items():
        if name in weights(run):
            torch.testing.assert_close(weights(run)[name], tensor, atol=1e-6, rtol=0)


def test_a_non_finite_loss_stops_with_a_message(config, tmp_path, monkeypatch):
    from dnatk.training import masked_lm

    real = masked_lm.PackedMaskedLM.forward

    def poisoned(self, *args, **kwargs):
        out = real(self, *args, **kwargs)
        return {"loss": out["loss"] * float("nan")} if self.training else out

    monkeypatch.setattr(masked_lm.PackedMaskedLM, "forward", poisoned)
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        pretrain(config, tmp_path / "nan", device="cpu")
    assert not (tmp_path / "nan" / "model.safetensors").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("pos 9")])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    config, tmp_path, monkeypatch, error
):
    from transformers import Trainer

    save = Trainer._save_optimizer_and_scheduler

    def full(self, output_dir):
        if self.state.global_step == 10:
            raise error
        save(self, output_dir)

    monkeypatch.setattr(Trainer, "_save_optimizer_and_scheduler", full)
    run = tmp_path / "full"
    with pytest.raises(OutputError, match=r"full: the model cannot be written: (No space|pos 9)"):
        pretrain(config, run, device="cpu")
    assert [p.name for p in checkpoints(run)] == ["checkpoint-5"]
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoint-5", "config.toml", "inputs.json", "metrics.jsonl",
    ]  # fmt: skip


def test_a_batch_with_nothing_masked_has_loss_0_and_finite_gradients():
    model = new_model(preset("tiny").bert_config(6), 0)
    empty = torch.empty(0, dtype=torch.long)
    loss = model(
        ids_T=torch.tensor([2, 9, 10, 3]), position_T=torch.arange(4), lengths=[4],
        masked_M=empty, labels=empty,
    )["loss"]  # fmt: skip
    assert loss.item() == 0
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_run_that_masks_nothing_ends_with_loss_0(config, tmp_path):
    nothing = replace(config, mask_prob=1e-12, max_steps=2)
    run = pretrain(nothing, tmp_path / "nothing", device="cpu")
    assert [row["loss"] for row in metrics(run) if "loss" in row] == [0, 0]


def test_loss_equals_transformers_own(tiny_model):
    """The packed loss, head on masked positions only, is BertForMaskedLM's with labels."""
    packed = pretrained_model(tiny_model)
    plain = AutoModelForMaskedLM.from_pretrained(
        tiny_model, dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.randint(5, 4101, (2, 30), generator=torch.Generator().manual_seed(1))
    labels = torch.full_like(ids, -100)
    labels[:, 10:17] = ids[:, 10:17]
    expected = plain(ids, labels=labels).loss
    masked = (labels.view(-1) != -100).nonzero()[:, 0]
    loss = packed(
        ids_T=ids.view(-1), position_T=torch.arange(30).repeat(2), lengths=[30, 30],
        masked_M=masked, labels=ids.view(-1)[masked],
    )["loss"]  # fmt: skip
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)


def test_phase_boundaries_hit_at_the_exact_step(config, tmp_path):
    """Dataset rows of step round(fraction x steps) are the first with the wider span."""
    settings = replace(config, max_steps=480)
    corpus = Corpus.read(settings.inputs, directory=tmp_path, k=6)
    sampler = Sampler(corpus, corpus.train, k=6, kmer_stride=1, row_tokens=66, seed=1)
    seen = []

    class Spy(Masker):
        def apply(self, ids_T, first_T, last_T, width, *more):
            seen.append(width)
            return super().apply(ids_T, first_T, last_T, width, *more)

    dataset = RowDataset(sampler, Spy(4101), settings.schedule(), 480, rows_per_step=4)
    for step in (0, 29, 30, 59, 60, 99, 100, 149, 150, 479):
        dataset.__getitems__([4 * step, 4 * step + 1])
    assert seen == [6, 6, 8, 8, 10, 10, 12, 12, 14, 14]


@pytest.mark.parametrize(("masking", "width"), [("random-mask", 14), ("dnabert", 6), ("token", 1)])
def test_baselines_are_a_word_of_configuration(config, masking, width):
    settings = replace(config, masking=masking)
    assert settings.schedule().at(15).width == width
    assert settings.masker(4101).centre_prob(width) == (0.15 if masking == "token" else 0.025)


def test_random_widths_without_a_curriculum(config):
    """--order fixed --span uniform draws every width from the first step on."""
    settings = replace(config, order="fixed", span="uniform")
    width = settings.schedule().at(0).width
    assert settings.masker(4101).widths(width).tolist() == [6, 8, 10, 12, 14]


def test_presets_have_the_documented_sizes():
    sizes = {n: (p.num_hidden_layers, p.hidden_size, p.dropout) for n, p in PRESETS.items()}
    assert sizes == {
        "tiny": (2, 64, 0.0), "mini": (4, 128, 0.0), "small": (6, 256, 0.0),
        "dnabert-base": (12, 768, 0.1),
    }  # fmt: skip
    n_small = sum(p.numel() for p in new_model(preset("small").bert_config(6), 0).parameters())
    assert 5.5e6 < n_small < 6.5e6


@pytest.fixture(scope="module")
def local():
    """A model that has only started, locally."""
    sizes = {**preset("tiny").bert_config(6), "initializer_range": 64**-0.5}
    model = new_model(sizes, 0)
    start_local(model, 6, 0)
    return model


def test_local_start_points_each_head_at_its_offset(local, tmp_path):
    local.describe(6, 1)
    local.save_pretrained(tmp_path)
    plain = AutoModelForMaskedLM.from_pretrained(
        tmp_path, dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.randint(5, 4101, (1, 100), generator=torch.Generator().manual_seed(1))
    attention = plain(ids, output_attentions=True).attentions[0][0]
    for head, offset in enumerate((-2, 2)):
        by_offset = {d: attention[head].diagonal(d)[20:60].mean().item() for d in range(-15, 16)}
        assert max(by_offset, key=by_offset.get) == offset


def test_local_start_composes_kmers_of_bases(local):
    word = local.bert.embeddings.word_embeddings.weight
    a, b, c, d = (word[encode(s, 6)[0]] for s in ("AAAAAA", "TAAAAA", "AAAAGC", "TAAAGC"))
    torch.testing.assert_close(a - b, c - d)
    assert (a - b).abs().max() > 0.01
    assert not word[0].any(), "[PAD] stays 0"
    assert local.cls.predictions.decoder.weight is word, "the head is tied to it"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 600}, "6 to 515 bases do"),
        ({"window": 3}, "does not fit"),
        ({"phases": "x"}, "cannot read the phases"),
        ({"phases": "6,9", "span": "uniform"}, "must be all even or all odd"),
        ({"inputs": ("missing.fa",)}, "missing.fa: no such file"),
        ({"holdout": ("z",)}, "no contig 'z' to hold out"),
        ({"init": "nowhere"}, "no model 'nowhere'"),
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"min_length": 10**6}, "lower --min-length"),
    ],
)
def test_what_cannot_run_says_why_and_leaves_no_model(config, tmp_path, changes, message):
    with pytest.raises(DnatkError, match=message):
        pretrain(replace(config, **changes), tmp_path / "bad", device="cpu")
    assert not (tmp_path / "bad" / "model.safetensors").exists()


def test_a_failed_start_can_be_repeated_with_the_right_options(config, tmp_path):
    with pytest.raises(DnatkError):
        pretrain(replace(config, holdout=("z",)), tmp_path / "run", device="cpu")
    pretrain(replace(config, max_steps=1), tmp_path / "run", device="cpu")
    shutil.rmtree(tmp_path / "run")
