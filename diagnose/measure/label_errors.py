"""Suspected label errors by confident learning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 10_000
LISTED = 100

Ints = NDArray[np.int64]


def label_errors(probability: NDArray[np.floating], target: Ints, *, listed: int = LISTED) -> dict[str, Any]:
    """Samples that most probably belong to another class than their label says.

    A sample counts for the class of its highest probability among those classes that it reaches the mean self-confidence of. Where that
    is another class than the label, the label is suspected. The estimated number of errors is that of the counts, scaled to the number of
    samples of each label.

    Args:
        probability: Shape ``(n, C)``.
        target: Labels, shape ``(n,)``.
        listed: The most samples to list.

    Returns:
        ``n`` suspected, ``estimated`` errors, ``pairs`` of classes (label, suggested, count), and ``samples``, the least self-confident
        first: ``row``, ``label``, ``suggested``, ``self_confidence``, ``probability`` of the suggested class.

    References:
        Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70 (2021), equations 1 to 3.
    """
    n, classes = probability.shape
    own = probability[np.arange(n), target]
    support = np.bincount(target, minlength=classes)
    usual = np.bincount(target, weights=own, minlength=classes) / np.maximum(support, 1)
    usual[support == 0] = np.inf
    guess = np.empty(n, dtype=np.int64)
    for start in range(0, n, BLOCK):
        part = probability[start : start + BLOCK]
        reached = np.where(part >= usual, part, -1.0)
        best = reached.argmax(1)
        guess[start : start + BLOCK] = np.where(reached[np.arange(len(part)), best] >= 0, best, -1)
    counted = guess >= 0
    suspects = np.flatnonzero(counted & (guess != target))
    confident = np.bincount(target[counted], minlength=classes)
    off = np.bincount(target[suspects], minlength=classes)
    estimated = float((off * support / np.maximum(confident, 1)).sum())
    first = suspects[np.argsort(own[suspects], kind="stable")][:listed]
    pairs, count = np.unique(target[suspects] * classes + guess[suspects], return_counts=True)
    largest = np.argsort(-count, kind="stable")[:listed]
    return {
        "n": len(suspects),
        "estimated": estimated,
        "pairs": [[int(pairs[i] // classes), int(pairs[i] % classes), int(count[i])] for i in largest],
        "samples": [
            {
                "row": int(row),
                "label": int(target[row]),
                "suggested": int(guess[row]),
                "self_confidence": float(own[row]),
                "probability": float(probability[row, guess[row]]),
            }
            for row in first
        ],
    }
