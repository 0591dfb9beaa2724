"""transformers' BertForMaskedLM over packed sequences, with the head on masked tokens only.

Shapes: T tokens of all sequences one after another, M masked tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import transformers.utils.logging as transformers_logging
from huggingface_hub.utils import logging as hub_logging
from transformers import AttentionInterface, BertConfig, BertForMaskedLM

from dnatk.errors import ModelError
from dnatk.model.attention import packed_attention
from dnatk.model.tokenizer_files import write_tokenizer
from dnatk.training.masked_loss import summed_cross_entropy

ATTENTION = "dnatk_packed"


def _attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    # transformers hands over (1, H, T, E) and wants (1, T, H, E).
    mixed_THE = packed_attention(
        *(x[0].transpose(0, 1) for x in (query, key, value)),
        kwargs["lengths"],
        scaling,
        dropout if module.training else 0.0,
    )
    return mixed_THE[None], None


AttentionInterface.register(ATTENTION, _attention)


class PackedMaskedLM(BertForMaskedLM):
    """BertForMaskedLM whose forward takes a packed batch; saved, it is a plain BertForMaskedLM."""

    # Else the Trainer gives no num_items_in_batch, and the mean of means is no mean.
    accepts_loss_kwargs = True
    _tied_weights_keys: ClassVar = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        # It would be the head's own bias again; FSDP takes no parameter that stands in two places
        # of which it shards one.
        self.cls.predictions.decoder.bias = None

    def forward(
        self,
        ids_T: torch.Tensor,
        position_T: torch.Tensor,
        lengths: Sequence[int],
        masked_M: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> dict[str, torch.Tensor]:
        """Mean cross-entropy (nats) over the masked tokens.

        Args:
            ids_T, position_T, lengths: as :class:`dnatk.model.encoder.Encoder`.
            masked_M: (M,) where the masked tokens stand.
            labels: (M,) their true ids.
            num_items_in_batch: what to divide by, where a step has several batches or ranks. A
                step in which nothing is masked has loss 0.
        """
        hidden_TD = self.bert(
            input_ids=ids_T[None], position_ids=position_T[None], lengths=lengths
        ).last_hidden_state[0]
        head = self.cls.predictions
        hidden_MD = head.transform(hidden_TD[masked_M])
        total = summed_cross_entropy(hidden_MD, head.decoder.weight, head.bias, labels)
        count = labels.numel() if num_items_in_batch is None else num_items_in_batch
        # A count that lies on a GPU stays there: nobody waits for it.
        count = count.clamp(min=1) if isinstance(count, torch.Tensor) else max(count, 1)
        return {"loss": total / count}

    def save_pretrained(self, save_directory, state_dict=None, **kwargs) -> None:
        """Write a transformers directory that needs no dnatk, tokenizer files included."""
        if state_dict is not None:  # gathered from all ranks, where tied weights are no longer one
            tied = self.all_tied_weights_keys
            state_dict = {name: each for name, each in state_dict.items() if name not in tied}
        super().save_pretrained(save_directory, state_dict=state_dict, **kwargs)
        self.config.architectures = ["BertForMaskedLM"]
        self.config.save_pretrained(save_directory)
        write_tokenizer(
            Path(save_directory),
            self.k,
            self.kmer_stride,
            self.config.max_position_embeddings,
            **self.facts,
        )

    def set_attention_dropout(self, dropout: float) -> None:
        """The dropout of attention probabilities; that of hidden states stays."""
        self.config.attention_probs_dropout_prob = dropout
        for layer in self.bert.encoder.layer:
            layer.attention.self.dropout.p = dropout

    def describe(self, k: int, kmer_stride: int, **facts: object) -> None:
        """What dnatk.json shall say of this model, beside its sizes."""
        self.k, self.kmer_stride, self.facts = k, kmer_stride, facts


def quiet_transformers() -> None:
    """No bars of transformers' own, and no warning of the tied head as "missing" at a resume."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()  # each retry of a download


def new_model(config: dict, seed: int) -> PackedMaskedLM:
    """A model of ``config`` (BertConfig's names) with fresh weights."""
    torch.manual_seed(seed)
    model = PackedMaskedLM(BertConfig(**config))
    model.set_attn_implementation(ATTENTION)
    return model


def pretrained_model(directory: Path) -> PackedMaskedLM:
    """The model in ``directory``, in fp32, MLM head included."""
    model, loading = PackedMaskedLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    if loading["missing_keys"]:
        raise ModelError(
            f"lacks {', '.join(sorted(loading['missing_keys'])[:3])}",
            path=directory,
            hint="--init needs a masked language model with its head",
        )
    model.set_attn_implementation(ATTENTION)
    return model
