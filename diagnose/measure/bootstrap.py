"""Confidence intervals: seeded bootstrap over samples, vectorised."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.classification import Cells, headline

RESAMPLES = 1000
LARGE = 10_000  # above, the mean of that many samples is as good as Gaussian
BLOCK = 4_000_000  # numbers held at once
Z = 1.959963984540054  # of a Gaussian, 95 % lies within so many standard deviations

Floats = NDArray[np.float64]
Interval = tuple[float, float]


def interval(values: Floats, level: float = 0.95) -> Interval:
    """The percentiles that enclose ``level`` of the resampled values; NaN without a finite one."""
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def wilson(right: float, n: float) -> Interval:
    """Wilson's 95 % interval of a share: unlike the bootstrap it has a width also at 0 and 1.

    References:
        E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).

    >>> [round(v, 4) for v in wilson(10, 10)]
    [0.7225, 1.0]
    """
    if n <= 0:
        return math.nan, math.nan
    share = right / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def resampled_headline(cells: Cells, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Floats]:
    """`headline` numbers of resampled confusion matrices, each of shape ``(resamples,)``.

    To draw samples with replacement is to draw the cells from a multinomial distribution, so the cost does not depend on the samples.
    Of more than 20,000 filled cells there are fewer resamples, at least 200.
    """
    resamples = max(min(resamples, 200), min(resamples, 5 * BLOCK // len(cells.count)))
    rng = np.random.default_rng(seed)
    share = cells.count / cells.n
    rows = max(1, BLOCK // max(len(share), cells.classes))
    parts = []
    for start in range(0, resamples, rows):
        counts = rng.multinomial(cells.n, share, size=min(rows, resamples - start))
        parts.append(headline(*cells.totals(counts)))
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def resampled_means(columns: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
    """Means of resampled rows.

    Args:
        columns: One row per sample, shape ``(n, k)``.
        seed: Seed of the drawing.
        resamples: How often to draw ``n`` rows with replacement.

    Returns:
        Shape ``(resamples, k)``. Above 10,000 rows the means are drawn from the Gaussian that they follow by the central limit theorem.
    """
    n = len(columns)
    if n > LARGE:
        return mean_and_resampled(lambda rows: columns[rows], n, seed=seed, resamples=resamples)[1]
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // n)
    parts = []
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn_rows = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        weights = np.bincount(drawn_rows.reshape(-1), minlength=size * n).reshape(size, n)
        parts.append(weights @ columns / n)
    return np.concatenate(parts)


def mean_and_resampled(columns: Callable[[slice], Floats], n: int, *, seed: int = 0, resamples: int = RESAMPLES) -> tuple[Floats, Floats]:
    """The means of `columns`, shape ``(k,)``, and `resampled_means`; the table of ``n`` rows never stands in memory as a whole.

    Args:
        columns: Gives some of the rows, shape ``(rows, k)``.
        n: Number of rows.
        seed: Seed of the drawing.
        resamples: How often to draw.
    """
    if n <= LARGE:
        table = columns(slice(0, n))
        return table.mean(0), resampled_means(table, seed=seed, resamples=resamples)
    centre = columns(slice(0, LARGE)).mean(0)
    total, square = np.zeros(len(centre)), np.zeros((len(centre), len(centre)))
    for start in range(0, n, LARGE):
        part = columns(slice(start, start + LARGE)) - centre
        total += part.sum(0)
        square += part.T @ part
    shift = total / n
    spread = (square - n * np.outer(shift, shift)) / (n - 1) / n
    rng = np.random.default_rng(seed)
    drawn: Floats = rng.multivariate_normal(centre + shift, spread, size=resamples, method="eigh", check_valid="ignore")
    return centre + shift, drawn


def reflected(resampled: Interval, value: float) -> Interval:
    """The basic bootstrap interval of a number that cannot be negative and that resampling makes larger, such as a calibration error.

    It reflects the resampled percentiles at the value, and is widened to hold it.

    References:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, equation 5.6.

    >>> reflected((0.04, 0.08), 0.05)
    (0.020000000000000004, 0.060000000000000005)
    """
    low, high = resampled
    return max(0.0, 2 * value - high), max(value, 2 * value - low)
