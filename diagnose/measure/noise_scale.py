"""The gradient noise scale: up to which batch size larger batches bring better steps."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST = 8  # batches


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseScale:
    """The simple noise scale in samples, with its 95 % interval; ``None`` with the reason where there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def noise_scale(products: ArrayLike, samples: int) -> NoiseScale:
    """The trace of the gradient's covariance over its squared norm, both unbiased, with a jackknife interval over the batches.

    Args:
        products: Inner products of the gradients of batches that were drawn independently, shape ``(k, k)``.
        samples: Samples in each batch.

    Raises:
        ValueError: ``products`` is not square.

    References:
        S. McCandlish, J. Kaplan, D. Amodei et al., "An Empirical Model of Large-Batch Training", 2018, equation 2.9 and appendix A.1.

    >>> noise_scale(np.eye(3), 4).reason
    'at least 8 batches of equal size are needed, there are 3'
    """
    gram = np.asarray(products, dtype=np.float64)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ValueError(f"expected inner products of shape (k, k), got {gram.shape!r}")
    count = len(gram)
    if count < FEWEST:
        return NoiseScale(reason=f"at least {FEWEST} batches of equal size are needed, there are {count}")
    if not np.isfinite(gram).all():
        return NoiseScale(reason="a gradient is not finite")
    signal, noise = _moments(gram, samples)
    without = [_moments(np.delete(np.delete(gram, i, 0), i, 1), samples) for i in range(count)]
    signals = np.array([s for s, _ in without])
    error = _jackknife(signals)
    if not signal > 2 * error or signals.min() <= 0:
        return NoiseScale(reason=f"the gradient does not stand out of its noise: |G|² is {signal:.3g} ± {error:.3g}")
    if not noise > 0 or min(n for _, n in without) <= 0:
        return NoiseScale(value=0.0, low=0.0, high=0.0)
    value = log(noise / signal)
    spread = 1.96 * _jackknife(np.array([log(n / s) for s, n in without]))
    return NoiseScale(value=exp(value), low=exp(value - spread), high=exp(value + spread))


def _moments(gram: NDArray[np.float64], samples: int) -> tuple[float, float]:
    """Squared norm of the gradient, and trace of its covariance per sample."""
    count, trace = len(gram), float(np.trace(gram))
    signal = (float(gram.sum()) - trace) / (count * (count - 1))
    return signal, samples * (trace / count - signal)


def _jackknife(values: NDArray[np.float64]) -> float:
    return float(np.sqrt((len(values) - 1) * np.var(values)))


def knee(sizes: ArrayLike, speeds: ArrayLike, gain: float = 1.25) -> int | None:
    """The smallest batch size from which no doubling brings ``gain`` times the samples per second; ``None`` where each still does.

    >>> knee([1, 2, 4, 8, 16], [10, 20, 39, 45, 46])
    4
    >>> knee([1, 2, 4], [10, 20, 40]) is None
    True
    """
    size, speed = np.asarray(sizes, dtype=np.int64), np.asarray(speeds, dtype=np.float64)
    worth = np.flatnonzero(speed[1:] >= gain * speed[:-1])
    place = int(worth[-1]) + 1 if len(worth) else 0
    return int(size[place]) if len(size) and place < len(size) - 1 else None
