"""Random numbers by counter: a pure function of (seed, stream, row, index), alike on CPU and GPU.

Shapes: N numbers, one for each pair of row and index.

Each row of each stream is a SplitMix64 generator of its own (Steele, Lea and Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014) with its own start and its own odd step,
both hashed from (seed, stream, row); index i asks for its i-th number. There is no state, so any
number of any row can be had at once, in a batch of any rows, on any device. All of it is
arithmetic modulo 2^64 on int64, which wraps in torch as it does in C.
"""

from __future__ import annotations

from functools import cache

import torch

_MASK = (1 << 64) - 1


def _signed(number: int) -> int:
    """The int64 with the lowest 64 bits of ``number``."""
    number &= _MASK
    return number - (1 << 64) if number >> 63 else number


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _shifted(x: torch.Tensor, by: int) -> torch.Tensor:
    """A logical right shift: int64's own repeats the sign."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """SplitMix64's finaliser: a bijection of 64-bit numbers in which every bit hangs on all."""
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def row_keys(seed: int, stream: int, row_N: torch.Tensor) -> torch.Tensor:
    """(2, N) int64: start and step of each row's generator; ``row_N`` int64 on any device."""
    start_N = _mix((row_N + 1) * _GAMMA + _stream_key(seed, stream))
    return torch.stack([start_N, _mix(start_N) | 1])


@cache
def _stream_key(seed: int, stream: int) -> int:
    return _mix(torch.tensor(_signed(seed + _GAMMA))).item() ^ stream


def bits(keys_2N: torch.Tensor, index_N: torch.Tensor) -> torch.Tensor:
    """(N,) int64, all 64 bits random: number ``index_N`` (from 0) of each generator."""
    start_N, step_N = keys_2N
    return _mix(start_N + (index_N + 1) * step_N)


def uniform(
    keys_2N: torch.Tensor, index_N: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """(N,) uniform numbers in [0, 1): multiples of 2^-24 (float32) or of 2^-53 (float64)."""
    digits = 53 if dtype == torch.float64 else 24
    return _shifted(bits(keys_2N, index_N), 64 - digits).to(dtype) * 2.0**-digits
