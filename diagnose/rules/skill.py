"""Whether a model answers better than a constant would."""

from __future__ import annotations

import math

import numpy as np

from diagnose.record import Record
from diagnose.rules.evidence import epoch_means, tail
from diagnose.statistics import Progress, Values, finite, level, mann_kendall, progress, trend


def skill(record: Record) -> float | None:
    """How much better than a constant prediction the model is at the end: 0 is no better, 1 is perfect, ``None`` is not known.

    The share of the possible gain in accuracy over the most frequent class, in training or validation, whichever is larger; for squared
    errors the share of the targets' variance that is explained, by the loss call itself where it is known: what a step returns may be
    scaled, or a sum.
    """
    known = []
    for accuracy, base in (("train/accuracy", "target/top_share"), ("val/accuracy", "val/target_top_share")):
        gained = _gain(record, accuracy, base)
        if gained is not None:
            known.append(gained)
    if record.facts.get("task", {}).get("loss") == "mse_loss":
        known_only = record.facts["task"].get("written")  # what the step returns may be a multiple of it
        trained = "train/watched_loss" if known_only or "train/watched_loss" in record else "train/loss"
        for loss, target in ((trained, "target/std"), ("val/loss", "val/target_std")):
            error, spread = tail(record, loss, 0.2), tail(record, target)
            if len(error) and len(spread) and spread.mean() > 0:
                known.append(1 - error.mean() / float(np.mean(spread**2)))
    return max(known) if known else None


def _gain(record: Record, accuracy: str, base: str) -> float | None:
    """The share of the possible gain over the most frequent class at the end of a run, or ``None`` where it was not recorded."""
    right, chance = tail(record, accuracy), tail(record, base)
    known = len(right) and len(chance) and chance.mean() < 0.999
    return float((right.mean() - chance.mean()) / (1 - chance.mean())) if known else None


def one_answer(record: Record, share: float = 0.98, majority: float = 0.9) -> bool:
    """Whether ``share`` of the last predictions of training are one class, though none has more than ``majority`` of the targets."""
    top, base = tail(record, "prediction/top_share"), tail(record, "target/top_share")
    return bool(len(top) and len(base) and base.mean() <= majority and np.median(top) >= share)


def informed(record: Record, share: float = 0.95, errors: float = 4.0) -> bool:
    """Whether the loss came below that of the classes' own shares, which takes answers that go with the input.

    The last fifth of the training lies below ``share`` of it by ``errors`` standard errors, and validation, where it is measured by the
    same loss, came below it, too. Of two classes the validation loss alone tells: it lies below ``share`` of the entropy of their shares in
    validation, which is the least that any constant can have there.
    """
    start = record.facts.get("probe.initial_loss", {})
    prior, alone = start.get("prior"), start.get("total") == start.get("loss")
    values = finite(record.series("train/loss").value) if "train/loss" in record else np.empty(0)
    if not prior or not alone or len(values) < 10:
        return False
    mean, error = level(values[-(len(values) // 5) :])
    held, least = tail(record, "val/loss") if like_training(record) else np.empty(0), entropy_of_two(record, "val/target_top_share")
    if least is not None and len(held) and float(np.median(held)) < share * least:
        return True
    return mean < share * prior - errors * error and (not len(held) or float(np.median(held)) < prior)


def entropy_of_two(record: Record, name: str) -> float | None:
    """The least loss of a constant prediction of two classes: the entropy of their shares, by a series of the larger one; or ``None``."""
    known = finite(record.series(name).value) if record.facts.get("task", {}).get("classes") == 2 and name in record else np.empty(0)
    larger = float(known.mean()) if len(known) else 1.0
    return -larger * math.log(larger) - (1 - larger) * math.log(1 - larger) if 0 < larger < 1 else None


def below_chance(record: Record, loss: float, share: float = 0.7) -> bool:
    """Whether a loss lies clearly below that of a predictor that knows only the shares of the classes."""
    chance = record.facts.get("probe.initial_loss", {}).get("chance")
    classes = record.facts.get("task", {}).get("classes")
    if chance is None and record.facts.get("task", {}).get("loss") in ("cross_entropy", "nll_loss") and classes:
        chance = math.log(classes) if classes > 1 else None
    return chance is not None and loss < share * chance


def come_nowhere(record: Record, values: Values, drop: float = 0.02, sure: float = 0.05, skilled: float = 0.15) -> Progress | None:
    """The progress of a loss that shows no downward trend worth the name, or ``None``.

    It fell by less than ``drop`` of its start, or by less than ``sure`` of it, within two standard errors and without a significant trend,
    not even in the means of epochs; it is not below chance, and the model gained less than ``skilled`` over a constant prediction.
    """
    come, learned = progress(values), skill(record)
    unsure = come.drop < 2 * come.error and come.relative < sure and trend(values).z > -1.5 and mann_kendall(epoch_means(record)) > -2
    level = (come.relative < drop or unsure) and not below_chance(record, come.end) and (learned is None or learned < skilled)
    return come if level else None


def never_better(record: Record, share: float = 0.98, validations: int = 6) -> Values | None:
    """The validation losses `near_chance`, unless validation is right far more often than a constant prediction.

    Such answers (by 0.15 of what there is to gain) are too sure of themselves, no worse.
    """
    right = _gain(record, "val/accuracy", "val/target_top_share") or 0.0
    return near_chance(record, share, validations) if right < 0.15 else None


def like_training(record: Record) -> bool:
    """Whether validation is measured by the function that training is, as far as both are known."""
    held, trained = record.facts.get("validation", {}).get("loss"), record.facts.get("task", {}).get("loss")
    return not held or not trained or held == trained or {held, trained} == {"cross_entropy", "nll_loss"}


def near_chance(record: Record, share: float, validations: int = 6) -> Values | None:
    """The validation losses, where none of them came below ``share`` of the loss of a constant prediction; else ``None``.

    Known where the watched loss is all that a step returns, and the validation loss comes of a call of the same function.
    """
    start, kinds = record.facts.get("probe.initial_loss", {}), record.facts.get("validation", {})
    chance, same = start.get("chance"), start.get("total") == start.get("loss") and not kinds.get("logged")
    same = same and like_training(record)
    held = finite(record.series("val/loss").value) if "val/loss" in record else np.empty(0)
    return held if chance and same and len(held) >= validations and held.min() > share * held_out_chance(record, chance) else None


def beats_constant(record: Record, share: float = 0.99, validations: int = 3) -> bool:
    """Whether the last ``validations`` were all below ``share`` of what any constant has there, and the last one is below the first.

    Known of squared errors, by the variance of the targets of validation, and of two classes, by the entropy of their shares there.
    """
    held = finite(record.series("val/loss").value) if "val/loss" in record and like_training(record) else np.empty(0)
    squared = record.facts.get("task", {}).get("loss") == "mse_loss" and "val/target_std" in record
    least = held_out_chance(record, 0.0) if squared else entropy_of_two(record, "val/target_top_share")
    if not least or len(held) < validations or record.facts.get("validation", {}).get("logged"):
        return False
    return bool(held[-validations:].max() < share * least and held[-1] < held[0])


def held_out_chance(record: Record, chance: float) -> float:
    """The loss of a constant prediction in validation: that of training, or the variance of its own targets if that is larger."""
    deviation = tail(record, "val/target_std")
    squared = record.facts.get("task", {}).get("loss") == "mse_loss" and len(deviation)
    return max(chance, float(np.median(deviation)) ** 2) if squared else chance
