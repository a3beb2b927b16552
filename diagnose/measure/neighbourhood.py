"""What the neighbours of a sample tell: k-NN accuracy and silhouette of the labels in a layer, trustworthiness of a map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10
BLOCK = 500  # rows whose distances to all others are held at once
EXACT = 2e10  # multiplications of the distances; above it they are made in single precision

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def measure(features: Floats, labels: NDArray[Any] | None, place: Floats | None, notes: list[str]) -> dict[str, float | None]:
    """k-NN accuracy and silhouette of the labels in a layer, trustworthiness of a map of it.

    Args:
        features: Of the layer, shape ``(n, d)``.
        labels: Classes, shape ``(n,)``.
        place: The map, shape ``(n, 2)``; ``None`` where the layer has none, being constant.
        notes: What is out of the ordinary is added here.
    """
    found: dict[str, float | None] = {}
    own = counts = None
    if labels is not None:
        _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
        found["chance"] = float(counts.max() / len(own))
        if len(counts) < 2:
            notes.append("the samples have one class only")
            own = None
        elif place is None:
            found["knn_accuracy"] = found["chance"]
    if place is not None:
        votes, scores, missed = [], [], 0.0
        k = min(NEIGHBOURS, (len(features) - 1) // 2)
        for rows, distance in distances(features):
            if own is not None and counts is not None:
                votes.append(agreement(rows, distance, own, len(counts)))
                scores.append(silhouettes(rows, np.sqrt(distance), own, counts))
            missed += intruders(rows, distance, place, k)
        if votes:
            found["knn_accuracy"] = float(np.concatenate(votes).mean())
            found["silhouette"] = float(np.concatenate(scores).mean())
        n = len(features)
        found["trustworthiness"] = 1.0 - missed * 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0))
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def distances(features: Floats) -> Iterator[tuple[Ints, Floats]]:
    """Squared distances of a block of rows to all rows, shape ``(b, n)``, one block after the other."""
    n, d = features.shape
    table = features if n * n * d < EXACT else features.astype(np.float32)
    squares = (table**2).sum(1)
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        distance = squares[rows, None] + squares[None, :] - 2 * table[rows] @ table.T
        yield rows, np.maximum(distance, 0.0).astype(np.float64)


def nearest(rows: Ints, distance: Floats, k: int) -> Ints:
    """The ``k`` nearest others of each row, in no order, shape ``(b, k)``."""
    apart = distance.copy()
    apart[np.arange(len(rows)), rows] = np.inf
    k = min(k, distance.shape[1] - 1)
    found: Ints = np.argpartition(apart, k - 1, axis=1)[:, :k]
    return found


def agreement(rows: Ints, distance: Floats, own: Ints, classes: int, k: int = NEIGHBOURS) -> NDArray[np.bool_]:
    """Whether the class of a sample is that of most of its ``k`` nearest others; ties go to the smallest class number."""
    near = nearest(rows, distance, k)
    votes = np.zeros((len(rows), classes), dtype=np.int64)
    np.add.at(votes, (np.repeat(np.arange(len(rows)), near.shape[1]), own[near].reshape(-1)), 1)
    return np.asarray(votes.argmax(1) == own[rows])


def silhouettes(rows: Ints, distance: Floats, own: Ints, counts: Ints) -> Floats:
    """(b − a) / max(a, b) of each row: a to the own class, b to the nearest other; 0 for a class of one.

    References:
        Rousseeuw, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, J. Comput. Appl. Math. 20 (1987).
    """
    sums = distance @ np.eye(len(counts))[own]
    at, mine = np.arange(len(rows)), own[rows]
    inner = sums[at, mine] / np.maximum(counts[mine] - 1, 1)
    outer = sums / counts
    outer[at, mine] = np.inf
    other = outer.min(1)
    larger = np.maximum(inner, other)
    score: Floats = np.divide(other - inner, larger, out=np.zeros(len(rows)), where=(larger > 0) & (counts[mine] > 1))
    return score


def intruders(rows: Ints, distance: Floats, place: Floats, k: int) -> float:
    """How far down the ranks of the layer the ``k`` neighbours in the map stand, summed over what is beyond ``k``.

    References:
        Venna and Kaski, Neighborhood preservation in nonlinear projection methods, ICANN (2001), equation 1: trustworthiness.
    """
    apart = ((place[rows, None, :] - place[None, :, :]) ** 2).sum(2)
    total = 0.0
    at = np.arange(len(rows))
    layer = distance.copy()
    layer[at, rows] = np.inf
    for neighbour in nearest(rows, apart, k).T:
        rank = 1 + (layer < layer[at, neighbour][:, None]).sum(1)
        total += float(np.maximum(rank - k, 0).sum())
    return total
