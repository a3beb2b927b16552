"""What a record says of the loss that a step makes of its loss call, and of the optimizers that minimise it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.rules.evidence import run, tail
from diagnose.rules.skill import skill
from diagnose.statistics import median

SCALE_FREE = ("adam", "rmsprop", "adagrad", "adadelta", "lion", "adafactor", "rprop", "lamb")
SPREADS = (("prediction/std", "target/std"), ("val/std", "val/target_std"))
ERRORS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def crowding(record: Record, term: float, least: float) -> float | None:
    """How many times as hard as the loss call what a step adds to it pulls, where that is above ``term`` and nothing was learned.

    ``None`` where it is not, where the model gained ``least`` or more over a constant prediction by the end, or that is not known (see
    `learned`).
    """
    seen, gained = record.facts.get("probe.penalty"), learned(record)
    if not seen or gained is None or gained >= least or seen["data_gradient"] <= 0 or not run(record).get("finished", True):
        return None
    force = float(seen["added_gradient"] / seen["data_gradient"])
    return force if force > term and len(run(record).get("optimizers", ())) <= 1 and not multiplied(seen) else None


def penalty(record: Record) -> float:
    """How hard a penalty that the step adds to its loss pulls, in units of the data's pull; 0 where the batch decides what is added."""
    seen = record.facts.get("probe.penalty")
    if not seen or len(seen["added"]) < 2:
        return 0.0
    added, losses = np.array(seen["added"]), np.array(seen["losses"])
    same = np.ptp(added) <= 1e-4 * abs(added.mean()) + 1e-6 * np.abs(losses).max()
    if not np.isfinite(added).all() or added.mean() <= 0 or not same or seen["data_gradient"] <= 0:
        return 0.0
    return float(seen["added_gradient"] / seen["data_gradient"])


def learned(record: Record) -> float | None:
    """How much better than a constant prediction the model is at the end, or what it can be at most by how little its predictions vary."""
    known, apart = skill(record), spread(record)
    return known if known is not None or apart is None else min(1.0, apart**2)


def spread(record: Record, held_out: bool = False) -> float | None:
    """How many times as much as the targets the predictions vary at the end, in training or validation, whichever is more.

    With ``held_out`` that of validation, where it is known: noise that is drawn in training (dropout, a latent variable) is not in it.
    """
    pairs = [(tail(record, mine), tail(record, theirs)) for mine, theirs in SPREADS]
    known = [median(mine) / median(theirs) for mine, theirs in pairs if len(mine) and len(theirs) and median(theirs) > 0]
    return (known[-1] if held_out else max(known)) if known else None


def multiplied(seen: Mapping[str, Any]) -> bool:
    """Whether a step multiplies its loss call by a number, instead of adding something to it."""
    total = np.array(seen["losses"])
    called = total - np.array(seen["added"])[: len(total)] if len(seen["added"]) >= len(total) else np.zeros(1)
    if len(called) < 2 or not np.all(np.abs(called) > 1e-12) or np.ptp(called) < 1e-3 * abs(called.mean()):
        return False
    factor = total / called
    return bool(np.ptp(factor) <= 1e-4 * abs(factor.mean()))


def negated(record: Record, measured: int = 5) -> float | None:
    """What a step multiplies its error with, where that is negative and always the same; else ``None``."""
    if record.facts.get("task", {}).get("loss") not in ERRORS or "train/watched_loss" not in record:
        return None
    loss, watched = record.series("train/loss"), record.series("train/watched_loss")
    _, mine, its = np.intersect1d(loss.batch, watched.batch, return_indices=True)
    errors = watched.value[its]
    if len(its) < measured or not np.isfinite(errors).all() or errors.min() <= 0:
        return None
    ratios = loss.value[mine] / errors
    factor = float(np.median(ratios))
    return factor if factor < 0 and np.ptp(ratios) < 1e-3 * -factor else None


def scale_free(record: Record) -> bool:
    """Whether all optimizers divide by the scale of the gradient, so that its length does not matter."""
    names = [name.lower() for name in record.facts.get("optimizers", ())]
    names = names or [str(o.get("name", "")).lower() for o in run(record).get("optimizers", ())]
    return bool(names) and all(any(known in name for known in SCALE_FREE) for name in names)
