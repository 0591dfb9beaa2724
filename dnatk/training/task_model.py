"""A trunk with a task's head, as the Trainer sees it.

Shapes: T tokens packed, S sequences, C outputs, D hidden, B bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from dnatk.model.heads import Head, base_logits
from dnatk.training.masked_lm import ATTENTION

IGNORED = -100


class NativeTrunk(nn.Module):
    """transformers' BertModel over packed sequences."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        model.set_attn_implementation(ATTENTION)

    @classmethod
    def load(cls, directory: Path) -> NativeTrunk:
        """The encoder in a model directory, in fp32."""
        model = BertModel.from_pretrained(
            directory, dtype=torch.float32, add_pooling_layer=False, local_files_only=True
        )
        return cls(model)

    @classmethod
    def fresh(cls, directory: Path, seed: int) -> NativeTrunk:
        """The architecture of a model directory with BERT's random weights."""
        torch.manual_seed(seed)
        config = BertConfig.from_pretrained(
            directory, local_files_only=True, initializer_range=0.02
        )
        return cls(BertModel(config, add_pooling_layer=False).float())

    def forward(
        self, ids_T: torch.Tensor, position_T: torch.Tensor, lengths: Sequence[int]
    ) -> torch.Tensor:
        out = self.model(input_ids=ids_T[None], position_ids=position_T[None], lengths=lengths)
        return out.last_hidden_state[0]


class TaskModel(nn.Module):
    """Trunk, head and loss.

    Args:
        kind: of the labels, see :class:`dnatk.labelled.dataset.LabelSpace`.
        class_weight_C: for cross-entropy, or None.
    """

    def __init__(
        self, trunk: nn.Module, head: Head, kind: str, class_weight_C: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        self.trunk, self.head, self.kind = trunk, head, kind
        self.class_weight = None if class_weight_C is None else nn.Buffer(class_weight_C)

    def forward(
        self,
        ids_T: torch.Tensor,
        position_T: torch.Tensor,
        lengths: Sequence[int],
        kept_T: torch.Tensor,
        bases: Sequence[int],
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **_: object,
    ) -> dict[str, torch.Tensor]:
        """{"logits", and with ``labels`` "loss"}.

        Args:
            ids_T, position_T, lengths: as :class:`dnatk.model.encoder.Encoder`.
            kept_T: (T,) bool, the tokens that count.
            bases: of each sequence (per-base tasks).
            labels: (S,), (S, C) or, per base, (sum of bases,).
            num_items_in_batch: labels of the whole step, over all ranks.
        """
        hidden_TD = self.trunk(ids_T, position_T, lengths)
        if self.kind == "per-base":
            config = self.head.config
            parts = self.head(hidden_TD).split(list(lengths))
            # Specials stand first and last: [CLS] k-mers [SEP].
            logits = torch.cat(
                [
                    base_logits(part[1:-1], n, config.k, config.kmer_stride)
                    for part, n in zip(parts, bases, strict=True)
                ]
            )
        else:
            logits = self.head(self.head.pooled(hidden_TD, lengths, kept_T))
            if self.head.config.vocabulary:
                counts_S = torch.stack([part.sum() for part in kept_T.split(list(lengths))])
                logits = logits + self.head.of_counts(ids_T[kept_T], counts_S)
        if labels is None:
            return {"logits": logits}
        count = labels.ne(IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return {"loss": self._loss(logits, labels) / count, "logits": logits}

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.kind == "regression":
            return F.mse_loss(logits, labels, reduction="sum")
        if self.kind == "multilabel":
            return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        return F.cross_entropy(
            logits, labels, weight=self.class_weight, ignore_index=IGNORED, reduction="sum"
        )
