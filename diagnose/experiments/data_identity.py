"""Which rows are the same: between splits, and within one with different targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.experiments.data_fields import Target
from diagnose.experiments.data_sample import Sample

DISTINCT = 1024  # distinct rows that the entropy is estimated from
COLUMNS = 256  # columns that it is summed over
CLASSES = 32  # of which any two are compared
REPEATED = 0.05  # share of the inputs with a label that occurs twice, from which on equal rows were not left out


def keys(sample: Sample, paths: Sequence[str]) -> list[int] | None:
    """One hash per row over the given fields; equal rows have equal hashes, also across loaders and across padding to other lengths.

    ``None`` where a field does not have one entry per row.
    """
    result: list[list[int]] = []
    for path in paths:
        parts = sample.fields.get(path, [])
        if [len(p) if p.dim() else -1 for p in parts] != sample.sizes:
            return None
        own: list[int] = []
        for part in parts:
            table = part.reshape(len(part), -1).numpy()
            table = table.astype(np.float32) + np.float32(0.0) if table.dtype.kind == "f" else table.astype(np.int64)
            own += [hash(row[:end].tobytes()) for row, end in zip(table, _ends(table), strict=True)]
        result.append(own)
    return [hash(row) for row in zip(*result, strict=True)] if result else None


def _ends(table: NDArray[Any]) -> Sequence[int]:
    """How long each row is without the zeros at its end, which may be padding."""
    ends: list[int] = (table.shape[1] - (table[:, ::-1] != 0).argmax(1)).tolist() if table.size else [0] * len(table)
    return ends


def alike_by_length(sample: Sample, paths: Sequence[str], rows: Sequence[int]) -> float:
    """Share of the rows that are the most frequent one of their length, of sequences of whole numbers; ``rows`` are their `keys`.

    0 where the lengths are not at least two, with ten rows each on average, or real numbers are among the inputs.
    """
    sequences = [path for path in paths if sample.fields[path][0].dim() > 1]
    if not sequences or any(sample.fields[path][0].is_floating_point() for path in paths):
        return 0.0
    ends = [[e for part in sample.fields[path] for e in _ends(part.reshape(len(part), -1).numpy())] for path in sequences]
    lengths = list(zip(*ends, strict=True))
    if not 2 <= len(set(lengths)) <= len(rows) / 10:
        return 0.0
    largest: dict[tuple[int, ...], int] = {}
    for (length, _), count in Counter(zip(lengths, rows, strict=True)).items():
        largest[length] = max(count, largest.get(length, 0))
    return sum(largest.values()) / len(rows)


def is_number(sample: Sample, path: str) -> bool:
    """Whether a field just numbers the rows: one integer each, all of them different."""
    whole = sample.of(path)
    if whole is None or whole.is_floating_point() or whole[0].numel() != 1 or len(whole) < 20:
        return False
    known = [r for rows in sample.rows for r in rows]
    return len(np.unique(whole.numpy())) == (len(set(known)) if len(known) == len(whole) else len(whole))


@dataclass(frozen=True, slots=True)
class Variety:
    """How unlike each other the rows of a loader are.

    Attributes:
        distinct: Different rows among those read.
        twins: Share of the rows (of different places in the data set) that have an equal one among them.
        bits: Collision entropy of a distinct row, summed over its columns as if they were independent: an upper estimate.
        continuous: Some column holds real numbers of so fine a grain that two draws are hardly ever equal.
        by_length: See `alike_by_length`.
        cut: All columns look standardised and cut to whole numbers: half and more are zeros, both signs and a magnitude of two occur, and
            the mean is within a tenth of the standard deviation from zero.
    """

    distinct: int
    twins: float
    bits: float
    continuous: bool
    cut: bool = False
    by_length: float = 0.0


def variety(sample: Sample, paths: Sequence[str], rows: Sequence[int]) -> Variety:
    """How unlike each other the rows are; ``rows`` are their `keys`."""
    first: dict[int, int] = {}
    for position, key in enumerate(rows):
        first.setdefault(key, position)
    places = [r for batch in sample.rows for r in batch]
    own = list(dict(zip(places, rows, strict=True)).values()) if len(places) == len(rows) else list(rows)  # a place drawn twice is one row
    counts = Counter(own)
    twins = sum(n for n in counts.values() if n > 1) / len(own)
    chosen = np.array(list(first.values()))[:: max(1, len(first) // DISTINCT)]
    bits, continuous, cut = 0.0, False, bool(paths)
    for path in paths:
        whole = sample.of(path)
        if whole is None:  # padded to different lengths: what all have in common is too short to tell, so the batch-wise lengths are cut
            width = min(p.shape[1] if p.dim() > 1 else 1 for p in sample.fields[path])
            table = np.concatenate([p.reshape(len(p), -1)[:, :width].numpy() for p in sample.fields[path]])
        else:
            table = whole.numpy().reshape(len(whole), -1)
        for column in table.T[:: max(1, table.shape[1] // COLUMNS)]:
            own_bits, fine = _column(column[chosen])
            bits, continuous, cut = bits + own_bits, continuous or fine, cut and _cut(column)
    return Variety(len(first), twins, bits, continuous, cut, alike_by_length(sample, paths, rows))


def _cut(values: NDArray[Any]) -> bool:
    if values.dtype.kind not in "if" or len(values) < 20 or not np.isfinite(values).all():
        return False
    values = values.astype(np.float64)
    signs = values.min() < 0 < values.max() and np.abs(values).max() >= 2 and np.mean(values == 0) >= 0.5
    return bool(signs and (values == np.trunc(values)).all() and abs(values.mean()) <= 0.1 * values.std())


def _column(values: NDArray[Any]) -> tuple[float, bool]:
    unique, counts = np.unique(values, return_counts=True)
    n = len(values)
    bits = -float(np.log2(np.square(counts / n).sum()))
    if n < 20 or len(unique) < 0.95 * n or unique.dtype.kind != "f" or not np.isfinite(unique).all():
        return bits, False
    return bits, bool(np.diff(unique.astype(np.float64)).min() < (float(unique[-1]) - float(unique[0])) / (20 * n))


def overlap(train: Sequence[int], val: Sequence[int], kind: Variety, targets: tuple[Target | None, Target | None]) -> dict[str, Any]:
    """Rows of a validation loader that stand in the training loader as well.

    Args:
        train: `keys` of the training rows.
        val: `keys` of the validation rows.
        kind: `variety` of the training rows.
        targets: Targets of both, where known.

    Returns:
        ``train_rows``, ``val_rows``; ``shared`` (validation rows found in training), ``distinct`` (different ones of them), ``share``;
        ``same_target``: the share of them whose target is the same, too (``None`` where unknown); ``twins``, ``bits``, ``continuous`` of
        the training rows (see `Variety`).
    """
    known = set(train)
    hits = [position for position, key in enumerate(val) if key in known]
    same: float | None = None
    if hits and targets[0] is not None and targets[1] is not None and targets[0].values.shape[1:] == targets[1].values.shape[1:]:
        pairs = {(key, targets[0].values[position].tobytes()) for position, key in enumerate(train)}
        same = sum((val[position], targets[1].values[position].tobytes()) in pairs for position in hits) / len(hits)
    facts: dict[str, Any] = {"train_rows": len(train), "val_rows": len(val), "shared": len(hits), "distinct": len({val[h] for h in hits})}
    facts |= {"share": len(hits) / len(val), "same_target": same, "twins": kind.twins, "bits": kind.bits, "continuous": kind.continuous}
    return facts


def conflicts(rows: Sequence[int], found: Target, kind: Variety) -> dict[str, Any]:
    """Equal inputs with different targets.

    Args:
        rows: `keys` of the training rows.
        found: Their targets, of kind ``class`` or ``value``.
        kind: Their `variety`.

    Returns:
        ``rows``; ``distinct`` (different inputs); ``largest`` (share of the rows that have the most frequent input); ``groups`` (inputs
        that occur with more than one target), ``involved`` (rows in them) and their ``share``; ``kind``; ``floor``: the entropy of the
        targets given the input in nats for classes (its estimate from the groups), the unexplained share of the variance for values;
        ``expected``: the floor of new rows, as groups of few rows differ less than their targets do by nature (by Pearson's X² for
        classes); ``prior``: the same without the input (nats, or 1); ``example``, two rows as they were read; ``bits``, ``continuous``,
        ``cut``, ``by_length`` of `Variety`; ``opposed``: see `opposed`.
    """
    groups: dict[int, list[int]] = {}
    for position, key in enumerate(rows):
        groups.setdefault(key, []).append(position)
    mixed = [g for g in groups.values() if len(g) > 1 and len(np.unique(found.values[g])) > 1]
    involved = sum(map(len, mixed))
    total = found.values
    if found.kind == "class":
        floor, prior = sum(len(g) * _entropy(total[g]) for g in mixed) / len(rows), _entropy(total)
        missed = prior - _information(groups.values(), total) - floor
    else:
        floor, prior = sum(len(g) * float(np.var(total[g])) for g in mixed) / len(rows) / max(float(np.var(total)), 1e-300), 1.0
        missed = sum(float(np.var(total[g])) * len(g) / (len(g) - 1) for g in mixed) / len(rows) / max(float(np.var(total)), 1e-300)
    facts: dict[str, Any] = {
        "rows": len(rows),
        "distinct": len(groups),
        "largest": max(map(len, groups.values())) / len(rows),
        "groups": len(mixed),
        "involved": involved,
        "share": involved / len(rows),
    }
    facts |= {"kind": found.kind, "floor": floor, "prior": prior, "bits": kind.bits, "continuous": kind.continuous, "cut": kind.cut}
    facts["by_length"] = kind.by_length
    facts["expected"] = min(floor + max(missed, 0.0), prior)
    facts["example"] = mixed[0][:2] if mixed else []
    facts["opposed"] = opposed([found.values[g] for g in groups.values() if len(g) > 1]) if found.kind == "class" else None
    return facts


def _information(groups: Iterable[Sequence[int]], classes: NDArray[Any]) -> float:
    """What the group tells of the class, in nats, less what as many groups tell by chance: (X² - df) / 2n, where it is little.

    X² is Pearson's, whose mean is df where nothing is told, however few the rows of a group are.
    """
    _, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
    share = counts / len(classes)
    tables = [np.bincount(index[list(g)], minlength=len(counts)) for g in groups]
    square = sum(float(((t - t.sum() * share) ** 2 / (t.sum() * share)).sum()) for t in tables)
    return max(0.0, square - (len(tables) - 1) * (len(counts) - 1)) / (2 * len(classes))


def opposed(groups: Sequence[NDArray[Any]]) -> dict[str, Any] | None:
    """Whether labels of equal inputs differ more often than labels that are drawn one by one can.

    Let p be the share of one of two classes given the input. Two labels that are drawn independently of each other, given the input, differ
    with probability 2 p (1 - p), which in the mean over inputs is 2 m (1 - m) at most, m being the mean of p (Jensen): labels that
    differ more often were not drawn so, as where each positive row stands once and negative rows are made beside it. That holds for the
    rows of any two of several classes as well.

    Args:
        groups: For each input that occurs more than once, the labels of its rows.

    Returns:
        ``inputs``: their number; ``apart``: the mean share of pairs of rows that differ; ``most``: 2 m (1 - m); ``z``: how many standard
        errors ``apart`` lies above it; of several classes the same for the two of the highest ``z``, and ``pair``: which they are. ``None``
        where there is one class, or too many to compare, or where of several hardly any input (`REPEATED`) has one label twice: then
        rows that repeat another were left out.
    """
    classes, index = np.unique(np.concatenate(groups), return_inverse=True) if groups else (np.empty(0), np.empty(0, int))
    if not 2 <= len(classes) <= CLASSES:
        return None
    of = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    table = np.bincount(of * len(classes) + index, minlength=len(groups) * len(classes)).reshape(len(groups), -1)
    if len(classes) == 2:
        return _apart(table[:, 0], table[:, 1])
    if np.mean(table.max(1) > 1) < REPEATED:
        return None
    pairs = [
        {**seen, "pair": classes[[a, b]].tolist()} for a, b in combinations(range(len(classes)), 2) if (seen := _apart(*table.T[[a, b]]))
    ]
    return max(pairs, key=lambda pair: float(pair["z"]), default=None)


def _apart(first: NDArray[Any], second: NDArray[Any]) -> dict[str, Any] | None:
    """``inputs``, ``apart``, ``most`` and ``z`` of `opposed`, from how many rows of each input are of one class and of another."""
    kept = first + second > 1
    hits, size = second[kept], (first + second)[kept]
    mean = float((hits / size).mean()) if len(size) else 0.0
    if not 0 < mean < 1:
        return None
    apart, most = float((2 * hits * (size - hits) / (size * (size - 1))).mean()), 2 * mean * (1 - mean)
    return {"inputs": len(size), "apart": apart, "most": most, "z": (apart - most) / float(np.sqrt(most * (1 - most) / len(size)))}


def _entropy(labels: NDArray[Any]) -> float:
    counts = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(counts * np.log(counts)).sum())
