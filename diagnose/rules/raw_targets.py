"""Regressions whose targets are too large for ordinary steps: their mean is out of reach, or their spread."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose

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


def _ended(record: Record, raw: float, usual: float) -> Unreached | None:
    """The end of a finished regression whose targets are ``raw`` times as large as the first predictions vary, where its loss fell.

    And whose steps moved the weights by ``usual`` of their size or more, so that the rate is not to blame. Where the loss call sees one
    sample, nothing is known of how targets and predictions vary.
    """
    first = record.facts.get("probe.initial_loss", {})
    moved = record.series("update_ratio/layers").value if "update_ratio/layers" in record else np.empty((0, 1))
    moved = moved[np.isfinite(moved).any(axis=1)]
    if not first.get("target_rms") or not first["chance"] or first.get("frozen") or not run(record).get("finished") or not len(moved):
        return None
    whole = isclose(first["total"], first["loss"], rel_tol=0.01)  # what the step adds is a trifle
    name = "train/loss" if whole else "train/watched_loss"
    values = finite(record.series(name).value) if name in record else np.empty(0)
    if len(values) < 10 or first["target_rms"] < raw * first["prediction_std"] or median(np.nanmax(moved, axis=1)) < usual:
        return None
    start, end = median(values[: len(values) // 10]), median(values[-len(values) // 5 :])
    return Unreached(start, end, first["chance"], len(record.series("train/loss"))) if end < start else None


def unreached(record: Record, raw: float = 300.0, left: float = 1.5, usual: float = 3e-4) -> Unreached | None:
    """The end of such a regression (`_ended`) on its way to the mean of its targets: above ``left`` times the loss of a constant."""
    come = _ended(record, raw, usual)
    return come if come is not None and come.end > left * come.chance else None


def unspread(record: Record, raw: float, usual: float, share: float, better: float) -> tuple[Unreached, float] | None:
    """The end of such a regression on its way to the spread of its targets, and the loss of a copy trained on standardised ones.

    The loss is above ``share`` of that of a constant, and that of the copy (``probe.rescaled``), on batches that it has not seen and in
    far fewer steps, below ``better`` of it.
    """
    come, copy = _ended(record, raw, usual), record.facts.get("probe.rescaled")
    if come is None or copy is None or come.end < share * come.chance or copy["held_out"] > better * come.end:
        return None
    return come, float(copy["held_out"])
