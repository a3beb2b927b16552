"""Parts of the samples on which a model is worse than on the rest: by class, by metadata, by cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.bootstrap import Z, wilson

FEWEST = 20
VALUES = 50  # of a column of names, the most frequent are looked at
QUARTERS = 4
LISTED = 20
LEVEL = 0.05

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def weak_slices(
    score: Floats, columns: Mapping[str, NDArray[Any]], *, share: bool, names: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Slices whose mean score is worse than that of all other samples, beyond what as many looks would give by chance.

    One weakness shows in many slices: a class, the cluster that it forms, the site that has most of it. So the surest slice is taken
    first, and a slice that is no longer weak without the samples of those before it is said to be part of one of them.

    Args:
        score: Higher is better, shape ``(n,)``: 1 for a right prediction and 0 for a wrong one, or the negative error.
        columns: What to slice by, each of shape ``(n,)``: names and few numbers by value, more numbers by quarter.
        share: The score is 0 or 1, so that intervals are Wilson's.
        names: Of columns that hold class numbers, a name per number.

    Returns:
        ``tested``, and ``slices``, worst first: ``column``, ``value``, ``n``, ``score``, ``rest``, ``low``, ``high``, ``p`` (one-sided,
        by Welch's z, times the number of slices after Holm), ``within`` (the slice that it is part of, else ``None``).
    """
    found: list[dict[str, Any]] = []
    for column, values in columns.items():
        for value, rows in parts(values, (names or {}).get(column)):
            n, z = int(rows.sum()), weakness(score, rows, ~rows, share=share)
            if z is None:
                continue
            mean, other = float(score[rows].mean()), float(score[~rows].mean())
            reach = Z * float(score[rows].std()) / math.sqrt(n)
            low, high = wilson(mean * n, n) if share else (mean - reach, mean + reach)
            numbers = {"n": n, "score": mean, "rest": other, "low": low, "high": high, "p": chance(z), "z": z}
            found.append({"column": column, "value": value, **numbers})
    worst = 0.0
    for rank, row in enumerate(sorted(found, key=lambda r: float(r["p"]))):
        worst = max(worst, min(1.0, float(row["p"]) * (len(found) - rank)))
        row["p"] = worst
    weak = sorted((row for row in found if row["p"] < LEVEL), key=lambda r: float(r["score"]) - float(r["rest"]))[:LISTED]
    wanted = {(row["column"], row["value"]) for row in weak}
    masks = {
        (column, value): rows
        for column, values in columns.items()
        for value, rows in parts(values, (names or {}).get(column))
        if (column, value) in wanted
    }
    causes: list[tuple[str, str]] = []
    left = np.ones(len(score), dtype=np.bool_)
    for row in sorted(weak, key=lambda r: -float(r.pop("z"))):
        rows = masks[own := (row["column"], row["value"])]
        again = weakness(score, rows & left, ~rows & left, share=share)
        if not causes or (again is not None and chance(again) * len(found) < LEVEL):
            row["within"] = None
            causes.append(own)
            left &= ~rows
        else:
            cause = max(causes, key=lambda c: int((masks[c] & rows).sum()))
            row["within"] = f"{cause[0]} = {cause[1]}"
    return {"tested": len(found), "slices": weak}


def weakness(score: Floats, inner: NDArray[np.bool_], outer: NDArray[np.bool_], *, share: bool) -> float | None:
    """By how many standard errors the mean score of some samples lies below that of others; ``None`` for too few or equal scores."""
    n, others = int(inner.sum()), int(outer.sum())
    if n < FEWEST or others < FEWEST:
        return None
    one, two = score[inner], score[outer]
    error = math.sqrt(float(one.var()) / n + float(two.var()) / others)
    if share:
        pooled = (float(one.sum()) + float(two.sum())) / (n + others)
        error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / others))
    return (float(two.mean()) - float(one.mean())) / error if error > 0 else 0.0


def chance(z: float) -> float:
    """How probable a Gaussian is to lie further out.

    >>> round(chance(1.6449), 3)
    0.05
    """
    return 0.5 * math.erfc(z / math.sqrt(2))


def parts(values: NDArray[Any], names: Sequence[str] | None = None) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The values of a column with their samples; numbers with many values in quarters, unless they are class numbers with ``names``."""
    number = np.issubdtype(values.dtype, np.number) and names is None
    known, place, count = np.unique(values, return_inverse=True, return_counts=True)
    if number and len(known) > VALUES:
        table = values.astype(np.float64)
        edges = np.quantile(table[np.isfinite(table)], np.linspace(0, 1, QUARTERS + 1)) if np.isfinite(table).any() else np.array([])
        for low, high in pairwise(edges):
            last = high == edges[-1]
            yield f"{low:.4g} to {high:.4g}", (table >= low) & ((table <= high) if last else (table < high))
        return
    for index in np.argsort(-count, kind="stable")[:VALUES]:
        yield str(known[index]) if names is None else names[int(known[index])], place == index


def grouped(features: NDArray[np.floating], seed: int) -> NDArray[Any] | None:
    """Number of the group of each row among rows that are alike, shape ``(n, d)`` to ``(n,)``; ``None`` for too few or equal rows.

    k-means on principal components, with a group per 100 rows, 2 to 20 of them.
    """
    from sklearn.cluster import MiniBatchKMeans

    from diagnose.measure.embedding import components

    if len(features) < 2 * FEWEST:
        return None
    table = features.astype(np.float64)
    scores, shares, _ = components(table - table.mean(0))
    count = min(20, max(2, len(features) // 100))
    if not len(shares) or len(np.unique(scores[:, :1])) < count:
        return None
    groups = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=1024).fit_predict(scores)
    return np.asarray(groups, dtype=np.int64)
