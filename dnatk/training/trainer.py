"""transformers' Trainer, fed with packed RandomMask batches and writing dnatk's checkpoints.

One global row of the corpus is one item of the dataset, so the Trainer's own sequential order,
sharding over ranks and skipping at resume decide which rows make a step, and nothing else does.
What a step draws (dropout) depends on the seed, the step and the rank alone.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import DistributedType
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from dnatk.errors import TrainingError
from dnatk.model.placement import release_memory
from dnatk.training.checkpoints import STAGING, prune, seal, staged
from dnatk.training.metrics_log import MetricsLog
from dnatk.training.stopping import Stop

# Often enough, and its page faults are no cost beside so many steps.
_RELEASE_STEPS = 20


class FiniteTrainer(Trainer):
    """Stops at a non-finite loss, before it reaches the weights."""

    hint = "nothing was saved since the last checkpoint; start again with a lower --lr"

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self.require_finite(loss.item())
        return loss

    def require_finite(self, loss: float) -> None:
        """Raise :class:`TrainingError` unless it is."""
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {self.state.global_step + 1}", hint=self.hint
            )


class ReleaseMemory(TrainerCallback):
    """Keeps the memory of a run on a CPU from growing; see :func:`release_memory`."""

    def on_step_end(self, args, state, control, **_) -> None:
        if args.device.type == "cpu" and state.global_step % _RELEASE_STEPS == 0:
            release_memory()


class MaskedLMTrainer(FiniteTrainer):
    """Reads rows in order, agrees with the other ranks, and makes checkpoints appear whole.

    Args:
        heldout: a function of this trainer that gives held-out bits by span width, on all ranks
            alike; None: nothing is held out.
        keep: how many checkpoints stay; 0: all.
        stop: asked after each step.
    """

    def __init__(
        self,
        *args,
        heldout=None,
        log_file: MetricsLog,
        keep: int = 2,
        stop: Stop | None = None,
        **kwargs,
    ) -> None:
        self._heldout, self.log_file, self._keep = heldout, log_file, keep
        self._stop = stop or Stop()
        self._loss: torch.Tensor | None = None
        self._passes = 0
        super().__init__(*args, data_collator=lambda batch: batch, **kwargs)
        self.remove_callback(PrinterCallback)
        self.add_callback(log_file)
        self.add_callback(ReleaseMemory())

    def _get_train_sampler(self, train_dataset=None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        torch.manual_seed(self._draw_seed())
        loss = Trainer.training_step(self, *args, **kwargs)
        self._loss = loss if self._loss is None else self._loss + loss
        self._passes += 1
        if self.accelerator.sync_gradients:
            self._agree()
        return loss

    def _draw_seed(self) -> int:
        """For what this pass draws: another one for each pass of each rank, the same at a resume.

        So no state of a generator need be kept, and ranks do not all drop the same values.
        """
        at = (self.args.seed, self.state.global_step, self._passes, self.args.process_index)
        return int(np.random.SeedSequence(at).generate_state(1, np.uint64)[0] >> np.uint64(1))

    def _agree(self) -> None:
        """Before the weights move: is the loss finite on all ranks, was any of them asked to stop?

        All ranks see the same numbers, so that all go on, or none does.
        """
        own = torch.stack([self._loss, self._loss.new_full((), self._stop.number)])
        told = self.accelerator.gather(own[None]).tolist()
        # The Trainer multiplies each rank's share by their number, as DDP averages gradients.
        loss = math.fsum(each for each, _ in told) / len(told)
        number = int(max(each for _, each in told))
        self._loss, self._passes = None, 0
        self.require_finite(loss)
        self.log_file.add_loss(loss)
        step = self.state.global_step + 1
        if number and step < self.state.max_steps:
            self._stop.stopped(number, step)
            self.control.should_save = self.control.should_training_stop = True

    def _require_finite_weights(self) -> None:
        """A finite loss may have gradients that are not: no checkpoint is made of these."""
        # Of weights that are shared out (FSDP) each rank looks at its own part.
        own = [getattr(p, "to_local", lambda p=p: p)() for p in self.model_wrapped.parameters()]
        finite = torch.stack([weight.detach().isfinite().all() for weight in own]).all()
        finite = finite.to(self.args.device)  # weights may wait on the host (FSDP's offload)
        if not self.accelerator.gather(finite[None]).all():
            raise TrainingError(
                f"weights are not finite after step {self.state.global_step}", hint=self.hint
            )

    def compute_loss(self, model, inputs, *args, **kwargs):
        inputs = dict(inputs)
        self.log_file.count(inputs.pop("counts"), inputs["lengths"])
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _get_output_dir(self, trial) -> str:
        return str(Path(self.args.output_dir, STAGING))

    def _save_rng_state(self, output_dir: str) -> None:
        """See :meth:`_draw_seed`."""

    def _save_checkpoint(self, model, trial) -> None:
        step, run = self.state.global_step, Path(self.args.output_dir)
        self._require_finite_weights()
        tally = self.log_file.tally()
        planned = step % self.args.save_steps == 0 or step == self.state.max_steps
        bits = self._heldout(self) if self._heldout is not None and planned else {}
        if not self.args.should_save:
            # Rank 0 makes the directory, and moves it when all ranks have written their share.
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            return
        if planned:
            self.log_file.write_checkpoint(step, bits)
        name = f"checkpoint-{step}"
        with staged(run) as staging:
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            seal(staging / name, tally)
            shutil.rmtree(run / name, ignore_errors=True)
            os.replace(staging / name, run / name)
        prune(run, self._keep)


def training_arguments(
    run: Path, *, device: torch.device, dtype: torch.dtype, **own
) -> TrainingArguments:
    """TrainingArguments with DNABERT's optimizer, and every side effect of the Trainer off."""
    common = {
        "adam_beta1": 0.9,
        "adam_beta2": 0.98,
        "adam_epsilon": 1e-6,
        "lr_scheduler_type": "linear",
        "optim": "adamw_torch_fused",
        "bf16": dtype == torch.bfloat16,
        "fp16": dtype == torch.float16,
        "use_cpu": device.type == "cpu",
        "remove_unused_columns": False,
        "dataloader_pin_memory": device.type == "cuda",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "log_level": "error",
        "log_level_replica": "error",
        "disable_tqdm": True,
        "save_total_limit": 2,
    }
    arguments = TrainingArguments(output_dir=str(run), **{**common, **own})
    # With several GPUs in one process the Trainer would cut packed batches apart (DataParallel);
    # more than one is torchrun's affair.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    alone = arguments.distributed_state.distributed_type == DistributedType.NO
    if device.type == "cuda" and device.index is not None and alone:
        _place(arguments, device)
    return arguments


def _place(arguments: TrainingArguments, device: torch.device) -> None:
    """Train on this GPU: a single process would take the first one."""
    torch.cuda.set_device(device)
    arguments.distributed_state.device = device  # accelerate's, shared by all that ask it
    vars(arguments)["_setup_devices"] = device  # what arguments.device keeps
