"""Vectorised k-mer encoding of base arrays.

A k-mer's number is built by doubling: from the numbers of w-mers at i and i + w come those of
2w-mers, so k = 6 needs three passes instead of six. Blocks of 64k bases stay in cache.
"""

from __future__ import annotations

import numpy as np

from dnatk.kmers.vocab import FIRST_KMER, UNK, Vocabulary

_BLOCK = 1 << 16
_INVALID = 4

_CODE = bytearray([_INVALID]) * 256
for _i, _base in enumerate("ATCG"):
    _CODE[ord(_base)] = _CODE[ord(_base.lower())] = _i
_CODE = bytes(_CODE)

# IUPAC: R=AG Y=CT S=CG W=AT K=GT M=AC B=CGT D=AGT H=ACT V=ACG; case is kept (soft mask).
_PAIRS = "AT CG RY SS WW KM BV DH NN"
_COMPLEMENT = bytearray(range(256))
for _pair in _PAIRS.split():
    for _a, _b in (_pair, _pair[::-1], _pair.lower(), _pair[::-1].lower()):
        _COMPLEMENT[ord(_a)] = ord(_b)
_COMPLEMENT[ord("U")], _COMPLEMENT[ord("u")] = ord("A"), ord("a")
_COMPLEMENT = bytes(_COMPLEMENT)


def as_bases(sequence: str | bytes | np.ndarray) -> np.ndarray:
    """(L,) uint8 ASCII of a sequence given as text, bytes or already as uint8."""
    if isinstance(sequence, str):
        sequence = sequence.encode("ascii", "replace")
    if isinstance(sequence, bytes):
        return np.frombuffer(sequence, dtype=np.uint8)
    return sequence


def encode(sequence: str | bytes | np.ndarray, k: int, stride: int = 1) -> np.ndarray:
    """Token ids of the k-mers of a sequence.

    Args:
        sequence: bases as text, bytes or uint8 ASCII (L,); case is ignored.
        k: k-mer length, 1..8.
        stride: bases from one k-mer to the next; 1 overlapping, k non-overlapping.

    Returns:
        ((L - k) // stride + 1,) ids, int16 (int32 for k = 8); empty where L < k. A k-mer with a
        base other than A, C, G, T is [UNK] (1). Token i covers bases [i*stride, i*stride + k).
    """
    vocabulary = Vocabulary(k)
    bases = as_bases(sequence)
    n_kmers = len(bases) - k + 1
    if n_kmers <= 0:
        return np.empty(0, dtype=vocabulary.dtype)
    ids = np.empty(n_kmers, dtype=vocabulary.dtype)
    for start in range(0, n_kmers, _BLOCK):
        stop = min(start + _BLOCK, n_kmers)
        _encode_block(bases[start : stop + k - 1], k, ids[start:stop])
    return ids if stride == 1 else ids[::stride].copy()


def _encode_block(bases: np.ndarray, k: int, out: np.ndarray) -> None:
    codes = np.frombuffer(bases.tobytes().translate(_CODE), dtype=np.uint8)
    invalid = codes == _INVALID
    has_invalid = invalid.any()
    if has_invalid:
        codes = codes & 3
    np.add(_windowed(codes.astype(out.dtype), k, _shift_in), FIRST_KMER, out=out)
    if has_invalid:
        out[_windowed(invalid, k, lambda high, low, _: high | low)] = UNK


def _shift_in(high: np.ndarray, low: np.ndarray, width: int) -> np.ndarray:
    return (high << (2 * width)) | low


def _windowed(values: np.ndarray, k: int, combine) -> np.ndarray:
    """Combine every k neighbours of ``values`` in O(log k) passes; (L,) -> (L - k + 1,)."""
    n_out = len(values) - k + 1
    result, result_width = None, 0
    power, power_width = values, 1
    remaining = k
    while remaining:
        if remaining & 1:
            if result is None:
                result, result_width = power, power_width
            else:
                n = min(len(power) - result_width, len(result))
                low = power[result_width : result_width + n]
                result = combine(result[:n], low, power_width)
                result_width += power_width
        remaining >>= 1
        if remaining:
            power = combine(power[:-power_width], power[power_width:], power_width)
            power_width *= 2
    return result[:n_out]


def reverse_complement(bases: np.ndarray) -> np.ndarray:
    """Reverse complement of uint8 ASCII bases (L,), IUPAC codes and case kept."""
    return np.frombuffer(bases.tobytes().translate(_COMPLEMENT), dtype=np.uint8)[::-1]


def spaced(sequence: str, k: int = 6, stride: int = 1) -> str:
    """The k-mers of ``sequence`` joined by spaces: what ``AutoTokenizer`` of a dnatk model reads.

    >>> spaced("ACGTACG")
    'ACGTAC CGTACG'
    """
    sequence = sequence.upper()
    return " ".join(sequence[i : i + k] for i in range(0, len(sequence) - k + 1, stride))
