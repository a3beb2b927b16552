"""What a record says of the loss that a step makes of its loss call, and of the optimizers that minimise it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.rules.evidence import run, tail
from diagnose.rules.skill import skill
from diagnose.statistics import median

SCALE_FREE = ("adam", "rmsprop", "adagrad", "adadelta", "lion", "adafactor", "rprop", "lamb")
SPREADS = (("prediction/std", "target/std"), ("val/std", "val/target_std"))
ERRORS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


@dataclass(frozen=True, slots=True)
class Crowding:
    """A further term of a loss, against which the loss call comes to nothing.

    Attributes:
        force, limit: How many times as hard it pulls, and how many are allowed.
        said, fix: What was seen, and what to do.
        constrains: Whether it is a single term that the batch decides (a divergence, a sparsity), a constraint on what the network makes of
            its samples. Else it is one on the weights, or of further tasks.
    """

    force: float
    limit: float
    said: str
    fix: str
    constrains: bool


def crowding(record: Record, term: float, least: float, cost: float, left: float) -> Crowding | None:
    """How what a step adds to its loss call crowds that call out; ``None`` where it does not.

    The model gained less than ``least`` over a constant prediction by the end (see `learned`), and what is added pulls above ``term`` times
    as hard. Harder than the loss call is enough where what was added came down to ``left`` of its start, or where in short trainings of
    copies (``probe.unpenalised``) the call comes ``cost`` of the way from chance to its floor alone, and less than ``least`` together with
    it. Before training those copies tell it, where the call alone comes twice as far. Of further loss calls, as of a second task in other
    units, it is enough that they pull above ``term`` times as hard and that the call ends above what it comes to alone, by ``cost``.
    """
    force, copies = pull(record), record.facts.get("probe.unpenalised")
    gain = {name: share(copies, name) for name in ("whole", "alone")} if copies is not None else {}
    alone = gain["alone"] if gain and gain["whole"] < least else 0.0
    if copies is not None and "train/loss" not in record:
        shown = (
            f"in {copies['steps']} steps a copy trained without it comes to {copies['alone']:.3g} on batches that it had not seen, one "
            f"trained with it to {copies['whole']:.3g}, a constant prediction to {copies['chance']:.3g}"
        )
        return _crowding(record, force, 1.0, shown) if force > 1 and alone >= 2 * cost else None
    gained = learned(record)
    if gained is None or not run(record).get("finished", True) or len(run(record).get("optimizers", ())) > 1:
        return None
    if gained >= least:
        if force <= term or copies is None or (behind := outrun(record, copies)) is None or behind[1] < cost:
            return None
        shown = (
            f"its loss call ends at {behind[0]:.3g}, that of a copy trained for {copies['steps']} steps without the rest at "
            f"{copies['alone']:.3g} on batches that it had not seen"
        )
        return _crowding(record, force, term, shown)
    limit = 1.0 if alone >= cost or added(record) < left else term
    shown = f"at the end the model is no better than a constant prediction ({gained:.0%} of what there is to gain)"
    return _crowding(record, force, limit, shown) if force > limit else None


def outrun(record: Record, copies: Mapping[str, float]) -> tuple[float, float] | None:
    """Where one of several loss calls ended, and how far above a copy trained by it alone, in units of what there is to gain."""
    step, ends = record.facts.get("probe.step", {}), tail(record, "train/watched_loss", 0.2)
    if step.get("calls", 0) <= 1 or step.get("adversary") or not len(ends):
        return None
    end = median(ends)
    return end, (min(end, copies["whole"]) - copies["alone"]) / max(copies["chance"] - copies.get("floor", 0.0), 1e-12)


def _crowding(record: Record, force: float, limit: float, shown: str) -> Crowding:
    kind = record.facts.get("task", {}).get("loss") or "loss"
    return Crowding(
        force=force,
        limit=limit,
        said=f"what training_step adds to its {kind} pulls {force:.3g} times as hard as that in the first step, and {shown}",
        fix=f"multiply what is added by {min(0.01, 1 / force):.0e} first, or raise its weight slowly from zero",
        constrains=penalty(record) == 0 and record.facts.get("probe.step", {}).get("calls", 0) <= 1,
    )


def share(copies: Mapping[str, float], name: str) -> float:
    """How far a copy came from chance (0) to the least loss there is (1)."""
    return (copies["chance"] - copies[name]) / max(copies["chance"] - copies.get("floor", 0.0), 1e-12)


def added(record: Record, measured: int = 10) -> float:
    """What is left at the end of what a step adds to its only loss call, as a share of what it was at first; 1 where that is not known."""
    calls = record.facts.get("probe.step", {}).get("calls", 0)
    if calls > 1 or "train/watched_loss" not in record or "train/loss" not in record:
        return 1.0
    loss, watched = record.series("train/loss"), record.series("train/watched_loss")
    _, mine, its = np.intersect1d(loss.batch, watched.batch, return_indices=True)
    more = loss.value[mine] - watched.value[its]
    if len(more) < measured or not np.isfinite(more).all() or more[0] <= 0:
        return 1.0
    return median(more[-len(more) // 5 :]) / float(more[0])


def pull(record: Record) -> float:
    """How hard what the step adds to its loss call pulls in the first step, in units of the pull of that call; 0 where it adds nothing."""
    seen = record.facts.get("probe.penalty")
    if not seen or seen["data_gradient"] <= 0 or multiplied(seen):
        return 0.0
    return float(seen["added_gradient"] / seen["data_gradient"])


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
