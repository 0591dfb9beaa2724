"""``dnatk pretrain``: FASTA in, a transformers directory out."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers import TrainingArguments

from dnatk import __version__
from dnatk.errors import InputError, OutputError
from dnatk.kmers import Vocabulary
from dnatk.masking import Masker
from dnatk.model.loading import read_model
from dnatk.model.placement import resolve_device, resolve_precision
from dnatk.model.presets import preset
from dnatk.model.tokenizer_files import FACTS_FILE
from dnatk.progress import NullProgress, Progress
from dnatk.training.config import CONFIG_FILE, PretrainConfig
from dnatk.training.corpus import Corpus, Sampler
from dnatk.training.initialise import start_local
from dnatk.training.masked_lm import (
    PackedMaskedLM,
    new_model,
    pretrained_model,
    quiet_transformers,
)
from dnatk.training.plot import plot_loss
from dnatk.training.trainer import (
    METRICS_FILE,
    MaskedLMTrainer,
    MetricsLog,
    RowDataset,
    checkpoints,
    masked_batch,
    staged,
    sync_directory,
    training_arguments,
)

log = logging.getLogger(__name__)

_HELDOUT_SEED = 20_231_007
_HELDOUT_ROWS = 32


def pretrain(
    config: PretrainConfig,
    output: str | Path,
    *,
    device: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Pre-train a BERT-like model with RandomMask (Liang et al., arXiv 2310.07644).

    Args:
        config: the run, see :class:`PretrainConfig`.
        output: directory for the model, its tokenizer, config.toml, metrics.jsonl, loss.png and
            ``checkpoint-STEP/``; made where it is missing, must hold no other run.
        device: auto, cpu, cuda, ...
        resume: go on after the last checkpoint; without one start afresh; a finished run returns
            at once.

    Returns:
        The output directory, itself a model directory.

    Raises:
        InputError, ModelError, TrainingError, OutputError: as their names say.
    """
    run = Path(output)
    place = resolve_device(device)
    config = _resolve(config)
    schedule = config.schedule()
    if _is_finished(run, config, resume):
        log.warning("%s is finished: %d steps", run, config.max_steps)
        return run
    last = (checkpoints(run) or [None])[-1] if resume else None

    quiet_transformers()
    corpus = _read_corpus(config, run)
    tokens = (config.window - config.k) // config.kmer_stride + 3
    sizes = {"k": config.k, "kmer_stride": config.kmer_stride, "row_tokens": tokens}
    masker = config.masker(len(Vocabulary(config.k)))
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    rows = max(1, round(config.batch_tokens / (tokens * ranks * config.accumulate)))
    dataset = RowDataset(
        Sampler(corpus, corpus.train, seed=config.seed, **sizes),
        masker,
        schedule,
        config.max_steps,
        rows * ranks * config.accumulate,
    )
    heldout = None
    if len(corpus.heldout.start):
        unseen = Sampler(corpus, corpus.heldout, seed=_HELDOUT_SEED, **sizes)
        heldout = _heldout_bits(unseen, masker, sorted({width for width, _ in config.spans()}))
    metrics = MetricsLog(run / METRICS_FILE, schedule, progress or NullProgress())
    metrics.keep_until(int(last.name.split("-")[1]) if last else 0)
    trainer = MaskedLMTrainer(
        model=_model(config, corpus),
        train_dataset=dataset,
        heldout=heldout,
        log_file=metrics,
        args=_arguments(config, run, place, rows),
    )
    config.write(run)
    if last is not None:
        log.warning("resuming after %s", last)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    if trainer.is_world_process_zero():
        plot_loss(run / METRICS_FILE, schedule, run / "loss.png")
        _publish(trainer, run)
    return run


