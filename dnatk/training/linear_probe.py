"""A linear head on a frozen trunk, by scikit-learn; its strength of regularisation set on dev.

Shapes: N examples, P pooled, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from dnatk.model.heads import Head

_C = [10.0**e for e in range(-4, 2)]
# "train" and "dev": standardised features (N, P), and targets (N,) of one output or of all classes.
_Parts = Mapping[str, tuple[np.ndarray, np.ndarray]]


def fit_probe(
    head: Head,
    kind: str,
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    class_weights: str = "none",
    seed: int = 0,
) -> None:
    """Set the weights of a linear head in place.

    Args:
        head: without dense layer.
        features: "train" and "dev": (pooled (N, P), targets (N,) or (N, C)).

    Features are standardised; the scale is then folded into the weights.
    """
    x_NP, targets = features["train"]
    mean_P, scale_P = x_NP.mean(axis=0), np.maximum(x_NP.std(axis=0), 1e-6)
    sets = {name: ((x - mean_P) / scale_P, y) for name, (x, y) in features.items()}
    columns = [targets] if kind in ("binary", "multiclass") else list(targets.T)
    weight, bias = [], []
    for column in range(len(columns)):
        parts = {name: (x, y if y.ndim == 1 else y[:, column]) for name, (x, y) in sets.items()}
        if kind == "regression":
            w_CP, b_C = _regression(parts)
        elif kind == "multilabel":
            w_CP, b_C = _label(parts, class_weights, seed)
        else:
            w_CP, b_C = _classes(parts, head.out.out_features, class_weights, seed)
        weight.append(w_CP)
        bias.append(b_C)
    w_CP, b_C = np.concatenate(weight), np.concatenate(bias)
    w_CP = w_CP / scale_P
    b_C = b_C - w_CP @ mean_P
    with torch.no_grad():
        head.out.weight.copy_(torch.from_numpy(w_CP))
        head.out.bias.copy_(torch.from_numpy(b_C))


def _classes(
    parts: _Parts, n_classes: int, class_weights: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(C, P), (C,): a class that train has not is as likely as half an example would make it."""
    x_NP, y_N = parts["train"]
    w_CP = np.zeros((n_classes, x_NP.shape[1]))
    b_C = np.full(n_classes, -np.log(2 * len(y_N)))
    known, w_KP, b_K = _logistic(parts, class_weights, seed)
    if len(known) == 2:  # one logit of scikit-learn's is two of ours
        w_KP, b_K = np.concatenate([-w_KP, w_KP]) / 2, np.concatenate([-b_K, b_K]) / 2
    w_CP[known], b_C[known] = w_KP, b_K
    return w_CP, b_C


def _label(parts: _Parts, class_weights: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(1, P), (1,) of one label; of one that all or none of train have, the odds of that."""
    x_NP, y_N = parts["train"]
    if len(np.unique(y_N)) == 1:
        with_it = y_N.sum()
        odds = (with_it + 0.5) / (len(y_N) - with_it + 0.5)
        return np.zeros((1, x_NP.shape[1])), np.log([odds])
    _, w_1P, b_1 = _logistic(parts, class_weights, seed)
    return w_1P, b_1


def _logistic(
    parts: _Parts, class_weights: str, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) classes of train, and weights and biases: (K, P), (K,), or of two classes (1, P), (1,).

    The strength is the best on those of dev whose classes train has.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    (x, y), (x_dev, y_dev) = parts["train"], parts["dev"]
    known_N = np.isin(y_dev, y)
    x_dev, y_dev = (x_dev[known_N], y_dev[known_N]) if known_N.any() else (x, y)
    best, chosen = np.inf, None
    for strength in _C:
        model = LogisticRegression(
            C=strength,
            max_iter=2000,
            class_weight=None if class_weights == "none" else "balanced",
            random_state=seed,
        ).fit(x, y)
        loss = log_loss(y_dev, model.predict_proba(x_dev), labels=model.classes_)
        if loss < best:
            best, chosen = loss, model
    return chosen.classes_.astype(np.int64), chosen.coef_, chosen.intercept_


def _regression(parts: _Parts) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import Ridge

    (x, y), (x_dev, y_dev) = parts["train"], parts["dev"]
    models = [Ridge(alpha=1 / strength).fit(x, y) for strength in _C]
    chosen = min(models, key=lambda model: np.mean((model.predict(x_dev) - y_dev) ** 2))
    return chosen.coef_[None], np.array([chosen.intercept_])
