"""Metrics of predictions against labels: scikit-learn's and scipy's values, with intervals.

Shapes: N examples (bases for per-base labels), C classes, labels or regression targets.

Classes: ``accuracy`` (multilabel: all labels of an example right), ``f1`` (of the positive class;
macro for several), ``mcc`` (multilabel: mean over labels), ``auroc`` and ``auprc`` (average
precision; several classes one against the rest, mean over classes), ``brier`` (squared error,
summed over the classes of multiclass, mean over labels), ``ece`` (expected calibration error of
the top label, 15 equal bins of its probability) and ``nll`` (natural logarithm).
Regression: ``pearson``, ``spearman``, ``r2`` and ``mse``, each the mean over targets.

A mean over classes, labels or targets takes those for which the metric is defined. A metric that
is defined for none, because the data hold one class or constant values, is nan; :func:`undefined`
says why.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dnatk.errors import InputError, ModelError
from dnatk.labelled.dataset import LabelSpace
from dnatk.training import bootstrap
from dnatk.training.calibration import reliability_bin, top_label

CLASS_METRICS = ("accuracy", "f1", "mcc", "auroc", "auprc", "brier", "ece", "nll")
REGRESSION_METRICS = ("pearson", "spearman", "r2", "mse")
HIGHER_IS_BETTER = {
    metric: metric not in ("brier", "ece", "nll", "mse")
    for metric in CLASS_METRICS + REGRESSION_METRICS
}
PRIMARY = {
    "binary": "mcc",
    "multiclass": "mcc",
    "multilabel": "auroc",
    "regression": "pearson",
    "per-base": "mcc",
}


@dataclass(frozen=True)
class Estimate:
    """A metric with its bootstrap interval; all three are nan where it is undefined."""

    value: float
    low: float
    high: float


def metrics_of(kind: str) -> tuple[str, ...]:
    """The metrics of a kind of labels, in the order in which tables show them."""
    return REGRESSION_METRICS if kind == "regression" else CLASS_METRICS


def is_better(metric: str, value: float, best: float | None) -> bool:
    """Whether ``value`` improves on ``best`` (None: nothing yet); nan never does."""
    if math.isnan(value):
        return False
    if best is None or math.isnan(best):
        return True
    return value > best if HIGHER_IS_BETTER[metric] else value < best


def predicted(
    space: LabelSpace, output_NC: np.ndarray, thresholds: float | np.ndarray | None = None
) -> np.ndarray:
    """What is predicted: (N,) int64 class indices; multilabel (N, C) int64 of 0 and 1.

    Binary is positive from ``thresholds`` up (0.5), multilabel the same for each label (one number
    or (C,)); more classes take the most probable.
    """
    if space.kind == "binary":
        return (output_NC[:, 1] >= (0.5 if thresholds is None else thresholds)).astype(np.int64)
    if space.kind == "multilabel":
        return (output_NC >= (0.5 if thresholds is None else thresholds)).astype(np.int64)
    return output_NC.argmax(axis=1)


def score(
    space: LabelSpace,
    targets: np.ndarray,
    output_NC: np.ndarray,
    *,
    thresholds: float | np.ndarray | None = None,
) -> dict[str, float]:
    """Every metric of the kind; nan where the data leave it undefined.

    Args:
        targets: (N,) class indices, (N, C) of 0 and 1, or (N, C) values.
        output_NC: probabilities, or the predicted values.
        thresholds: see :func:`predicted`.

    Raises:
        InputError: no examples.
        ModelError: an output is not finite.
    """
    targets, output_NC = _checked(space, targets, output_NC)
    if space.kind == "regression":
        return _score_values(targets, output_NC)
    predictions = predicted(space, output_NC, thresholds)
    if space.kind == "multilabel":
        return _score_labels(targets, output_NC, predictions)
    return _score_classes(space.kind, targets, output_NC, predictions)


def score_with_intervals(
    space: LabelSpace,
    targets: np.ndarray,
    output_NC: np.ndarray,
    *,
    thresholds: float | np.ndarray | None = None,
    group_N: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """:func:`score` with percentile bootstrap intervals.

    Examples are drawn with replacement. Rows of one group of ``group_N`` (N,) integers are drawn
    together: give the bases of a sequence one number, they are not independent. A resample that
    leaves a metric undefined does not count for it. The interval of ``ece`` leans upwards, for
    resampling adds noise to its bins.
    """
    values = score(space, targets, output_NC, thresholds=thresholds)
    targets, output_NC = _checked(space, targets, output_NC)
    predictions = None
    if space.kind != "regression":
        predictions = predicted(space, output_NC, thresholds)
    drawn = bootstrap.resampled(
        space.kind,
        targets,
        output_NC,
        predictions,
        bootstrap.draw(len(output_NC), group_N, resamples, seed),
    )
    tail = 50 * (1 - level)
    estimates = {}
    for metric, value in values.items():
        defined = drawn[metric][np.isfinite(drawn[metric])]
        low = high = math.nan
        if len(defined) and not math.isnan(value):
            low, high = (float(x) for x in np.percentile(defined, [tail, 100 - tail]))
        estimates[metric] = Estimate(value, low, high)
    return estimates


def undefined(space: LabelSpace, targets: np.ndarray) -> list[str]:
    """Why some metric is undefined, or leaves a class out: a line a reason; empty if none is."""
    if space.kind == "regression":
        constant_C = np.ptp(targets, axis=0) == 0
        return [
            f"all values of {name} are equal: its pearson, spearman and r2 are undefined"
            for name, constant in zip(space.classes, constant_C, strict=True)
            if constant
        ]
    if space.kind == "multilabel":
        present_C = targets.sum(axis=0)
        alike_C = (present_C == 0) | (present_C == len(targets))
        return [
            f"{'no' if present == 0 else 'every'} example has {name}: its mcc, auroc and auprc "
            "are undefined"
            for name, present, alike in zip(space.classes, present_C, alike_C, strict=True)
            if alike
        ]
    count_C = np.bincount(targets, minlength=len(space.classes))
    if (count_C > 0).sum() == 1:
        only = space.classes[int(count_C.argmax())]
        return [f"all examples are {only}: mcc, auroc and auprc are undefined"]
    return [
        f"no example is {name}: means over classes leave it out"
        for name, count in zip(space.classes, count_C, strict=True)
        if count == 0
    ]


def _checked(
    space: LabelSpace, targets: np.ndarray, output_NC: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same in the types that the metrics are computed in: float64, and integers for classes."""
    targets, output_NC = np.asarray(targets), np.asarray(output_NC, dtype=np.float64)
    if len(targets) != len(output_NC) or output_NC.ndim != 2:
        raise ValueError(f"targets {targets.shape} do not fit outputs {output_NC.shape}")
    if not len(targets):
        raise InputError("there is nothing to score: no examples")
    wrong = len(output_NC) - int(np.isfinite(output_NC).all(axis=1).sum())
    if wrong:
        raise ModelError(f"{wrong} of {len(output_NC)} predictions are not finite numbers")
    return targets.astype(np.float64 if space.kind == "regression" else np.int64), output_NC


