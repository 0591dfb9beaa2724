"""Length of a k-mer's embedding against how often the k-mer occurs.

Shapes: V = 4^k k-mers, D hidden.
"""

from __future__ import annotations

import math

import numpy as np


def norm_numbers(rows_VD: np.ndarray, count_V: np.ndarray) -> dict:
    """Correlation of the Euclidean norm of each k-mer's embedding with its count.

    Returns:
        ``spearman`` (of norm and count), ``pearson`` (of norm and log10(count + 1)), ``unseen``
        (k-mers that never occur), ``mean`` and ``sd`` of the norm. nan where one is constant.
    """
    from scipy.stats import rankdata

    norm_V = np.linalg.norm(rows_VD.astype(np.float64), axis=1)
    return {
        "spearman": _pearson(rankdata(norm_V), rankdata(count_V)),
        "pearson": _pearson(norm_V, np.log10(count_V + 1.0)),
        "unseen": int((count_V == 0).sum()),
        "kmers": int(count_V.sum()),
        "mean": float(norm_V.mean()),
        "sd": float(norm_V.std()),
    }


def _pearson(x_V: np.ndarray, y_V: np.ndarray) -> float:
    spread = [np.std(each) > 1e-9 * np.abs(each).max() for each in (x_V, y_V)]
    return float(np.corrcoef(x_V, y_V)[0, 1]) if all(spread) else math.nan
