"""transformers' Trainer, fed with packed RandomMask batches and writing dnatk's files.

One global row of the corpus is one item of the dataset, so the Trainer's own sequential order,
sharding over ranks and skipping at resume decide which rows make a step, and nothing else does.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from dnatk.errors import OutputError, TrainingError
from dnatk.kmers.vocab import FIRST_KMER
from dnatk.masking import Masker, Schedule, hidden_bases
from dnatk.output.files import make_readable
from dnatk.progress import Progress
from dnatk.training.corpus import Sampler

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
STAGING = ".partial"


def masked_batch(sampler: Sampler, masker: Masker, width: int, rows: Sequence[int]) -> dict:
    """What :class:`~dnatk.training.masked_lm.PackedMaskedLM` takes, and "counts" for the log.

    counts: tokens, maskable tokens, masked tokens, hidden bases.
    """
    batch = sampler.batch(rows)
    corrupted_T, masked_T = masker.apply(batch.ids_T, *batch.bounds(), width, batch.draws)
    kmer_T = batch.ids_T >= FIRST_KMER
    sequence_T = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
    hidden = hidden_bases(masked_T, kmer_T, sequence_T, sampler.k, sampler.kmer_stride)
    counts = (len(kmer_T), np.count_nonzero(kmer_T), np.count_nonzero(masked_T), hidden)
    masked_M = np.flatnonzero(masked_T)
    return {
        "ids_T": torch.from_numpy(corrupted_T.astype(np.int64)),
        "position_T": torch.from_numpy(batch.positions()),
        "lengths": batch.lengths,
        "masked_M": torch.from_numpy(masked_M),
        "labels": torch.from_numpy(batch.ids_T[masked_M].astype(np.int64)),
        "counts": np.array(counts),
    }


class RowDataset(Dataset):
    """Global rows 0 .. steps x rows_per_step - 1; a whole batch is made at once."""

    def __init__(
        self, sampler: Sampler, masker: Masker, schedule: Schedule, steps: int, rows_per_step: int
    ) -> None:
        self._sampler, self._masker, self._schedule = sampler, masker, schedule
        self._length, self._rows_per_step = steps * rows_per_step, rows_per_step

    def __len__(self) -> int:
        return self._length

    def __getitems__(self, rows: list[int]) -> dict:
        width = self._schedule.at(rows[0] // self._rows_per_step).width
        return masked_batch(self._sampler, self._masker, width, rows)


class FiniteTrainer(Trainer):
    """Stops at a non-finite loss, before it reaches the weights."""

    hint = "nothing was saved since the last checkpoint; start again with a lower --lr"

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}",
                hint=self.hint,
            )
        return loss


class MaskedLMTrainer(FiniteTrainer):
    """Reads rows in order and makes checkpoints appear whole."""

    def __init__(self, *args, heldout=None, log_file: MetricsLog, **kwargs) -> None:
        self._heldout, self.log_file = heldout, log_file
        super().__init__(*args, data_collator=lambda batch: batch, **kwargs)
        self.remove_callback(PrinterCallback)
        self.add_callback(log_file)

    def _get_train_sampler(self, train_dataset=None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def compute_loss(self, model, inputs, *args, **kwargs):
        inputs = dict(inputs)
        self.log_file.count(inputs.pop("counts"))
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _get_output_dir(self, trial) -> str:
        return str(Path(self.args.output_dir, STAGING))

    def _save_checkpoint(self, model, trial) -> None:
        if self.args.should_save:
            bits = {} if self._heldout is None else self._heldout(self)
            self.log_file.write_checkpoint(self.state.global_step, bits)
        run = Path(self.args.output_dir)
        name = f"checkpoint-{self.state.global_step}"
        if not self.args.should_save:
            super()._save_checkpoint(model, trial)
            return
        with staged(run) as staging:
            super()._save_checkpoint(model, trial)
            sync_directory(staging / name)
            shutil.rmtree(run / name, ignore_errors=True)
            os.replace(staging / name, run / name)
        for old in checkpoints(run)[: -self.args.save_total_limit]:
            shutil.rmtree(old)


@contextmanager
def staged(run: Path) -> Iterator[Path]:
    """A directory inside ``run`` to write to and move from; gone afterwards, also on failure."""
    staging = run / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        yield staging
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch does not say that a disk is full, only that it is not where it should be in a file.
        full = "No space left" in str(error) or shutil.disk_usage(run).free < 1 << 20
        reason = "No space left on device" if full else str(error).splitlines()[0]
        raise OutputError(
            f"the model cannot be written: {reason}", path=run, hint="make room; --resume goes on"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints in a run's directory, oldest first."""
    found = [p for p in run.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("checkpoint-")))


