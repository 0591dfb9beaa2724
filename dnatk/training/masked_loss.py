"""Cross-entropy over a vocabulary, a few rows of logits at a time.

Logits of all masked tokens at once, their softmax and its gradient, are the largest tensors of a
training step, and each batch has others: they are written to memory and read back several times,
and oneDNN compiles its products for every new shape, which takes longer than the products. So the
gradient is made with the loss, block by block, while a block is in cache.

Shapes: M masked tokens, R rows of a block, D hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

# Rows of a block, and whether the last one is filled up. A CPU's cache holds 128 x 4101 logits, and
# its blocks shall have one shape; a GPU wants few and large products.
_BLOCKS = {"cpu": (128, True)}
_ELSEWHERE = (8192, False)
_UNSCORED = -1


def summed_cross_entropy(
    hidden_MD: torch.Tensor, weight_VD: torch.Tensor, bias_V: torch.Tensor, label_M: torch.Tensor
) -> torch.Tensor:
    """Sum over M of -log softmax(hidden weight^T + bias)[label], in nats, () in fp32.

    Products are in autocast's precision where that is on, all else is in fp32. It can be
    differentiated once, by all but the labels.
    """
    rows, filled = _BLOCKS.get(hidden_MD.device.type, _ELSEWHERE)
    room = -len(label_M) % rows if filled else 0
    hidden_MD = F.pad(hidden_MD, (0, 0, 0, room))
    label_M = F.pad(label_M, (0, room), value=_UNSCORED)
    return _SummedCrossEntropy.apply(hidden_MD, weight_VD, bias_V, label_M, rows)


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_MD, weight_VD, bias_V, label_M, rows):
        device = hidden_MD.device.type
        dtype = hidden_MD.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        ctx.dtypes = hidden_MD.dtype, weight_VD.dtype, bias_V.dtype
        with torch.autocast(device, enabled=False):
            hidden_MD, weight_VD = hidden_MD.to(dtype), weight_VD.to(dtype)
            total = torch.zeros((), device=hidden_MD.device)
            wanted = any(ctx.needs_input_grad)
            by_hidden_MD = torch.empty_like(hidden_MD) if wanted else None
            by_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if wanted else None
            by_bias_V = torch.zeros_like(bias_V, dtype=torch.float32) if wanted else None
            for at in range(0, len(label_M), rows):
                hidden_RD, label_R = hidden_MD[at : at + rows], label_M[at : at + rows]
                scored_R1 = (label_R != _UNSCORED)[:, None]
                label_R1 = label_R.clamp(min=0)[:, None]
                logits_RV = (hidden_RD @ weight_VD.T).float().add_(bias_V)
                log_sum_R1 = logits_RV.logsumexp(1, keepdim=True)
                loss_R1 = log_sum_R1 - logits_RV.gather(1, label_R1)
                total += torch.where(scored_R1, loss_R1, 0.0).sum()
                if not wanted:
                    continue
                # softmax - one-hot
                by_logits_RV = logits_RV.sub_(log_sum_R1).exp_().mul_(scored_R1)
                by_logits_RV.scatter_add_(1, label_R1, -scored_R1.float())
                by_bias_V += by_logits_RV.sum(0)
                by_logits_RV = by_logits_RV.to(dtype)
                by_hidden_MD[at : at + rows] = by_logits_RV @ weight_VD
                by_weight_VD += by_logits_RV.T @ hidden_RD
        ctx.save_for_backward(by_hidden_MD, by_weight_VD, by_bias_V)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, by_total):
        gradients = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return *((each * by_total).to(dtype) for each, dtype in gradients), None, None
