"""Areas, curves and thresholds against scikit-learn; how sure areas are against resampling and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from diagnose.measure.ranking import (
    area_influence,
    area_interval,
    areas,
    average_precision,
    curves,
    precision_influence,
    ranked,
    roc_auc,
    threshold_table,
)

RNG = np.random.default_rng(4)


def scores(ties: bool, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    positive = RNG.random(n) < 0.3
    score = np.clip(RNG.random(n) * 0.7 + positive * 0.3, 0, 1)
    return (score.round(1) if ties else score), positive


@pytest.mark.parametrize("ties", [False, True])
def test_areas_of_one_class(ties: bool) -> None:
    score, positive = scores(ties)
    ranking = ranked(score, positive)
    assert roc_auc(ranking) == pytest.approx(metrics.roc_auc_score(positive, score), abs=1e-12)
    assert average_precision(ranking) == pytest.approx(metrics.average_precision_score(positive, score), abs=1e-12)
    assert (ranking.yes, ranking.no) == (positive.sum(), (~positive).sum())


def test_the_ranking_of_one_class_alone_is_undefined() -> None:
    assert np.isnan(roc_auc(ranked(np.array([0.1, 0.2]), np.array([True, True]))))
    assert np.isnan(average_precision(ranked(np.array([0.1, 0.2]), np.array([False, False]))))


@pytest.mark.parametrize("ties", [False, True])
def test_influence_is_the_derivative_by_a_samples_weight(ties: bool) -> None:
    score, positive = scores(ties, 60)
    ranking = ranked(score, positive)
    for influence, metric in ((area_influence, metrics.roc_auc_score), (precision_influence, metrics.average_precision_score)):
        found = influence(ranking)
        assert float(found.sum()) == pytest.approx(0, abs=1e-6)
        for sample in range(0, 60, 7):
            weight = np.ones(60)
            weight[sample] += 1e-5
            slope = (metric(positive, score, sample_weight=weight) - metric(positive, score)) / 1e-5
            assert found[sample] == pytest.approx(slope, abs=1e-5)


def test_intervals_are_as_wide_as_resampling_makes_them() -> None:
    n, target = 500, RNG.integers(0, 3, 500)
    logits = RNG.normal(size=(n, 3))
    logits[np.arange(n), target] += 1.0
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = areas(probability, [(c, target == c) for c in range(3)])
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(target, probability, multi_class="ovr"))
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(target, probability))
    drawn = []
    for _ in range(400):
        rows = RNG.integers(n, size=n)
        y, p = target[rows], probability[rows]
        drawn.append((metrics.roc_auc_score(y, p, multi_class="ovr"), metrics.average_precision_score(y, p)))
    for name, values in zip(("roc_auc", "average_precision"), np.transpose(drawn), strict=True):
        low, high = found["intervals"][name]
        assert (low, high) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.015)


def test_an_area_of_one_is_not_certain() -> None:
    assert area_interval(1.0, 0.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    low, high = area_interval(0.99, 0.01, 10)
    assert 0.9 < low < 0.99 < high < 1


def test_thinned_curves_enclose_the_same_area() -> None:
    score, positive = scores(False, 5000)
    found = curves(ranked(score, positive))
    x, y = found["false_positive_rate"], found["true_positive_rate"]
    assert len(x) <= 66
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert metrics.auc(x, y) == pytest.approx(metrics.roc_auc_score(positive, score), abs=2e-3)
    precision, recall, _ = metrics.precision_recall_curve(positive, score)
    known = set(zip(recall.round(5).tolist(), precision.round(5).tolist(), strict=True))
    assert set(zip(found["recall"], found["precision"], strict=True)) <= known


def test_thresholds_are_the_best_of_all() -> None:
    score, positive = scores(False, 300)
    table = {row["choice"]: row for row in threshold_table(ranked(score, positive))}
    precision, recall, threshold = metrics.precision_recall_curve(positive, score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert table["largest F1"]["f1"] == pytest.approx(f1.max())
    assert table["largest F1"]["threshold"] == pytest.approx(threshold[f1.argmax()])
    for level in (0.9, 0.95):
        row = table[f"precision of at least {level:g}"]
        assert row["recall"] == pytest.approx(recall[:-1][precision[:-1] >= level].max())
        other = table[f"recall of at least {level:g}"]
        assert other["precision"] == pytest.approx(precision[recall >= level].max())
    half = table["threshold 0.5"]
    assert half["precision"] == pytest.approx(metrics.precision_score(positive, score >= 0.5))
    assert half["specificity"] == pytest.approx(metrics.recall_score(~positive, score < 0.5))
    assert half["predicted"] == (score >= 0.5).sum()


def test_a_threshold_that_does_not_exist_has_no_numbers() -> None:
    table = threshold_table(ranked(np.array([0.1, 0.2, 0.3]), np.array([True, False, False])))
    assert table[0] == {"choice": "threshold 0.5", **dict.fromkeys(("threshold", "precision", "recall", "specificity", "f1", "predicted"))}
    assert {row["choice"]: row["recall"] for row in table}["precision of at least 0.9"] is None
