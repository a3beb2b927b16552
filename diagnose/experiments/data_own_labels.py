"""Whether a column of a table tells far more of the target in validation than in training, as one does that is made of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from diagnose.experiments.data_fields import Array, Target
from diagnose.experiments.data_sample import Sample

FEWEST, HELD = 200, 100  # rows of training and of validation
COLUMNS, BINS = 256, 10
SURE = 6.0  # standard errors from which a column tells something in training
APART = 0.1  # class shares further apart: correlations are not to be compared
SPREAD = 1.5  # the same for the spread of values
MOVED, NARROWER = 0.25, 0.7  # a column of another range may tell more there, where it bends


@dataclass(frozen=True, slots=True)
class _Column:
    """How a column goes with the target: rank correlations in training and validation, and what it ``told`` in training in any form."""

    path: str
    number: int
    trained: float
    held: float
    told: float
    half: float  # the weaker correlation of the two halves of validation
    alike: bool  # whether its values lie where those of training do


def own_labels(train: Sample, val: Sample, inputs: Sequence[str], targets: tuple[Target | None, Target | None]) -> dict[str, Any] | None:
    """The column that tells most in validation beyond what it tells in training, where others tell as much as there.

    What a column tells is its rank correlation with the target, a number or one of two classes; in training also the root of the share of
    the target's variance between tenths of the column, where that is more: a curve that validation shows one branch of is no news. Noisy
    labels, mixup and noise on inputs change all columns by one factor, so the others say by what factor validation tells more: the
    regression through the origin of their correlations in validation on those in training.

    Returns:
        ``path``, ``column``, ``rows`` (of training and of validation), ``told`` (in training), ``held`` (in validation; in the weaker half
        of its rows, in their order), ``factor`` (of the ``others`` that tell something in training for certain; at least 1), ``lead`` of
        ``held`` over ``told`` times ``factor``, and ``errors``, that lead in standard errors. ``None`` without 200 training and 100
        validation rows, without such others, or where the targets of both are distributed unlike each other.
    """
    first, second = targets
    if first is None or second is None or first.kind != second.kind or first.kind not in ("class", "value"):
        return None
    own, theirs = first.values.astype(float), second.values.astype(float)
    if len(own) < FEWEST or len(theirs) < HELD or not _comparable(own, theirs, first.kind):
        return None
    known = [c for path in inputs for c in _columns(train, val, path, own, theirs)]
    return max(
        (fact for c in known if (fact := _lead(c, known, len(own), len(theirs)))), key=lambda fact: float(fact["lead"]), default=None
    )


def _comparable(own: Array, theirs: Array, kind: str) -> bool:
    if not (np.isfinite(own).all() and np.isfinite(theirs).all()) or not own.std() or not theirs.std():
        return False
    if kind == "value":
        return bool(1 / SPREAD <= own.std() / theirs.std() <= SPREAD)
    return len(np.unique(np.concatenate([own, theirs]))) == 2 and abs((own == own.max()).mean() - (theirs == own.max()).mean()) <= APART


def _columns(train: Sample, val: Sample, path: str, own: Array, theirs: Array) -> list[_Column]:
    rows, held = train.of(path), val.of(path)
    if rows is None or held is None or rows.dim() != 2 or held.dim() != 2 or rows.shape[1] != held.shape[1]:
        return []
    if not rows.is_floating_point() or len(rows) != len(own) or len(held) != len(theirs):
        return []
    found, middle = [], len(theirs) // 2
    for k in range(0, rows.shape[1], max(1, -(-rows.shape[1] // COLUMNS))):
        x, z = rows[:, k].double().numpy(), held[:, k].double().numpy()
        if not (np.isfinite(x).all() and np.isfinite(z).all()) or not x.std() or not z.std():
            continue
        trained, whole = _correlation(x, own), _correlation(z, theirs)
        halves = [_correlation(z[part], theirs[part]) for part in (slice(middle), slice(middle, None))]
        half = max(0.0, min(np.sign(whole) * r for r in halves))
        alike = abs(z.mean() - x.mean()) <= MOVED * x.std() and z.std() >= NARROWER * x.std()
        found.append(_Column(path, k, trained, whole, max(abs(trained), _between(x, own)), float(half), bool(alike)))
    return found


def _lead(column: _Column, known: Sequence[_Column], n: int, m: int) -> dict[str, Any] | None:
    """By how much a column tells more than its own correlation in training and the change of the others let expect."""
    others = [c for c in known if c is not column and abs(c.trained) * np.sqrt(n) >= SURE]
    if not others or not column.alike:
        return None
    total = sum(c.trained**2 for c in others)
    factor = max(1.0, sum(c.trained * c.held for c in others) / total)
    lead = column.half - factor * column.told
    noise = 2 / m + (factor**2) / n + column.told**2 * (1 / m + factor**2 / n) / total
    return {
        "path": column.path,
        "column": column.number,
        "rows": [n, m],
        "told": float(column.told),
        "held": column.half,
        "factor": float(factor),
        "others": len(others),
        "lead": float(lead),
        "errors": float(lead / noise**0.5),
    }


def _correlation(x: Array, y: Array) -> float:
    """The rank correlation (C. Spearman, 1904), 0 where one of them never varies."""
    a, b = rankdata(x), rankdata(y)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else 0.0


def _between(x: Array, y: Array) -> float:
    """The root of the share of the variance of the ranks of ``y`` that lies between tenths of ``x``, less what chance gives."""
    bins = np.minimum((rankdata(x) / len(x) * BINS).astype(int), BINS - 1)
    ranks = rankdata(y)
    counts, sums = np.bincount(bins, minlength=BINS), np.bincount(bins, ranks, BINS)
    used = counts > 0
    share = float(counts[used] @ (sums[used] / counts[used] - ranks.mean()) ** 2 / len(x) / ranks.var())
    return float(max(0.0, 1 - (1 - share) * (len(x) - 1) / (len(x) - used.sum())) ** 0.5)
