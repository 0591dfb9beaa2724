"""Starting weights that learn from far fewer tokens: ``--start local``.

BERT starts every k-mer and every position at a random vector and every head at random, so each
of the 4^k rows must meet its own examples, and attention must find the neighbours before anything
else can be learned: a small model then sits on the k-mer frequencies for millions of tokens. Here

- a k-mer is the sum of one random vector for each (offset, base), in one half of the dimensions;
- a position is its sinusoids (Vaswani et al. 2017), in the other half;
- each head looks at one offset to the left or right, through the rotation that turns a position's
  sinusoids into those of its neighbour: attention starts as a soft convolution, as ConViT's does
  (d'Ascoli et al., arXiv 2103.10697).

Only the start differs: all of it is trained on, and the architecture stays BERT's.
"""

from __future__ import annotations

import math

import torch

from dnatk.kmers.vocab import FIRST_KMER, PAD
from dnatk.training.masked_lm import PackedMaskedLM

# Tokens to the left and right that pairs of heads look at, in turn over heads and layers.
_OFFSETS = (2, 6, 4, 9, 1, 7, 3, 11)
_LONGEST_PERIOD = 100.0
# The logit of a head at its offset; 8 lets a few neighbours share the attention.
_SHARPNESS = 8.0
_NOISE = 0.3


@torch.no_grad()
def start_local(model: PackedMaskedLM, k: int, seed: int) -> None:
    """Set the starting weights of ``model`` in place (built with initializer_range D**-0.5)."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    n_rates = config.hidden_size // 4
    half = 2 * n_rates
    rate_F = _LONGEST_PERIOD ** (-torch.arange(n_rates) / n_rates)
    embeddings = model.bert.embeddings
    # Each half has twice the variance over half the dimensions: as strong as the whole.
    scale = config.initializer_range * math.sqrt(2)
    _compose_kmers(embeddings.word_embeddings.weight, half, scale, k, generator)

    position_LD = embeddings.position_embeddings.weight
    angle_LF = torch.arange(len(position_LD))[:, None] * rate_F
    position_LD.zero_()
    # A sinusoid has variance 1/2.
    position_LD[:, :n_rates] = angle_LF.sin() * scale * math.sqrt(2)
    position_LD[:, n_rates:half] = angle_LF.cos() * scale * math.sqrt(2)

    heads = config.num_attention_heads
    for number, layer in enumerate(model.bert.encoder.layer):
        attention = layer.attention.self
        attention.query.weight.mul_(_NOISE)
        attention.key.weight.mul_(_NOISE)
        for head in range(heads):
            pair = number * math.ceil(heads / 2) + head // 2
            offset = _OFFSETS[pair % len(_OFFSETS)] * (-1 if head % 2 == 0 else 1)
            _look_at(attention, head, heads, offset, rate_F)


def _compose_kmers(word_VD, half: int, scale: float, k: int, generator) -> None:
    hidden = word_VD.shape[1] - half
    word_VD[:, :half] = 0
    word_VD[:FIRST_KMER, half:] = torch.randn(FIRST_KMER, hidden, generator=generator) * scale
    word_VD[PAD] = 0
    base_KBD = torch.randn(k, 4, hidden, generator=generator) * scale / math.sqrt(k)
    number = torch.arange(4**k)
    word_VD[FIRST_KMER:, half:] = sum(
        base_KBD[offset][(number >> 2 * (k - 1 - offset)) & 3] for offset in range(k)
    )


def _look_at(attention, head: int, heads: int, offset: int, rate_F: torch.Tensor) -> None:
    """Make q(p) . k(s) peak at s = p + offset: q holds p's sinusoids turned by ``offset``."""
    n_rates = len(rate_F)
    size = attention.query.weight.shape[0] // heads
    n_pairs = min(size // 2, n_rates)
    rates = (torch.arange(n_pairs) * n_rates) // n_pairs
    # After LayerNorm a (sin, cos) pair has length sqrt(2); scores are divided by sqrt(size).
    gain = math.sqrt(_SHARPNESS * math.sqrt(size) / (2 * n_pairs))
    sin_rows = head * size + 2 * torch.arange(n_pairs)
    cos_rows = sin_rows + 1
    turn = rate_F[rates] * offset
    key, query = attention.key.weight, attention.query.weight
    key[sin_rows, rates] = gain
    key[cos_rows, n_rates + rates] = gain
    query[sin_rows, rates] = gain * turn.cos()
    query[sin_rows, n_rates + rates] = gain * turn.sin()
    query[cos_rows, rates] = -gain * turn.sin()
    query[cos_rows, n_rates + rates] = gain * turn.cos()
