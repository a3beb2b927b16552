"""Errors of predicted values, as functions of means over samples, so that resampling needs the means only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
