"""How unlike the training data the validation data are: inputs column by column, labels class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.experiments.data_fields import VALUES, Target, columns
from diagnose.experiments.data_sample import Sample
from diagnose.experiments.data_windows import overlapping

LEVELS = np.linspace(0.01, 0.99, 99)
GRADES = 10  # different quantiles below which a feature is too coarse to compare its spread
Array = NDArray[Any]


def inputs(train: Sample, val: Sample, path: str) -> dict[str, Any] | None:
    """One field of training against validation.

    The *distance* of a feature is the mean distance between the 1 … 99 % quantiles of its values, in standard deviations of the training
    values (the 1-Wasserstein distance but for the tails): 1 for a shift by one standard deviation.

    Returns:
        ``rows`` ``[train, val]``; ``axis`` and ``features`` (how many vary in training); ``shifted``: how many have a distance above 1 or
        another spread by a factor of 3; ``worst`` ``{"column", "distance", "ratio", "train_mean", "train_std", "val_mean", "val_std"}``,
        where ``ratio`` is that of the widths between the 10 % and the 90 % quantile, validation to training (1 for coarse features);
        ``image``: the same numbers (``column`` is -1) over all values of a field with rows of three or more axes, else ``None``;
        ``windows``: whether the rows are overlapping windows of one series; ``noise``: the distance to expect from the number of rows
        alone. ``None`` where there is nothing to compare.
    """
    first, second = train.of(path), val.of(path)
    if first is None or second is None or first.dim() != second.dim() or min(len(first), len(second)) < 2:
        return None
    a, b = (t.numpy().astype(np.float64) for t in (first, second))
    found, other = columns(a), columns(b)
    if found is None or other is None or found[0].shape[1] != other[0].shape[1]:
        return None
    table, table_val = (t[:: max(1, t.size // VALUES)] for t in (found[0], other[0]))
    facts: dict[str, Any] = {"rows": [len(a), len(b)], "axis": found[1], "features": 0, "shifted": 0, "worst": None, "image": None}
    facts["noise"] = float(np.sqrt(1 / len(a) + 1 / len(b)))
    facts["windows"] = found[1] == "column" and overlapping(found[0])
    varying = np.flatnonzero(table.max(0) > table.min(0))
    for column in varying:
        one = _compare(table[:, column], table_val[:, column], int(column))
        if one is None:
            continue
        facts["features"] += 1
        facts["shifted"] += bool(one["distance"] > 1 or not 1 / 3 < one["ratio"] < 3)
        if facts["worst"] is None or one["distance"] > facts["worst"]["distance"]:
            facts["worst"] = one
    if a.ndim > 3:
        facts["image"] = _compare(table.reshape(-1), table_val.reshape(-1), -1)
        facts["noise"] *= max(0.1, float(a.reshape(len(a), -1).mean(1).std()) / max(float(a.std()), 1e-12))
    return facts if facts["worst"] is not None else None


def _compare(a: Array, b: Array, column: int) -> dict[str, Any] | None:
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if len(a) < 2 or len(b) < 2 or not a.std() > 1e-12 * max(1.0, float(np.abs(a).max())):
        return None
    low, high = np.quantile(a, [0.001, 0.999])
    scale = float(np.clip(a, low, high).std()) or float(a.std())
    first, second = np.quantile(a, LEVELS), np.quantile(b, LEVELS)
    distance = float(np.abs(first - second).mean()) / scale
    width = first[89] - first[9]
    ratio = float((second[89] - second[9]) / width) if width > 0 and len(np.unique(first)) >= GRADES else 1.0
    moments = {"train_mean": float(a.mean()), "train_std": float(a.std()), "val_mean": float(b.mean()), "val_std": float(b.std())}
    return {"column": column, "distance": distance, "ratio": ratio, **moments}


def labels(train: Target, val: Target) -> dict[str, Any]:
    """The classes of training against those of validation.

    Returns:
        ``train`` and ``val``: rows per class; ``missing``: classes of training that validation lacks, with the rows ``expected`` of them,
        and ``missing_share``, their share of training; ``unseen``: classes of validation that training lacks, with their rows ``found``,
        and ``unseen_share``, their share of validation; ``distance``: half the summed difference of the shares (total variation), and
        ``noise``, what it is when nothing but chance differs; ``train_evenness`` and ``val_evenness``: entropy of the classes over its
        maximum.
    """
    train, val = (Target(t.kind, t.values[t.values >= 0]) if (t.values >= 0).any() else t for t in (train, val))  # negative: no label
    classes = np.union1d(train.values, val.values)
    a, b = (np.array([(t.values == c).sum() for c in classes], dtype=np.float64) for t in (train, val))
    p, q = a / a.sum(), b / b.sum()
    pooled = (a + b) / (a + b).sum()
    noise = float(np.sqrt(pooled * (1 - pooled) * (1 / a.sum() + 1 / b.sum()) * 2 / np.pi).sum() / 2)  # mean of |N(0, s²)| is s √(2/π)
    missing = [{"class": int(c), "expected": float(s * b.sum())} for c, s, n in zip(classes, p, b, strict=True) if n == 0]
    unseen = [{"class": int(c), "found": int(n)} for c, m, n in zip(classes, a, b, strict=True) if m == 0]
    facts: dict[str, Any] = {
        "train": {str(int(c)): int(n) for c, n in zip(classes, a, strict=True)},
        "val": {str(int(c)): int(n) for c, n in zip(classes, b, strict=True)},
        "missing": missing,
        "missing_share": float(p[b == 0].sum()),
        "unseen": unseen,
        "unseen_share": float(q[a == 0].sum()),
    }
    evenness = {"train_evenness": _evenness(p), "val_evenness": _evenness(q)}
    return {**facts, "distance": float(np.abs(p - q).sum() / 2), "noise": noise, **evenness}


def _evenness(shares: Array) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum() / np.log(len(shares))) if len(shares) > 1 else 0.0


def values(train: Target, val: Target) -> dict[str, Any] | None:
    """Regression targets of training against validation: see `inputs`, ``worst``."""
    return _compare(train.values.reshape(-1), val.values.reshape(-1), -1)
