"""A BERT encoder for inference in plain torch: packed sequences, no padding.

The same numbers as transformers' BertModel (parity-tested), without importing it. Training uses
transformers' own model; the directory on disk is the contract between the two.

Shapes: T tokens of all sequences one after another, D hidden, H heads, E = D / H, F feed-forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from dnatk.errors import ModelError
from dnatk.model.attention import packed_attention
from dnatk.model.placement import packed_weight

# In place, as is all that can be: no gradient is ever wanted here, and fresh pages cost time.
_ACTIVATIONS = {
    "gelu": torch.ops.aten.gelu_,
    "gelu_new": lambda x: torch.ops.aten.gelu_(x, approximate="tanh"),
    "relu": torch.relu_,
}

# On a CPU oneDNN compiles a product for each new number of tokens, which takes as long as a tenth
# of a large batch: some tokens that nobody reads make the numbers recur.
_CPU_MULTIPLE, _CPU_LEAST = 64, 1024


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of a BERT encoder."""

    vocab_size: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    max_positions: int
    types: int = 2
    eps: float = 1e-12
    activation: str = "gelu"

    def __post_init__(self) -> None:
        if self.activation not in _ACTIVATIONS:
            raise ModelError(
                f"activation '{self.activation}' is unknown",
                hint=f"dnatk's encoder has {', '.join(_ACTIVATIONS)}",
            )
        if self.hidden % self.heads:
            raise ModelError(f"{self.hidden} hidden units do not divide into {self.heads} heads")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the encoder by BertModel's name (the pooler left out)."""
        d, f = self.hidden, self.intermediate
        table = {
            "embeddings.word_embeddings.weight": (self.vocab_size, d),
            "embeddings.position_embeddings.weight": (self.max_positions, d),
            "embeddings.token_type_embeddings.weight": (self.types, d),
            **_norm("embeddings.LayerNorm", d),
        }
        for i in range(self.layers):
            at = f"encoder.layer.{i}"
            for name in ("query", "key", "value"):
                table |= _linear(f"{at}.attention.self.{name}", d, d)
            table |= _linear(f"{at}.attention.output.dense", d, d)
            table |= _norm(f"{at}.attention.output.LayerNorm", d)
            table |= _linear(f"{at}.intermediate.dense", d, f)
            table |= _linear(f"{at}.output.dense", f, d)
            table |= _norm(f"{at}.output.LayerNorm", d)
        return table


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


class Encoder(nn.Module):
    """BERT's embeddings and layers over packed sequences.

    Args:
        config: the sizes.
        weights: tensors by BertModel's names, as in :meth:`EncoderConfig.shapes`.
    """

    def __init__(self, config: EncoderConfig, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.config = config
        w = {name: tensor.float() for name, tensor in weights.items()}
        # Every token has type 0, so its embedding is one addition that can be made once.
        position = w["embeddings.position_embeddings.weight"]
        position = position + w["embeddings.token_type_embeddings.weight"][0]
        self.word = nn.Buffer(w["embeddings.word_embeddings.weight"])
        self.position = nn.Buffer(position)
        self.norm = _Norm(w, "embeddings.LayerNorm", config.eps)
        self.layers = nn.ModuleList(
            _Layer(config, w, f"encoder.layer.{i}") for i in range(config.layers)
        )
        self.eval()

    @property
    def max_tokens(self) -> int:
        """The longest sequence, [CLS] and [SEP] included."""
        return self.config.max_positions

    @property
    def device(self) -> torch.device:
        return self.word.device

    @property
    def dtype(self) -> torch.dtype:
        return self.word.dtype

    @torch.inference_mode()
    def forward(
        self, ids_T: torch.Tensor, position_T: torch.Tensor, lengths: Sequence[int], layer: int = -1
    ) -> torch.Tensor:
        """Hidden states (T, D) after ``layer``.

        Args:
            ids_T: (T,) token ids, [CLS] and [SEP] included.
            position_T: (T,) position of each token in its own sequence.
            lengths: tokens of each sequence; equal neighbours run fastest.
            layer: as transformers' hidden_states: 0 the embeddings, n after layer n, -1 the last.
        """
        n_layers = resolve_layer(layer, self.config.layers)
        tokens = len(ids_T)
        if room := self._room(tokens):
            ids_T, position_T = F.pad(ids_T, (0, room)), F.pad(position_T, (0, room))
            lengths = [*lengths, room]
        hidden_TD = self.norm(self.word[ids_T] + self.position[position_T])
        for block in self.layers[:n_layers]:
            hidden_TD = block(hidden_TD, lengths)
        return hidden_TD[:tokens]

    def _room(self, tokens: int) -> int:
        """Tokens of one more sequence, which fills a batch up."""
        large = self.device.type == "cpu" and tokens >= _CPU_LEAST
        return -tokens % _CPU_MULTIPLE if large else 0


def resolve_layer(layer: int, n_layers: int) -> int:
    """``layer`` counted from 0 (embeddings) to n_layers, negative ones from the end."""
    resolved = layer + n_layers + 1 if layer < 0 else layer
    if not 0 <= resolved <= n_layers:
        raise ModelError(
            f"no layer {layer}: the model has {n_layers}",
            hint=f"0 is the embeddings, {n_layers} or -1 the last layer",
        )
    return resolved


class _Norm(nn.Module):
    def __init__(self, w: dict, name: str, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Buffer(w[f"{name}.weight"]), nn.Buffer(w[f"{name}.bias"])
        self.eps = eps

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x_TD, self.weight.shape, self.weight, self.bias, self.eps)


class _Linear(nn.Module):
    """One product, or several over the same input made into one."""

    def __init__(self, w: dict, *names: str) -> None:
        super().__init__()
        self.weight = nn.Buffer(torch.cat([w[f"{name}.weight"] for name in names]))
        self.bias = nn.Buffer(torch.cat([w[f"{name}.bias"] for name in names]))
        self._packed = (None, None)  # of which weight, and that

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        if self._packed[0] is not self.weight:  # at first, and after a move
            self._packed = self.weight, packed_weight(self.weight)
        packed = self._packed[1]
        if packed is None:
            return F.linear(x_TD, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x_TD, packed, self.bias, "none", [], "")


class _Layer(nn.Module):
    def __init__(self, config: EncoderConfig, w: dict, name: str) -> None:
        super().__init__()
        self.heads = config.heads
        self.scaling = (config.hidden // config.heads) ** -0.5
        self.activation = _ACTIVATIONS[config.activation]
        inner = f"{name}.attention.self"
        self.qkv = _Linear(w, f"{inner}.query", f"{inner}.key", f"{inner}.value")
        self.attended = _Linear(w, f"{name}.attention.output.dense")
        self.attended_norm = _Norm(w, f"{name}.attention.output.LayerNorm", config.eps)
        self.wide = _Linear(w, f"{name}.intermediate.dense")
        self.narrow = _Linear(w, f"{name}.output.dense")
        self.output_norm = _Norm(w, f"{name}.output.LayerNorm", config.eps)

    def forward(self, hidden_TD: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        q_THE, k_THE, v_THE = (
            part.unflatten(1, (self.heads, -1)) for part in self.qkv(hidden_TD).chunk(3, dim=1)
        )
        mixed_THE = packed_attention(q_THE, k_THE, v_THE, lengths, self.scaling)
        hidden_TD = self.attended_norm(self.attended(mixed_THE.flatten(1)).add_(hidden_TD))
        wide_TF = self.activation(self.wide(hidden_TD))
        return self.output_norm(self.narrow(wide_TF).add_(hidden_TD))
