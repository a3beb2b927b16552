"""How well a score ranks the samples of a class above the others: areas, how sure they are, curves, thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.bootstrap import Interval, Z, wilson

POINTS = 64  # of a thinned curve
LEVELS = (0.9, 0.95, 0.99)

Floats = NDArray[np.float64]
Ints = NDArray[Any]  # integers of 4 bytes where that is enough: of a million samples there are many such arrays


@dataclass(frozen=True, eq=False)
class Ranking:
    """Samples in falling order of a score; samples of one score are one step.

    Attributes:
        order: Samples from the highest score to the lowest, shape ``(n,)``.
        positive: Whether each of them belongs to the class, shape ``(n,)``.
        threshold: Score of each step, shape ``(m,)``, falling.
        hits: Positives with at least this score, shape ``(m,)``.
        taken: Samples with at least this score, shape ``(m,)``.
    """

    order: Ints
    positive: NDArray[np.bool_]
    threshold: NDArray[np.floating]
    hits: Ints
    taken: Ints

    @property
    def yes(self) -> int:
        return int(self.hits[-1])

    @property
    def no(self) -> int:
        return int(self.taken[-1]) - self.yes


def ranked(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> Ranking:
    """Rank samples by ``score`` of shape ``(n,)``; ``positive`` says which belong to the class."""
    kind = np.int32 if len(score) < 2**31 else np.int64
    order = np.argsort(score)[::-1].astype(kind)
    falling, member = score[order], np.asarray(positive, dtype=np.bool_)[order]
    last = np.r_[np.flatnonzero(falling[1:] != falling[:-1]), len(score) - 1].astype(kind)
    return Ranking(order, member, falling[last], np.cumsum(member, dtype=kind)[last], last + 1)


def roc_auc(ranking: Ranking) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties count half; NaN with one class only.

    >>> roc_auc(ranked(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])))
    0.75
    """
    if not ranking.yes or not ranking.no:
        return math.nan
    misses = np.diff(ranking.taken - ranking.hits, prepend=0)
    above = ranking.hits - np.diff(ranking.hits, prepend=0) / 2
    return float(misses @ above / (ranking.yes * ranking.no))


def average_precision(ranking: Ranking) -> float:
    """Precision at each threshold, weighted by the gain in recall; NaN without positives."""
    if not ranking.yes:
        return math.nan
    return float((np.diff(ranking.hits, prepend=0) * (ranking.hits / ranking.taken)).sum() / ranking.yes)


def area_influence(ranking: Ranking) -> NDArray[np.float32]:
    """How much each sample's weight moves the ROC area: shape ``(n,)``, sums to 0.

    The sum of the squares is the variance that resampling the samples would give (the infinitesimal jackknife); these are the components
    of DeLong.

    References:
        DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated ROC curves, Biometrics 44 (1988).
        Efron, The jackknife, the bootstrap and other resampling plans, SIAM (1982), section 6.
    """
    yes, no, area = ranking.yes, ranking.no, roc_auc(ranking)
    passed = ranking.taken - ranking.hits
    of_positive = ((no - passed + np.diff(passed, prepend=0) / 2) / no - area) / yes
    of_negative = ((ranking.hits - np.diff(ranking.hits, prepend=0) / 2) / yes - area) / no
    return by_sample(ranking, of_positive.astype(np.float32), of_negative.astype(np.float32))


def precision_influence(ranking: Ranking) -> NDArray[np.float32]:
    """The same for average precision: shape ``(n,)``."""
    share, yes = ranking.hits / ranking.taken, ranking.yes
    gained = np.diff(ranking.hits, prepend=0) / ranking.taken
    later = np.cumsum(gained[::-1])[::-1]  # what a further positive adds to the precision at lower thresholds
    gained *= share
    cost = np.cumsum(gained[::-1])[::-1] / yes  # what a further sample takes from it
    of_positive = (share + later - average_precision(ranking)) / yes - cost
    return by_sample(ranking, of_positive.astype(np.float32), (-cost).astype(np.float32))