def _score_classes(
    kind: str, target_N: np.ndarray, output_NC: np.ndarray, predicted_N: np.ndarray
) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    binary = kind == "binary"
    classes = [1] if binary else range(output_NC.shape[1])
    probability_NC = bootstrap.normalised(output_NC)
    return {
        "accuracy": float(accuracy_score(target_N, predicted_N)),
        "f1": float(
            f1_score(
                target_N,
                predicted_N,
                average="binary" if binary else "macro",
                zero_division=np.nan,
            )
        ),
        "mcc": _mcc(target_N, predicted_N),
        "auroc": _mean(_auroc(target_N == c, output_NC[:, c]) for c in classes),
        "auprc": _mean(_auprc(target_N == c, output_NC[:, c]) for c in classes),
        "brier": float(bootstrap.squared_errors(kind, target_N, output_NC).mean()),
        "ece": _ece(*top_label(target_N, output_NC)),
        "nll": float(log_loss(target_N, probability_NC, labels=range(output_NC.shape[1]))),
    }


def _score_labels(
    target_NC: np.ndarray, output_NC: np.ndarray, predicted_NC: np.ndarray
) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    columns = list(zip(target_NC.T, output_NC.T, predicted_NC.T, strict=True))
    pairs = [(truth_N, np.stack([1 - p_N, p_N], axis=1)) for truth_N, p_N, _ in columns]
    return {
        # Over (N, 1) scikit-learn would take one label for a binary problem, which is the same.
        "accuracy": float(accuracy_score(target_NC, predicted_NC)),
        "f1": _mean(f1_score(y, got, zero_division=np.nan) for y, _, got in columns),
        "mcc": _mean(_mcc(y, got) for y, _, got in columns),
        "auroc": _mean(_auroc(y, p) for y, p, _ in columns),
        "auprc": _mean(_auprc(y, p) for y, p, _ in columns),
        "brier": float(np.square(output_NC - target_NC).mean()),
        "ece": _mean(_ece(*top_label(y, p_N2)) for y, p_N2 in pairs),
        "nll": _mean(log_loss(y, p_N2, labels=[0, 1]) for y, p_N2 in pairs),
    }


def _score_values(target_NC: np.ndarray, output_NC: np.ndarray) -> dict[str, float]:
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_squared_error, r2_score

    columns = list(zip(target_NC.T, output_NC.T, strict=True))

    def correlation(function: Callable, y_N: np.ndarray, x_N: np.ndarray) -> float:
        if len(y_N) < 2 or np.ptp(y_N) == 0 or np.ptp(x_N) == 0:
            return math.nan
        with warnings.catch_warnings():  # a nearly constant column: the value is shown as it is
            warnings.simplefilter("ignore")
            return float(function(y_N, x_N).statistic)

    return {
        "pearson": _mean(correlation(pearsonr, y, x) for y, x in columns),
        "spearman": _mean(correlation(spearmanr, y, x) for y, x in columns),
        "r2": _mean(r2_score(y, x) if np.ptp(y) > 0 else math.nan for y, x in columns),
        "mse": float(mean_squared_error(target_NC, output_NC)),
    }


def _ece(probability_N: np.ndarray, right_N: np.ndarray) -> float:
    gaps = np.bincount(reliability_bin(probability_N), weights=probability_N - right_N)
    return float(np.abs(gaps).sum() / len(right_N))


def _mcc(target_N: np.ndarray, predicted_N: np.ndarray) -> float:
    from sklearn.metrics import matthews_corrcoef

    # scikit-learn's 0 is right for one class predicted; one class in the data measures nothing.
    return math.nan if _constant(target_N) else float(matthews_corrcoef(target_N, predicted_N))


def _auroc(truth_N: np.ndarray, probability_N: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return math.nan if _constant(truth_N) else float(roc_auc_score(truth_N, probability_N))


def _auprc(truth_N: np.ndarray, probability_N: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    if _constant(truth_N):
        return math.nan
    return float(average_precision_score(truth_N, probability_N))


def _constant(values_N: np.ndarray) -> bool:
    return bool((values_N == values_N[0]).all())


def _mean(values: Iterable[float]) -> float:
    """The mean of those that are defined; nan if none is."""
    defined: Sequence[float] = [float(value) for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
