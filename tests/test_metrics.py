"""Metrics are scikit-learn's and scipy's, on the data and on every resample of it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

from dnatk.errors import InputError, ModelError
from dnatk.labelled.dataset import KINDS, LabelSpace
from dnatk.training import bootstrap
from dnatk.training.metrics import (
    CLASS_METRICS,
    HIGHER_IS_BETTER,
    PRIMARY,
    REGRESSION_METRICS,
    is_better,
    metrics_of,
    predicted,
    score,
    score_with_intervals,
    undefined,
)

BINARY = LabelSpace("binary", ("no", "yes"))
THREE = LabelSpace("multiclass", ("a", "b", "c"))
LABELS = LabelSpace("multilabel", ("x", "y"))
VALUES = LabelSpace("regression", ("u", "v"))
SPACES = {s.kind: s for s in (BINARY, THREE, LABELS, VALUES)}
SPACES["per-base"] = LabelSpace("per-base", ("out", "in", "edge"))


def make(kind: str, n: int, seed: int, decimals: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and outputs that know something of them; few decimals make ties."""
    rng = np.random.default_rng(seed)
    c = SPACES[kind].n_outputs
    if kind == "regression":
        targets = rng.normal(5, 2, (n, c))
        return targets.round(decimals), (targets + rng.normal(0, 2, (n, c))).round(decimals)
    if kind == "multilabel":
        targets = (rng.random((n, c)) < 0.3).astype(np.float32)
        return targets, (0.4 * targets + 0.6 * rng.random((n, c))).round(decimals)
    targets = rng.integers(0, c, n)
    weights = rng.random((n, c)) + 0.05 + np.eye(c)[targets] * rng.random((n, 1))
    first = (weights / weights.sum(axis=1, keepdims=True))[:, 1:].round(decimals)
    return targets, np.hstack([1 - first.sum(axis=1, keepdims=True), first])


def test_binary_equals_scikit_learn():
    y, p = make("binary", 300, 1)
    got = score(BINARY, y, p, thresholds=0.4)
    label = p[:, 1] >= 0.4
    assert got == pytest.approx(
        {
            "accuracy": sk.accuracy_score(y, label),
            "f1": sk.f1_score(y, label),
            "mcc": sk.matthews_corrcoef(y, label),
            "auroc": sk.roc_auc_score(y, p[:, 1]),
            "auprc": sk.average_precision_score(y, p[:, 1]),
            "brier": sk.brier_score_loss(y, p[:, 1]),
            "ece": reference_ece(y, p),
            "nll": sk.log_loss(y, p),
        },
        rel=1e-12,
    )


def reference_ece(y: np.ndarray, p: np.ndarray) -> float:
    """By its definition, a bin at a time."""
    top, right = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for i in range(15):
        inside = (top > i / 15) & (top <= (i + 1) / 15)
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - top[inside].mean())
    return total / len(y)


@pytest.mark.parametrize("kind", ["multiclass", "per-base"])
def test_several_classes_equal_scikit_learn(kind):
    y, p = make(kind, 300, 2)
    label = p.argmax(axis=1)
    assert score(SPACES[kind], y, p) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(y, label),
            "f1": sk.f1_score(y, label, average="macro"),
            "mcc": sk.matthews_corrcoef(y, label),
            "auroc": sk.roc_auc_score(y, p, multi_class="ovr", average="macro"),
            "auprc": sk.average_precision_score(np.eye(3)[y], p, average="macro"),
            "brier": np.square(p - np.eye(3)[y]).sum(axis=1).mean(),
            "ece": reference_ece(y, p),
            "nll": sk.log_loss(y, p),
        },
        rel=1e-12,
    )


