"""Regressions whose targets lie out of reach of ordinary steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules.evidence import run
from diagnose.statistics import finite, median


@dataclass(frozen=True, slots=True)
class Unreached:
    """A run that ended on its way to the mean of its targets: its loss at first and at the end, that of a constant, the batches it took."""

    start: float
    end: float
    chance: float
    batches: int


def unreached(record: Record, raw: float = 300.0, left: float = 1.5, usual: float = 3e-4) -> Unreached | None:
    """The end of a finished regression that is still on its way to the mean of its targets, since they are so large; else ``None``.

    The targets are ``raw`` times as large as the first predictions vary, the loss fell and is still above ``left`` times that of a constant
    prediction, and the steps moved the weights by ``usual`` of their size or more, so that the rate is not to blame. Where the
    loss call sees one sample, nothing is known of how targets and predictions vary.
    """
    first = record.facts.get("probe.initial_loss", {})
    moved = record.series("update_ratio/layers").value if "update_ratio/layers" in record else np.empty((0, 1))
    moved = moved[np.isfinite(moved).any(axis=1)]
    if not first.get("target_rms") or not first["chance"] or first.get("frozen") or not run(record).get("finished") or not len(moved):
        return None
    name = "train/loss" if first["total"] == first["loss"] else "train/watched_loss"
    values = finite(record.series(name).value) if name in record else np.empty(0)
    if len(values) < 10 or first["target_rms"] < raw * first["prediction_std"] or median(np.nanmax(moved, axis=1)) < usual:
        return None
    start, end = median(values[: len(values) // 10]), median(values[-len(values) // 5 :])
    return Unreached(start, end, first["chance"], len(record.series("train/loss"))) if left * first["chance"] < end < start else None
