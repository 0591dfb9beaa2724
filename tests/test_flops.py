"""FLOPs of a step: against numbers made by hand, and against what torch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dnatk.model.presets import preset
from dnatk.training.flops import ModelFlops, measured_peak
from dnatk.training.masked_lm import new_model


def test_a_small_model_by_hand():
    """2 layers of 64, 256 inside, 4101 k-mers."""
    flops = ModelFlops.of(new_model(preset("tiny").bert_config(6), 0))
    attention = 4 * (64 * 64 + 64)
    inside = (64 * 256 + 256) + (256 * 64 + 64)
    norms = 2 * 2 * 64
    assert flops.token == 6 * 2 * (attention + inside + norms)
    assert flops.pair == 12 * 2 * 64
    head = (64 * 64 + 64) + 2 * 64 + (64 * 4101 + 4101)
    assert flops.masked == 6 * head
    assert flops.count(10, 100, 3) == 10 * flops.token + 100 * flops.pair + 3 * flops.masked


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_as_torch_counts_them(name):
    """Two sequences of 100 tokens and one of 40; 128 are masked, a whole block of the loss."""
    model = new_model(preset(name).bert_config(6), 0)
    lengths = [40, 100, 100]
    ids_T = torch.randint(5, 4101, (240,), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        model(
            ids_T=ids_T, position_T=torch.cat([torch.arange(n) for n in lengths]),
            lengths=lengths, masked_M=torch.arange(128), labels=ids_T[:128],
        )["loss"].backward()  # fmt: skip
    counted = ModelFlops.of(model).count(240, sum(n * n for n in lengths), 128)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_is_one(dtype):
    """More than the slowest computer does, less than any can; a product takes its time."""
    peak = measured_peak(torch.device("cpu"), dtype)
    assert 1e7 < peak < 1e16
