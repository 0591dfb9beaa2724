"""metrics.jsonl and the progress bar of a pre-training run.

What a line says does not hang on where the run was cut off: what has been counted since the last
line goes into every checkpoint. Only the timings are those of the process that wrote the line.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback

from dnatk.errors import TrainingError
from dnatk.masking import Schedule
from dnatk.output.files import sync, written_whole
from dnatk.progress import Progress
from dnatk.training.flops import ModelFlops

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"


@dataclass
class Tally:
    """What was counted, over all ranks.

    Attributes:
        tokens: since the run began.
        losses: of each step since the last line, nats per masked token.
        counts: since then: tokens, maskable tokens, masked tokens, hidden bases, and pairs (the
            squares of the sequences' lengths, added up).
    """

    tokens: int = 0
    losses: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0] * 5)


class MetricsLog(TrainerCallback):
    """A line each ``logging_steps``: loss, phase, masked share, hidden bases, speed, MFU.

    All ranks count; rank 0 writes.

    Args:
        flops: of the model that is trained.
        peak: FLOP/s of the devices of all ranks; 0: unknown, and no MFU is told.
        bases: those under a sequence of so many tokens.
    """

    def __init__(
        self,
        path: Path,
        schedule: Schedule,
        progress: Progress,
        flops: ModelFlops,
        peak: float,
        bases: Callable[[int], int],
    ) -> None:
        self._path, self._schedule, self._progress = path, schedule, progress
        self._flops, self._peak, self._bases = flops, peak, bases
        self._tally = Tally()
        # What this rank has counted and not told the others.
        self._counts: torch.Tensor | None = None
        self._pairs = 0
        self._note = ""

    def go_on(self, step: int, tally: dict | None, *, write: bool) -> None:
        """Drop what was logged after ``step``, which is computed again, and count on from there.

        Args:
            tally: what :meth:`tally` gave there; None: from the beginning.
            write: this is rank 0.
        """
        self._tally = Tally(**tally) if tally else Tally()
        if write and self._path.exists():
            # A run that was killed may have left its last line cut short.
            lines = self._path.read_text().split("\n")[:-1]
            kept = [line for line in lines if self._step(line, lines) <= step]
            with written_whole(self._path) as partial:
                partial.write_text("".join(f"{line}\n" for line in kept))

    def _step(self, line: str, lines: list[str]) -> int:
        try:
            return json.loads(line)["step"]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                "is no line of a training log",
                path=self._path,
                line=lines.index(line) + 1,
                hint="remove the line, which loses what it told and nothing else",
            ) from error

    def count(self, counts: torch.Tensor, lengths: Sequence[int]) -> None:
        """Add a batch of this rank.

        Args:
            counts: (4,) int64, as :func:`~dnatk.training.batches.masked_batch` has them; on a GPU
                they stay there.
            lengths: tokens of each sequence.
        """
        counts = torch.as_tensor(counts)
        self._counts = counts.clone() if self._counts is None else self._counts + counts
        self._pairs += sum(length * length for length in lengths)
        self._progress.read(sum(map(self._bases, lengths)))

    def add_loss(self, loss: float) -> None:
        """The loss of a step, over all ranks."""
        self._tally.losses.append(loss)

    def tally(self) -> dict:
        """What a checkpoint must keep. All ranks call this at once."""
        self._gather()
        return asdict(self._tally)

    def write_checkpoint(self, step: int, bits: dict[int, float]) -> None:
        """At a checkpoint: tokens seen, and held-out bits per masked token by span width."""
        row = {"step": step, "tokens": self._tally.tokens}
        if bits:
            row["heldout_bits"] = {str(w): round(b, 4) for w, b in bits.items()}
        self._append(row)
        sync(self._path)

    def on_train_begin(self, args, state, control, **_) -> None:
        self._restart_clock()
        self._progress.start("pre-training", state.max_steps, "steps")
        self._progress.skip(state.global_step)

    def on_step_begin(self, args, state, control, **_) -> None:
        phase = self._schedule.at(state.global_step)
        if phase.start == state.global_step:
            text = f"step {phase.start}: spans of {phase.width} tokens until step {phase.end}"
            log.info("%s", text)

    def on_step_end(self, args, state, control, **_) -> None:
        self._progress.advance(1, self._note)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        if "loss" not in logs:
            return
        self._gather()
        if state.is_world_process_zero:
            row = self._row(state.global_step, logs)
            self._append(row)
            self._note = _note(row)
        self._tally.losses, self._tally.counts = [], [0] * 5
        self._restart_clock()

    def on_train_end(self, args, state, control, **_) -> None:
        self._progress.finish()

    def _gather(self) -> None:
        """Put what each rank has counted together."""
        own = [0] * 4 if self._counts is None else self._counts.tolist()
        each = gather_object([[*own, self._pairs]])
        summed = [sum(column) for column in zip(*each, strict=True)]
        self._tally.counts = [a + b for a, b in zip(self._tally.counts, summed, strict=True)]
        self._tally.tokens += summed[0]
        self._counts, self._pairs = None, 0

    def _restart_clock(self) -> None:
        self._since = time.perf_counter()
        self._steps_before = len(self._tally.losses)
        self._counts_before = list(self._tally.counts)

    def _row(self, step: int, logs: dict) -> dict:
        tally = self._tally
        _, maskable, masked, hidden, _ = tally.counts
        loss = math.fsum(tally.losses) / len(tally.losses)
        norm = float(logs.get("grad_norm", math.nan))
        return {
            "step": step,
            "loss": round(loss, 5),
            "bits": round(loss / math.log(2), 4),
            "span": self._schedule.at(step - 1).width,
            "masked_share": round(masked / max(maskable, 1), 4),
            "hidden_bases": hidden,
            "masked_tokens": masked,
            "tokens": tally.tokens,
            "learning_rate": logs["learning_rate"],
            # With fp16 it may overflow, and the step is then made again at another scale.
            "grad_norm": round(norm, 4) if math.isfinite(norm) else None,
            **self._speed(),
        }

    def _speed(self) -> dict:
        """Of the steps that this process made since the last line, all that it did included."""
        seconds = time.perf_counter() - self._since
        before = self._counts_before
        tokens, _, masked, _, pairs = (
            a - b for a, b in zip(self._tally.counts, before, strict=True)
        )
        steps = len(self._tally.losses) - self._steps_before
        speed = {
            "seconds_per_step": float(f"{seconds / max(steps, 1):.4g}"),
            "tokens_per_second": round(tokens / seconds),
        }
        if self._peak:
            done = self._flops.count(tokens, pairs, masked)
            speed["mfu"] = round(done / seconds / self._peak, 4)
        return speed

    def _append(self, row: dict) -> None:
        with open(self._path, "a") as handle:
            handle.write(json.dumps(row) + "\n")


def _note(row: dict) -> str:
    """What stands beside the progress bar."""
    note = (
        f"{row['bits']:.2f} bits, span {row['span']}, {row['tokens_per_second'] / 1000:.1f}k "
        "tokens/s"
    )
    return f"{note}, MFU {row['mfu']:.0%}" if "mfu" in row else note
