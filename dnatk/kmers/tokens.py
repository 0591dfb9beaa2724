"""How a sequence becomes the tokens of a model: what training and inference ask of a tokenizer."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dnatk.kmers.encode import encode
from dnatk.kmers.vocab import CLS, FIRST_KMER, SEP, Vocabulary


class Tokens(Protocol):
    """A tokenizer of bases.

    Attributes:
        prefix, suffix: ids of the special tokens round every sequence.
        aligned: whether the other strand has the same tokens, turned round.
    """

    aligned: bool

    prefix: np.ndarray
    suffix: np.ndarray

    def encode(self, bases: np.ndarray) -> np.ndarray:
        """(n,) token ids of uint8 bases (L,), without special tokens."""

    def valid(self, ids: np.ndarray) -> np.ndarray:
        """(n,) bool: tokens that stand for bases and nothing unknown."""

    def reverse_complement(self, ids: np.ndarray) -> np.ndarray:
        """Token ids of the other strand, read 5'->3'."""


class KmerTokens:
    """DNABERT's tokens: k-mers every ``stride`` bases between [CLS] and [SEP]."""

    prefix = np.array([CLS])
    suffix = np.array([SEP])
    aligned = True

    def __init__(self, k: int, stride: int = 1) -> None:
        self.k, self.stride, self._vocabulary = k, stride, Vocabulary(k)

    def encode(self, bases: np.ndarray) -> np.ndarray:
        return encode(bases, self.k, self.stride)

    def valid(self, ids: np.ndarray) -> np.ndarray:
        return ids >= FIRST_KMER

    def reverse_complement(self, ids: np.ndarray) -> np.ndarray:
        return self._vocabulary.reverse_complement(ids)


def pack(tokens: Tokens, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Sequences' ids one after another, with their special tokens.

    Returns:
        (ids_T, position_T, lengths): int64 ids, the position of each token in its own sequence,
        and the tokens of each sequence.
    """
    parts = [part for ids in sequences for part in (tokens.prefix, ids, tokens.suffix)]
    extra = len(tokens.prefix) + len(tokens.suffix)
    lengths = [len(ids) + extra for ids in sequences]
    position_T = np.concatenate([np.arange(length) for length in lengths])
    return np.concatenate(parts).astype(np.int64), position_T, lengths
