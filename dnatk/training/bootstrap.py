"""Metrics of many resamples at once.

A resample is a count for each example, so that one pass of arithmetic over a block of count
vectors gives a metric for all of them; ranks are sorted once. Tests hold every metric to
:func:`dnatk.training.metrics.score` of the resampled examples themselves.

Shapes: R resamples, B resamples of a block, N examples, C classes, labels or targets, G groups of
tied scores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dnatk.training.calibration import ECE_BINS, reliability_bin, top_label

_BLOCK = 1 << 20  # counts held at once: 8 MB an array, within a core's reach


def draw(
    n_examples: int, group_N: np.ndarray | None, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """Blocks (B, N) of float64: how often each resample holds each example."""
    rng = np.random.default_rng(seed)
    if group_N is not None:
        group_N = np.unique(group_N, return_inverse=True)[1]
    drawn = n_examples if group_N is None else int(group_N.max()) + 1
    block = max(1, _BLOCK // n_examples)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        picked = [rng.integers(drawn, size=drawn) for _ in range(rows)]
        count = np.stack([np.bincount(p, minlength=drawn) for p in picked]).astype(np.float64)
        yield count if group_N is None else count[:, group_N]


def resampled(
    kind: str,
    targets: np.ndarray,
    output_NC: np.ndarray,
    predictions: np.ndarray | None,
    blocks: Iterator[np.ndarray],
) -> dict[str, np.ndarray]:
    """(R,) values of every metric of the kind; nan where a resample leaves one undefined."""
    if kind == "regression":
        compute = _values(targets, output_NC)
    elif kind == "multilabel":
        compute = _labels(targets, output_NC, predictions)
    else:
        compute = _classes(kind, targets, output_NC, predictions)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is what undefined means
        results = [compute(count_BN) for count_BN in blocks]
    return {metric: np.concatenate([r[metric] for r in results]) for metric in results[0]}


def normalised(output_NC: np.ndarray) -> np.ndarray:
    """Rows that add up to 1 exactly: float32 softmax misses it by 1e-7, and log_loss minds."""
    return output_NC / output_NC.sum(axis=1, keepdims=True)


def squared_errors(kind: str, target_N: np.ndarray, output_NC: np.ndarray) -> np.ndarray:
    """(N,) the Brier score of each example: of the positive class, or summed over all classes."""
    if kind == "binary":
        return np.square(output_NC[:, 1] - target_N)
    return np.square(output_NC - np.eye(output_NC.shape[1])[target_N]).sum(axis=1)


def _classes(kind: str, target_N, output_NC, predicted_N):
    """What computes the metrics of a block, for one class out of several."""
    n_classes = output_NC.shape[1]
    binary = kind == "binary"
    columns = [1] if binary else range(n_classes)
    ranked = [_Ranked(target_N == c, output_NC[:, c]) for c in columns]
    brier_N = squared_errors(kind, target_N, output_NC)
    nll_N = _log_losses(target_N, output_NC)
    calibration = _Calibration(target_N, output_NC)
    pair_N = target_N * n_classes + predicted_N

    def compute(count_BN: np.ndarray) -> dict[str, np.ndarray]:
        total_B = count_BN.sum(axis=1)
        confusion_BCC = _sums(pair_N, count_BN, n_classes**2)
        confusion_BCC = confusion_BCC.reshape(-1, n_classes, n_classes)
        f1_BC = _f1(confusion_BCC)
        areas = [ranking.areas(count_BN) for ranking in ranked]
        return {
            "accuracy": np.trace(confusion_BCC, axis1=1, axis2=2) / total_B,
            "f1": f1_BC[:, 1] if binary else _mean(f1_BC.T),
            "mcc": _mcc(confusion_BCC),
            "auroc": _mean([auroc_B for auroc_B, _ in areas]),
            "auprc": _mean([auprc_B for _, auprc_B in areas]),
            "brier": count_BN @ brier_N / total_B,
            "ece": calibration.error(count_BN) / total_B,
            "nll": count_BN @ nll_N / total_B,
        }

    return compute


def _labels(target_NC, output_NC, predicted_NC):
    """The same for several labels at a time: each a binary problem, and the mean over them."""
    right_N = (target_NC == predicted_NC).all(axis=1)
    each = [
        _classes("binary", y_N, np.stack([1 - p_N, p_N], axis=1), got_N)
        for y_N, p_N, got_N in zip(target_NC.T, output_NC.T, predicted_NC.T, strict=True)
    ]

    def compute(count_BN: np.ndarray) -> dict[str, np.ndarray]:
        rows = [of(count_BN) for of in each]
        means = {metric: _mean([row[metric] for row in rows]) for metric in rows[0]}
        return means | {"accuracy": count_BN @ right_N / count_BN.sum(axis=1)}

    return compute


def _values(target_NC, output_NC):
    """The same for regression: each target by itself, and the mean over them."""
    each = [
        # Moved together, so that squares of large values leave something of small variances.
        (y_N - y_N.mean(), x_N - y_N.mean(), _Ties(y_N), _Ties(x_N))
        for y_N, x_N in zip(target_NC.T, output_NC.T, strict=True)
    ]

    def compute(count_BN: np.ndarray) -> dict[str, np.ndarray]:
        rows = [_value_metrics(count_BN, *columns) for columns in each]
        means = {metric: _mean([row[metric] for row in rows]) for metric in rows[0]}
        return means | {"mse": np.mean([row["mse"] for row in rows], axis=0)}

    return compute


def _value_metrics(count_BN, y_N, x_N, ties_y, ties_x) -> dict[str, np.ndarray]:
    total_B = count_BN.sum(axis=1)
    moments = np.stack([y_N, x_N, y_N**2, x_N**2, y_N * x_N, (y_N - x_N) ** 2], axis=1)
    y, x, yy, xx, yx, error = (count_BN @ moments / total_B[:, None]).T
    spread_y, spread_x = yy - y * y, xx - x * x
    # Rounding leaves a trace of variance in a resample of equal values.
    spread_y[spread_y <= 1e-12 * yy] = np.nan
    spread_x[spread_x <= 1e-12 * xx] = np.nan
    # The ranks of all drawn examples have the mean (total + 1) / 2.
    centre_B1 = (total_B[:, None] + 1) / 2
    rank_y, rank_x = ties_y.ranks(count_BN) - centre_B1, ties_x.ranks(count_BN) - centre_B1
    weighted_BN = count_BN * rank_y
    both = np.einsum("bn,bn->b", weighted_BN, rank_x)
    square_y = np.einsum("bn,bn->b", weighted_BN, rank_y)
    square_x = np.einsum("bn,bn,bn->b", count_BN, rank_x, rank_x)
    return {
        "pearson": (yx - y * x) / np.sqrt(spread_y * spread_x),
        "spearman": both / np.sqrt(square_y * square_x),
        "r2": 1 - error / spread_y,
        "mse": error,
    }


class _Ties:
    """Examples in ascending order of a value, equal values together."""

    def __init__(self, value_N: np.ndarray) -> None:
        self.order_N = np.argsort(value_N, kind="stable")
        sorted_N = value_N[self.order_N]
        first_N = np.append(True, sorted_N[1:] != sorted_N[:-1])
        self.start_G = np.flatnonzero(first_N)
        self.group_N = np.empty(len(value_N), dtype=np.int64)
        self.group_N[self.order_N] = np.cumsum(first_N) - 1

    def counts(self, count_BN: np.ndarray) -> np.ndarray:
        """(B, G) how many examples of each value, ascending."""
        sorted_BN = count_BN[:, self.order_N]
        if len(self.start_G) == len(self.order_N):
            return sorted_BN
        return np.add.reduceat(sorted_BN, self.start_G, axis=1)

    def ranks(self, count_BN: np.ndarray) -> np.ndarray:
        """(B, N) the mean rank, from 1, of an example's copies in the resample."""
        count_BG = self.counts(count_BN)
        rank_BG = np.cumsum(count_BG, axis=1) - (count_BG - 1) / 2
        return rank_BG[:, self.group_N]


