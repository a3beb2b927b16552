"""Trainings that broke on a gradient that grows on its way back through the steps of a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.rules.evidence import gathered, run
from diagnose.rules.objective import scale_free
from diagnose.statistics import finite, median

ALONG, LEAP, RATE = 100.0, 10.0, 0.1


@dataclass(frozen=True, slots=True)
class Broken:
    """A training that broke on a loop: its layer and steps, how the gradient shows it, and the loss at both ends."""

    name: str
    steps: int
    growth: float
    shown: str
    start: float
    end: float


def broken_in_time(
    record: Record, along: float = ALONG, leap: float = LEAP, rate: float = RATE, reach: float = 0.1, risen: float = 2.0
) -> Broken | None:
    """The loop on whose gradient a training broke under an ordinary rate; else ``None``.

    The loss ended above ``risen`` times its start (the largest of three), or became NaN or infinite. And either the gradient of a recurrent
    layer, or of one that ran again and again, grew ``along``-fold on its way back in time before the first step: a loss at each of the
    steps alone would make it grow as their number does. Or it reaches back to the first of 20 steps or more (``reach`` of its largest), the
    optimizer does not divide by the scale of the gradient, and before the loss rose so a measured gradient norm was ``leap`` times the
    median of those before it: the loss has walls there, as long products have. The rate is ordinary where by a gradient of norm one all
    steps that momentum adds up move the weights by less than ``rate`` of their size.
    """
    loops: list[dict[str, Any]] = record.facts.get("probe.recurrence", [])
    optimizers: list[dict[str, Any]] = run(record).get("optimizers", [])
    needed = ("grad_norm/total", "train/loss", "weight_norm/layers")
    if not loops or len(optimizers) != 1 or any(name not in record for name in needed) or len(record.series("train/loss")) < 20:
        return None
    loss, norms = record.series("train/loss"), record.series("grad_norm/total")
    size = float(np.sqrt(np.nansum(np.square(record.series("weight_norm/layers").value[0]))))
    first, last = finite(loss.value[:3]), loss.value[-max(3, len(loss) // 5) :]
    if not len(first) or record.facts.get("nonfinite", {}).get("what") == "input":
        return None
    start, end = float(np.abs(first).max()), median(last) if np.isfinite(last).all() else float("inf")
    if optimizers[0].get("lr", 0.0) * gathered(record) >= rate * size or not end > risen * start:
        return None
    steepest = max(loops, key=lambda e: float(e.get("growth", 0.0)))
    if (growth := float(steepest.get("growth", 0.0))) >= along:
        shown = f"grows {growth:.2g}-fold on its way back through its {steepest['steps']} steps in time before the first step of training"
        return Broken(steepest["name"], steepest["steps"], growth, shown, start, end)
    far = [e for e in loops if e["steps"] >= 20 and e["reach"] >= reach]
    rose = np.flatnonzero(~(loss.value <= risen * start))
    before = finite(norms.value[norms.batch < loss.batch[rose[0]]]) if far and len(rose) and not scale_free(record) else np.empty(0)
    leaps = [(float(before[i] / usual), i) for i in range(5, len(before)) if (usual := median(before[:i])) > 0]
    if not leaps or (largest := max(leaps))[0] < leap:
        return None
    norm = float(before[largest[1]])
    leaped = f"its norm leaped {largest[0]:.2g}-fold, to {norm:.3g}, before the loss did"
    shown = f"reaches back through {far[0]['steps']} steps in time, and {leaped}"
    return Broken(far[0]["name"], far[0]["steps"], largest[0], shown, start, end)
