from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from diagnose.measure.bootstrap import (
    LARGE,
    cells_by_group,
    interval,
    mean_and_resampled,
    resampled_counts,
    resampled_headline,
    resampled_means,
    wilson,
)
from diagnose.measure.classification import cells

RNG = np.random.default_rng(2)


def test_wilson_by_its_equation() -> None:
    z, share, n = norm.ppf(0.975), 0.9, 50
    low, high = wilson(45, n)
    for edge in (low, high):  # the limits solve |share - p| = z sqrt(p (1 - p) / n)
        assert abs(share - edge) == pytest.approx(z * math.sqrt(edge * (1 - edge) / n))
    assert wilson(50, 50)[1] == 1.0
    assert all(math.isnan(v) for v in wilson(0, 0))


def test_the_mean_has_the_interval_of_scipy() -> None:
    values = RNG.exponential(size=400)
    low, high = interval(resampled_means(values[:, None], resamples=4000)[:, 0])
    expected = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_many_samples_are_resampled_as_well() -> None:
    values = RNG.exponential(size=(LARGE + 1, 2))
    drawn = resampled_means(values)
    assert drawn.shape == (1000, 2)
    error = values.std(0) / math.sqrt(len(values))
    np.testing.assert_allclose(drawn.mean(0), values.mean(0), atol=4 * error.max())
    np.testing.assert_allclose(drawn.std(0), error, rtol=0.1)


def test_drawing_cells_is_drawing_samples() -> None:
    target = RNG.integers(0, 4, 300)
    prediction = np.where(RNG.random(300) < 0.8, target, RNG.integers(0, 4, 300))
    low, high = interval(resampled_headline(cells(target, prediction, 4))["accuracy"])
    expected_low, expected_high = interval(resampled_means((target == prediction).astype(float)[:, None])[:, 0])
    assert (low, high) == pytest.approx((expected_low, expected_high), abs=0.01)


def test_the_same_seed_gives_the_same_interval() -> None:
    found = cells(RNG.integers(0, 3, 90), RNG.integers(0, 3, 90), 3)
    one, two, other = (resampled_headline(found, seed=s)["macro_f1"] for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_numbers_that_are_undefined_are_left_out() -> None:
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert all(math.isnan(v) for v in interval(np.array([np.nan])))


def test_rows_need_not_stand_in_memory_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.exponential(size=2 * LARGE + 7), rng.normal(size=2 * LARGE + 7) + 1e3])
    most = 0

    def columns(rows: slice) -> np.ndarray:
        nonlocal most
        most = max(most, len(table[rows]))
        return table[rows]

    mean, drawn = mean_and_resampled(columns, len(table), resamples=4000)
    assert most == LARGE
    assert mean == pytest.approx(table.mean(0), rel=1e-12)
    assert drawn.std(0) == pytest.approx(table.std(0) / len(table) ** 0.5, rel=0.05)
    few, again = mean_and_resampled(columns, 50, seed=3)
    assert few == pytest.approx(table[:50].mean(0))
    assert np.array_equal(again, resampled_means(table[:50], seed=3))


def test_groups_are_drawn_as_a_whole() -> None:
    group = np.repeat(np.arange(60), RNG.integers(1, 9, 60))
    values = RNG.normal(size=60)[group] + RNG.normal(size=len(group)) * 0.1
    means, drawn = mean_and_resampled(lambda rows: values[rows, None], len(values), group=group, resamples=4000)
    assert means[0] == pytest.approx(values.mean())
    members = [values[group == g] for g in range(60)]
    other = np.random.default_rng(5)
    by_hand = [np.concatenate([members[g] for g in other.integers(0, 60, 60)]).mean() for _ in range(4000)]
    assert interval(drawn[:, 0]) == pytest.approx(np.percentile(by_hand, [2.5, 97.5]), abs=0.03)


def test_counts_of_groups_are_those_of_their_samples() -> None:
    target, prediction = RNG.integers(0, 3, 90), RNG.integers(0, 3, 90)
    group = np.arange(90) // 9
    found = cells(target, prediction, 3)
    by_group = cells_by_group(target * 3 + prediction, found.true * 3 + found.predicted, group)
    assert np.array_equal(np.asarray(by_group.sum(0)).ravel(), found.count)
    dense = np.stack([np.bincount((target * 3 + prediction)[group == g], minlength=9) for g in range(10)])
    assert np.array_equal(by_group.toarray(), dense[:, found.true * 3 + found.predicted])
    drawn = np.concatenate(list(resampled_counts(found, by_group=by_group, resamples=50)))
    assert drawn.shape == (50, len(found.count))
    assert (drawn.sum(1) == 90).all()