def test_labels_equal_scikit_learn():
    y, p = make("multilabel", 300, 3)
    label = (p >= [0.3, 0.6]).astype(int)
    got = score(LABELS, y, p, thresholds=np.array([0.3, 0.6]))
    pairs = [np.stack([1 - p[:, c], p[:, c]], axis=1) for c in (0, 1)]
    assert got == pytest.approx(
        {
            "accuracy": sk.accuracy_score(y, label),
            "f1": sk.f1_score(y, label, average="macro"),
            "mcc": np.mean([sk.matthews_corrcoef(y[:, c], label[:, c]) for c in (0, 1)]),
            "auroc": sk.roc_auc_score(y, p, average="macro"),
            "auprc": sk.average_precision_score(y, p, average="macro"),
            "brier": np.mean([sk.brier_score_loss(y[:, c], p[:, c]) for c in (0, 1)]),
            "ece": np.mean([reference_ece(y[:, c], pairs[c]) for c in (0, 1)]),
            "nll": np.mean([sk.log_loss(y[:, c], pairs[c]) for c in (0, 1)]),
        },
        rel=1e-12,
    )


def test_values_equal_scipy_and_scikit_learn():
    y, x = make("regression", 200, 4, decimals=1)
    assert score(VALUES, y, x) == pytest.approx(
        {
            "pearson": np.mean([pearsonr(y[:, c], x[:, c]).statistic for c in (0, 1)]),
            "spearman": np.mean([spearmanr(y[:, c], x[:, c]).statistic for c in (0, 1)]),
            "r2": sk.r2_score(y, x),
            "mse": sk.mean_squared_error(y, x),
        },
        rel=1e-12,
    )


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(SPACES)), st.integers(2, 40), st.integers(0, 2**32 - 1), st.booleans()
)
def test_a_resample_has_the_metrics_of_its_examples(kind, n, seed, ties):
    """Also where it lacks a class, holds ties, or is one example many times."""
    targets, output = make(kind, n, seed, decimals=1 if ties else 6)
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, n, n) for _ in range(4)] + [np.zeros(n, dtype=int)]
    count = np.stack([np.bincount(rows, minlength=n) for rows in draws]).astype(float)
    space = SPACES[kind]
    labels = None if kind == "regression" else predicted(space, output)
    typed = targets if kind == "regression" else targets.astype(np.int64)
    got = bootstrap.resampled(kind, typed, output, labels, iter([count[:2], count[2:]]))
    for number, rows in enumerate(draws):
        expected = score(space, targets[rows], output[rows])
        found = {metric: values[number] for metric, values in got.items()}
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_the_value_and_depend_on_the_seed_alone(kind):
    targets, output = make(kind, 400, 5)
    first = score_with_intervals(SPACES[kind], targets, output, resamples=200, seed=3)
    assert first == score_with_intervals(SPACES[kind], targets, output, resamples=200, seed=3)
    assert first != score_with_intervals(SPACES[kind], targets, output, resamples=200, seed=4)
    assert list(first) == list(metrics_of(kind))
    assert {m: e.value for m, e in first.items()} == score(SPACES[kind], targets, output)
    for metric, estimate in first.items():
        if metric != "ece":  # resampling adds noise to its bins: the interval leans upwards
            assert estimate.low < estimate.value < estimate.high
    wider = score_with_intervals(SPACES[kind], targets, output, resamples=200, seed=3, level=0.99)
    metric = PRIMARY[kind]
    assert wider[metric].high - wider[metric].low > first[metric].high - first[metric].low


def test_the_interval_of_accuracy_is_that_of_a_share():
    y, p = make("binary", 2000, 6)
    accuracy = score_with_intervals(BINARY, y, p)["accuracy"]
    half = 1.96 * math.sqrt(accuracy.value * (1 - accuracy.value) / 2000)
    assert accuracy.high - accuracy.value == pytest.approx(half, rel=0.15)
    assert accuracy.value - accuracy.low == pytest.approx(half, rel=0.15)


