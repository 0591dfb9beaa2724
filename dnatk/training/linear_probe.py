"""A linear head on a frozen trunk, by scikit-learn; its strength of regularisation set on dev.

Shapes: N examples, P pooled, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from dnatk.model.heads import Head

_C = [10.0**e for e in range(-4, 2)]


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
        fit = _regression if kind == "regression" else _classification
        w_CP, b_C = fit(parts, class_weights, seed)
        weight.append(w_CP)
        bias.append(b_C)
    w_CP, b_C = np.concatenate(weight), np.concatenate(bias)
    if kind == "binary":  # one logit of scikit-learn's is two of ours
        w_CP, b_C = np.concatenate([-w_CP, w_CP]) / 2, np.concatenate([-b_C, b_C]) / 2
    w_CP = w_CP / scale_P
    b_C = b_C - w_CP @ mean_P
    with torch.no_grad():
        head.out.weight.copy_(torch.from_numpy(w_CP))
        head.out.bias.copy_(torch.from_numpy(b_C))


def _classification(parts, class_weights: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    (x, y), (x_dev, y_dev) = parts["train"], parts["dev"]
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
    return chosen.coef_, chosen.intercept_


def _regression(parts, class_weights: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import Ridge

    (x, y), (x_dev, y_dev) = parts["train"], parts["dev"]
    models = [Ridge(alpha=1 / strength).fit(x, y) for strength in _C]
    chosen = min(models, key=lambda model: np.mean((model.predict(x_dev) - y_dev) ** 2))
    return chosen.coef_[None], np.array([chosen.intercept_])
