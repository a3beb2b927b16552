"""What one field of a loader's batches holds: its range, scale, columns and defects; for targets, their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diagnose.experiments.data_sample import Sample

CLASSIFICATION = ("cross_entropy", "nll_loss", "multi_margin_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "soft_margin_loss")
CATEGORIES = 20  # distinct values up to which integers count as classes where the loss does not say so
CHANNELS = 16  # size up to which the outer axis of an image is its colour
VALUES = 2_000_000  # values per field that quantiles are taken from

Array = NDArray[Any]


def columns(rows: Array) -> tuple[Array, str] | None:
    """The values of a field by feature, shape ``(m, features)``, and what a feature is: a column, or a channel of a sequence or an image.

    Rows of shape ``(f,)`` have ``f`` features; of a sequence the shorter axis counts the features, of an image the axis of its colours.
    ``None`` where no axis can be told to be the features'.
    """
    shape = rows.shape[1:]
    if len(shape) <= 1:
        return rows.reshape(len(rows), -1), "column"
    if len(shape) == 2:
        axis = 1 if shape[0] <= shape[1] else 2
    elif shape[0] <= CHANNELS:
        axis = 1
    elif shape[-1] <= CHANNELS:
        axis = len(shape)
    else:
        return None
    return np.moveaxis(rows, axis, -1).reshape(-1, rows.shape[axis]), "channel"


def describe(sample: Sample, path: str) -> dict[str, Any]:
    """Statistics of one field.

    Returns:
        ``dtype``; ``shape`` of a row (``None`` where batches differ); ``values`` (how many); ``mean``, ``std``, ``min``, ``max`` of the
        finite ones; ``spread``, the standard deviation of the values between the 0.1 % and the 99.9 % quantile; ``zeros``, their share;
        ``integers`` and ``binary`` (only whole numbers, only 0 and 1); ``nan``, ``posinf``, ``neginf`` (counts); ``bad_rows``, rows with
        any of them, ``first_bad`` ``{"batch", "row", "index"}`` (``index`` in the data set, or ``None``) and ``bad_columns``, at most five;
        ``columns``, see `_by_column`, or ``None``.
    """
    parts = sample.fields[path]
    whole = sample.of(path)
    flat = torch.cat([p.reshape(-1) for p in parts]).numpy()
    finite = np.isfinite(flat) if flat.dtype.kind == "f" else np.ones(len(flat), dtype=bool)
    values = flat[finite].astype(np.float64)
    facts: dict[str, Any] = {"dtype": str(parts[0].dtype).removeprefix("torch."), "shape": None if whole is None else list(whole.shape[1:])}
    facts |= {"values": len(flat), "nan": int(np.isnan(flat).sum()) if flat.dtype.kind == "f" else 0}
    facts |= {"posinf": int((flat == np.inf).sum()), "neginf": int((flat == -np.inf).sum())}
    if len(values):
        low, high = np.quantile(values[:: max(1, len(values) // VALUES)], [0.001, 0.999])
        facts |= {"mean": float(values.mean()), "std": float(values.std()), "min": float(values.min()), "max": float(values.max())}
        facts |= {"spread": float(np.clip(values, low, high).std()), "zeros": float((values == 0).mean())}
        facts |= {"integers": bool((values == np.round(values)).all()), "binary": bool(((values == 0) | (values == 1)).all())}
    facts |= _defects(sample, path) if not finite.all() else {"bad_rows": 0, "first_bad": None, "bad_columns": []}
    facts["columns"] = _by_column(whole.numpy()) if whole is not None and len(whole) > 1 else None
    return facts


def _defects(sample: Sample, path: str) -> dict[str, Any]:
    """Where the values that are not finite stand."""
    count, first, bad_columns = 0, None, set[int]()
    for part, batch in zip(sample.fields[path], sample.batches[path], strict=True):
        bad = ~torch.isfinite(part)
        rows = bad.reshape(len(part), -1).any(1) if part.dim() else bad.reshape(1)
        count += int(rows.sum())
        if part.dim() == 2:
            bad_columns.update(bad.any(0).nonzero().flatten().tolist())
        if first is None and bool(rows.any()):
            row = int(rows.nonzero()[0])
            known = sample.rows[batch]
            first = {"batch": sample.places[batch], "row": row, "index": known[row] if row < len(known) else None}
    return {"bad_rows": count, "first_bad": first, "bad_columns": sorted(bad_columns)[:5]}


def _by_column(rows: Array) -> dict[str, Any] | None:
    """The features of a field against each other.

    Returns:
        ``axis`` (``column`` or ``channel``), ``count``; ``constant`` (how many never vary) and ``constant_first`` (at most five);
        ``large``: the share, among those that vary and are not binary, whose ``scale`` (90 % quantile of the absolute value) exceeds 20;
        ``widest`` and ``narrowest`` ``{"column", "scale", "std"}`` by standard deviation; ``largest``, the same by scale.
    """
    found = columns(rows)
    if found is None or len(found[0]) < 2:
        return None
    table = found[0][:: max(1, found[0].size // VALUES)].astype(np.float64)
    table = table[np.isfinite(table).all(1)]
    if len(table) < 2:
        return None
    std = table.std(0)
    varying = table.min(0) != table.max(0)
    several = varying & ~((table == 0) | (table == 1)).all(0)
    facts: dict[str, Any] = {"axis": found[1], "count": table.shape[1], "constant": int((~varying).sum())}
    facts["constant_first"] = np.flatnonzero(~varying)[:5].tolist()
    facts |= {"large": 0.0, "widest": None, "narrowest": None, "largest": None}
    if several.any():
        index = np.flatnonzero(several)
        scale = np.quantile(np.abs(table[:, index]), 0.9, axis=0)
        facts["large"] = float((scale > 20).mean())

        def one(k: int) -> dict[str, Any]:
            return {"column": int(index[k]), "scale": float(scale[k]), "std": float(std[index[k]])}

        facts |= {"widest": one(int(std[index].argmax())), "narrowest": one(int(std[index].argmin())), "largest": one(int(scale.argmax()))}
    return facts


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The targets of a loader row by row.

    Attributes:
        kind: ``class`` (values are class indices, shape ``(n,)``), ``value`` (shape ``(n,)``), ``multilabel``, ``vector`` (both ``(n, k)``)
        or
            ``map`` (anything else).
        values: The targets of the rows read.
    """

    kind: str
    values: Array


