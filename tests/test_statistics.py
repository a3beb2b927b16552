"""Statistics of trends against scipy and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau, theilslopes

from diagnose.statistics import autocorrelation, blocks, finite, level, mann_kendall, median, medians, progress, spread, theil_sen, trend


@pytest.mark.parametrize("seed", range(5))
def test_the_slope_is_that_of_scipy(seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(40).cumsum()
    assert theil_sen(values) == pytest.approx(theilslopes(values).slope)


@pytest.mark.parametrize("seed", range(5))
def test_the_test_is_that_of_scipy(seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(60) + 0.01 * np.arange(60)
    p = math.erfc(abs(mann_kendall(values)) / math.sqrt(2))
    assert p == pytest.approx(kendalltau(np.arange(60), values, method="asymptotic").pvalue, abs=0.02)


def test_noise_without_a_trend_is_seldom_significant() -> None:
    rng = np.random.default_rng(0)
    false = [trend(rng.standard_normal(300)).p < 0.05 for _ in range(200)]
    assert np.mean(false) < 0.1


def test_autocorrelated_noise_is_seldom_significant() -> None:
    rng = np.random.default_rng(0)
    false = []
    for _ in range(200):
        values = rng.standard_normal(100)
        for i in range(1, 100):
            values[i] += 0.7 * values[i - 1]
        false.append(trend(values).p < 0.05)
    assert np.mean(false) < 0.15


def test_a_trend_is_measured() -> None:
    found = trend(3.0 - 0.01 * np.arange(500) + 0.1 * np.random.default_rng(0).standard_normal(500))
    assert found.slope == pytest.approx(-0.01, rel=0.05)
    assert found.change == pytest.approx(-5, rel=0.05)
    assert found.z < -5


def test_outliers_do_not_make_a_trend() -> None:
    values = np.ones(100)
    values[90:95] = 1e6
    assert trend(values).slope == 0


def test_blocks_keep_the_mean() -> None:
    values = np.arange(103.0)
    means = blocks(values, 10)
    assert len(means) == 10
    assert means[0] == np.mean(values[:10])
    assert blocks([1.0, 2.0], 5).tolist() == [1.0, 2.0]


def test_what_is_not_finite_is_left_out() -> None:
    assert finite([1.0, math.nan, math.inf, 2.0]).tolist() == [1.0, 2.0]
    assert spread([math.nan]) == 0
    assert math.isnan(level([math.nan])[0])
    assert level([1.0]) == (1.0, math.inf)


def test_the_error_of_a_level_knows_about_autocorrelation() -> None:
    rng = np.random.default_rng(0)
    white = rng.standard_normal(400)
    red = np.repeat(rng.standard_normal(40), 10)
    assert level(red)[1] > 2 * level(white)[1]
    assert autocorrelation(red) > 0.7
    assert autocorrelation([]) == 0
    assert autocorrelation([1.0, 1.0]) == 0


def test_progress_is_from_the_first_tenth_to_the_last_fifth() -> None:
    come = progress([*[4.0] * 20, *[3.0] * 140, *[1.0] * 40])
    assert (come.start, come.end, come.drop, come.relative) == (4.0, 1.0, 3.0, 0.75)


def test_short_series_have_no_trend() -> None:
    assert mann_kendall([1.0, 2.0]) == 0
    assert theil_sen([1.0]) == 0
    assert trend([]).z == 0


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_medians_are_those_of_numpy(size: int) -> None:
    values = np.random.default_rng(size).normal(size=(size, 5))
    assert median(values[:, 0]) == np.median(values[:, 0])
    assert median([*values[:, 0], math.inf]) == np.median([*values[:, 0], math.inf])
    assert np.array_equal(medians(values), np.median(values, axis=0))
    values[0, 1], values[:, 2], values[0, 3] = math.nan, math.nan, math.inf
    assert math.isnan(median(values))
    assert math.isnan(median([]))
    kept = [c for c in range(5) if c != 2 and not (size == 1 and c == 1)]
    assert np.array_equal(medians(values)[kept], np.nanmedian(values[:, kept], axis=0))
    assert math.isnan(medians(values)[2])
