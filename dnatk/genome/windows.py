"""Tiles: how a sequence longer than a model's window is cut, and which tile answers for a k-mer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dnatk.errors import InputError


@dataclass(frozen=True)
class Tiling:
    """Windows of ``window`` bases, ``stride`` bases apart; the last one of a sequence is shorter.

    With the default stride (window - k + kmer_stride) neighbours share no k-mer and none is lost.

    Raises:
        InputError: a window shorter than a k-mer, a stride below 1, or one that would put the
            k-mers of neighbours out of step (non-overlapping k-mers only).
    """

    window: int
    stride: int
    k: int
    kmer_stride: int = 1

    def __post_init__(self) -> None:
        if self.window < self.k:
            raise InputError(
                f"a window of {self.window} bases is shorter than one {self.k}-mer",
                hint=f"--window must be at least {self.k}",
            )
        if self.stride < 1:
            raise InputError(f"--stride must be at least 1, not {self.stride}")
        if self.stride % self.kmer_stride:
            raise InputError(
                f"--stride {self.stride} is no multiple of the model's k-mer stride",
                hint=f"use a multiple of {self.kmer_stride}",
            )

    def count(self, length: int) -> int:
        """How many tiles a sequence of ``length`` bases has; at least one."""
        if length <= self.window:
            return 1
        past_first = -(-(length - self.window) // self.stride)
        return 1 + min(past_first, (length - 1) // self.stride)

    def walk(self, length: int) -> Iterator[tuple[int, int]]:
        """[start, end) of each tile of a sequence of ``length`` bases, in constant memory."""
        for start in range(0, self.count(length) * self.stride, self.stride):
            yield start, min(start + self.window, length)

    def tiles(self, length: int) -> list[tuple[int, int]]:
        """[start, end) of each tile of a sequence of ``length`` bases; one where it fits."""
        return list(self.walk(length))

    def n_kmers(self, length: int) -> int:
        """Tokens that ``length`` bases give."""
        return max(0, (length - self.k) // self.kmer_stride + 1)

    def owned(self, tiles: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The k-mers that each tile answers for, as [first, last) in the tile's own tokens.

        Every k-mer that any tile holds is owned once, by the tile in which it lies farthest from
        an edge (the earlier one on a tie). Both ends of tiles rise, so between neighbours the
        border is half way through the k-mers they share.
        """
        step = self.kmer_stride
        first = [start // step for start, _ in tiles]
        last = [f + self.n_kmers(e - s) for f, (s, e) in zip(first, tiles, strict=True)]
        # Border j: the first k-mer that belongs to tile j+1 or later. A last tile may hold no
        # k-mer that its neighbour lacks (a few bases more, k-mers far apart): then it gets none.
        borders = [
            last[j]
            if last[j] == last[j + 1]
            else max(first[j + 1], (first[j + 1] + last[j] + 1) // 2)
            for j in range(len(tiles) - 1)
        ]
        lows = [first[0], *borders]
        highs = [*borders, last[-1]]
        owned = []
        for f, n, low, high in zip(first, last, lows, highs, strict=True):
            low, high = max(low, f), min(high, n)
            owned.append((low - f, max(high, low) - f))
        return owned
