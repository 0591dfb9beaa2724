"""What a table of k-mer embeddings is made of: variance by base, clusters, maps in two dimensions.

Liang et al. (arXiv 2310.07644) colour a t-SNE of the token embeddings by the two central bases of
a 6-mer and by the two marginal ones; here the same is a number too.

Shapes: V = 4^k k-mers in dnatk's order, D hidden, N of them drawn (all up to 4096).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MOST = 4096
_PERMUTATIONS = 3
_DIMENSIONS = 50
_SPECIALS = 5


def central(k: int) -> tuple[int, ...]:
    """Offsets of the two central bases: (2, 3) of a 6-mer; of an odd k the middle and the next."""
    return ((k - 1) // 2, (k - 1) // 2 + 1) if k > 1 else (0,)


def marginal(k: int) -> tuple[int, ...]:
    """Offsets of the first and the last base."""
    return (0, k - 1) if k > 1 else (0,)


def kmer_rows(embedding_VD: np.ndarray, k: int) -> np.ndarray:
    """The (4^k, D) k-mers of a table, whose special tokens (five, at the top) may be there."""
    extra = len(embedding_VD) - 4**k
    if extra not in (0, _SPECIALS):
        raise ValueError(f"{len(embedding_VD)} rows are no table of {k}-mers")
    return np.asarray(embedding_VD[extra:], dtype=np.float32)


def classes(k: int, offsets: Sequence[int], index_N: np.ndarray | None = None) -> np.ndarray:
    """(N,) number in base 4 of the bases of each k-mer at ``offsets`` (A, T, C, G are 0..3)."""
    number_N = np.arange(4**k) if index_N is None else index_N
    result_N = np.zeros_like(number_N)
    for offset in offsets:
        result_N = result_N * 4 + (number_N >> 2 * (k - 1 - offset)) % 4
    return result_N


def explained(rows_VD: np.ndarray, k: int, offsets: Sequence[int]) -> float:
    """R^2: share of the variance of all 4^k rows that lies between the classes of ``offsets``.

    The sum of squares between class means over the total, all dimensions together; nan where all
    rows are equal. Labels dealt out at random would explain (classes - 1) / (4^k - 1).
    """
    grid = rows_VD.reshape((4,) * k + (-1,))
    mean_D = rows_VD.mean(axis=0, dtype=np.float64)
    total = float(np.square(rows_VD - mean_D, dtype=np.float64).sum())
    others = tuple(axis for axis in range(k) if axis not in offsets)
    means = grid.mean(axis=others, dtype=np.float64) - mean_D
    between = float(np.square(means).sum()) * 4 ** len(others)
    scale = float(np.square(rows_VD, dtype=np.float64).sum())
    # Equal rows differ by rounding.
    return between / total if total > 1e-12 * scale else math.nan


def drawn(k: int, seed: int) -> np.ndarray:
    """Numbers of the k-mers that maps and silhouettes look at: all, or 4096 drawn by ``seed``."""
    if 4**k <= MOST:
        return np.arange(4**k)
    return np.sort(np.random.default_rng(seed).choice(4**k, MOST, replace=False))


def token_numbers(embedding_VD: np.ndarray, k: int, seed: int = 0) -> dict:
    """How far the bases of a k-mer explain its embedding; a second for 4096 k-mers.

    Args:
        embedding_VD: 4^k rows in dnatk's order, or those behind the five special tokens.

    Returns:
        ``r2``: variance explained by the two ``central`` and the two ``marginal`` bases with
        their interaction, by each base alone (``offsets``), and by all bases as a sum
        (``additive``: linear regression on one-hot bases, which over all k-mers is the sum of
        ``offsets``, for these are orthogonal). ``r2_chance``: the expectation of each under
        labels dealt out at random. ``silhouette``: of central and marginal pairs by cosine
        distance, and its ``chance`` under such labels.
    """
    rows_VD = kmer_rows(embedding_VD, k)
    offsets = [explained(rows_VD, k, (offset,)) for offset in range(k)]
    free = 4**k - 1
    pair = (4 ** len(central(k)) - 1) / free
    index_N = drawn(k, seed)
    return {
        "k": k,
        "tokens": 4**k,
        "dimensions": rows_VD.shape[1],
        "central_offsets": list(central(k)),
        "marginal_offsets": list(marginal(k)),
        "r2": {
            "central": explained(rows_VD, k, central(k)),
            "marginal": explained(rows_VD, k, marginal(k)),
            "offsets": offsets,
            "additive": sum(offsets),
        },
        "r2_chance": {
            "central": pair,
            "marginal": pair,
            "offset": 3 / free,
            "additive": 3 * k / free,
        },
        "silhouette": silhouettes(rows_VD[index_N], k, index_N, seed, metric="cosine"),
    }


def silhouettes(x_ND: np.ndarray, k: int, index_N: np.ndarray, seed: int, *, metric: str) -> dict:
    """Mean silhouette of the k-mers ``index_N`` by central and by marginal pair, and by chance.

    -1 .. 1: 1 where each class is a tight cluster far from the others. Chance is the mean over
    three permutations of the labels. None where every class has one k-mer.
    """
    from sklearn.metrics import pairwise_distances, silhouette_score

    labels = {
        "central": classes(k, central(k), index_N),
        "marginal": classes(k, marginal(k), index_N),
    }
    if len(set(labels["central"].tolist())) >= len(index_N) or not np.isfinite(x_ND).all():
        return {"central": None, "marginal": None, "chance": None}
    distance_NN = pairwise_distances(x_ND, metric=metric)
    np.fill_diagonal(distance_NN, 0)
    np.maximum(distance_NN, 0, out=distance_NN)

    def score(label_N: np.ndarray) -> float:
        return float(silhouette_score(distance_NN, label_N, metric="precomputed"))

    rng = np.random.default_rng(seed)
    shuffled = [score(rng.permutation(labels["central"])) for _ in range(_PERMUTATIONS)]
    return {name: score(label_N) for name, label_N in labels.items()} | {
        "chance": float(np.mean(shuffled))
    }


def pca_map(x_ND: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """(N, 2) first two principal components, and the share of the variance of each."""
    from sklearn.decomposition import PCA

    fit = PCA(2, svd_solver="full")
    with np.errstate(invalid="ignore"):  # rows that are all equal
        points_N2 = fit.fit_transform(x_ND.astype(np.float64))
    return points_N2, fit.explained_variance_ratio_.tolist()


def tsne_map(x_ND: np.ndarray, seed: int, threads: int = 1) -> np.ndarray:
    """(N, 2) t-SNE of the first 50 principal components, begun at the first two.

    The same for a seed and a number of threads.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    reduced = PCA(min(_DIMENSIONS, *x_ND.shape), svd_solver="full").fit_transform(
        x_ND.astype(np.float64)
    )
    # A sum over more than two threads would depend on which of them is done first.
    with threadpool_limits({"openmp": min(threads, 2), "blas": 1}):
        return TSNE(
            init="pca",
            perplexity=min(30.0, (len(x_ND) - 1) / 3),
            random_state=seed,
            max_iter=750,
        ).fit_transform(reduced)
