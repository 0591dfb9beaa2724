"""Bases to k-mer token ids, and back. No torch here."""

from dnatk.kmers.encode import encode, reverse_complement, spaced
from dnatk.kmers.vocab import Vocabulary

__all__ = ["Vocabulary", "encode", "reverse_complement", "spaced"]
