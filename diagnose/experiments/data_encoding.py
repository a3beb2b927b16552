"""Whether a column of a table holds means of the target that were taken over training and validation rows together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diagnose.experiments.data_fields import Array, Target
from diagnose.experiments.data_sample import Sample

FEWEST = 30  # values that stand in both parts
LEFT = 1e-4  # of the variance per row: less is rounding
PROBED, COLUMNS = 256, 256
TOLD = 0.02  # of the target's variance: less is a column that means nothing


def encoding(train: Sample, val: Sample, inputs: Sequence[str], targets: tuple[Target | None, Target | None]) -> dict[str, Any] | None:
    """The column of which training and validation rows cancel most.

    A mean of the target over all rows of a group, put in the place of the group, leaves nothing over when the rows of the group are summed:
    where those in training lie above it, those in validation lie below. Means of other rows, or a column that is no mean, leave residuals
    that have nothing to do with each other, and means of the training rows alone leave none there.

    Returns:
        ``path``, ``column``, ``values`` (distinct values of the column that stand in both parts), ``correlation`` over these of what is
        left of the sums of the target in training and in validation, and ``told``, the share of the target's variance that a line over
        the column explains. ``None`` without a column of which at least 30 values recur in both parts and that tells 2 % of the target,
        which is a number or one of two classes.
    """
    first, second = targets
    if first is None or second is None or first.kind != second.kind or first.kind not in ("class", "value"):
        return None
    own, theirs = first.values.astype(float), second.values.astype(float)
    if not (np.isfinite(own).all() and np.isfinite(theirs).all()) or (first.kind == "class" and len(np.unique(own)) != 2):
        return None
    found: list[tuple[float, str, int, int, float]] = []
    for path in inputs:
        rows, held = train.of(path), val.of(path)
        if rows is None or held is None or rows.dim() != 2 or held.dim() != 2 or rows.shape[1] != held.shape[1]:
            continue
        if not rows.is_floating_point() or len(rows) != len(own) or len(held) != len(theirs):
            continue
        for k in _recurring(rows):
            left = _left(rows[:, k].double().numpy(), own, held[:, k].double().numpy(), theirs)
            if left is not None:
                found.append((left[0], path, k, left[1], left[2]))
    if not found:
        return None
    correlation, path, column, values, told = min(found)
    return {"path": path, "column": column, "values": values, "correlation": correlation, "told": told}


def _recurring(rows: Tensor) -> list[int]:
    """The columns, of `COLUMNS` at most, of which values recur among the first rows: others hold real numbers of their own in each row."""
    columns = torch.arange(0, rows.shape[1], max(1, -(-rows.shape[1] // COLUMNS)))
    recurs = (rows[:PROBED, columns].sort(0).values.diff(dim=0) == 0).any(0)
    return [int(k) for k in columns[recurs]]


def _left(x: Array, y: Array, held: Array, theirs: Array) -> tuple[float, int, float] | None:
    """Correlation of the residuals, number of values in both parts, and share of the variance that the line explains."""
    values, place = np.unique(np.concatenate([x, held]), return_inverse=True)
    if not np.isfinite(values).all() or not FEWEST <= len(values) <= len(place) // 2:
        return None
    size = len(values)
    n, m = np.bincount(place[: len(x)], minlength=size), np.bincount(place[len(x) :], minlength=size)
    s, t = np.bincount(place[: len(x)], y, size), np.bincount(place[len(x) :], theirs, size)
    both = (n > 0) & (m > 0)
    if both.sum() < FEWEST:
        return None
    slope, _ = np.polyfit(values, (s + t) / (n + m), 1, w=np.sqrt(n + m))
    told = float((slope * np.concatenate([x, held])).var() / max(np.concatenate([y, theirs]).var(), 1e-300))
    a, b = _residuals(values[both], n[both], s[both]), _residuals(values[both], m[both], t[both])
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    alive = min((a**2).sum() / len(x) / y.var(), (b**2).sum() / len(held) / theirs.var()) if y.var() and theirs.var() else 0.0
    return (float((a * b).sum()) / norm, int(both.sum()), told) if alive > LEFT and told >= TOLD else None


def _residuals(values: Array, count: Array, total: Array) -> Array:
    """What is left of the sums of each value, per root of its rows, by the best mean drawn to any other: (n v + k (v - m)) a + n b."""
    design = np.column_stack([count * values, count, values, np.ones(len(values))]) / np.sqrt(count)[:, None]
    goal = total / np.sqrt(count)
    left: Array = goal - design @ np.linalg.lstsq(design, goal, rcond=None)[0]
    return left
