"""Trends that noise does not make: robust slopes, tests that know about autocorrelation, effect sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """The trend of a series.

    Attributes:
        slope: Theil-Sen slope per row.
        change: Slope times the length: how far the trend leads from the first row to the last.
        noise: Robust standard deviation of the rows about the trend.
        z: Mann-Kendall statistic with the variance of an autocorrelated series, in standard deviations; negative for falling series.
        n: Number of rows.
    """

    slope: float
    change: float
    noise: float
    z: float
    n: int

    @property
    def p(self) -> float:
        """Two-sided probability of a trend as strong without any."""
        return math.erfc(abs(self.z) / math.sqrt(2))


def finite(values: ArrayLike) -> Values:
    """The finite ones of the values, in order."""
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    return array[np.isfinite(array)]


def median(values: ArrayLike) -> float:
    """Median of the values; NaN where one of them is NaN, or where there are none. `numpy.median` takes ten times as long for a few.

    >>> median([3.0, 1.0, 2.0, 10.0])
    2.5
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    n = len(ordered)
    return float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2) if n and ordered[-1] == ordered[-1] else math.nan


def medians(table: Values) -> Values:
    """Median of each column of a table, shape ``(n, k)``, without its NaN; NaN for a column of nothing else.

    >>> medians(np.array([[1.0, np.nan], [3.0, 4.0]]))
    array([2., 4.])
    """
    ordered = np.sort(table, axis=0)
    n, column = np.count_nonzero(~np.isnan(table), axis=0), np.arange(table.shape[1])
    middle: Values = (ordered[(n - 1) // 2, column] + ordered[n // 2, column]) / 2
    return middle


def spread(values: ArrayLike) -> float:
    """Robust standard deviation: the median distance from the median times 1.4826; 0 for no value.

    >>> round(spread([1.0, 2.0, 3.0, 4.0, 1000.0]), 3)
    1.483
    """
    array = finite(values)
    return 1.4826 * median(np.abs(array - median(array))) if len(array) else 0.0


def blocks(values: ArrayLike, count: int) -> Values:
    """Means of ``count`` blocks of equal length (the last rows that fill no block stand in the last), or the values where there are fewer.

    >>> blocks([1, 2, 3, 4, 5, 9], 3)
    array([1.5, 3.5, 7. ])
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) <= count:
        return array
    edges = np.linspace(0, len(array), count + 1).astype(int)
    return np.add.reduceat(array, edges[:-1]) / np.diff(edges)


@lru_cache(maxsize=4)  # block means are of the same number again and again
def pairs(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Values]:
    """Both rows of each pair of ``n`` rows, the earlier one first, and how far apart they are."""
    i, j = np.triu_indices(n, 1)
    return i, j, (j - i).astype(np.float64)


def theil_sen(values: ArrayLike) -> float:
    """Median of the slopes between all pairs of rows (Theil 1950, Sen 1968); half of the rows may be outliers on either side.

    >>> theil_sen([0.0, 1.0, 2.0, 50.0, 4.0])
    1.0
    """
    array = np.asarray(values, dtype=np.float64)
    i, j, apart = pairs(len(array))
    return float(np.median((array[j] - array[i]) / apart)) if len(i) else 0.0


def autocorrelation(values: ArrayLike) -> float:
    """Correlation of a series with itself one row later, in [0, 0.99]; negative correlation counts as none."""
    array = np.asarray(values, dtype=np.float64)
    centred = array - array.mean() if len(array) else array
    power = float(centred @ centred)
    return min(0.99, max(0.0, float(centred[1:] @ centred[:-1]) / power)) if power > 0 else 0.0


def mann_kendall(values: ArrayLike, correlation: float = 0.0) -> float:
    """Mann-Kendall statistic in standard deviations, with the variance of a series whose noise has this lag-1 autocorrelation.

    The variance is multiplied by ``n / n_eff = (1 + r) / (1 - r)``.

    References:
        H. B. Mann (1945); M. G. Kendall (1975); S. Yue and C. Wang, Water Resources Management 18 (2004), eq. 11 for large n.

    >>> round(mann_kendall([1.0, 2.0, 3.0, 4.0, 5.0]), 3)
    2.205
    """
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n < 3:
        return 0.0
    i, j, _ = pairs(n)
    score = float(np.sign(array[j] - array[i]).sum())
    _, ties = np.unique(array, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    variance *= (1 + correlation) / (1 - correlation)
    return (score - math.copysign(1, score)) / math.sqrt(variance) if score and variance > 0 else 0.0


def trend(values: ArrayLike, rows: int = 100) -> Trend:
    """The trend of a series, on at most ``rows`` block means of its finite values."""
    array = finite(values)
    coarse = blocks(array, rows)
    slope = theil_sen(coarse)
    left = coarse - slope * np.arange(len(coarse))
    scale = max(1, len(array)) / max(1, len(coarse))
    z = mann_kendall(coarse, autocorrelation(left))
    return Trend(slope=slope / scale, change=slope * max(0, len(coarse) - 1), noise=spread(left), z=z, n=len(array))


def level(values: ArrayLike) -> tuple[float, float]:
    """Mean of a stretch of a series and its standard error, larger for autocorrelated rows; both NaN for no finite value."""
    array = finite(values)
    if not len(array):
        return math.nan, math.nan
    mean = float(array.mean())
    if len(array) < 2:
        return mean, math.inf
    r = autocorrelation(array)
    return mean, float(array.std(ddof=1) * math.sqrt((1 + r) / (1 - r) / len(array)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a loss has come: the level of its first tenth and of its last fifth.

    Attributes:
        start, end: Mean of the first tenth (at least 5 rows) and of the last fifth.
        drop: ``start - end``.
        relative: ``drop`` over the size of ``start``.
        error: Standard error of ``drop``.
    """

    start: float
    end: float
    drop: float
    relative: float
    error: float


def progress(losses: ArrayLike) -> Progress:
    """Progress of a series of losses.

    >>> progress([4.0] * 10 + [2.0] * 10).relative
    0.5
    """
    array = finite(losses)
    head, tail = max(5, len(array) // 10), max(5, len(array) // 5)
    start, first = level(array[:head])
    end, second = level(array[-tail:])
    drop = start - end
    return Progress(start=start, end=end, drop=drop, relative=drop / max(abs(start), 1e-12), error=math.hypot(first, second))
