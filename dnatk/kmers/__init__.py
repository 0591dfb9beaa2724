"""Bases to k-mer token ids, and back. No torch here."""

from dnatk.kmers.encode import encode, reverse_complement, spaced
from dnatk.kmers.tokens import KmerTokens, Tokens, pack
from dnatk.kmers.vocab import Vocabulary

__all__ = ["KmerTokens", "Tokens", "Vocabulary", "encode", "pack", "reverse_complement", "spaced"]
