"""What the nearest training rows tell about a validation row: a model of no training, to hold the trained one against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diagnose.experiments.data_fields import Target
from diagnose.experiments.data_sample import Sample

TRAIN, HELD_OUT = 1024, 256  # rows
COLUMNS = 256
NEIGHBOURS = 5
FEWEST = 50  # rows of each part


def nearest(train: Sample, val: Sample, path: str, targets: tuple[Target | None, Target | None]) -> dict[str, Any] | None:
    """What the five nearest training rows, in standardised inputs, tell of the targets of validation rows.

    Equal rows are passed over, so that copies do not count.

    Returns:
        ``rows`` (validation rows) and ``neighbours``. For classes the ``accuracy`` of the neighbours' majority, ``majority`` (the share of
        the largest class) and ``classes``; for values the share of the variance that the neighbours' mean has ``explained``, and its
        standard ``error``. ``None`` where the inputs are no real numbers of one shape, or the targets not one class or value per row.
    """
    first, second = train.of(path), val.of(path)
    if first is None or second is None or first.shape[1:] != second.shape[1:] or not first.is_floating_point():
        return None
    kinds = {None if t is None else t.kind for t in targets}
    if kinds not in ({"class"}, {"value"}):
        return None
    mine, theirs = (t.values for t in targets if t is not None)
    a, own = table(first, TRAIN), spread(mine, TRAIN)
    b, held_out = table(second, HELD_OUT), spread(theirs, HELD_OUT)
    if min(len(a), len(b)) < FEWEST or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    close = own[np.argpartition(distances(a, b), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]
    fact = {"rows": len(held_out), "neighbours": NEIGHBOURS}
    return {**fact, **_votes(close, own, held_out)} if kinds == {"class"} else {**fact, **_means(close, held_out)}


def distances(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Squares of the distances of the rows of ``b`` from those of ``a``, shape ``(len(b), len(a))``; infinite for equal rows.

    Columns are measured in standard deviations of ``a``.
    """
    scale = np.where(a.std(0) > 0, a.std(0), np.inf)
    a, b = (a - a.mean(0)) / scale, (b - a.mean(0)) / scale
    squares: NDArray[np.float64] = (b**2).sum(1)[:, None] + (a**2).sum(1)[None] - 2 * b @ a.T
    squares[squares < 1e-9 * a.shape[1]] = np.inf
    return squares


def _votes(close: NDArray[Any], own: NDArray[Any], held_out: NDArray[Any]) -> dict[str, Any]:
    classes = np.unique(own)
    votes = (close[:, :, None] == classes).sum(1)
    counts = np.unique(held_out, return_counts=True)[1]
    right = float((classes[votes.argmax(1)] == held_out).mean())
    return {"accuracy": right, "majority": float(counts.max() / counts.sum()), "classes": len(classes)}


def _means(close: NDArray[Any], held_out: NDArray[Any]) -> dict[str, float]:
    variance = max(float(held_out.var()), 1e-300)
    left = (close.mean(1) - held_out) ** 2 / variance
    return {"explained": float(1 - left.mean()), "error": float(left.std() / len(left) ** 0.5)}


def table(rows: Tensor, most: int) -> NDArray[np.float64]:
    """Some of the columns of some of the rows: images have many more than are needed."""
    flat = spread(rows.flatten(1).numpy(), most)
    return flat[:, :: max(1, flat.shape[1] // COLUMNS)].astype(np.float64)


def spread(rows: NDArray[Any], most: int) -> NDArray[Any]:
    """At most so many rows, spread over all."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
