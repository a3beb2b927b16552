"""Errors of predicted values; the headline ones as functions of means over samples, so that resampling needs the means only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.bootstrap import wilson

BINS = 30
PARTS = 10

Floats = NDArray[np.float64]


def moments(target: Floats, prediction: Floats) -> Floats:
    """What the errors are made of, per sample: |e|, then per output y, y², e²; shape ``(n, 1 + 3k)`` for values ``(n,)`` or ``(n, k)``."""
    y, p = (np.asarray(v, dtype=np.float64).reshape(len(v), -1) for v in (target, prediction))
    y, p = y - y.mean(0), p - y.mean(0)  # else y² − ȳ² loses its digits where the mean is large
    error = p - y
    return np.column_stack([np.abs(error).mean(1), y, y**2, error**2])


def errors(means: Floats) -> dict[str, Floats]:
    """MAE, RMSE and R², each the mean over outputs, from means of `moments`, shape ``(..., 1 + 3k)`` to ``(...)``.

    R² of an output without variance is 1 where it is met exactly, else 0, as in scikit-learn.

    >>> table = moments(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    >>> {name: round(float(value), 4) for name, value in errors(table.mean(0)).items()}
    {'mae': 0.3333, 'rmse': 0.5774, 'r2': 0.5}
    """
    outputs = (means.shape[-1] - 1) // 3
    y, squares, error = (means[..., 1 + i * outputs : 1 + (i + 1) * outputs] for i in range(3))
    variance = squares - y**2
    usable = variance > 1e-12 * np.maximum(squares, 1e-300)
    share = np.divide(error, variance, out=np.where(error > 0, 1.0, 0.0), where=usable)
    return {"mae": means[..., 0], "rmse": np.sqrt(np.maximum(error, 0.0)).mean(-1), "r2": (1 - share).mean(-1)}


def residuals(target: Floats, prediction: Floats) -> dict[str, Any]:
    """Prediction minus target: ``mean``, ``std``, ``median_absolute``, ``quantiles``, and a histogram (``edges``, ``count``).

    The histogram spans the 0.5 % to the 99.5 % quantile; what lies beyond is counted in its first and last bin.
    """
    error = (np.asarray(prediction, dtype=np.float64) - np.asarray(target, dtype=np.float64)).reshape(-1)
    levels = (0.0, 0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995, 1.0)
    at = dict(zip(map(str, levels), np.quantile(error, levels).tolist(), strict=True))
    low, high = at["0.005"], at["0.995"]
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    count, _ = np.histogram(np.clip(error, edges[0], edges[-1]), edges)
    return {
        "mean": float(error.mean()),
        "std": float(error.std()),
        "median_absolute": float(np.median(np.abs(error))),
        "quantiles": at,
        "edges": edges.tolist(),
        "count": count.tolist(),
    }


def by_quantile(target: Floats, prediction: Floats, parts: int = PARTS) -> list[dict[str, float]]:
    """Errors in tenths of the targets: ``low``, ``high``, ``n``, ``mae``, ``rmse``, ``bias`` (prediction minus target).

    Samples with equal targets stand in one part, so that there may be fewer.
    """
    y, error = np.asarray(target, dtype=np.float64), np.asarray(prediction, dtype=np.float64) - target
    edges = np.unique(np.quantile(y, np.linspace(0, 1, parts + 1)))
    place = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, max(0, len(edges) - 2))
    rows = []
    for part in np.unique(place):
        own, values = error[place == part], y[place == part]
        numbers = (values.min(), values.max(), np.abs(own).mean(), math.sqrt(float((own**2).mean())), own.mean())
        rows.append({"n": len(own), **dict(zip(("low", "high", "mae", "rmse", "bias"), map(float, numbers), strict=True))})
    return rows


def coverage(target: Floats, bounds: Mapping[str, tuple[Floats, Floats]]) -> list[dict[str, Any]]:
    """How often predicted intervals hold the target.

    Args:
        target: Shape ``(n,)``.
        bounds: Lower and upper ends, shape ``(n,)``, by the share of targets that they are meant to hold (``"0.9"``), or ``""``.

    Returns:
        Per interval: ``nominal`` (``None`` where it is not known), ``coverage`` with ``low`` and ``high`` (Wilson, 95 %), ``width``
        (mean), and ``score``, the mean interval score, which is lower for intervals that are narrow and right.

    References:
        Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, JASA 102 (2007), equation 43.
    """
    rows: list[dict[str, Any]] = []
    for level, (lower, upper) in bounds.items():
        inside = (target >= lower) & (target <= upper)
        low, high = wilson(float(inside.sum()), len(target))
        nominal = float(level) if level else None
        outside = np.maximum(lower - target, 0.0) + np.maximum(target - upper, 0.0)
        width = float((upper - lower).mean())
        score = None if nominal is None or nominal >= 1 else width + 2 / (1 - nominal) * float(outside.mean())
        rows.append({"nominal": nominal, "coverage": float(inside.mean()), "low": low, "high": high, "width": width, "score": score})
    return rows


def dealt(target: Floats, prediction: Floats) -> dict[str, float]:
    """MAE, RMSE and R² that these predictions would have on average if they were dealt to the samples at random, shape ``(n,)`` each."""
    y, p = np.asarray(target, dtype=np.float64), np.sort(np.asarray(prediction, dtype=np.float64))
    sums = np.r_[0.0, np.cumsum(p)]
    below = np.searchsorted(p, y)
    apart = (y * below - sums[below]) + (sums[-1] - sums[below] - y * (len(p) - below))
    square = float(y.var() + p.var() + (y.mean() - p.mean()) ** 2)
    variance = float(y.var())
    r2 = 1 - square / variance if variance > 0 else (1.0 if square == 0 else 0.0)
    return {"mae": float(apart.mean() / len(p)), "rmse": math.sqrt(square), "r2": r2}
