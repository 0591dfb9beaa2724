"""DNABERT's k-mer vocabulary.

Ids 0..4 are [PAD] [UNK] [CLS] [SEP] [MASK]; then come the 4**k k-mers in the order of
``itertools.product("ATCG", repeat=k)`` (A, T, C, G: not alphabetical), so that the id of a k-mer
is 5 plus its base-4 number with A=0, T=1, C=2, G=3. Source: the vocab files of DNABERT
(Ji et al. 2021).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dnatk.errors import InputError, ModelError

BASES = "ATCG"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)
FIRST_KMER = len(SPECIAL_TOKENS)
MAX_K = 8


def check_k(k: int) -> int:
    """Return ``k`` or raise :class:`InputError` where it is outside 1..8."""
    if not 1 <= k <= MAX_K:
        raise InputError(f"k must be between 1 and {MAX_K}, not {k}")
    return k


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of k-mer length ``k`` (1..8) and arithmetic on their ids.

    >>> vocabulary = dnatk.Vocabulary(6)
    >>> len(vocabulary), vocabulary.tokens[4:7]
    (4101, ['[MASK]', 'AAAAAA', 'AAAAAT'])
    """

    k: int

    def __post_init__(self) -> None:
        check_k(self.k)

    def __len__(self) -> int:
        return FIRST_KMER + (1 << 2 * self.k)

    @property
    def dtype(self) -> np.dtype:
        """The smallest signed integer type that holds every id (int16 up to k = 7)."""
        return np.dtype(np.int16 if self.k < MAX_K else np.int32)

    @cached_property
    def tokens(self) -> list[str]:
        """Every token in id order, the five specials first."""
        return [*SPECIAL_TOKENS, *("".join(p) for p in itertools.product(BASES, repeat=self.k))]

    @cached_property
    def reverse_complement_ids(self) -> np.ndarray:
        """(len(self),) id of each token's reverse complement; specials map to themselves.

        With A=0, T=1, C=2, G=3 the complement of a base is its code with the lowest bit turned.
        """
        number = np.arange(4**self.k)
        reverse = np.zeros_like(number)
        for _ in range(self.k):
            reverse = reverse * 4 + (number & 3 ^ 1)
            number = number >> 2
        table = np.concatenate([np.arange(FIRST_KMER), reverse + FIRST_KMER])
        return table.astype(self.dtype)

    def reverse_complement(self, ids: np.ndarray) -> np.ndarray:
        """Ids (L,) of the other strand, read 5'->3': tokens complemented, order turned round."""
        turned: np.ndarray = self.reverse_complement_ids[ids][::-1]
        return turned

    def check_tokens(self, tokens: list[str], path: str) -> None:
        """Raise :class:`ModelError` unless ``tokens`` (a vocab.txt) is this vocabulary.

        A model whose rows stand in another order would run without complaint and answer nonsense.
        """
        if tokens == self.tokens:
            return
        if len(tokens) != len(self):
            raise ModelError(
                f"{len(tokens)} tokens where {self.k}-mers have {len(self)}",
                path=path,
                hint="dnatk reads DNABERT-layout vocabularies: 5 specials, then 4^k k-mers",
            )
        at = next(i for i, (a, b) in enumerate(zip(tokens, self.tokens, strict=True)) if a != b)
        theirs, ours = (" ".join(t[at : at + 4]) for t in (tokens, self.tokens))
        raise ModelError(
            f"k-mers in another order: '{theirs} ...' where DNABERT's order has '{ours} ...'",
            path=path,
            line=at + 1,
            hint="its weights would be read wrongly; reorder the embedding rows to A, T, C, G",
        )
