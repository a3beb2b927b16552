"""Numbers of a classifier, from the counts of (true, predicted) pairs and from its probabilities.

Classes are indices from 0. Undefined ratios (precision of a class that was never predicted, recall of a class without samples) are NaN
per class and count as 0 in averages; averages run over the classes that occur among targets or predictions, as in scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ZERO_DIVISION = (
    "undefined for a class without samples (recall) or that was never predicted (precision); counted as 0 in averages, "
    "which run over the classes that occur among targets or predictions"
)
WIDEST = 2000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cells:
    """The filled cells of a confusion matrix; one cell may stand several times, and its counts add up in `totals`.

    Attributes:
        true: Class of each cell's row, shape ``(m,)``, ascending.
        predicted: Class of each cell's column, shape ``(m,)``.
        count: Samples in the cell, shape ``(m,)``.
        classes: Number of classes ``K``.
    """

    true: Ints
    predicted: Ints
    count: Ints
    classes: int

    @property
    def n(self) -> int:
        return int(self.count.sum())

    @property
    def matrix(self) -> Ints | None:
        """The whole matrix, shape ``(K, K)``, rows are true classes; ``None`` above 2,000 classes."""
        if self.classes > WIDEST:
            return None
        full = np.zeros((self.classes, self.classes), dtype=np.int64)
        full[self.true, self.predicted] = self.count
        return full

    def totals(self, counts: NDArray[np.number] | None = None) -> tuple[Floats, Floats, Floats]:
        """Hits, support and predictions per class, each of shape ``(..., K)``, for counts of shape ``(..., m)``."""
        table: Floats = np.asarray(self.count if counts is None else counts, dtype=np.float64)
        flat: Floats = table.reshape(-1, len(self.count))
        hits, support, predicted = (np.zeros((len(flat), self.classes)) for _ in range(3))
        diagonal = self.true == self.predicted
        _sum_by(hits, flat[:, diagonal], self.true[diagonal])
        _sum_by(support, flat, self.true)
        _sum_by(predicted, flat, self.predicted)
        shape = (*table.shape[:-1], self.classes)
        return hits.reshape(shape), support.reshape(shape), predicted.reshape(shape)


def _sum_by(out: Floats, flat: Floats, group: Ints) -> None:
    if not len(group):
        return
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    out[:, ordered[starts]] = np.add.reduceat(flat[:, order], starts, axis=1)


def cells(target: NDArray[np.integer], prediction: NDArray[np.integer], classes: int) -> Cells:
    """Count the pairs of true and predicted class.

    >>> cells(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).matrix
    array([[1, 1],
           [0, 1]])

    Raises:
        ValueError: There is no sample, or a class lies outside of ``0 .. classes - 1``.
    """
    target, prediction = np.asarray(target, dtype=np.int64), np.asarray(prediction, dtype=np.int64)
    if target.shape != prediction.shape or target.ndim != 1 or not len(target):
        raise ValueError(f"expected as many targets as predictions, at least one, got shapes {target.shape!r} and {prediction.shape!r}")
    for what, values in (("target", target), ("prediction", prediction)):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= classes:
            raise ValueError(f"expected {what} classes from 0 to {classes - 1}, got {low if low < 0 else high!r}")
    flat = target * classes + prediction
    if classes * classes <= max(len(flat), 1_000_000):
        count = np.bincount(flat, minlength=classes * classes)
        filled = np.flatnonzero(count)
        count = count[filled]
    else:
        filled, count = np.unique(flat, return_counts=True)
    return Cells(filled // classes, filled % classes, count.astype(np.int64), classes)


def cells_of(matrix: NDArray[np.integer]) -> Cells:
    """The filled cells of a confusion matrix of shape ``(K, K)``."""
    true, predicted = np.nonzero(matrix)
    return Cells(true, predicted, np.asarray(matrix, dtype=np.int64)[true, predicted], len(matrix))


@dataclass(frozen=True, eq=False)
class PerClass:
    """Numbers per class, each of shape ``(..., K)``; NaN where undefined."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Floats
    predicted: Floats

    def average(self, kind: str) -> dict[str, Floats]:
        """``macro`` or ``weighted`` (by support) averages of precision, recall and F1."""
        occurs = (self.support + self.predicted > 0).astype(np.float64)
        weight = occurs if kind == "macro" else self.support
        total = np.maximum(weight.sum(-1), 1e-300)
        return {name: (np.nan_to_num(getattr(self, name)) * weight).sum(-1) / total for name in ("precision", "recall", "f1")}


def per_class(hits: Floats, support: Floats, predicted: Floats) -> PerClass:
    """Precision, recall and F1 per class.

    >>> per_class(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([2.0, 0.0])).precision
    array([0.5, nan])
    """
    return PerClass(ratio(hits, predicted), ratio(hits, support), ratio(2 * hits, support + predicted), support, predicted)


def ratio(over: Floats, under: Floats) -> Floats:
    """``over / under``, NaN where ``under`` is 0."""
    result: Floats = np.divide(over, under, out=np.full(np.shape(under), np.nan), where=np.asarray(under) != 0)
    return result


def headline(hits: Floats, support: Floats, predicted: Floats) -> dict[str, Floats]:
    """Accuracy, balanced accuracy, macro F1, Matthews' and Cohen's coefficients from totals of shape ``(..., K)``.

    References:
        Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, Comput. Biol. Chem. 28 (2004), eq. 8.
        Cohen, A coefficient of agreement for nominal scales, Educ. Psychol. Meas. 20 (1960), eq. 1.
    """
    n, right = support.sum(-1), hits.sum(-1)
    numbers = per_class(hits, support, predicted)
    present = support > 0
    agree, own, other = (support * predicted).sum(-1), (support**2).sum(-1), (predicted**2).sum(-1)
    root = np.sqrt(np.maximum((n**2 - own) * (n**2 - other), 0.0))
    return {
        "accuracy": right / n,
        "balanced_accuracy": (np.nan_to_num(numbers.recall) * present).sum(-1) / present.sum(-1),
        "macro_f1": numbers.average("macro")["f1"],
        "mcc": np.nan_to_num(ratio(right * n - agree, root)),
        "kappa": ratio(right * n - agree, n**2 - agree),
    }


def top_k(probability: NDArray[np.floating], target: Ints, k: int) -> float:
    """Share of samples whose class is among the ``k`` most probable; of equals the last class comes first, as in scikit-learn.

    >>> top_k(np.full((2, 4), 0.25), np.array([0, 3]), 1)
    0.5
    """
    own = probability[np.arange(len(target)), target][:, None]
    before = (probability > own) | ((probability == own) & (np.arange(probability.shape[1]) > target[:, None]))
    return float((before.sum(1) < k).mean())
