"""The loss that is made with its gradient, block by block, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dnatk.training import masked_loss
from dnatk.training.masked_loss import summed_cross_entropy

SIZE_D, SIZE_V = 16, 37
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    ],
)
on_devices = pytest.mark.parametrize("device", ["cpu", CUDA])


def inputs(masked: int, device: str = "cpu", scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(masked)
    shapes = (masked, SIZE_D), (SIZE_V, SIZE_D), (SIZE_V,)
    leaves = [scale * torch.randn(shape, generator=generator) for shape in shapes]
    label_M = torch.randint(0, SIZE_V, (masked,), generator=generator)
    return *(leaf.to(device).requires_grad_() for leaf in leaves), label_M.to(device)


def plain(hidden_MD, weight_VD, bias_V, label_M):
    logits_MV = F.linear(hidden_MD, weight_VD).float() + bias_V
    return F.cross_entropy(logits_MV, label_M, reduction="sum")


def loss_and_gradients(of, *leaves_and_labels):
    loss = of(*leaves_and_labels)
    (0.3 * loss).backward()  # as if it were divided by a count
    return [loss.detach(), *(leaf.grad for leaf in leaves_and_labels[:3])]


@on_devices
@pytest.mark.parametrize("masked", [1, 4, 11, 12, 13])
def test_it_is_torchs_cross_entropy(monkeypatch, device, masked):
    monkeypatch.setattr(masked_loss, "_BLOCKS", {"cpu": (4, True)})
    monkeypatch.setattr(masked_loss, "_ELSEWHERE", (4, False))
    ours = loss_and_gradients(summed_cross_entropy, *inputs(masked, device))
    theirs = loss_and_gradients(plain, *inputs(masked, device))
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_logits_that_would_overflow_an_exponential():
    of = inputs(9, scale=30.0)
    ours = loss_and_gradients(summed_cross_entropy, *of)
    theirs = loss_and_gradients(plain, *inputs(9, scale=30.0))
    assert theirs[0] > 1000
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-3)


@on_devices
def test_products_are_in_the_precision_of_autocast(device):
    with torch.autocast(device, torch.bfloat16):
        ours = loss_and_gradients(summed_cross_entropy, *inputs(300, device))
        theirs = loss_and_gradients(plain, *inputs(300, device))
    exact = loss_and_gradients(plain, *inputs(300, device))
    for found, rounded, wanted in zip(ours, theirs, exact, strict=True):
        assert found.dtype == wanted.dtype == torch.float32
        off, allowed = (found - wanted).norm(), 1.5 * (rounded - wanted).norm()
        assert 0 < off < allowed + 1e-3 * wanted.norm()


def test_no_masked_token_is_no_loss_and_no_gradient():
    loss, *gradients = loss_and_gradients(summed_cross_entropy, *inputs(0))
    assert loss == 0
    assert [list(each.shape) for each in gradients] == [[0, SIZE_D], [SIZE_V, SIZE_D], [SIZE_V]]
    assert not any(each.any() for each in gradients)


def test_without_gradients_it_is_the_same_loss():
    with torch.no_grad():
        loss = summed_cross_entropy(*inputs(200))
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain(*inputs(200)).detach())