class _Ranked:
    """AUROC and average precision of one class's probability."""

    def __init__(self, truth_N: np.ndarray, probability_N: np.ndarray) -> None:
        self.ties = _Ties(-probability_N)  # the most probable first
        self.truth_N = truth_N.astype(np.float64)

    def areas(self, count_BN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) AUROC and (B,) average precision; nan without both classes."""
        all_BG = self.ties.counts(count_BN)
        positive_BG = self.ties.counts(count_BN * self.truth_N)
        seen_BG = np.cumsum(all_BG, axis=1)
        found_BG = np.cumsum(positive_BG, axis=1)
        positives_B = found_BG[:, -1]
        negatives_B = seen_BG[:, -1] - positives_B
        precision_BG = found_BG / np.maximum(seen_BG, 1)
        auprc_B = np.einsum("bg,bg->b", positive_BG, precision_BG) / positives_B
        # Pairs in which the positive ranks above the negative; of a tie, half.
        below_BG = (negatives_B + positives_B)[:, None] - seen_BG
        below_BG -= positives_B[:, None] - found_BG
        below_BG += (all_BG - positive_BG) / 2
        pairs_B = np.einsum("bg,bg->b", positive_BG, below_BG)
        auprc_B[negatives_B == 0] = np.nan
        return pairs_B / (positives_B * negatives_B), auprc_B


class _Calibration:
    """The expected calibration error, before it is divided by the number of examples."""

    def __init__(self, target_N: np.ndarray, output_NC: np.ndarray) -> None:
        probability_N, right_N = top_label(target_N, output_NC)
        self.bin_N = reliability_bin(probability_N)
        self.gap_N = probability_N - right_N

    def error(self, count_BN: np.ndarray) -> np.ndarray:
        return np.abs(_sums(self.bin_N, count_BN * self.gap_N, ECE_BINS)).sum(axis=1)


def _log_losses(target_N: np.ndarray, output_NC: np.ndarray) -> np.ndarray:
    """(N,) as scikit-learn's log_loss, which keeps probabilities off 0 by the type's epsilon."""
    probability_N = normalised(output_NC)[np.arange(len(target_N)), target_N]
    epsilon = np.finfo(np.float64).eps
    return -np.log(probability_N.clip(epsilon, 1 - epsilon))


def _sums(code_N: np.ndarray, weight_BN: np.ndarray, size: int) -> np.ndarray:
    """(B, size) the weights of each code added up."""
    return np.stack([np.bincount(code_N, weights=row_N, minlength=size) for row_N in weight_BN])


def _f1(confusion_BCC: np.ndarray) -> np.ndarray:
    """(B, C) F1 of each class; nan for one neither in the data nor predicted."""
    either_BC = confusion_BCC.sum(axis=1) + confusion_BCC.sum(axis=2)
    return 2 * np.diagonal(confusion_BCC, axis1=1, axis2=2) / either_BC


def _mcc(confusion_BCC: np.ndarray) -> np.ndarray:
    """(B,) nan where the data hold one class, 0 where one class is predicted."""
    true_BC, predicted_BC = confusion_BCC.sum(axis=2), confusion_BCC.sum(axis=1)
    total_B = true_BC.sum(axis=1)
    right_B = np.trace(confusion_BCC, axis1=1, axis2=2)
    spread_true_B = total_B**2 - (true_BC**2).sum(axis=1)
    spread_predicted_B = total_B**2 - (predicted_BC**2).sum(axis=1)
    covariance_B = right_B * total_B - (true_BC * predicted_BC).sum(axis=1)
    mcc_B = np.where(
        spread_predicted_B > 0, covariance_B / np.sqrt(spread_true_B * spread_predicted_B), 0.0
    )
    mcc_B[spread_true_B == 0] = np.nan
    return mcc_B


def _mean(values) -> np.ndarray:
    """(B,) the mean of (C, B) over the classes for which a value is defined; nan if none is."""
    values_CB = np.asarray(values)
    defined_CB = np.isfinite(values_CB)
    return np.where(defined_CB, values_CB, 0).sum(axis=0) / defined_CB.sum(axis=0)
