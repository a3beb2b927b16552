"""A rate from curves whose shape is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from diagnose.measure.rate_range import find_rate, running_median

RATES = np.geomspace(1e-6, 10, 100)


def quadratic(curvature: float, noise: float = 0.0, seed: int = 0) -> NDArray[np.float64]:
    """Losses of gradient descent on curvature/2 w², which diverges above 2/curvature, along growing rates."""
    rng = np.random.default_rng(seed)
    w, losses = 1.0, []
    for rate in RATES:
        losses.append(curvature / 2 * w**2 + noise * rng.normal())
        w *= 1 - rate * curvature
        w = np.clip(w, -1e150, 1e150)
    return np.array(losses)


@pytest.mark.parametrize("curvature", [2.0, 20.0, 200.0])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_edge_of_a_quadratic_is_two_over_its_curvature(curvature: float, noise: float) -> None:
    found = find_rate(RATES.tolist(), [quadratic(curvature, noise * curvature, seed).tolist() for seed in range(3)])
    assert found.edge is not None
    assert found.suggestion is not None
    assert 0.8 < found.edge * curvature / 2 < 6.0  # the rise is seen some steps late: it begins below what can be seen
    assert 0.02 / curvature < found.suggestion < 1.5 / curvature
    assert len(found.seeds) == 3


def test_pure_noise_gives_no_suggestion() -> None:
    for seed in range(200):
        found = find_rate(RATES.tolist(), np.random.default_rng(seed).normal(1, 0.3, (3, 100)).tolist())
        assert found.suggestion is None
        assert "the loss never falls clearly" in found.reason


def test_a_loss_that_stays_that_falls_to_the_end_or_is_never_finite_gives_none() -> None:
    assert "never falls clearly" in find_rate(RATES.tolist(), [[1.0] * 100]).reason
    assert "still falls at the highest rate, 10" in find_rate(RATES.tolist(), [(-np.log(RATES + 0.01)).tolist()]).reason
    assert "not finite at the lowest rates" in find_rate(RATES.tolist(), [[1.0] * 5 + [np.nan] * 95]).reason


def test_one_seed_that_diverges_does_not_decide() -> None:
    good, bad = quadratic(20.0).tolist(), [1.0] * 30 + [np.inf] * 70
    assert find_rate(RATES.tolist(), [good, bad, good]).suggestion == pytest.approx(find_rate(RATES.tolist(), [good]).suggestion, rel=0.5)


def test_the_median_is_that_of_the_neighbours() -> None:
    values = np.random.default_rng(0).normal(size=30)
    expected = [np.median(values[max(0, i - 2) : i + 3]) for i in range(2, 28)]
    assert running_median(values, 5)[2:28] == pytest.approx(expected)


def test_too_few_rates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected at least 20 rates and a loss for each, got 3 rates and losses of shape \(1, 3\)"):
        find_rate([1, 2, 3], [[1, 2, 3]])