def test_rows_of_a_group_are_drawn_together():
    """Every example ten times over: groups bring back the interval of the single examples."""
    y, p = make("binary", 200, 7)
    single = score_with_intervals(BINARY, y, p)
    group = np.repeat(np.arange(200), 10) * 7 - 3
    grouped = score_with_intervals(BINARY, y.repeat(10), p.repeat(10, axis=0), group_N=group)
    alone = score_with_intervals(BINARY, y.repeat(10), p.repeat(10, axis=0))

    def width(estimates):
        return estimates["auroc"].high - estimates["auroc"].low

    assert width(grouped) == pytest.approx(width(single), rel=1e-9)
    assert width(alone) < width(single) / 2


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_leaves_metrics_undefined(only):
    p = make("binary", 20, 8)[1]
    y = np.full(20, only)
    got = score_with_intervals(BINARY, y, p, resamples=20)
    for metric in ("mcc", "auroc", "auprc"):
        assert math.isnan(got[metric].value)
        assert math.isnan(got[metric].low)
    assert 0 <= got["accuracy"].low <= got["accuracy"].value <= got["accuracy"].high <= 1
    assert undefined(BINARY, y) == [
        f"all examples are {BINARY.classes[only]}: mcc, auroc and auprc are undefined"
    ]


def test_a_class_without_examples_is_left_out_of_means():
    p = make("multiclass", 60, 9)[1]
    y = np.random.default_rng(9).integers(0, 2, 60)
    got = score(THREE, y, p)
    expected = np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in (0, 1)])
    assert got["auroc"] == pytest.approx(expected)
    assert undefined(THREE, y) == ["no example is c: means over classes leave it out"]


def test_a_label_that_all_have_is_left_out_of_means():
    y, p = make("multilabel", 60, 10)
    y[:, 1] = 1
    assert score(LABELS, y, p)["auroc"] == pytest.approx(sk.roc_auc_score(y[:, 0], p[:, 0]))
    assert undefined(LABELS, y) == ["every example has y: its mcc, auroc and auprc are undefined"]


def test_one_class_predicted_is_an_mcc_of_0():
    y = np.array([0, 1, 1, 0])
    got = score_with_intervals(BINARY, y, np.full((4, 2), 0.5), resamples=50)["mcc"]
    assert (got.value, got.low, got.high) == (0, 0, 0)


def test_constant_values():
    y, x = make("regression", 30, 11)
    got = score(VALUES, np.ones_like(y), x)
    assert math.isnan(got["pearson"])
    assert math.isnan(got["spearman"])
    assert math.isnan(got["r2"])
    assert got["mse"] > 0
    assert len(undefined(VALUES, np.ones_like(y))) == 2
    constant = score_with_intervals(VALUES, y, np.ones_like(x), resamples=20)
    assert math.isnan(constant["pearson"].value)
    assert constant["r2"].value < 0
    assert math.isnan(score(VALUES, y[:1], x[:1])["pearson"])


def test_float32_probabilities_and_certain_ones_are_fine():
    y, p = make("multiclass", 50, 12)
    soft = p.astype(np.float32)
    assert score(THREE, y, soft) == pytest.approx(score(THREE, y, p), rel=1e-5)
    certain = np.eye(3)[y]
    got = score(THREE, y, certain)
    assert (got["mcc"], got["ece"], got["brier"]) == (1, 0, 0)
    assert got["nll"] == pytest.approx(0, abs=1e-9)
    assert math.isfinite(score(THREE, y, np.roll(certain, 1, axis=1))["nll"])


def test_what_cannot_be_scored():
    y, p = make("binary", 5, 13)
    with pytest.raises(InputError, match="no examples"):
        score(BINARY, y[:0], p[:0])
    p[3, 0] = np.nan
    with pytest.raises(ModelError, match="1 of 5 predictions are not finite"):
        score(BINARY, y, p)
    with pytest.raises(ValueError, match="do not fit"):
        score(BINARY, y, p[:4])


def test_better_is_the_metrics_own_direction():
    assert is_better("mcc", 0.2, None)
    assert is_better("mcc", 0.2, 0.1)
    assert not is_better("mcc", 0.1, 0.1)
    assert is_better("nll", 0.1, 0.2)
    assert not is_better("mcc", math.nan, None)
    assert is_better("pearson", -1.0, math.nan)
    assert set(PRIMARY) == set(KINDS)
    assert set(HIGHER_IS_BETTER) == {*CLASS_METRICS, *REGRESSION_METRICS}
