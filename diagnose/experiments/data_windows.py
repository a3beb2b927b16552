"""Windows that are cut from one series: not the same rows, and yet the same values, within training and in validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.experiments.data_sample import Sample

LEAST = 8  # steps of a window
VALUES = 500_000  # of the training windows that are looked at
HELD = 256  # validation windows that are looked at
STRETCH = 6  # steps in a row that are compared; a third of that where each has several values


def shared(train: Sample, val: Sample, path: str) -> float:
    """How many validation windows have their first, their last and half of all their stretches in training windows, at another place.

    A stretch is a few steps in a row. Where a series is split by time, windows across the border share one of their ends alone. Only
    fields of real numbers of so fine a grain that none is met twice by chance are judged: of shape ``(n, steps)``, ``(n, steps,
    values)`` or ``(n, values, steps)``.

    Returns:
        The share of the validation windows; 0 where the field does not hold such windows.
    """
    ours, theirs = _windows(train, path), _windows(val, path)
    if ours is None or theirs is None or ours.shape[1:] != theirs.shape[1:]:
        return 0.0
    ours = ours[:: -(-ours.size // VALUES)]
    if len(np.unique(ours)) < 0.5 * len(ours) * ours.shape[2]:
        return 0.0
    theirs = theirs[:: -(-len(theirs) // HELD)]
    known, (marks, telling) = _marks(ours)[0], _marks(theirs)
    met = _elsewhere(marks, known) & telling
    return float((met[:, 0] & met[:, -1] & (met.sum(1) >= met.shape[1] / 2)).mean())


def _elsewhere(marks: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of the marks, shape ``(n, places)``, stand among the known ones at another place; columns of a table recur at their own."""
    distinct, row = np.unique(known.reshape(-1), return_inverse=True)
    place = np.tile(np.arange(known.shape[1]), len(known))
    first, last = np.full(len(distinct), known.shape[1]), np.full(len(distinct), -1)
    np.minimum.at(first, row, place)
    np.maximum.at(last, row, place)
    found = np.minimum(np.searchsorted(distinct, marks), len(distinct) - 1)
    own = np.arange(marks.shape[1])
    elsewhere: NDArray[np.bool_] = (distinct[found] == marks) & ((first[found] != own) | (last[found] != own))
    return elsewhere


def overlapping(table: NDArray[Any], rows: int = 50, columns: int = 8, share: float = 0.3) -> bool:
    """Whether rows go on as other rows begin, as windows do that are cut from one series at short steps."""
    if len(table) < rows or table.shape[1] < columns:
        return False
    begun = {row.tobytes() for row in table[:, :3]}
    known = (np.mean([row.tobytes() in begun for row in table[:, s : s + 3]]) for s in range(1, columns // 2 + 1))
    return len(begun) > len(table) / 2 and any(bool(hits > share) for hits in known)


def _windows(sample: Sample, path: str) -> NDArray[np.float32] | None:
    """A field as windows, shape ``(n, steps, values)``."""
    whole = sample.of(path)
    if whole is None or not whole.is_floating_point() or whole.dim() not in (2, 3) or len(whole) < 2:
        return None
    table = whole.numpy().astype(np.float32)
    table = table[:, :, None] if table.ndim == 2 else table if table.shape[1] >= table.shape[2] else table.transpose(0, 2, 1)
    return table if table.shape[1] >= LEAST and np.isfinite(table).all() else None


def _marks(windows: NDArray[np.float32]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """A fingerprint of each stretch, shape ``(n, stretches)``, and whether it holds enough different values to tell it from others."""
    steps = STRETCH if windows.shape[2] == 1 else STRETCH // 3
    cut = np.lib.stride_tricks.sliding_window_view(windows, steps, axis=1)
    stretches = np.ascontiguousarray(cut.reshape(*cut.shape[:2], -1)) + np.float32(0.0)  # -0 is 0
    weights = np.random.default_rng(0).integers(1, 2**63, stretches.shape[2], dtype=np.uint64) | np.uint64(1)
    marks = (stretches.view(np.uint32).astype(np.uint64) * weights).sum(2)
    different = (np.diff(np.sort(stretches, axis=2), axis=2) > 0).sum(2) + 1
    return marks, different >= min(4, stretches.shape[2])
