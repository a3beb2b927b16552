"""All numbers of one evaluated loader as JSON values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.class_summary import class_summary
from diagnose.measure.given import Bounds
from diagnose.measure.json_values import plain_tree
from diagnose.measure.label_summary import label_summary
from diagnose.measure.slices import weak_slices
from diagnose.measure.value_summary import value_summary

CLASS = "true class"  # the column of slices that every classifier has


def summary(
    task: str,
    target: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any] | None = None,
    *,
    classes: int = 0,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    loss: NDArray[Any] | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
    bounds: Bounds | None = None,
    group: NDArray[Any] | None = None,
) -> dict[str, Any]:
    """The numbers of one loader.

    Args:
        task: ``binary``, ``multiclass``, ``next-token``, ``multilabel`` or ``regression``.
        target: Class indices or values, shape ``(n,)``, or ``(n, k)`` for several labels or outputs.
        prediction: The same shape.
        probability: Shape ``(n, C)``, or ``(n, k)`` for several labels.
        classes: Number of classes ``C``.
        class_names: A name per class or label.
        seed: Seed of the resampling for intervals.
        loss: Loss of each sample, shape ``(n,)``; the perplexity of a next-token model without probabilities is made of it.
        columns: What is known of the samples beside, each of shape ``(n,)``, for slices.
        bounds: Predicted intervals of values, see `diagnose.measure.regression.coverage`.
        group: Of classes, the sequence, image or patient that each sample belongs to, shape ``(n,)``; intervals are over these, as
            samples of one are not independent.
    """
    names = [str(name) for name in class_names] if class_names is not None else [str(i) for i in range(classes)]
    if task == "regression":
        entry = value_summary(target, prediction, seed, bounds)
    elif task == "multilabel":
        entry = label_summary(target, prediction, probability, names, seed)
    else:
        entry = class_summary(task, target, prediction, probability, names, seed, loss, group)
    columns = dict(columns or {})
    if task in ("binary", "multiclass", "next-token"):
        columns = {CLASS: target, **columns}
    if columns:
        score = score_of(task, target, prediction)
        entry["slices"] = plain_tree(weak_slices(score, columns, share=task != "regression", names={CLASS: names}))
    return {**entry, "fingerprint": fingerprint(target)}


def score_of(task: str, target: NDArray[Any], prediction: NDArray[Any]) -> NDArray[np.float64]:
    """What slices are compared by, higher is better: right or wrong, or minus the absolute error, shape ``(n,)``."""
    if task == "regression":
        error = np.abs(np.asarray(prediction, dtype=np.float64) - target)
        return np.asarray(-error.reshape(len(target), -1).mean(1))
    right = np.asarray(prediction) == target
    return np.asarray(right.reshape(len(right), -1).all(1), dtype=np.float64)


def fingerprint(target: NDArray[Any]) -> str:
    """Tells targets in their order apart: two evaluations with the same one are on the same samples, as far as targets can say.

    >>> fingerprint(np.array([0, 1], dtype=np.int32)) == fingerprint(np.array([0, 1]))
    True
    """
    whole = np.issubdtype(target.dtype, np.integer) or target.dtype == np.bool_
    table = np.ascontiguousarray(target, dtype=np.int64 if whole else np.float32)
    return hashlib.sha256(str(table.shape).encode() + table.tobytes()).hexdigest()[:16]