def _resolve(config: PretrainConfig) -> PretrainConfig:
    """``config`` with what follows from the model filled in, and checked."""
    if config.init:
        info = read_model(config.init)
        config = replace(config, k=info.k, kmer_stride=info.kmer_stride, preset="")
        widest = info.max_window
    else:
        positions = preset(config.preset).max_position_embeddings
        widest = (positions - 3) * config.kmer_stride + config.k
    if config.kmer_stride not in (1, config.k):
        raise InputError(f"the k-mer stride must be 1 or k = {config.k}")
    window = config.window or widest
    if not config.k <= window <= widest:
        raise InputError(
            f"a window of {window} bases does not fit", hint=f"{config.k} to {widest} bases do"
        )
    return replace(config, window=window)


def _is_finished(run: Path, config: PretrainConfig, resume: bool) -> bool:
    """Make the directory ready; True where ``resume`` finds the run complete."""
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {error.strerror}", path=run) from None
    if (run / CONFIG_FILE).exists() or (run / FACTS_FILE).exists():
        if not resume:
            raise OutputError(
                "already holds a run", path=run, hint="--resume goes on with it, or name another"
            )
        config.check_same(run)
        return (run / FACTS_FILE).exists()
    return False


def _read_corpus(config: PretrainConfig, run: Path) -> Corpus:
    corpus = Corpus(
        config.inputs,
        directory=run,
        holdout=config.holdout,
        min_length=config.min_length,
        weights=config.weights or None,
    )
    for source in corpus.sources:
        log.info("%s: %d records, %d bases", source.path, source.records, source.bases)
        if source.too_short:
            short = (source.path, source.too_short, config.min_length)
            log.warning("%s: %d records shorter than %d bases left out", *short)
    return corpus


def _model(config: PretrainConfig, corpus: Corpus) -> PackedMaskedLM:
    model = pretrained_model(read_model(config.init).directory) if config.init else _fresh(config)
    model.describe(
        config.k,
        config.kmer_stride,
        dnatk_version=__version__,
        steps=config.max_steps,
        training={**asdict(config), "sources": [asdict(source) for source in corpus.sources]},
    )
    return model


def _fresh(config: PretrainConfig) -> PackedMaskedLM:
    sizes = preset(config.preset).bert_config(config.k)
    if config.start == "normal":
        return new_model(sizes, config.seed)
    model = new_model({**sizes, "initializer_range": sizes["hidden_size"] ** -0.5}, config.seed)
    start_local(model, config.k, config.seed)
    return model


def _arguments(
    config: PretrainConfig, run: Path, place: torch.device, rows: int
) -> TrainingArguments:
    return training_arguments(
        run,
        device=place,
        dtype=resolve_precision(config.precision, place),
        max_steps=config.max_steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        warmup_steps=math.ceil(config.warmup * config.max_steps),
        max_grad_norm=config.max_grad_norm,
        logging_steps=min(config.log_steps, config.max_steps),
        save_steps=min(config.save_steps, config.max_steps),
        seed=config.seed,
    )


def _publish(trainer: MaskedLMTrainer, run: Path) -> None:
    """Put the finished model at the top of the run; dnatk.json comes last and says it is whole."""
    with staged(run) as staging:
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(staging)
        sync_directory(staging)
        for path in sorted(staging.iterdir(), key=lambda p: p.name == FACTS_FILE):
            os.replace(path, run / path.name)


def _heldout_bits(sampler: Sampler, masker: Masker, widths: list[int]):
    """A function of the trainer: bits per masked token on held-out windows, by span width.

    Always the same windows and masks, every masked token a [MASK].
    """
    plain = replace(masker, span="fixed", corruption="mask")

    @torch.no_grad()
    def evaluate(trainer: MaskedLMTrainer) -> dict[int, float]:
        model = trainer.model
        model.eval()
        bits = {}
        for width in widths:
            total, count = 0.0, 0
            for row in range(0, _HELDOUT_ROWS, 8):
                inputs = masked_batch(sampler, plain, width, range(row, row + 8))
                del inputs["counts"]
                inputs = trainer._prepare_inputs(inputs)
                with trainer.accelerator.autocast():
                    total += model(**inputs, num_items_in_batch=1)["loss"].item()
                count += len(inputs["labels"])
            bits[width] = total / max(count, 1) / math.log(2)
        model.train()
        return bits

    return evaluate
