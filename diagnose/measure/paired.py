"""Two models on the same samples: the difference of each metric and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure import bootstrap, calibration, classification, ranking, regression
from diagnose.measure.bootstrap import Z
from diagnose.measure.class_summary import MOST_RANKED

LOWER = frozenset({"log_loss", "brier", "ece", "perplexity", "hamming_loss", "mae", "rmse"})  # better where they are lower
EXACT = 1000  # discordant samples; of more McNemar's test is its chi-squared approximation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of two models.

    Attributes:
        metric: Its name.
        first: Of the first model.
        second: Of the second.
        low: Lower end of the 95 % interval of ``second - first``.
        high: Upper end.
        p: Two-sided probability of a difference as large if there were none.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    p: float

    @property
    def change(self) -> float:
        return self.second - self.first

    @property
    def gain(self) -> tuple[float, float]:
        """The interval in the direction in which more is better."""
        return (-self.high, -self.low) if self.metric in LOWER else (self.low, self.high)

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``open`` where the interval holds 0."""
        low, high = self.gain
        return "better" if low > 0 else "worse" if high < 0 else "open"

    def to_dict(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**numbers, "change": self.change, "verdict": self.verdict, "better": "lower" if self.metric in LOWER else "higher"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """What one model predicted for the samples: fields as those of `diagnose.measure.given.Given`."""

    prediction: NDArray[Any]
    probability: NDArray[Any] | None = None
    loss: NDArray[Any] | None = None


def mcnemar(lost: int, won: int) -> float:
    """Two-sided p-value that right and wrong answers changed in both directions alike: exact, above 1,000 changes by chi-squared.

    Args:
        lost: Samples that only the first model has right.
        won: Samples that only the second model has right.

    References:
        McNemar, Note on the sampling error of the difference between correlated proportions or percentages, Psychometrika 12 (1947).
        Edwards, Note on the "correction for continuity" in testing the significance of the difference, Psychometrika 13 (1948).

    >>> mcnemar(5, 5), round(mcnemar(1, 9), 5)
    (1.0, 0.02148)
    """
    changed = lost + won
    if not changed:
        return 1.0
    if changed > EXACT:
        return math.erfc(max(0.0, abs(lost - won) - 1) / math.sqrt(2 * changed))
    tail = sum(math.comb(changed, k) for k in range(min(lost, won) + 1))
    return float(min(1.0, 2 * tail / 2**changed))


def differences(
    task: str,
    target: NDArray[Any],
    first: Predicted,
    second: Predicted,
    *,
    classes: int = 0,
    seed: int = 0,
    group: NDArray[Any] | None = None,
) -> list[Difference]:
    """The difference of each metric that both models have, the one to judge by first.

    Samples are resampled with both predictions on them, so that what both find hard does not blur the difference. Samples of
    one ``group`` (numbers from 0, shape ``(n,)``; the tokens of a sequence) are drawn together.
    """
    if task == "regression":
        return list(_values(target, first, second, seed))
    if task == "multilabel":
        return list(_labels(target, first, second, seed))
    return [*_counts(target, first, second, classes, seed, group), *_scores(task, target, first, second, seed, group)]


def joint(target: Ints, first: Ints, second: Ints, classes: int) -> tuple[classification.Cells, classification.Cells]:
    """The cells of both confusion matrices split by what the other model said, so that one draw of counts serves both."""
    flat = (target * classes + first) * classes + second
    if classes**3 <= max(len(flat), 1_000_000):
        every = np.bincount(flat, minlength=1)
        filled = np.flatnonzero(every)
        count = every[filled]
    else:
        filled, count = np.unique(flat, return_counts=True)
    true, one, other = filled // classes**2, filled // classes % classes, filled % classes
    return classification.Cells(true, one, count, classes), classification.Cells(true, other, count, classes)


def _counts(
    target: NDArray[Any], first: Predicted, second: Predicted, classes: int, seed: int, group: NDArray[Any] | None
) -> Iterator[Difference]:
    pair = joint(target, first.prediction, second.prediction, classes)
    by_group = None
    if group is not None:
        filled = (pair[0].true * classes + pair[0].predicted) * classes + pair[1].predicted
        by_group = bootstrap.cells_by_group((target * classes + first.prediction) * classes + second.prediction, filled, group)
    known = [classification.headline(*cells.totals()) for cells in pair]
    parts: dict[str, list[Floats]] = {}
    for counts in bootstrap.resampled_counts(pair[0], seed=seed, by_group=by_group):
        one, other = (classification.headline(*cells.totals(counts)) for cells in pair)
        for name in one:
            parts.setdefault(name, []).append(other[name] - one[name])
    right = [np.asarray(p.prediction) == target for p in (first, second)]
    lost, won = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    for name, values in parts.items():
        found = _difference(name, float(known[0][name]), float(known[1][name]), np.concatenate(values))
        if name == "accuracy" and group is None:  # the exact test decides, also where the percentiles of few changes would not
            p = mcnemar(lost, won)
            low, high = (found.low, found.high) if p < 0.05 else (min(found.low, 0.0), max(found.high, 0.0))
            found = Difference(metric=name, first=found.first, second=found.second, low=low, high=high, p=p)
        yield found


def _scores(
    task: str, target: NDArray[Any], first: Predicted, second: Predicted, seed: int, group: NDArray[Any] | None
) -> Iterator[Difference]:
    a, b = first.probability, second.probability
    if a is None or b is None:
        if task == "next-token" and first.loss is not None and second.loss is not None:
            yield from _perplexity(first.loss, second.loss, seed, group)
        return
    right = [np.asarray(p.prediction) == target for p in (first, second)]
    wide = 2 + calibration.BINS

    def columns(rows: slice) -> Floats:
        y = target[rows]
        return np.column_stack(
            [
                part
                for p, hit in ((a[rows], right[0][rows]), (b[rows], right[1][rows]))
                for part in (calibration.log_losses(p, y), calibration.brier_scores(p, y), calibration.confidence_gaps(p, hit))
            ]
        )

    means, drawn = bootstrap.mean_and_resampled(columns, len(target), seed=seed, group=group)

    def numbers(table: Floats) -> dict[str, Floats]:
        own = {"log_loss": table[..., 0], "brier": table[..., 1], "ece": calibration.calibration_error(table[..., 2:])}
        return {**own, "perplexity": np.exp(own["log_loss"])} if task == "next-token" else own

    yield from _of_means(means, drawn, wide, numbers)
    yield from _areas(target, a, b, group)


def _areas(target: NDArray[Any], a: NDArray[Any], b: NDArray[Any], group: NDArray[Any] | None) -> Iterator[Difference]:
    present = np.unique(target).tolist()
    if len(present) < 2 or len(present) > MOST_RANKED:
        return
    chosen = [1] if a.shape[1] == 2 else present
    one, other = (ranking.areas(p, ((c, target == c) for c in chosen)) for p in (a, b))
    for name in ("roc_auc", "average_precision"):
        apart = other["influence"][name] - one["influence"][name]
        deviation = ranking.deviation_of(apart, group)
        change = other[name] - one[name]
        p = math.erfc(abs(change) / deviation / math.sqrt(2)) if deviation > 0 else float(change == 0)
        low, high = change - Z * deviation, change + Z * deviation
        yield Difference(metric=name, first=one[name], second=other[name], low=low, high=high, p=p)


def _perplexity(one: NDArray[Any], other: NDArray[Any], seed: int, group: NDArray[Any] | None) -> Iterator[Difference]:
    table = np.column_stack([one, other]).astype(np.float64)
    means, drawn = bootstrap.mean_and_resampled(lambda rows: table[rows], len(table), seed=seed, group=group)
    yield from _of_means(means, drawn, 1, lambda t: {"log_loss": t[..., 0], "perplexity": np.exp(t[..., 0])})


def _labels(target: NDArray[Any], first: Predicted, second: Predicted, seed: int) -> Iterator[Difference]:
    yes, count = np.asarray(target) > 0, target.shape[1]

    def columns(rows: slice) -> Floats:
        parts: list[Any] = []
        for predicted in (first, second):
            y, said = yes[rows], np.asarray(predicted.prediction)[rows] > 0
            parts += [(y == said).all(1), (y != said).mean(1), y & said, y, said]
        return np.column_stack(parts).astype(np.float64)

    def numbers(table: Floats) -> dict[str, Floats]:
        totals = (table[..., 2 + i * count : 2 + (i + 1) * count] for i in range(3))
        f1 = classification.per_class(*totals).average("macro")["f1"]
        return {"accuracy": table[..., 0], "macro_f1": f1, "hamming_loss": table[..., 1]}

    means, drawn = bootstrap.mean_and_resampled(columns, len(yes), seed=seed)
    yield from _of_means(means, drawn, 2 + 3 * count, numbers)


def _values(target: NDArray[Any], first: Predicted, second: Predicted, seed: int) -> Iterator[Difference]:
    one, other = (regression.moments(target, p.prediction) for p in (first, second))
    table = np.column_stack([one, other])
    means, drawn = bootstrap.mean_and_resampled(lambda rows: table[rows], len(table), seed=seed)
    wanted = ("rmse", "mae", "r2")
    yield from _of_means(means, drawn, one.shape[1], lambda t: {k: regression.errors(t)[k] for k in wanted})


def _of_means(means: Floats, drawn: Floats, wide: int, numbers: Callable[[Floats], Mapping[str, Floats]]) -> Iterator[Difference]:
    """Differences of functions of means: the first ``wide`` columns are of the first model, the rest of the second."""
    one, other = numbers(means[:wide]), numbers(means[wide:])
    ones, others = numbers(drawn[:, :wide]), numbers(drawn[:, wide:])
    for name in one:
        yield _difference(name, float(one[name]), float(other[name]), others[name] - ones[name])


def _difference(name: str, first: float, second: float, drawn: Floats) -> Difference:
    low, high = bootstrap.interval(drawn)
    drawn = drawn[np.isfinite(drawn)]
    side = 1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Difference(metric=name, first=first, second=second, low=low, high=high, p=min(1.0, 2 * side / (len(drawn) + 1)))


def unpaired(metric: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Difference | None:
    """The difference of a metric on different samples, from the intervals of both; ``None`` where one has none."""
    deviation = 0.0
    for entry in (first, second):
        low, high = (entry.get("intervals") or {}).get(metric) or (None, None)
        if low is None or high is None or entry.get(metric) is None:
            return None
        deviation = math.hypot(deviation, (high - low) / (2 * Z))
    change = float(second[metric]) - float(first[metric])
    p = math.erfc(abs(change) / deviation / math.sqrt(2)) if deviation > 0 else float(change == 0)
    reach = Z * deviation
    return Difference(metric=metric, first=first[metric], second=second[metric], low=change - reach, high=change + reach, p=p)


def per_class(target: Ints, first: Ints, second: Ints, classes: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Recall, precision and F1 of each class for both models, and the interval of the difference in F1."""
    pair = joint(target, first, second, classes)
    known = [classification.per_class(*cells.totals()) for cells in pair]
    parts = []
    for counts in bootstrap.resampled_counts(pair[0], seed=seed):
        one, other = (classification.per_class(*cells.totals(counts)).f1 for cells in pair)
        parts.append(other - one)
    drawn = np.concatenate(parts)
    rows = []
    for c in range(classes):
        low, high = bootstrap.interval(drawn[:, c])
        row: dict[str, Any] = {"class": c, "support": int(known[0].support[c]), "low": low, "high": high}
        for name in ("precision", "recall", "f1"):
            row[name] = [float(getattr(k, name)[c]) for k in known]
        rows.append(row)
    return rows
