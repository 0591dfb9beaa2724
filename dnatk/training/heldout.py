"""Bits per masked token on windows that are never trained on."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from dnatk.masking import Masker
from dnatk.training.batches import masked_batch
from dnatk.training.windows import Sampler

SEED = 20_231_007
_ROWS, _ROWS_PER_BATCH = 32, 8


class HeldoutBits:
    """Always the same windows and masks, every masked token a [MASK].

    Args:
        sampler: of held-out windows, with :data:`SEED`.
        masker: of the run; spans of one width and plain corruption are taken instead of its own,
            and repeats are scored as all else.
        widths: the spans to measure.
    """

    def __init__(self, sampler: Sampler, masker: Masker, widths: list[int]) -> None:
        self._sampler, self._widths = sampler, widths
        self._masker = replace(masker, span="fixed", corruption="mask", repeat_weight=1.0)

    @torch.no_grad()
    def __call__(self, trainer) -> dict[int, float]:
        """By span width. All ranks compute the same: weights may be spread over them (FSDP)."""
        model = trainer.model_wrapped
        model.eval()
        bits = {width: self._bits(trainer, model, width) for width in self._widths}
        model.train()
        return bits

    def _bits(self, trainer, model: torch.nn.Module, width: int) -> float:
        total, count = 0.0, 0
        for row in range(0, _ROWS, _ROWS_PER_BATCH):
            rows = range(row, row + _ROWS_PER_BATCH)
            inputs = masked_batch(self._sampler, self._masker, width, rows)
            del inputs["counts"]
            inputs = trainer._prepare_inputs(inputs)
            with trainer.accelerator.autocast():
                total += model(**inputs, num_items_in_batch=1)["loss"].item()
            count += len(inputs["labels"])
        return total / max(count, 1) / math.log(2)
