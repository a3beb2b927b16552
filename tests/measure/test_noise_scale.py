"""The noise scale of gradients whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest

from diagnose.measure.noise_scale import knee, noise_scale


def drawn(
    seed: int, batches: int = 32, samples: int = 8, size: int = 20, noise: float = 2.0
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Products of the mean gradients of batches; per sample they are ones with normal noise: the scale is noise²."""
    each = 1 + noise * np.random.default_rng(seed).normal(size=(batches, samples, size))
    mean = each.mean(1)
    products: np.ndarray[tuple[int, int], np.dtype[np.float64]] = mean @ mean.T
    return products


def test_the_scale_is_trace_over_squared_norm_and_the_interval_holds_it() -> None:
    found = [noise_scale(drawn(seed), 8) for seed in range(100)]
    assert np.mean([f.value or 0 for f in found]) == pytest.approx(4.0, rel=0.05)
    assert sum((f.low or 9) <= 4.0 <= (f.high or 0) for f in found) >= 88


def test_it_agrees_with_the_two_batch_sizes_of_the_paper() -> None:
    """Equations A.2 and A.3 with the mean of all batches as the big one."""
    gram, small = drawn(3), 8
    big = small * len(gram)
    square_small, square_big = np.trace(gram) / len(gram), gram.mean()
    signal = (big * square_big - small * square_small) / (big - small)
    noise = (square_small - square_big) / (1 / small - 1 / big)
    assert noise_scale(gram, small).value == pytest.approx(noise / signal)


def test_there_is_none_where_nothing_but_noise_is_seen() -> None:
    gradients = np.random.default_rng(0).normal(size=(16, 50))
    found = noise_scale(gradients @ gradients.T, 8)
    assert found.value is None
    assert "the gradient does not stand out of its noise" in found.reason
    assert noise_scale(np.full((9, 9), np.nan), 8).reason == "a gradient is not finite"
    assert noise_scale(np.ones((9, 9)), 8).value == 0.0


def test_what_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected inner products of shape \(k, k\), got \(2, 3\)"):
        noise_scale(np.zeros((2, 3)), 4)


def test_the_knee_is_where_doubling_stops_to_pay() -> None:
    assert knee([1, 2, 4, 8], [5, 5, 5, 5]) == 1
    assert knee([1, 2, 4, 8], [5, 10, 11, 12]) == 2
    assert knee([4], [5]) is None