def sync_directory(directory: Path) -> None:
    """Bring every file of a directory to the disk, so that a rename after it means something."""
    for path in directory.iterdir():
        make_readable(path)
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())


class MetricsLog(TrainerCallback):
    """metrics.jsonl, and the progress bar: loss, phase, masked share, hidden bases, speed."""

    def __init__(self, path: Path, schedule: Schedule, progress: Progress) -> None:
        self._path, self._schedule, self._progress = path, schedule, progress
        self._counts = np.zeros(4, dtype=np.int64)
        self._world_size = 1
        self._tokens = 0
        self._note = ""

    def keep_until(self, step: int) -> None:
        """Drop what was logged after ``step``: a resumed run computes it again."""
        if self._path.exists():
            # A run that was killed may have left its last line cut short.
            lines = self._path.read_text().split("\n")[:-1]
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self._path.write_text("".join(f"{line}\n" for line in kept))
            self._tokens = max((json.loads(line)["tokens"] for line in kept), default=0)

    def count(self, counts: np.ndarray) -> None:
        """Add one batch's counts, see :func:`masked_batch`."""
        self._counts += counts
        self._tokens += int(counts[0]) * self._world_size

    def write_checkpoint(self, step: int, bits: dict[int, float]) -> None:
        """At a checkpoint: tokens seen, and held-out bits per masked token by span width."""
        row = {"step": step, "tokens": self._tokens}
        if bits:
            row["heldout_bits"] = {str(w): round(b, 4) for w, b in bits.items()}
        self._append(row)

    def on_train_begin(self, args, state, control, **_) -> None:
        self._since = time.perf_counter()
        self._world_size = args.world_size
        self._progress.start("pre-training", state.max_steps, "steps")
        self._progress.advance(state.global_step)

    def on_step_begin(self, args, state, control, **_) -> None:
        phase = self._schedule.at(state.global_step)
        if phase.start == state.global_step:
            text = f"step {phase.start}: spans of {phase.width} tokens until step {phase.end}"
            log.info("%s", text)

    def on_step_end(self, args, state, control, **_) -> None:
        self._progress.advance(1, self._note)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        if not state.is_world_process_zero or "loss" not in logs:
            return
        now = time.perf_counter()
        tokens, maskable, masked, hidden = map(int, self._counts)
        width = self._schedule.at(state.global_step - 1).width
        row = {
            "step": state.global_step,
            "loss": round(logs["loss"], 5),
            "bits": round(logs["loss"] / math.log(2), 4),
            "span": width,
            "masked_share": round(masked / max(maskable, 1), 4),
            "hidden_bases": hidden,
            "masked_tokens": masked,
            "tokens": self._tokens,
            "learning_rate": logs["learning_rate"],
            "grad_norm": round(float(logs.get("grad_norm", float("nan"))), 4),
            "tokens_per_second": round(tokens * args.world_size / (now - self._since)),
        }
        self._append(row)
        self._note = (
            f"{row['bits']:.2f} bits, span {width}, {row['tokens_per_second'] / 1000:.1f}k tokens/s"
        )
        self._counts[:] = 0
        self._since = now

    def on_train_end(self, args, state, control, **_) -> None:
        self._progress.finish()

    def _append(self, row: dict) -> None:
        with open(self._path, "a") as handle:
            handle.write(json.dumps(row) + "\n")


def training_arguments(
    run: Path, *, device: torch.device, dtype: torch.dtype, **own
) -> TrainingArguments:
    """TrainingArguments with DNABERT's optimizer, and every side effect of the Trainer off."""
    arguments = TrainingArguments(
        output_dir=str(run),
        adam_beta1=0.9,
        adam_beta2=0.98,
        adam_epsilon=1e-6,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=device.type == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        logging_nan_inf_filter=False,
        report_to="none",
        log_level="error",
        disable_tqdm=True,
        save_total_limit=2,
        **own,
    )
    # With several GPUs in one process the Trainer would cut packed batches apart (DataParallel);
    # more than one is torchrun's affair.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
