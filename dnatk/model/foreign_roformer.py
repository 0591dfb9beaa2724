"""RoFormer over packed sequences: its attention is not one that transformers lets replace.

Shapes: T tokens of all sequences one after another, H heads, E values a head, D hidden.
"""

from __future__ import annotations

from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.roformer.modeling_roformer import (
    RoFormerEncoder,
    RoFormerSelfAttention,
)

from dnatk.model.attention import packed_attention


class _Encoder(RoFormerEncoder):
    def forward(
        self,
        hidden_states,
        *_,
        packed_lengths,
        position_ids,
        output_hidden_states=False,
        **__,
    ):
        # (1, 1, T, E): sines and cosines of each token's place in its own sequence.
        places = self.embed_positions(None, position_ids=position_ids)[:, None]
        states = [hidden_states]
        for layer in self.layer:
            states.append(layer(states[-1], None, places, packed_lengths=packed_lengths)[0])
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=states[-1],
            hidden_states=tuple(states) if output_hidden_states else None,
        )


class _SelfAttention(RoFormerSelfAttention):
    def forward(
        self, hidden_states, attention_mask=None, sinusoidal_pos=None, *_, packed_lengths, **__
    ):
        q, k, v = (
            part(hidden_states).unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        if self.rotary_value:
            q, k, v = self.apply_rotary_position_embeddings(sinusoidal_pos, q, k, v)
        else:
            q, k = self.apply_rotary_position_embeddings(sinusoidal_pos, q, k)
        mixed_THE = packed_attention(
            # Under autocast the sines are fp32 still, and so is what they turned.
            *(x[0].transpose(0, 1).to(v.dtype) for x in (q, k, v)),
            packed_lengths,
            self.attention_head_size**-0.5,
            self.dropout.p if self.training else 0.0,
        )
        return mixed_THE.flatten(1)[None], None


_PACKED = {RoFormerEncoder: _Encoder, RoFormerSelfAttention: _SelfAttention}
_OWN = {packed: own for own, packed in _PACKED.items()}


def replace_layers(model: nn.Module, *, packed: bool) -> None:
    """Give a RoFormer packed layers, or its own again.

    They change class in place: weights, their names and what holds them stay.
    """
    classes = _PACKED if packed else _OWN
    for module in model.modules():
        if type(module) in classes:
            module.__class__ = classes[type(module)]
