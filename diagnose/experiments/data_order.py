"""The order in which a loader gives its samples: mixed, or sorted by what is to be learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from diagnose.experiments.data_fields import Target
from diagnose.experiments.data_sample import Sample

SHUFFLES = 24
ROWS = 8  # rows that a batch is pooled to before its labels are counted
PARTS = 4  # of the epoch


def order(sample: Sample, found: Target) -> dict[str, Any] | None:
    """How much the targets of a batch resemble each other, against batches drawn at random.

    Args:
        sample: What was read.
        found: Its targets, of kind ``class`` or ``value``.

    Returns:
        ``order`` (see `Sample`); ``kind``; ``batches`` (blocks of consecutive batches with at least 8 rows) and ``size``, their mean
        length; ``within``: the mean entropy of a batch's labels in nats, or the mean variance of its values; ``expected`` and ``noise``:
        its mean and standard deviation over random orders; ``ratio`` = within / expected; ``z`` = (within - expected) / noise;
        ``along``: how much the quarter of the epoch tells of the target, beyond what it does with the batches in a random order, of what it
        can tell: 0 where the next batch may hold any other classes, 1 where the whole epoch is sorted;
        ``trend``: the rank correlation of value and position (``0`` for classes). ``None`` with fewer than two batches or one target.
    """
    length = max(1, -(-ROWS * len(sample.sizes) // max(1, sample.count)))
    length = min(length, sample.block) if sample.block > 1 else length
    edges = np.concatenate([[0], np.cumsum(sample.sizes)])[::length]
    if edges[-1] != sample.count:
        edges = np.append(edges, sample.count)
    batch = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    values = found.values
    if len(edges) < 3 or len(np.unique(values)) < 2:
        return None
    classes = np.unique(values, return_inverse=True)[1] if found.kind == "class" else None
    draw = np.random.default_rng(0)
    within = _within(batch, values, classes)
    shuffles = [draw.permutation(len(values)) for _ in range(SHUFFLES)]
    random = np.array([_within(batch, values[p], None if classes is None else classes[p]) for p in shuffles])
    expected, noise = float(random.mean()), float(random.std())
    trend = 0.0 if classes is not None else float(spearmanr(np.arange(len(values)), values).statistic)
    facts = {"order": sample.order, "kind": found.kind, "batches": len(edges) - 1, "size": len(values) / (len(edges) - 1)}
    facts |= {"within": within, "expected": expected, "noise": noise, "ratio": within / max(expected, 1e-12)}
    quarter = np.arange(len(values)) * PARTS // len(values)
    moved = [np.argsort(draw.permutation(len(edges) - 1)[batch], kind="stable") for _ in range(SHUFFLES)]
    mixed = float(np.mean([_within(quarter, values[p], None if classes is None else classes[p]) for p in moved]))
    least = 0.0 if classes is None else max(0.0, _within(np.zeros(len(values), int), values, classes) - float(np.log(PARTS)))
    facts["along"] = (mixed - _within(quarter, values, classes)) / max(mixed - least, 1e-12)
    return {**facts, "z": (within - expected) / max(noise, 1e-9), "trend": trend}


def _within(batch: NDArray[Any], values: NDArray[Any], classes: NDArray[Any] | None) -> float:
    """Mean entropy of the batches' labels, or mean variance of their values."""
    sizes = np.bincount(batch)
    if classes is None:
        centred = values - values.mean()
        means = np.bincount(batch, centred) / sizes
        return float(((np.bincount(batch, centred**2) / sizes - means**2) * sizes).sum() / sizes.sum())
    count = int(classes.max()) + 1
    shares = np.bincount(batch * count + classes, minlength=len(sizes) * count).reshape(-1, count) / sizes[:, None]
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(1)
    return float((entropy * sizes).sum() / sizes.sum())
