"""What a training step computes, and what the device can: together the MFU.

MFU (model FLOPs utilisation, PaLM, arXiv 2204.02311, appendix B) is the FLOPs that the model needs
for the tokens that were trained on, over those that the device could have done in that time.
Recomputed activations do not count. The peak is measured, not looked up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

_PROBE_S = {"cpu": 0.7, "cuda": 0.4}
_REPEATS = 5


@dataclass(frozen=True)
class ModelFlops:
    """Floating point operations of the forward and backward pass, a multiplication and an addition
    being two.

    A weight costs 2 in the forward pass and 4 in the backward one: 6 N for a token, N the
    parameters without embeddings (Kaplan et al., arXiv 2001.08361; Chinchilla, arXiv 2203.15556).
    Attention adds 12 x layers x width for each token that a token attends to (PaLM, appendix B).
    The head is seen by masked tokens alone, so its parameters count for those only.

    Attributes:
        token: for each token, 6 x parameters of the layers.
        pair: for each ordered pair of tokens of a sequence, 12 x layers x width.
        masked: for each masked token, 6 x parameters of the head.
    """

    token: int
    pair: int
    masked: int

    @classmethod
    def of(cls, model: nn.Module) -> ModelFlops:
        """Of a BertForMaskedLM."""
        config = model.config
        return cls(
            token=6 * _size(model.bert.encoder),
            pair=12 * config.num_hidden_layers * config.hidden_size,
            masked=6 * _size(model.cls),
        )

    def count(self, tokens: int, pairs: int, masked: int) -> int:
        """FLOPs of training once on so many tokens.

        Args:
            pairs: the squares of the sequences' lengths (tokens), added up.
        """
        return self.token * tokens + self.pair * pairs + self.masked * masked


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of some large square matrix products; takes less than a second.

    Sizes grow while there is time, so that a device that is slow in ``dtype`` costs no more.
    """
    end = time.perf_counter() + _PROBE_S.get(device.type, 0.4)
    best = 0.0
    # Random, for a GPU multiplies ones by ones at a higher clock than it keeps up otherwise.
    generator = torch.Generator(device).manual_seed(0)
    for size in (256, 1024, 2048) if device.type == "cpu" else (1024, 4096, 8192):
        a_SS, b_SS = (
            torch.randn(size, size, device=device, generator=generator).to(dtype) for _ in range(2)
        )
        for _ in range(1 + _REPEATS):
            begun = time.perf_counter()
            float((a_SS @ b_SS)[0, 0])  # waits for the device
            now = time.perf_counter()
            best = max(best, 2 * size**3 / (now - begun))
            if now > end:
                return best
    return best