def target(sample: Sample, path: str, loss: Mapping[str, Any] | None) -> Target | None:
    """The targets in a field, as the loss takes them; ``None`` where the batches' rows cannot be put together."""
    whole = sample.of(path)
    if whole is None or not len(whole):
        return None
    values = whole.numpy()
    kind = str(loss["kind"]) if loss else ""
    narrow = values.reshape(len(values), -1)
    integers = values.dtype.kind in "iub" or bool(np.isfinite(narrow).all() and (narrow == np.round(narrow)).all())
    if narrow.shape[1] == 1:
        flat = narrow[:, 0]
        classes = integers and (kind in CLASSIFICATION or len(np.unique(flat)) <= CATEGORIES)
        classes = classes and (kind in (*CLASSIFICATION, *BINARY) or values.dtype.kind in "iub")
        return Target("class", flat.astype(np.int64)) if classes else Target("value", _finite(flat))
    if values.ndim > 2:
        return Target("map", values)
    binary = bool(((values == 0) | (values == 1)).all())
    if binary and kind not in BINARY and bool((values.sum(1) == 1).all()):
        return Target("class", values.argmax(1))
    return Target("multilabel" if binary else "vector", _finite(narrow))


def _finite(values: Array) -> Array:
    """The values, with the mean of the finite ones in place of the others, so that those do not drown the rest."""
    values, good = values.astype(np.float64), np.isfinite(values)
    return values if good.all() else np.where(good, values, values[good].mean() if good.any() else 0.0)


def describe_target(found: Target | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the targets show: ``kind``, ``counts`` per class (at most 200 classes, else ``None``), ``rows_sum`` ``[min, max]`` of vectors.

    ``outside``: the share of values below 0 or above 1.
    """
    result: dict[str, Any] = {"kind": found.kind if found else "unknown", "counts": None, "rows_sum": None, "outside": None}
    if found is None:
        return result
    values = found.values
    if found.kind == "class":
        classes, counts = np.unique(values, return_counts=True)
        if len(classes) <= 200:
            result["counts"] = {str(c): int(n) for c, n in zip(classes.tolist(), counts.tolist(), strict=True)}
    elif found.kind == "map" and facts.get("integers") and len(classes := np.unique(values[np.isfinite(values)])) <= 200:
        result["counts"] = {str(int(c)): int((values == c).sum()) for c in classes}
    elif found.kind in ("vector", "multilabel"):
        result["rows_sum"] = [float(values.sum(1).min()), float(values.sum(1).max())]
    result["outside"] = float(((values < 0) | (values > 1)).mean())
    return result