def by_sample(ranking: Ranking, of_positive: NDArray[np.float32], of_negative: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values of steps, for positives and for others, as values of samples, shape ``(m,)`` to ``(n,)``."""
    sizes = np.diff(ranking.taken, prepend=0)
    values = np.empty(len(ranking.order), dtype=np.float32)
    values[ranking.order] = np.where(ranking.positive, np.repeat(of_positive, sizes), np.repeat(of_negative, sizes))
    return values


def area_interval(area: float, deviation: float, fewest: int) -> Interval:
    """The 95 % interval of an area from its standard deviation, symmetric in the log-odds, so that it stays between 0 and 1.

    An area of 0 or 1 has no deviation; it gets Wilson's interval for the ``fewest`` samples of any class.
    """
    if deviation <= 0 or not 0 < area < 1:
        return wilson(area * fewest, fewest)
    middle, reach = math.log(area / (1 - area)), Z * deviation / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-min(max(v, -700.0), 700.0))) for v in (middle - reach, middle + reach))
    return low, high


def areas(
    probability: NDArray[np.floating], members: Iterable[tuple[int, NDArray[np.bool_]]], group: NDArray[Any] | None = None
) -> dict[str, Any]:
    """ROC area and average precision of each class against the rest, their means with intervals, and thinned curves.

    Args:
        probability: Shape ``(n, C)``.
        members: Column and samples (shape ``(n,)``) of each class that has both members and others.
        group: Number of the group of each sample from 0, shape ``(n,)``: what the samples of a group have in common widens the intervals.

    Returns:
        ``roc_auc`` and ``average_precision`` (means over classes), ``intervals`` of both, ``influence`` of each sample on both, and
        ``classes``: both and ``curves`` per column.
    """
    found: dict[int, dict[str, Any]] = {}
    on = {name: np.zeros(len(probability), dtype=np.float32) for name in ("roc_auc", "average_precision")}
    fewest = len(probability)
    for column, member in members:
        ranking = ranked(probability[:, column], member)
        found[column] = {"roc_auc": roc_auc(ranking), "average_precision": average_precision(ranking), "curves": curves(ranking)}
        on["roc_auc"] += area_influence(ranking)
        on["average_precision"] += precision_influence(ranking)
        fewest = min(fewest, ranking.yes, ranking.no)
    result: dict[str, Any] = {"classes": found, "intervals": {}, "influence": on}
    for name, sums in on.items():
        sums /= len(found)
        result[name] = float(np.mean([row[name] for row in found.values()]))
        deviation = deviation_of(sums, group)
        result["intervals"][name] = area_interval(result[name], deviation, fewest)
    return result


def deviation_of(influence: NDArray[np.floating], group: NDArray[Any] | None) -> float:
    """Standard deviation of a number from the influence of each sample on it; that of a group is the sum of its samples'."""
    parts = influence if group is None else np.bincount(group, weights=influence)
    return float(np.sqrt(np.einsum("n,n->", parts, parts, dtype=np.float64)))


def curves(ranking: Ranking, points: int = POINTS) -> dict[str, list[float]]:
    """ROC curve (``false_positive_rate``, ``true_positive_rate``) and PR curve (``recall``, ``precision``) of at most ``points`` points."""
    hits, misses = np.r_[0, ranking.hits], np.r_[0, ranking.taken - ranking.hits]
    across, up = misses / max(ranking.no, 1), hits / max(ranking.yes, 1)
    kept = thinned(across, up, points)
    recall, precision = up[1:], ranking.hits / ranking.taken
    chosen = thinned(recall, precision, points)
    lists = (across[kept], up[kept], recall[chosen], precision[chosen])
    names = ("false_positive_rate", "true_positive_rate", "recall", "precision")
    return {name: [round(v, 5) for v in values.tolist()] for name, values in zip(names, lists, strict=True)}


def thinned(x: Floats, y: Floats, points: int) -> NDArray[np.intp]:
    """Which points of a curve to keep, so that they stand at even distances along it; the first and the last are kept."""
    way = np.r_[0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))]
    places = np.searchsorted(way, np.linspace(0, way[-1], min(points, len(x))))
    return np.unique(np.r_[0, np.clip(places, 0, len(x) - 1), len(x) - 1])


def threshold_table(ranking: Ranking) -> list[dict[str, Any]]:
    """Thresholds worth a look, with what they give: of largest F1, of largest recall at a precision, of largest precision at a recall.

    A choice that no threshold gives has ``None`` for its numbers. Thresholds that are chosen on the samples they are judged by look
    better than they are.
    """
    precision, recall = ranking.hits / ranking.taken, ranking.hits / max(ranking.yes, 1)
    f1 = 2 * ranking.hits / (ranking.taken + ranking.yes)
    half = int(np.searchsorted(-ranking.threshold, -0.5, side="right")) - 1  # scores above 0.5, and 0.5 itself
    rows = [_at("threshold 0.5", ranking, half), _at("largest F1", ranking, int(f1.argmax()))]
    for level in LEVELS:
        good = np.flatnonzero(precision >= level)
        rows.append(_at(f"precision of at least {level:g}", ranking, int(good[-1]) if len(good) else -1))
    for level in LEVELS:
        good = np.flatnonzero(recall >= level)
        rows.append(_at(f"recall of at least {level:g}", ranking, int(good[precision[good].argmax()]) if len(good) else -1))
    return rows


def _at(choice: str, ranking: Ranking, step: int) -> dict[str, Any]:
    names = ("threshold", "precision", "recall", "specificity", "f1", "predicted")
    if step < 0:
        return {"choice": choice, **dict.fromkeys(names)}
    hits, taken = int(ranking.hits[step]), int(ranking.taken[step])
    passed = 1 - (taken - hits) / ranking.no if ranking.no else None
    f1 = 2 * hits / (taken + ranking.yes)
    numbers = (float(ranking.threshold[step]), hits / taken, hits / max(ranking.yes, 1), passed, f1, taken)
    return {"choice": choice, **dict(zip(names, numbers, strict=True))}
