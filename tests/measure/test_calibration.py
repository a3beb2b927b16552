from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn import metrics

from diagnose.measure.calibration import (
    brier_scores,
    calibration_error,
    confidence_gaps,
    log_losses,
    prior_log_loss,
    reliability,
    temperature,
)

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_log_loss_and_brier_are_those_of_scikit_learn(classes: int, kind: type) -> None:
    probability: np.ndarray = RNG.dirichlet(np.ones(classes) * 0.3, 300).astype(kind)
    probability /= probability.sum(1, keepdims=True)
    target = RNG.integers(0, classes, 300)
    labels = list(range(classes))
    score = probability[:, 1] if classes == 2 else probability
    assert log_losses(probability, target).mean() == pytest.approx(metrics.log_loss(target, probability, labels=labels), abs=1e-6)
    assert brier_scores(probability, target).mean() == pytest.approx(metrics.brier_score_loss(target, score, labels=labels), abs=1e-6)


def test_a_certain_error_costs_much_but_is_finite() -> None:
    probability = np.array([[1.0, 0.0]], dtype=np.float32)
    assert log_losses(probability, np.array([1]))[0] == pytest.approx(-np.log(np.finfo(np.float32).eps))


def naive_error(probability: np.ndarray, right: np.ndarray) -> float:
    confidence, total = probability.max(1), 0.0
    for b in range(15):
        inside = (confidence >= b / 15) & ((confidence < (b + 1) / 15) | (b == 14))
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(total)


def test_calibration_error_bin_by_bin() -> None:
    probability = RNG.dirichlet(np.ones(4), 500)
    right = RNG.random(500) < 0.4
    found = float(calibration_error(confidence_gaps(probability, right).mean(0)))
    assert found == pytest.approx(naive_error(probability, right), abs=1e-12)
    bins = reliability(probability, right)
    assert sum(bins["count"]) == 500
    weighted = sum(n * abs(c - a) for c, a, n in zip(bins["confidence"], bins["accuracy"], bins["count"], strict=True)) / 500
    assert weighted == pytest.approx(found)


def test_a_calibrated_model_has_a_small_error() -> None:
    probability = RNG.dirichlet(np.ones(3), 20_000)
    target = (probability.cumsum(1) < RNG.random((20_000, 1))).sum(1)
    assert float(calibration_error(confidence_gaps(probability, probability.argmax(1) == target).mean(0))) < 0.02


def test_the_prior() -> None:
    assert prior_log_loss(np.array([3.0, 1.0, 0.0])) == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert prior_log_loss(np.array([4.0, 0.0])) == 0.0


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_that_of_least_log_loss(factor: float) -> None:
    """Logits that the labels were drawn with, times a factor: dividing by the factor mends them; scipy minimises the same loss."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 1.5
    target = np.array([rng.choice(5, p=row) for row in softmax(logits, axis=1)])
    probability = softmax(factor * logits, axis=1)
    found = temperature(probability, target)
    least = minimize_scalar(lambda t: metrics.log_loss(target, softmax(factor * logits / t, axis=1)), bounds=(0.1, 10), method="bounded")
    assert found == pytest.approx(least.x, abs=1e-3)
    assert found == pytest.approx(factor, rel=0.1)


def test_a_model_that_is_never_wrong_has_no_temperature() -> None:
    assert temperature(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])) is None


def test_a_probability_of_zero_for_the_true_class_has_a_temperature() -> None:
    probability = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]], dtype=np.float32)
    found = temperature(probability, np.zeros(10, dtype=np.int64))
    assert found is not None
    assert found > 10
