"""What the nearest training rows tell about a validation row: a model of no training, to hold the trained one against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diagnose.experiments.data_fields import Target
from diagnose.experiments.data_reading import Sample

TRAIN, HELD_OUT = 1024, 256  # rows
COLUMNS = 256
NEIGHBOURS = 5
FEWEST = 50  # rows of each part


def nearest(train: Sample, val: Sample, path: str, targets: tuple[Target | None, Target | None]) -> dict[str, Any] | None:
    """Accuracy of the majority among the five nearest training rows, in standardised inputs, on validation rows.

    Equal rows are passed over, so that copies do not count.

    Returns:
        ``accuracy`` over ``rows`` validation rows, ``majority`` (the share of their largest class), ``classes``, ``neighbours``. ``None``
        where the inputs are no real numbers of one shape, or the targets not one class per row.
    """
    first, second = train.of(path), val.of(path)
    if first is None or second is None or first.shape[1:] != second.shape[1:] or not first.is_floating_point():
        return None
    if any(t is None or t.kind != "class" for t in targets):
        return None
    mine, theirs = (t.values for t in targets if t is not None)
    a, own = _table(first, TRAIN), _spread(mine, TRAIN)
    b, held_out = _table(second, HELD_OUT), _spread(theirs, HELD_OUT)
    if min(len(a), len(b)) < FEWEST or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    scale = np.where(a.std(0) > 0, a.std(0), np.inf)
    a, b = (a - a.mean(0)) / scale, (b - a.mean(0)) / scale
    distances = (b**2).sum(1)[:, None] + (a**2).sum(1)[None] - 2 * b @ a.T
    distances[distances < 1e-9 * a.shape[1]] = np.inf
    close = own[np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]
    classes = np.unique(own)
    votes = (close[:, :, None] == classes).sum(1)
    counts = np.unique(held_out, return_counts=True)[1]
    return {
        "accuracy": float((classes[votes.argmax(1)] == held_out).mean()),
        "rows": len(held_out),
        "majority": float(counts.max() / counts.sum()),
        "classes": len(classes),
        "neighbours": NEIGHBOURS,
    }


def _table(rows: Tensor, most: int) -> NDArray[np.float64]:
    """Some of the columns of some of the rows: images have many more than are needed."""
    flat = _spread(rows.flatten(1).numpy(), most)
    return flat[:, :: max(1, flat.shape[1] // COLUMNS)].astype(np.float64)


def _spread(rows: NDArray[Any], most: int) -> NDArray[Any]:
    """At most so many rows, spread over all."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
