"""What the last validations of a training show, in the form of an evaluation, where none was made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, require
from diagnose.rules.direction import HIGHER, LOWER, base, words
from diagnose.rules.evidence import refuse_games, run
from diagnose.statistics import Values, finite

Z = 1.96


def evaluated(record: Record, validations: int) -> dict[str, dict[str, Any]]:
    """The evaluated loaders; of a training that nobody evaluated its validation, by the last third of them and at least three.

    A class counts as predicted where any of these validations predicted it. The agreement beyond chance (Cohen's kappa) is that of the
    middle one of them, with its interval (normal approximation, J. Cohen, 1960).

    Raises:
        NotRun: There is neither, or training goes on, or it validated fewer than ``validations`` times.
    """
    if "evaluation" in record:
        return dict(record.facts["evaluation"])
    require(record, "val/accuracy")
    refuse_games(record)
    if not run(record).get("finished"):
        raise NotRun("training goes on, and the test data were not evaluated")
    predicted, actual = record.series("val/predicted").value, record.series("val/actual").value
    right = record.series("val/accuracy").value
    if not len(right) == len(predicted) == len(actual):
        raise NotRun("not every validation could be counted by classes")
    if len(right) < validations:
        raise NotRun(f"too short: {len(right)} validations, at least {validations} are needed")
    last = slice(-max(validations, round(len(right) / 3)), None)
    given, true, right = predicted[last], actual[last], right[last]
    size = true.sum(1)
    by_chance = (given * true).sum(1) / np.maximum(size, 1) ** 2
    if not size.all() or (by_chance >= 1).any():
        raise NotRun("the validation data are of one class")
    kappa = (right - by_chance) / (1 - by_chance)
    mid = int(np.argsort(kappa)[len(kappa) // 2])
    error = math.sqrt(right[mid] * (1 - right[mid]) / size[mid]) / (1 - by_chance[mid])
    support = true.mean(0)
    rows = [{"name": str(i), "support": round(s), "predicted": int(p)} for i, (s, p) in enumerate(zip(support, given.sum(0), strict=True))]
    entry = {"task": "multiclass", "n": round(size.mean()), "accuracy": float(right[mid]), "per_class": rows, "kappa": float(kappa[mid])}
    entry |= {"intervals": {"kappa": (kappa[mid] - Z * error, kappa[mid] + Z * error)}}
    return {"validation": entry | {"baseline": {"accuracy": float(support.max() / support.sum())}}}


def own_metrics(record: Record) -> dict[str, Values]:
    """What the module itself logs in validation and is the better the larger it is, by its name: its values, one per validation."""
    return _own(record, set(HIGHER), {*LOWER, "distance"})


def own_errors(record: Record) -> dict[str, Values]:
    """The same of errors, which are the better the smaller they are; what is called but a loss is no known error."""
    return _own(record, set(LOWER) - {"loss"}, set(HIGHER))


def _own(record: Record, wanted: set[str], unwanted: set[str]) -> dict[str, Values]:
    staged = record.facts.get("probe.logged", {}).get("names", {})
    found = {}
    for name in (name.removeprefix("metric/") for name in record.names() if name.startswith("metric/")):
        said = words(name)
        held_out = staged.get(base(name)) == "validation" or said & {"val", "valid", "validation", "eval", "dev"}
        if held_out and said & wanted and not said & unwanted and not name.endswith("_step"):
            found[name] = finite(record.series(f"metric/{name}").value)
    return found


def useless(entry: dict[str, Any], kappa: float) -> bool:
    """Whether the agreement of classes may be chance, and one of more than ``kappa`` is ruled out (95 %)."""
    low, high = (entry.get("intervals") or {}).get("kappa") or (None, None)
    return low is not None and high is not None and low <= 0 and high <= kappa
