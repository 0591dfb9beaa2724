"""Architectures that ``dnatk pretrain --preset`` knows, all of BERT's layout.

dnatk's own presets train with dropout 0 (one pass over far more bases than parameters does not
overfit, and dropout alone costs 2.6x on a CPU); dnabert-base keeps DNABERT's 0.1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dnatk.errors import ModelError
from dnatk.kmers.vocab import PAD, Vocabulary


@dataclass(frozen=True)
class Preset:
    """Sizes of a BERT encoder; the names are those of transformers' BertConfig."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    dropout: float = 0.0
    max_position_embeddings: int = 512

    def bert_config(self, k: int) -> dict:
        """Keyword arguments of ``transformers.BertConfig`` for k-mers of length ``k``."""
        sizes = asdict(self)
        dropout = sizes.pop("dropout")
        return {
            **sizes,
            "vocab_size": len(Vocabulary(k)),
            "hidden_act": "gelu",
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "layer_norm_eps": 1e-12,
            "type_vocab_size": 2,
            "pad_token_id": PAD,
        }


PRESETS = {
    "tiny": Preset(2, 64, 2, 256),
    "mini": Preset(4, 128, 2, 512),
    "small": Preset(6, 256, 4, 1024),
    "dnabert-base": Preset(12, 768, 12, 3072, dropout=0.1),
}


def preset(name: str) -> Preset:
    """The preset called ``name``, or :class:`ModelError` naming those there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ModelError(f"no preset '{name}'", hint=f"there are {', '.join(PRESETS)}") from None
