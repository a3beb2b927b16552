"""Predictions of any origin, checked: the task that they are of, and arrays that fit each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TASKS = ("binary", "multiclass", "multilabel", "regression", "next-token")
BLOCK = 65_536

Bounds = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """Targets and predictions that fit each other.

    Attributes:
        task: One of `TASKS`.
        target: Class indices or values, shape ``(n,)``, or ``(n, k)`` for several labels or outputs.
        prediction: The same shape.
        probability: Shape ``(n, C)``, or ``(n, k)`` for several labels, or ``None``.
        classes: Number of classes ``C`` or of labels, 0 for values.
        loss: Loss of each sample, shape ``(n,)``, where it is known.
    """

    task: str
    target: NDArray[Any]
    prediction: NDArray[Any]
    probability: NDArray[Any] | None
    classes: int
    loss: NDArray[Any] | None


def given(
    target: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    task: str | None = None,
) -> Given:
    """Check predictions, and find their task where it is not given: integers are classes, of shape ``(n, k)`` labels; else values.

    Raises:
        ValueError: Shapes or kinds do not fit, there is no sample, or a number is not finite or no probability.
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"expected a task among {', '.join(TASKS)}, got {task!r}")
    target, prediction = np.asarray(target), np.asarray(prediction)
    probability = None if probability is None else np.asarray(probability)
    if target.shape != prediction.shape or not target.size:
        raise ValueError(f"expected as many predictions as targets, at least one, got {prediction.shape!r} and {target.shape!r}")
    for what, values in (("target", target), ("prediction", prediction)):
        if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_):
            raise ValueError(
                f"expected class indices (integers) or values, got {what} {values.flat[0]!r}: number the classes and pass class_names"
            )
    for what, array in (("target", target), ("prediction", prediction), ("probability", probability)):
        check_finite(what, array)
    whole = all(np.issubdtype(a.dtype, np.integer) or a.dtype == np.bool_ for a in (target, prediction))
    task = task or ("regression" if not whole else "multilabel" if target.ndim == 2 else None)
    if task == "regression":
        if probability is not None:
            raise ValueError(
                f"expected class indices (integers) beside probabilities, got {target.dtype} targets and {prediction.dtype} predictions"
            )
        square = ((target - prediction.astype(np.float64)) ** 2).reshape(len(target), -1).mean(1)
        return Given(task=task, target=target, prediction=prediction, probability=None, classes=0, loss=square)
    if not whole:
        raise ValueError(f"expected class indices (integers) for the task {task}, got {target.dtype} and {prediction.dtype}")
    target, prediction = target.astype(np.int64, copy=False), prediction.astype(np.int64, copy=False)
    if task == "multilabel":
        return labels(target, prediction, probability)
    if target.ndim != 1:
        raise ValueError(f"expected one class per sample, got targets of shape {target.shape!r}")
    for what, array in (("target", target), ("prediction", prediction)):
        if len(array) and array.min() < 0:
            row = int(np.flatnonzero(array < 0)[0])
            known = f"{what} {array[row].tolist()!r} in row {row} (counted from 0)"
            raise ValueError(f"expected class indices from 0, got {known}: leave out what has no label")
    columns = 0 if probability is None else probability.shape[-1]
    classes = max(2, columns, len(class_names or ()), int(max(target.max(), prediction.max())) + 1)
    loss = None
    if probability is not None:
        from diagnose.measure.calibration import log_losses

        check_probabilities(probability, len(target), classes)
        loss = log_losses(probability, target)
    task = task or ("binary" if classes == 2 else "multiclass")
    return Given(task=task, target=target, prediction=prediction, probability=probability, classes=classes, loss=loss)


def labels(target: NDArray[Any], prediction: NDArray[Any], probability: NDArray[Any] | None) -> Given:
    """Several labels per sample, each 0 or 1."""
    if target.ndim != 2:
        raise ValueError(f"expected several labels per sample, shape (n, k), got {target.shape!r}")
    for what, array in (("target", target), ("prediction", prediction)):
        if len(odd := np.flatnonzero(((array != 0) & (array != 1)).any(1))):
            raise ValueError(f"expected labels that are 0 or 1, got {what} {array[odd[0]].tolist()!r} in row {odd[0]} (counted from 0)")
    loss = None
    if probability is not None:
        if probability.shape != target.shape:
            raise ValueError(f"expected probabilities of shape {target.shape!r}, a column per label, got {probability.shape!r}")
        off = np.flatnonzero(((probability < 0) | (probability > 1)).any(1))
        if len(off):
            raise ValueError(f"expected probabilities from 0 to 1, got {probability[off[0]].tolist()!r} in row {off[0]} (counted from 0)")
        epsilon = float(np.finfo(probability.dtype).eps)
        own = np.where(target == 1, probability, 1 - probability)
        loss = -np.log(np.clip(own, epsilon, 1 - epsilon)).mean(1)
    return Given(task="multilabel", target=target, prediction=prediction, probability=probability, classes=target.shape[1], loss=loss)


def check_finite(what: str, array: NDArray[Any] | None) -> None:
    """Whether all numbers are finite, block by block."""
    if array is None or not np.issubdtype(array.dtype, np.floating):
        return
    for start in range(0, len(array), BLOCK):
        part = array[start : start + BLOCK]
        if not np.isfinite(part).all():
            row = start + int(np.flatnonzero(~np.isfinite(part).reshape(len(part), -1).all(1))[0])
            raise ValueError(f"expected finite numbers, got {what} {array[row].tolist()!r} in row {row} (counted from 0)")


def check_probabilities(probability: NDArray[Any], n: int, classes: int) -> None:
    """Whether each row is a distribution over the classes, to a hundredth."""
    if probability.shape != (n, classes):
        raise ValueError(f"expected probabilities of shape {(n, classes)!r}, a column per class, got {probability.shape!r}")
    off: list[int] = []
    for start in range(0, n, BLOCK):
        part = probability[start : start + BLOCK]
        off += (start + np.flatnonzero(~((np.abs(part.sum(1) - 1) < 1e-2) & (part.min(1) >= 0)))).tolist()
    if off:
        raise ValueError(
            f"expected probabilities from 0 to 1 that sum to 1, got {probability[off[0]].tolist()!r} in row {off[0]} (counted from 0), "
            f"{len(off)} such rows: apply softmax to logits"
        )
