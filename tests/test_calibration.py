"""Temperatures are found again, thresholds are the best there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.metrics import f1_score, log_loss, matthews_corrcoef

from dnatk.training.calibration import (
    best_threshold,
    fit_temperature,
    probabilities,
    reliability_bin,
    top_label,
)


def drawn(kind: str, temperature: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose probabilities are true at ``temperature``, and targets drawn from those."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (n, 3)) * temperature
    p = probabilities(logits, kind, temperature)
    if kind == "multilabel":
        return logits, (rng.random(p.shape) < p).astype(np.float32)
    return logits, (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)


@pytest.mark.parametrize("kind", ["multiclass", "per-base", "multilabel"])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_again(kind, temperature):
    logits, targets = drawn(kind, temperature)
    assert fit_temperature(logits, targets, kind) == pytest.approx(temperature, rel=0.04)


def test_the_temperature_minimises_the_loss():
    logits, targets = drawn("multiclass", 2.5, 500)
    best = fit_temperature(logits.astype(np.float32), targets, "multiclass")

    def loss(temperature):
        return log_loss(targets, probabilities(logits, "multiclass", temperature))

    assert loss(best) <= min(loss(best * 1.01), loss(best / 1.01), loss(1.0))


def test_temperatures_stay_within_bounds():
    y = np.array([0, 1, 1])
    right = np.array([[9.0, -9], [-9, 9], [-9, 9]])
    assert fit_temperature(right, y, "binary") == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(-right, y, "binary") == pytest.approx(20, rel=0.01)
    assert fit_temperature(right * 1e6, y, "binary") <= 20
    with pytest.raises(ValueError, match="no temperature"):
        fit_temperature(right, right, "regression")


def test_probabilities():
    logits = np.array([[1.0, -2.0], [800.0, -800.0]])
    np.testing.assert_allclose(probabilities(logits, "binary", 2), softmax(logits / 2, axis=1))
    np.testing.assert_allclose(probabilities(logits, "multilabel", 2), expit(logits / 2))
    np.testing.assert_array_equal(probabilities(logits, "regression"), logits)
    assert probabilities(logits.astype(np.float32), "binary").dtype == np.float64


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30),
    st.sampled_from(["mcc", "f1"]),
)
def test_no_threshold_beats_the_best(pairs, metric):
    p = np.array([number / 20 for number, _ in pairs])
    y = np.array([truth for _, truth in pairs])
    found = best_threshold(p, y, metric)
    if y.all() or not y.any():
        assert found == 0.5
        return
    measure = matthews_corrcoef if metric == "mcc" else f1_score
    others = [t for t in np.arange(0.025, 1, 0.05) if p.min() < t < p.max()]
    assert measure(y, p >= found) >= max(measure(y, p >= t) for t in [*others, 0.5]) - 1e-9


def test_a_threshold_that_changes_nothing_stays_at_a_half():
    assert best_threshold(np.array([0.1, 0.9]), np.array([0, 1])) == 0.5
    assert best_threshold(np.array([0.1, 0.3]), np.array([0, 1])) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="mcc or f1"):
        best_threshold(np.array([0.1, 0.9]), np.array([0, 1]), "auroc")


def test_bins_are_closed_above():
    assert reliability_bin(np.array([0, 1 / 15, 1 / 15 + 1e-9, 1])).tolist() == [0, 0, 1, 14]
    top, right = top_label(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert top.tolist() == [0.8, 0.6]
    assert right.tolist() == [True, False]
