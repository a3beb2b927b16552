"""Whether one column of a table tells the target all by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from diagnose.experiments.data_fields import Array, Target
from diagnose.experiments.data_sample import Sample

FEWEST = 100  # rows
GAP = 3  # distances between neighbouring values, of which a column of a few numbers has one between any two


def telling(sample: Sample, inputs: Sequence[str], found: Target) -> dict[str, Any] | None:
    """The column that explains most of the target alone, and how much the second one does.

    Returns:
        ``path``, ``column``, ``features`` (columns that vary, of all fields), ``kind`` (of the target), ``share`` (of the column's variance
        that lies between the classes, or of the variance that both have in common) and ``second``, the share of the next column.
        ``apart``: of two classes the column whose values lie furthest apart (``path``, ``column``), by how many of its standard deviations
        (``gap``), and ``second``, the largest share of another one; ``None`` where there is none, or its other values are as far apart.
        ``None`` without a table of at least two columns that vary, or with fewer than 100 rows. Integers of which all columns, or
        all but one, have the same range are tokens, of which one may well be the answer.
    """
    if found.kind not in ("class", "value") or len(found.values) < FEWEST or not np.isfinite(found.values).all():
        return None
    shares: list[tuple[float, str, int]] = []
    gaps: list[tuple[float, str, int]] = []
    for path in inputs:
        rows = sample.of(path)
        if rows is None or rows.dim() != 2 or len(rows) != len(found.values):
            continue
        table = rows.numpy().astype(np.float64)
        if not rows.is_floating_point() and _tokens(table):
            continue
        finite = np.isfinite(table).all(0)
        vary = finite & (np.ptp(np.where(finite, table, 0.0), axis=0) > 0)
        explained = _between if found.kind == "class" else _in_common
        shares += [(float(explained(table[:, k], found.values)), path, int(k)) for k in np.flatnonzero(vary)]
        if found.kind == "class" and len(classes := np.unique(found.values)) == 2:
            gaps += [(_gap(table[:, k], found.values == classes[1]), path, int(k)) for k in np.flatnonzero(vary)]
    if len(shares) < 2 or np.ptp(found.values) == 0:
        return None
    (share, path, column), (second, _, _) = sorted(shares, reverse=True)[:2]
    fact = {"path": path, "column": column, "features": len(shares), "kind": found.kind, "share": share, "second": second, "apart": None}
    gap, path, column = max(gaps, default=(0.0, "", 0))
    if gap > 0:
        others = max(share for share, *place in shares if place != [path, column])
        fact["apart"] = {"path": path, "column": column, "gap": gap, "second": others}
    return fact


def _tokens(table: Array) -> bool:
    """Whether the columns, but for one that may stand apart (a symbol to be remembered), have one range: words of one vocabulary."""
    ranges = Counter(zip(table.min(0).tolist(), table.max(0).tolist(), strict=True))
    return bool(ranges.most_common(1)[0][1] >= max(2, table.shape[1] - 1))


def _between(column: Array, classes: Array) -> float:
    """The correlation ratio: the variance of the class means over that of the column (Fisher 1925)."""
    _, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
    means = np.bincount(index, column) / counts
    return float(counts @ (means - column.mean()) ** 2 / len(column) / column.var())


def _gap(column: Array, second: Array) -> float:
    """How far the values of two classes lie apart, in standard deviations; 0 where they overlap, or other values are nearly as far."""
    one, two = column[~second], column[second]
    between = max(two.min() - one.max(), one.min() - two.max())
    usual = max((float(np.median(np.diff(part))) for part in map(np.unique, (one, two)) if len(part) > 1), default=0.0)
    return float(between / column.std()) if between > GAP * usual else 0.0


def _in_common(column: Array, values: Array) -> float:
    return float(np.corrcoef(column, values)[0, 1] ** 2)
