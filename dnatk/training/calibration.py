"""Probabilities that mean what they say: temperature, reliability bins, decision thresholds.

Shapes: N examples, C classes or labels, B bins.
"""

from __future__ import annotations

import numpy as np
import torch

ECE_BINS = 15
TEMPERATURES = (0.05, 20.0)


def probabilities(logits_NC: np.ndarray, kind: str, temperature: float = 1.0) -> np.ndarray:
    """(N, C) float64: softmax of ``logits / temperature``, sigmoid for multilabel.

    Regression has no probabilities: its values come back as they are.
    """
    logits_NC = np.asarray(logits_NC, dtype=np.float64)
    if kind == "regression":
        return logits_NC
    # By torch, which is there: importing scipy.special would take longer than many a prediction.
    scaled_NC = torch.from_numpy(logits_NC / temperature)
    return (scaled_NC.sigmoid() if kind == "multilabel" else scaled_NC.softmax(dim=1)).numpy()


def fit_temperature(logits_NC: np.ndarray, targets: np.ndarray, kind: str) -> float:
    """The temperature, within 0.05 .. 20, that minimises the negative log-likelihood.

    One number for all classes, so that it changes no ranking and no most probable class.

    Args:
        targets: (N,) class indices, or (N, C) of 0 and 1 for multilabel.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    if kind == "regression":
        raise ValueError("values have no temperature")
    logits_NC = np.asarray(logits_NC, dtype=np.float64)
    if kind == "multilabel":
        margin_NC = np.where(np.asarray(targets) > 0, logits_NC, -logits_NC)

        def loss(log_temperature: float) -> float:
            return np.logaddexp(0, -margin_NC / np.exp(log_temperature)).mean()
    else:
        # Differences from the true class's logit: exact also where all but one probability is 0.
        excess_NC = logits_NC - logits_NC[np.arange(len(targets)), targets][:, None]

        def loss(log_temperature: float) -> float:
            return logsumexp(excess_NC / np.exp(log_temperature), axis=1).mean()

    found = minimize_scalar(
        loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-4}
    )
    return float(np.clip(np.exp(found.x), *TEMPERATURES))


def best_threshold(probability_N: np.ndarray, target_N: np.ndarray, metric: str = "mcc") -> float:
    """The threshold of P(positive) with the best ``mcc`` or ``f1``; the nearest to 0.5 of equals.

    Candidates lie half-way between neighbouring probabilities, and 0.5 itself. 0.5 where the data
    hold one class.
    """
    target_N = np.asarray(target_N) > 0
    if target_N.all() or not target_N.any():
        return 0.5
    known = np.unique(np.asarray(probability_N, dtype=np.float64))
    candidate_B = np.append((known[1:] + known[:-1]) / 2, 0.5)
    # Counts of each class at or above a candidate, from where it falls among the sorted scores.
    positive, negative = (np.sort(probability_N[target_N == side]) for side in (True, False))
    tp_B = len(positive) - np.searchsorted(positive, candidate_B)
    fp_B = len(negative) - np.searchsorted(negative, candidate_B)
    fn_B, tn_B = len(positive) - tp_B, len(negative) - fp_B
    if metric == "f1":
        value_B = 2 * tp_B / (2 * tp_B + fp_B + fn_B)
    elif metric == "mcc":
        rows_B = (tp_B + fp_B) * (tn_B + fn_B) * float(len(positive) * len(negative))
        product_B = tp_B.astype(float) * tn_B - fp_B.astype(float) * fn_B
        value_B = product_B / np.sqrt(np.maximum(rows_B, 1))
    else:
        raise ValueError(f"no threshold for {metric}: mcc or f1")
    best_B = candidate_B[value_B >= value_B.max() - 1e-12]
    return float(best_B[np.abs(best_B - 0.5).argmin()])


def thresholds(
    kind: str, output_NC: np.ndarray, targets: np.ndarray, how: str
) -> tuple[float, ...]:
    """A threshold for the positive class (binary) or for each label (multilabel); else ().

    Args:
        targets: (N,) classes, or (N, C) labels.
        how: "0.5", or the metric that they shall make best: "mcc" or "f1".
    """
    if kind not in ("binary", "multilabel"):
        return ()
    target_NC = targets if kind == "multilabel" else targets[:, None]
    probability_NC = output_NC if kind == "multilabel" else output_NC[:, 1:]
    if how == "0.5":
        return (0.5,) * probability_NC.shape[1]
    columns = zip(probability_NC.T, target_NC.T, strict=True)
    return tuple(best_threshold(p_N, target_N, how) for p_N, target_N in columns)


def top_label(target_N: np.ndarray, output_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the probability of the most probable class, and (N,) whether it is the true one."""
    top_N = output_NC.argmax(axis=1)
    return output_NC[np.arange(len(top_N)), top_N], top_N == target_N


def reliability_bin(probability_N: np.ndarray) -> np.ndarray:
    """(N,) int64 which of the 15 bins (i/15, (i+1)/15] holds a probability."""
    bin_N = np.ceil(probability_N * ECE_BINS).astype(np.int64) - 1
    return bin_N.clip(0, ECE_BINS - 1)
