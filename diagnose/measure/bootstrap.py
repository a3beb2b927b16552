"""Confidence intervals: seeded bootstrap over samples, vectorised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.classification import Cells, headline

if TYPE_CHECKING:
    from scipy.sparse import csr_array

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


def resampled_headline(cells: Cells, *, seed: int = 0, resamples: int = RESAMPLES, by_group: csr_array | None = None) -> dict[str, Floats]:
    """`headline` numbers of resampled confusion matrices, each of shape ``(resamples,)``; arguments as of `resampled_counts`."""
    parts = [headline(*cells.totals(c)) for c in resampled_counts(cells, seed=seed, resamples=resamples, by_group=by_group)]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def resampled_counts(cells: Cells, *, seed: int = 0, resamples: int = RESAMPLES, by_group: csr_array | None = None) -> Iterator[Floats]:
    """Counts of the cells of resampled confusion matrices, block by block, shape ``(rows, m)``.

    To draw samples with replacement is to draw the cells from a multinomial distribution, so the cost does not depend on the samples.
    Of more than 20,000 filled cells there are fewer resamples, at least 200.

    Args:
        cells: The filled cells.
        seed: Seed of the drawing.
        resamples: How often to draw.
        by_group: Counts of the cells in each group from `cells_by_group`; groups are then drawn, not samples.
    """
    resamples = max(min(resamples, 200), min(resamples, 5 * BLOCK // len(cells.count)))
    rng = np.random.default_rng(seed)
    groups = 0 if by_group is None else by_group.shape[0]
    rows = max(1, BLOCK // max(len(cells.count), cells.classes, groups))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        if by_group is None:
            yield rng.multinomial(cells.n, cells.count / cells.n, size=size).astype(np.float64)
        else:
            yield np.asarray(rng.multinomial(groups, np.full(groups, 1 / groups), size=size) @ by_group, dtype=np.float64)


def cells_by_group(place: NDArray[np.integer], filled: NDArray[np.integer], group: NDArray[np.integer]) -> csr_array:
    """How often each filled cell occurs in each group, sparse, shape ``(groups, m)``.

    Args:
        place: Number of the cell of each sample, shape ``(n,)``.
        filled: Numbers of the filled cells, ascending, shape ``(m,)``.
        group: Number of the group of each sample from 0, shape ``(n,)``.
    """
    from scipy.sparse import coo_array

    column = np.searchsorted(filled, place)
    counts: Any = coo_array((np.ones(len(place)), (group, column)), shape=(int(group.max()) + 1, len(filled)))
    return counts.tocsr()


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


def mean_and_resampled(
    columns: Callable[[slice], Floats],
    n: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    group: NDArray[np.integer] | None = None,
) -> tuple[Floats, Floats]:
    """The means of `columns`, shape ``(k,)``, and `resampled_means`; the table of ``n`` rows never stands in memory as a whole.

    Args:
        columns: Gives some of the rows, shape ``(rows, k)``.
        n: Number of rows.
        seed: Seed of the drawing.
        resamples: How often to draw.
        group: Number of the group of each row from 0, shape ``(n,)``: groups are drawn, not rows (the cluster bootstrap).

    References:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    if group is not None:
        sums = group_sums(columns, group)
        means, resampled = mean_and_resampled(lambda rows: sums[rows], len(sums), seed=seed, resamples=resamples)
        return means[:-1] / means[-1], resampled[:, :-1] / resampled[:, -1:]
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


def group_sums(columns: Callable[[slice], Floats], group: NDArray[np.integer]) -> Floats:
    """Sums of the rows of each group, and their number in the last column, shape ``(groups, k + 1)``."""
    size = np.bincount(group)
    sums = np.zeros((len(size), columns(slice(0, 1)).shape[1]))
    for start in range(0, len(group), LARGE):
        np.add.at(sums, group[start : start + LARGE], columns(slice(start, start + LARGE)))
    return np.column_stack([sums, size])


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
