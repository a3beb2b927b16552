"""How far a trained model is behind one that needs no training."""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules.evidence import run, tail
from diagnose.rules.skill import skill
from diagnose.statistics import median

MODELS = {
    "nearest": "the five nearest of {trained} training rows",
    "linear": "a linear map of the inputs, fitted to {trained} training rows,",
    "places": "which integer stands where, in {trained} training rows,",
    "words": "the counts of words in {trained} training rows",
}
EVEN = 1.4  # times its even share, from which on accuracy may be given up for rarer classes
VALIDATIONS = 2
ERRORS = 4  # standard errors of what the simple model reaches


@dataclass(frozen=True, kw_only=True)
class Behind:
    """A model and a simple one on validation rows, by accuracy or by the explained share of the targets' variance.

    Attributes:
        own, simple: What both reach.
        gap: By how much the simple one is ahead: of the way from the largest class to 1, or of the variance.
        said: The same in words.
        where: The series that it is of.
    """

    own: float
    simple: float
    gap: float
    said: str
    where: str


def behind(record: Record) -> Behind | None:
    """How far the model is behind in the last third of its validations; ``None`` where it is not, by more than chance, or little is known.

    Accuracy is the better one of training and validation. It is not judged where the largest class has more than 1.4 times its even share,
    or the loss weighs the classes. Explained variance is that of squared errors, once the run has ended: before, a model may leave a
    plateau, as after a restart of its schedule.
    """
    known = record.facts.get("data.simple")
    if known is None:
        return None
    rows, other = known["rows"], known.get("explained", known.get("accuracy"))
    if "explained" in known:
        own, facts, where = skill(record), run(record), "val/loss"
        if record.facts.get("task", {}).get("loss") != "mse_loss" or not facts.get("finished", True) or facts.get("interrupted"):
            return None
        own, error, most = None if own is None else max(own, 0.0), known["error"], 0.0
        said = "the model explains {:.0%} of the targets' variance, and {} {:.0%} on {} validation rows"
    else:
        if known["majority"] * known["classes"] > EVEN or record.facts.get("probe.step", {}).get("class_weights"):
            return None
        where, most, error = "val/accuracy", known["majority"], (other * (1 - other) / rows) ** 0.5
        reached = [median(values) for name in (where, "train/accuracy") if len(values := tail(record, name))]
        own = max(reached, default=None)
        said = "the model reaches an accuracy of {:.3f}, and {} {:.3f} on {} validation rows"
    if own is None or len(tail(record, where)) < VALIDATIONS or other - own < ERRORS * error:
        return None
    name = MODELS[known["model"]].format(**known)
    return Behind(own=own, simple=other, gap=(other - own) / (1 - most), said=said.format(own, name, other, rows), where=where)
