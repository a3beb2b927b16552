"""A learning rate from the losses of a range test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CLEAR = 5.0  # standard errors that a fall must measure
FEWEST = 20  # steps of a curve


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRange:
    """What a range test found.

    Attributes:
        rates: The learning rates, in the order of the sweep.
        losses: The loss at each, per seed; infinite from where it broke off.
        median: Their median over the seeds, smoothed.
        suggestion: A rate to train with, ``None`` where there is none.
        edge: The highest rate before the loss rises for good, ``None`` where it does not.
        seeds: The suggestion of each seed alone, of those that give one.
        own: The rate that the module's optimizer has.
        reason: Why there is no suggestion.
    """

    rates: Sequence[float] = ()
    losses: Sequence[Sequence[float]] = ()
    median: Sequence[float] = ()
    suggestion: float | None = None
    edge: float | None = None
    seeds: Sequence[float] = ()
    own: float | None = None
    reason: str = ""


def find_rate(rates: Sequence[float], losses: Sequence[Sequence[float]], own: float | None = None) -> RateRange:
    """The rate at which the loss falls fastest, at most a tenth of the rate at which it begins to rise for good.

    The loss is that of one training along which the rate grows; the curve is the median over the seeds under a running median, which
    neither noise of single batches nor the beginning of a divergence shifts.

    Args:
        rates: Growing by the same factor, shape ``(n,)``.
        losses: Per seed, shape ``(seeds, n)``; not finite from where a sweep broke off.
        own: The rate of the module's optimizer, kept in the result.

    Raises:
        ValueError: Fewer than 20 rates, or another number of losses than of rates.

    References:
        L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.

    >>> import numpy as np
    >>> rates = np.geomspace(1e-4, 10, 60)
    >>> found = find_rate(rates, [np.where(rates < 1, 1 / (1 + 100 * rates), rates)])
    >>> 0.005 < found.suggestion <= found.edge / 10 < 0.1
    True
    """
    rate, table = np.asarray(rates, dtype=np.float64), np.atleast_2d(np.asarray(losses, dtype=np.float64))
    if len(rate) < FEWEST or table.shape[1] != len(rate):
        raise ValueError(f"expected at least {FEWEST} rates and a loss for each, got {len(rate)} rates and losses of shape {table.shape!r}")
    one = _find(rate, table)
    alone = [found.suggestion for row in table for found in (_find(rate, row[None]),) if found.suggestion is not None]
    return RateRange(
        rates=rate.tolist(),
        losses=table.tolist(),
        median=one.median,
        suggestion=one.suggestion,
        edge=one.edge,
        seeds=alone if len(table) > 1 and one.suggestion is not None else (),
        own=own,
        reason=one.reason,
    )


def _find(rate: NDArray[np.float64], table: NDArray[np.float64]) -> RateRange:
    table = np.where(np.isfinite(table), table, np.inf)
    middle = np.median(table, axis=0)
    window = 2 * (len(rate) // 24) + 1
    curve = running_median(middle, window)
    usable = int(np.argmin(np.isfinite(curve))) if not np.isfinite(curve).all() else len(curve)
    shown = tuple(curve.tolist())
    begin = max(5, len(rate) // 5)
    if usable <= begin:
        return RateRange(median=shown, reason="the loss is not finite at the lowest rates; begin lower")
    start = float(np.median(curve[:begin]))
    deviation = 1.4826 * float(np.median(np.abs(table[:, :begin] - np.median(table[:, :begin]))))
    error = deviation * np.pi / 2 / np.sqrt(window * len(table))  # a median has pi/2 the variance of a mean, twice
    bottom = begin + int(np.argmin(curve[begin:usable]))
    fall = start - float(curve[bottom])
    if bottom >= len(curve) - window // 2:
        error *= np.sqrt(2)  # at the end a median has half the neighbours
    if not fall > max(CLEAR * error, 1e-6 * abs(start)):
        return RateRange(median=shown, reason=f"the loss never falls clearly: by {fall:.3g}, where its noise is {error:.3g}")
    if bottom >= len(curve) - 1 - window // 2:
        return RateRange(median=shown, reason=f"the loss still falls at the highest rate, {rate[-1]:.3g}; go on higher")
    low = np.flatnonzero(curve[:usable] <= curve[bottom] + CLEAR * error)
    last = int(low[-1])
    edge = float(rate[last]) if last < len(curve) - 1 else None
    slope = np.gradient(np.convolve(np.pad(curve[: bottom + 1], window // 2, mode="edge"), np.ones(window) / window, mode="valid"))
    fastest = float(rate[int(np.argmin(slope))])
    return RateRange(median=shown, suggestion=min(fastest, (rate[-1] if edge is None else edge) / 10), edge=edge)


def running_median(values: ArrayLike, window: int) -> NDArray[np.float64]:
    """The median of each value and its neighbours; beyond the ends they are mirrored.

    Args:
        values: Shape ``(n,)``.
        window: An odd number of values.

    >>> running_median([1, 9, 1, 1, 2], 3).tolist()
    [9.0, 1.0, 1.0, 1.0, 1.0]
    """
    padded = np.pad(np.asarray(values, dtype=np.float64), window // 2, mode="reflect")
    median: NDArray[np.float64] = np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)
    return median
