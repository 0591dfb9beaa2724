"""``dnatk pretrain``: FASTA in, a transformers directory out."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import TrainingArguments

from dnatk.kmers import Vocabulary
from dnatk.model.memory import memory_told
from dnatk.model.placement import resolve_device, resolve_precision
from dnatk.model.places import FACTS_FILE
from dnatk.progress import NullProgress, Progress
from dnatk.training.batches import RowDataset
from dnatk.training.checkpoints import read_tally, staged, step_of, sync_directory
from dnatk.training.config import PretrainConfig
from dnatk.training.corpus import Corpus
from dnatk.training.flops import ModelFlops, measured_peak
from dnatk.training.heldout import SEED, HeldoutBits
from dnatk.training.masked_lm import quiet_transformers
from dnatk.training.metrics_log import METRICS_FILE, MetricsLog
from dnatk.training.plot import plot_loss
from dnatk.training.pretrain_page import write_report
from dnatk.training.ranks import first, join, over_ranks, peers
from dnatk.training.run_directory import (
    Beginning,
    begin,
    check_inputs,
    is_finished,
    locked,
    write_start,
)
from dnatk.training.sources import Segments, SourceSummary
from dnatk.training.starting_model import resolved, starting_model
from dnatk.training.stopping import Stop
from dnatk.training.trainer import MaskedLMTrainer, training_arguments
from dnatk.training.windows import Sampler

log = logging.getLogger(__name__)


def pretrain(
    config: PretrainConfig,
    output: str | Path,
    *,
    device: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Path:
    """Pre-train a BERT-like model with RandomMask (Liang et al., arXiv 2310.07644).

    Under torchrun or accelerate launch every process calls this. The rows of a step do not hang
    on how many there are.

    Args:
        config: the run, see :class:`PretrainConfig`.
        output: directory for the model, its tokenizer, config.toml, metrics.jsonl, loss.png,
            report.html and ``checkpoint-STEP/``; made where it is missing, must hold no other run.
        device: auto, cpu, cuda, ...
        resume: go on after the last checkpoint; without one start afresh; a finished run returns
            at once.
        stop: SIGTERM, SIGINT and SIGUSR1 then end the run after the step at hand and a checkpoint;
            ``stop.step`` says so. None: signals do what they did.

    Returns:
        The output directory, itself a model directory once the run is finished.

    Raises:
        InputError, ModelError, TrainingError, OutputError: as their names say; of the latter
            :class:`~dnatk.training.ranks.PeerGone` where another process has failed.

    >>> config = dnatk.PretrainConfig(
    ...     inputs=("genome.fa",), preset="tiny", max_steps=2, batch_tokens=256, window=69
    ... )
    >>> model = dnatk.pretrain(config, "model", device="cpu")
    >>> dnatk.embed_sequences(["ACGTTGCATCAGG"], model=model, device="cpu").shape
    (1, 64)
    """
    run = Path(output)
    place = resolve_device(device)
    quiet_transformers()
    with peers():
        ranks = join(place)
        # What all ranks would stumble over, rank 0 says alone.
        with ranks.main_process_first():
            config = resolved(config)
            config.mixture().check(len(config.inputs))
            rows = config.rows(ranks.num_processes)
            config.schedule()
            finished = resume and ranks.is_main_process and is_finished(run, config)
        if first(ranks, lambda: finished):
            log.warning("%s is finished: %d steps", run, config.max_steps)
            return run
        alone = ranks.num_processes == 1
        with locked(run) if ranks.is_main_process else nullcontext():
            beginning = first(ranks, lambda: begin(run, config, resume))
            if beginning.finished:  # by another job since we looked
                log.warning("%s is finished: %d steps", run, config.max_steps)
                return run
            with _listening(stop, "SIGUSR1", alone=alone), _swept(run, ranks):
                trainer, sources = _trainer(
                    config, run, place, rows, ranks, beginning, progress, stop
                )
                with _listening(stop, "SIGTERM", "SIGINT", alone=alone):
                    last = beginning.last
                    with memory_told(place, "a larger --accumulate, or a smaller --batch-tokens"):
                        trainer.train(resume_from_checkpoint=str(last) if last else None)
                    if trainer.state.global_step == config.max_steps:
                        _publish(trainer, run, config, sources)
    return run


@contextmanager
def _swept(run: Path, ranks: PartialState) -> Iterator[None]:
    """Nothing of the corpus stays behind."""
    try:
        yield
    finally:
        if ranks.is_main_process:
            Corpus.remove(run)


def _listening(stop: Stop | None, *names: str, alone: bool) -> AbstractContextManager[object]:
    return nullcontext() if stop is None else stop.listening(*names, alone=alone)


def _trainer(
    config: PretrainConfig,
    run: Path,
    place: torch.device,
    rows: int,
    ranks: PartialState,
    beginning: Beginning,
    progress: Progress | None,
    stop: Stop | None,
) -> tuple[MaskedLMTrainer, list[SourceSummary]]:
    """Everything ready to train, from the beginning or from where the run was cut off."""
    last = beginning.last
    dtype = resolve_precision(config.precision, place)
    arguments = _arguments(config, run, place, dtype, rows)
    corpus = _read_corpus(config, run, ranks)
    sha256 = {source.path: source.sha256 for source in corpus.sources}
    masker = config.masker(len(Vocabulary(config.k)))
    dataset = RowDataset(
        _sampler(config, corpus, corpus.train, config.seed, arguments.device),
        masker,
        config.schedule(),
        config.max_steps,
        rows * ranks.num_processes * config.accumulate,
    )
    heldout = None
    if len(corpus.heldout.start):
        by_bases = replace(config, weights=(), temperature=1.0)  # those are for training
        unseen = _sampler(by_bases, corpus, corpus.heldout, SEED, arguments.device)
        heldout = HeldoutBits(unseen, masker, sorted({width for width, _ in config.spans()}))
    model = starting_model(config, corpus.sources, arguments.device)
    peak = over_ranks(measured_peak(arguments.device, dtype))
    log.info("matrix products in %s: %.3g TFLOP/s at best", str(dtype)[6:], peak / 1e12)
    metrics = MetricsLog(
        run / METRICS_FILE,
        config.schedule(),
        progress or NullProgress(),
        ModelFlops.of(model),
        peak,
        lambda tokens: (tokens - 3) * config.kmer_stride + config.k,
    )
    if ranks.is_main_process:
        if last is not None:
            check_inputs(run, sha256)
            log.warning("resuming after %s", last)
        write_start(run, config, sha256)
    step, tally = (step_of(last), read_tally(last)) if last else (0, None)
    metrics.go_on(step, tally, write=ranks.is_main_process)
    trainer = MaskedLMTrainer(
        model=model,
        train_dataset=dataset,
        heldout=heldout,
        log_file=metrics,
        keep=config.keep,
        stop=stop,
        args=arguments,
    )
    return trainer, corpus.sources


def _read_corpus(config: PretrainConfig, run: Path, ranks: PartialState) -> Corpus:
    """Rank 0 reads the inputs, the others open what it wrote."""
    with ranks.main_process_first():
        corpus = (
            Corpus.read(
                config.inputs,
                directory=run,
                k=config.k,
                holdout=config.holdout,
                min_length=config.min_length,
            )
            if ranks.is_main_process
            else Corpus.open(run)
        )
    ranks.wait_for_everyone()
    # Nobody else will open it. What is deleted on NFS is gone for other machines, open or not.
    one_machine = int(os.environ.get("LOCAL_WORLD_SIZE") or 1) == ranks.num_processes
    if ranks.is_main_process and one_machine:
        Corpus.remove(run)
    for source in corpus.sources:
        log.info("%s: %d records, %d bases", source.path, source.records, source.bases)
        if source.too_short:
            short = (source.path, source.too_short, config.min_length)
            log.warning("%s: %d records shorter than %d bases left out", *short)
        if source.mostly_n:
            log.warning("%s: %d records that are mostly N left out", source.path, source.mostly_n)
    return corpus


def _sampler(
    config: PretrainConfig, corpus: Corpus, segments: Segments, seed: int, device: torch.device
) -> Sampler:
    return Sampler(
        corpus,
        segments,
        k=config.k,
        kmer_stride=config.kmer_stride,
        row_tokens=config.row_tokens,
        seed=seed,
        mixture=config.mixture(),
        device=device,
    )


def _arguments(
    config: PretrainConfig, run: Path, place: torch.device, dtype: torch.dtype, rows: int
) -> TrainingArguments:
    return training_arguments(
        run,
        device=place,
        dtype=dtype,
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
        average_tokens_across_devices=True,
        dataloader_pin_memory=False,  # batches are made where they are used
        ddp_find_unused_parameters=False,  # all weights have gradients in every pass
    )


def _publish(
    trainer: MaskedLMTrainer, run: Path, config: PretrainConfig, sources: list[SourceSummary]
) -> None:
    """Put the finished model at the top of the run; dnatk.json comes last and says it is whole."""
    # All ranks: each may hold a part of the weights (FSDP).
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return
    loss = plot_loss(run / METRICS_FILE, config.schedule(), run / "loss.png")
    parameters = {weight.data_ptr(): weight.numel() for weight in weights.values()}
    write_report(run, config, sources, sum(parameters.values()), loss)
    with staged(run) as staging:
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        model.save_pretrained(staging, state_dict=weights)
        sync_directory(staging)
        for path in sorted(staging.iterdir(), key=lambda p: p.name == FACTS_FILE):
            os.replace(path, run / path.name)
