"""transformers' Trainer over labelled sequences, packed.

Shapes: N examples, S sequences of a batch, T tokens packed, C outputs.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PrinterCallback, TrainerCallback

from dnatk.errors import TrainingError
from dnatk.kmers import Tokens, pack, reverse_complement
from dnatk.labelled.dataset import LabelledSet
from dnatk.progress import Progress
from dnatk.training.metrics import is_better
from dnatk.training.trainer import FiniteTrainer
from dnatk.undefined import as_null

# Tokens of one forward at evaluation.
_EVAL_TOKENS = 8192
_LAYER = re.compile(r"\.(?:layers?|h|blocks?)\.(\d+)\.")


class EncodedSet(Dataset):
    """A labelled set as token ids; a whole batch is made at once.

    Args:
        targets: as the loss wants them (regression standardised).
        rc_augment: read each example on a random strand, drawn anew each time.
    """

    def __init__(
        self,
        data: LabelledSet,
        tokens: Tokens,
        targets: np.ndarray,
        *,
        rc_augment: bool = False,
        seed: int = 0,
    ) -> None:
        self._tokens, self._targets = tokens, targets
        self._ids = [tokens.encode(sequence) for sequence in data.sequences]
        self._other = (
            [tokens.encode(reverse_complement(sequence)) for sequence in data.sequences]
            if rc_augment
            else None
        )
        self._bases = data.lengths()
        self.read = 0  # bases, by all batches so far
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitems__(self, rows: Sequence[int]) -> dict:
        """The packed batch of these examples, the shortest first."""
        rows = sorted(rows, key=lambda row: len(self._ids[row]))
        self.read += int(self._bases[rows].sum())
        turned = np.zeros(len(rows), dtype=bool)
        if self._other is not None:
            turned = self._rng.random(len(rows)) < 0.5
        ids = [
            (self._other if turn else self._ids)[row]
            for row, turn in zip(rows, turned, strict=True)
        ]
        targets = self._targets[rows]
        if targets.dtype == object:  # per base
            targets = np.concatenate(
                [t[::-1] if turn else t for t, turn in zip(targets, turned, strict=True)]
            )
        ids_T, position_T, lengths = pack(self._tokens, ids)
        first, last = len(self._tokens.prefix), len(self._tokens.suffix)
        kept = [np.pad(self._tokens.valid(sequence), (first, last)) for sequence in ids]
        return {
            "ids_T": torch.from_numpy(ids_T),
            "position_T": torch.from_numpy(position_T),
            "lengths": lengths,
            "kept_T": torch.from_numpy(np.concatenate(kept)),
            "bases": self._bases[rows].tolist(),
            "labels": torch.from_numpy(targets),
        }

    def by_length(self) -> list[list[int]]:
        """All rows in batches of similar length."""
        order = sorted(range(len(self)), key=lambda row: len(self._ids[row]))
        batches, size = [[]], 0
        for row in order:
            size += len(self._ids[row])
            if batches[-1] and size > _EVAL_TOKENS:
                batches.append([])
                size = len(self._ids[row])
            batches[-1].append(row)
        return batches


class TaskTrainer(FiniteTrainer):
    """Scores the dev set with a task's own metrics; optionally slows lower layers down.

    Args:
        score: (logits (N, C) of the dev set in its order) -> metrics.
        layer_decay: factor on the learning rate from each layer to the one below it; 1: none.
    """

    hint = "start again with a lower --lr"

    def __init__(
        self,
        *args,
        score: Callable[[np.ndarray], dict[str, float]],
        layer_decay: float = 1.0,
        **kwargs,
    ) -> None:
        self._score, self._layer_decay = score, layer_decay
        super().__init__(*args, data_collator=lambda batch: batch, **kwargs)
        self.remove_callback(PrinterCallback)

    @torch.no_grad()
    def logits(self, data: EncodedSet) -> np.ndarray:
        """(N, C) fp32 logits in the order of ``data``; per base (all bases, C)."""
        was_training = self.model.training
        self.model.eval()
        parts: dict[int, np.ndarray] = {}
        for rows in data.by_length():
            inputs = self._prepare_inputs(data.__getitems__(rows))
            del inputs["labels"]
            with self.accelerator.autocast():
                logits = self.model(**inputs)["logits"].float().cpu()
            sizes = inputs["bases"] if self.model.kind == "per-base" else [1] * len(rows)
            # The batch has stable order: rows come sorted already.
            parts.update(zip(rows, (p.numpy() for p in logits.split(sizes)), strict=True))
        self.model.train(was_training)
        return np.concatenate([parts[row] for row in range(len(data))])

    def evaluate(self, *_: object, **__: object) -> dict[str, float]:
        logits_NC = self.logits(self.eval_dataset)
        if not np.isfinite(logits_NC).all():
            raise TrainingError(
                f"the model gives no finite numbers after step {self.state.global_step}",
                hint=self.hint,
            )
        metrics = {f"eval_{k}": v for k, v in self._score(logits_NC).items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        if self._layer_decay == 1.0 or self.optimizer is not None:
            return super().create_optimizer(model)
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        depth = {n: _depth(n) for n, _ in self.model.named_parameters()}
        top = 1 + max((d for d in depth.values() if d is not None), default=0)
        decayed = set(self.get_decay_parameter_names(self.model))
        groups: dict[tuple, list] = {}
        for name, parameter in named:
            level = top if depth[name] is None else depth[name]
            groups.setdefault((level, name in decayed), []).append(parameter)
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        self.optimizer = kind(
            [
                {
                    "params": parameters,
                    "lr": self.args.learning_rate * self._layer_decay ** (top - level),
                    "weight_decay": self.args.weight_decay if decay else 0.0,
                }
                for (level, decay), parameters in groups.items()
            ],
            **options,
        )
        return self.optimizer


def _depth(name: str) -> int | None:
    """0 for embeddings, 1.. for layers, None for what stands above them."""
    if ".embeddings." in name:
        return 0
    found = _LAYER.search(name)
    return 1 + int(found[1]) if found else None


_Look = tuple[float, float | None]


class KeepBest(TrainerCallback):
    """Keeps the weights that train, as they were at the best look at dev, and stops without better.

    In memory and on every rank alike: all ranks score the same dev set.

    Args:
        metric: by which dev chooses.
        patience: looks on end that are no better, after which the training stops.

    Attributes:
        step: of the weights that are kept.
    """

    def __init__(self, metric: str, patience: int) -> None:
        self.step: int | None = None
        self._metric, self._patience, self._worse = metric, patience, 0
        # (metric, log loss): of the weights kept, and the best since the first step. A training
        # from a probe often falls below it before it rises above it, and is given the time.
        self._kept: _Look | None = None
        self._best: _Look | None = None
        self._weights: dict[str, torch.Tensor] = {}

    def on_evaluate(self, args, state, control, metrics=None, model=None, **_) -> None:
        look = metrics[f"eval_{self._metric}"], metrics.get("eval_nll")
        if self._is_better(look, self._kept):
            self._kept, self.step = look, state.global_step
            self._weights = {
                name: parameter.detach().to("cpu", copy=True)
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
            }
        if not state.global_step:
            return
        if self._is_better(look, self._best):
            self._best, self._worse = look, 0
            return
        self._worse += 1
        control.should_training_stop |= self._worse >= self._patience

    def _is_better(self, look: _Look, than: _Look | None) -> bool:
        if than is None:
            return True
        (value, nll), (before, nll_before) = look, than
        # Easy data reach the best MCC early: of equals the surer one is better.
        surer = value == before and nll is not None and is_better("nll", nll, nll_before)
        return surer or is_better(self._metric, value, before)

    def restore(self, model: torch.nn.Module) -> None:
        """Put the best weights back."""
        model.load_state_dict(self._weights, strict=False)


@dataclass
class History(TrainerCallback):
    """Keeps what was logged, writes it to a JSON-lines file and moves the progress bar."""

    path: Path
    progress: Progress
    stage: str
    metric: str

    def __post_init__(self) -> None:
        self.rows: list[dict] = []
        self._note, self._read = "", 0

    def on_train_begin(self, args, state, control, **_) -> None:
        self._since = time.perf_counter()
        self.progress.start(self.stage, state.max_steps, "steps")

    def on_step_end(self, args, state, control, train_dataloader=None, **_) -> None:
        self.progress.advance(1, self._note)
        before, self._read = self._read, train_dataloader.dataset.read
        self.progress.read(self._read - before)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        keep = {
            k.removeprefix("eval_"): round(v, 6)
            for k, v in logs.items()
            if k.startswith("eval_") or k in ("loss", "learning_rate")
        }
        if not keep or not state.is_world_process_zero:
            return
        seconds = round(time.perf_counter() - self._since, 1)
        part = "dev" if any(k.startswith("eval_") for k in logs) else "train"
        self.rows.append({"step": state.global_step, "part": part, "seconds": seconds, **keep})
        if part == "dev" and self.metric in keep:
            self._note = f"dev {self.metric} {keep[self.metric]:.3f}"
        with open(self.path, "a") as handle:
            handle.write(json.dumps(as_null(self.rows[-1])) + "\n")

    def on_train_end(self, args, state, control, **_) -> None:
        self.progress.finish()
