"""Every number against scikit-learn on the same data."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics

from diagnose.measure import regression
from diagnose.measure.classification import WIDEST, cells, cells_of, headline, per_class, top_k

RNG = np.random.default_rng(0)
CASES = {
    "random": (RNG.integers(0, 7, 500), RNG.integers(0, 7, 500), 7),
    "good": (np.arange(300) % 5, np.where(RNG.random(300) < 0.9, np.arange(300) % 5, RNG.integers(0, 5, 300)), 5),
    "never predicted": (np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 0]), 3),
    "absent": (np.array([0, 0, 2, 2]), np.array([0, 1, 2, 0]), 5),
    "one class": (np.zeros(6, dtype=int), np.zeros(6, dtype=int), 2),
    "one class, all wrong": (np.zeros(6, dtype=int), np.ones(6, dtype=int), 2),
    "one sample": (np.array([1]), np.array([0]), 2),
    "binary": (RNG.integers(0, 2, 99), RNG.integers(0, 2, 99), 2),
}
every_case = pytest.mark.parametrize(("target", "prediction", "classes"), CASES.values(), ids=CASES.keys())


@every_case
def test_the_matrix(target: np.ndarray, prediction: np.ndarray, classes: int) -> None:
    found = cells(target, prediction, classes)
    expected = metrics.confusion_matrix(target, prediction, labels=range(classes))
    assert found.matrix is not None
    assert found.matrix.tolist() == expected.tolist()
    assert found.n == len(target)
    again = cells_of(expected).matrix
    assert again is not None
    assert np.array_equal(again, expected)
    for own, other in zip(found.totals(), (np.diag(expected), expected.sum(1), expected.sum(0)), strict=True):
        assert np.array_equal(own, other)


@every_case
def test_headline_numbers(target: np.ndarray, prediction: np.ndarray, classes: int) -> None:
    found = headline(*cells(target, prediction, classes).totals())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": metrics.accuracy_score(target, prediction),
            "balanced_accuracy": metrics.balanced_accuracy_score(target, prediction),
            "macro_f1": metrics.f1_score(target, prediction, average="macro", zero_division=0),
            "mcc": metrics.matthews_corrcoef(target, prediction),
            "kappa": metrics.cohen_kappa_score(target, prediction),
        }
    assert {k: float(v) for k, v in found.items()} == pytest.approx(expected, abs=1e-9, nan_ok=True)


@every_case
def test_per_class_and_averages(target: np.ndarray, prediction: np.ndarray, classes: int) -> None:
    hits, support, predicted = cells(target, prediction, classes).totals()
    found = per_class(hits, support, predicted)
    expected = metrics.precision_recall_fscore_support(target, prediction, labels=range(classes), zero_division=0)
    for own, other in zip((found.precision, found.recall, found.f1, found.support), expected, strict=True):
        np.testing.assert_allclose(np.nan_to_num(own), other, atol=1e-9)
    assert np.array_equal(np.isnan(found.precision), predicted == 0)
    assert np.array_equal(np.isnan(found.recall), support == 0)
    for average in ("macro", "weighted"):
        expected = metrics.precision_recall_fscore_support(target, prediction, average=average, zero_division=0)
        assert [float(v) for v in found.average(average).values()] == pytest.approx(list(expected[:3]), abs=1e-9)


def test_resampled_counts_have_their_own_totals() -> None:
    target, prediction, classes = CASES["random"]
    found = cells(target, prediction, classes)
    hits, support, predicted = found.totals(np.stack([found.count, 2 * found.count]))
    for many, one in zip((hits, support, predicted), found.totals(), strict=True):
        assert np.array_equal(many, np.stack([one, 2 * one]))


def test_many_classes_have_counts_but_no_matrix() -> None:
    target = RNG.integers(0, 5000, 4000)
    found = cells(target, np.where(RNG.random(4000) < 0.5, target, 0), 5000)
    assert found.classes > WIDEST
    assert found.matrix is None
    assert np.array_equal(found.totals()[1], np.bincount(target, minlength=5000))


def test_top_k() -> None:
    probability, target = RNG.dirichlet(np.ones(8), 200), RNG.integers(0, 8, 200)
    for k in (1, 3, 5):
        for given in (probability, probability.round(1), np.full_like(probability, 1 / 8)):
            expected = metrics.top_k_accuracy_score(target, given, k=k, labels=range(8))
            assert top_k(given, target, k) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("target", "prediction", "text"),
    [
        ([], [], "at least one"),
        ([0, 1], [0], "as many targets as predictions"),
        ([0, 3], [0, 1], "expected target classes from 0 to 2, got 3"),
        ([0, 1], [0, -1], "expected prediction classes from 0 to 2, got -1"),
    ],
)
def test_classes_that_do_not_fit(target: list[int], prediction: list[int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cells(np.array(target, dtype=int), np.array(prediction, dtype=int), 3)


@pytest.mark.parametrize("shape", [(200,), (200, 3)])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_regression(shape: tuple[int, ...], offset: float) -> None:
    target = RNG.normal(size=shape) + offset
    prediction = target + RNG.normal(size=shape) * 0.5 + 0.1
    found = regression.errors(regression.moments(target, prediction).mean(0))
    expected = {
        "mae": metrics.mean_absolute_error(target, prediction),
        "rmse": metrics.root_mean_squared_error(target, prediction),
        "r2": metrics.r2_score(target, prediction),
    }
    assert {k: float(v) for k, v in found.items()} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("prediction", "r2"), [([2.0, 2.0, 2.0], 1.0), ([2.0, 2.0, 3.0], 0.0)])
def test_r2_of_a_constant_target(prediction: list[float], r2: float) -> None:
    target = np.full(3, 2.0)
    assert float(regression.errors(regression.moments(target, np.array(prediction)).mean(0))["r2"]) == r2
    assert metrics.r2_score(target, prediction) == r2
