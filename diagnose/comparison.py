"""Two recorded runs against each other: is the second really better, where, and on which samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure import paired
from diagnose.measure.json_values import plain_tree
from diagnose.record import Record
from diagnose.values import Diagnosis, Finding, Outcome, Severity, Status

LISTED = 50
MOST_CLASSES = 200
SINGLE = ("binary", "multiclass", "next-token")
PRIMARY = {"regression": "rmse", "next-token": "log_loss"}
METRICS = ("accuracy", "log_loss", "macro_f1", "balanced_accuracy", "roc_auc", "average_precision", "mcc", "kappa", "brier", "ece",
           "perplexity", "hamming_loss", "rmse", "mae", "r2")  # fmt: skip
TITLES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "ece": "ECE", "mcc": "MCC", "macro_f1": "macro F1", "roc_auc": "ROC AUC"}
PLACES = ("command", "output_dir", "ckpt_path", "predictions", "fail_on")  # keys that say nothing about the model
FIX = "look at the samples that only the first run has right, and at the classes and the config keys that changed"


@dataclass(frozen=True, eq=False)
class Side:
    """One run's predictions on one loader; ``target`` is empty where they were not kept."""

    entry: Mapping[str, Any]
    target: NDArray[Any]
    prediction: NDArray[Any]
    probability: NDArray[Any] | None = None
    loss: NDArray[Any] | None = None
    ids: NDArray[Any] | None = None
    group: NDArray[Any] | None = None

    def at(self, rows: NDArray[Any]) -> Side:
        """Some of its samples."""
        kept = [None if part is None else part[rows] for part in (self.probability, self.loss, self.ids, self.group)]
        return Side(self.entry, self.target[rows], self.prediction[rows], *kept)

    def renumbered(self, place: NDArray[np.int64]) -> Side:
        """The same with class ``i`` called ``place[i]``."""
        probability = None if self.probability is None else self.probability[:, np.argsort(place)]
        return Side(self.entry, place[self.target], place[self.prediction], probability, self.loss, self.ids, self.group)


def compare(first: Record, second: Record, *, names: tuple[str, str] = ("A", "B"), seed: int = 0) -> dict[str, Any]:
    """Compare two runs; the second is judged against the first.

    Args:
        first: The run to compare with, such as that of the main branch.
        second: The run in question.
        names: What they are called.
        seed: Of resampling.

    Returns:
        ``names``; ``loaders``: what `compare_loader` says of each loader that both evaluated; ``only``: loaders that one alone
        evaluated; ``config`` and ``versions``: what differs, as ``[key, first, second]``.
    """
    one, other = (record.facts.get("evaluation") or {} for record in (first, second))
    runs = [record.facts.get("run") or {} for record in (first, second)]
    return {
        "names": list(names),
        "loaders": {
            name: compare_loader(side(first, one[name]), side(second, other[name]), names=names, seed=seed) for name in one if name in other
        },
        "only": [[name for name in one if name not in other], [name for name in other if name not in one]],
        "config": changed(*(record.facts.get("config") or {} for record in (first, second))),
        "versions": changed(*(run.get("versions") or {} for run in runs)),
    }


def side(record: Record, entry: Mapping[str, Any]) -> Side:
    """The predictions that belong to the numbers of a loader."""
    prefix = entry.get("arrays", "test")
    parts = {name: record.arrays.get(f"{prefix}/{name}") for name in ("target", "prediction", "probability", "loss", "id", "group")}
    target, prediction = parts["target"], parts["prediction"]
    if target is None or prediction is None or target.shape != prediction.shape:
        return Side(entry, np.zeros(0), np.zeros(0))
    return Side(entry, target, prediction, parts["probability"], parts["loss"], parts["id"], parts["group"])


def compare_loader(first: Side, second: Side, *, names: tuple[str, str], seed: int = 0) -> dict[str, Any]:
    """Compare what two runs predicted on one loader.

    Returns:
        ``task``, ``n`` of both, ``class_names``; ``refused``: why they cannot be compared, or ``""``; ``paired`` and, where it is not,
        the ``reason``; ``groups``: the number of sequences or images that are drawn as a whole, where samples belong to some;
        ``differences`` (fields of `diagnose.measure.paired.Difference`), the one to judge by first; and of paired samples ``changes``
        (``lost``, ``won``, ``both_right``, ``both_wrong``, ``agree``), ``samples`` that changed most, ``per_class``.
    """
    entries, tasks = (first.entry, second.entry), [str(s.entry.get("task")) for s in (first, second)]
    labels = [[str(row.get("name")) for row in entry.get("per_class") or ()] for entry in entries]
    result: dict[str, Any] = {"task": tasks[0], "n": [entry.get("n") for entry in entries], "class_names": labels[0], "refused": ""}
    if tasks[0] != tasks[1] and not set(tasks) <= set(SINGLE):
        return {**result, "refused": f"{names[0]} is a {tasks[0]} model, {names[1]} a {tasks[1]} model"}
    if sorted(labels[0]) != sorted(labels[1]):
        odd = next(iter(set(labels[0]) ^ set(labels[1])))
        return {**result, "refused": f"the classes differ: {odd!r} is known to {names[0] if odd in labels[0] else names[1]} alone"}
    if labels[0] != labels[1] and tasks[0] in SINGLE and len(second.target) and len(set(labels[1])) == len(labels[1]):
        second = second.renumbered(np.array([labels[0].index(name) for name in labels[1]], dtype=np.int64))
    rows, reason = matched(first, second)
    if rows is None:
        single = [d for metric in METRICS if (d := paired.unpaired(metric, *entries)) is not None]
        return {**result, "paired": False, "reason": reason, "differences": ordered(single, tasks[0])}
    first, second = first.at(rows[0]), second.at(rows[1])
    known = np.ones(len(first.target), dtype=np.bool_)
    for values in (first.prediction, first.probability, second.prediction, second.probability):
        known &= True if values is None else np.isfinite(values).reshape(len(values), -1).all(1)
    kept = np.flatnonzero(known)
    if not len(kept):
        return {**result, "refused": "no sample has a finite prediction of both"}
    if len(kept) < len(known):
        reason = f"{reason} {len(known) - len(kept)} samples without a finite prediction of both are left out.".strip()
        first, second = first.at(kept), second.at(kept)
    predicted = [paired.Predicted(prediction=s.prediction, probability=s.probability, loss=s.loss) for s in (first, second)]
    group = None if first.group is None else np.unique(first.group, return_inverse=True)[1]
    found = paired.differences(tasks[0], first.target, *predicted, classes=len(labels[0]), seed=seed, group=group)
    result |= {"n": [len(kept)] * 2, "paired": True, "reason": reason, "differences": ordered(found, tasks[0])}
    if group is not None:
        result["groups"] = int(group.max()) + 1
    result |= changes(first, second, rows[0][kept])
    if tasks[0] in SINGLE and len(labels[0]) <= MOST_CLASSES:
        result["per_class"] = plain_tree(paired.per_class(first.target, first.prediction, second.prediction, len(labels[0]), seed=seed))
    return result


def ordered(found: list[Any], task: str) -> list[dict[str, Any]]:
    """Differences as JSON values, the one to judge by first."""
    primary = PRIMARY.get(task, "accuracy")
    rank = [primary, *METRICS]
    return [plain_tree(d.to_dict()) for d in sorted(found, key=lambda d: rank.index(d.metric))]


def matched(first: Side, second: Side) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]] | None, str]:
    """Rows of both that are the same sample, or why there are none."""
    if not len(first.target) or not len(second.target):
        return None, "The predictions of the samples were not kept."
    if first.ids is not None and second.ids is not None and not np.array_equal(first.ids, second.ids):
        if len(np.unique(first.ids)) < len(first.ids) or len(np.unique(second.ids)) < len(second.ids):
            return None, "The names of the samples are not unique."
        common, one, other = np.intersect1d(first.ids, second.ids, return_indices=True)
        order = np.argsort(one)
        one, other = one[order], other[order]
        if not len(common):
            return None, "The test sets have no sample in common."
        if not same(first.target[one], second.target[other]):
            return None, "Samples of the same name have other targets."
        left = len(first.ids) + len(second.ids) - 2 * len(common)
        return (one, other), f"The {len(common)} samples that both know are compared, {left} are left out." if left else ""
    if len(first.target) != len(second.target):
        return None, f"The test sets differ: {len(first.target)} samples against {len(second.target)}."
    if not same(first.target, second.target):
        off = int((first.target != second.target).reshape(len(first.target), -1).any(1).sum())
        return None, f"The test sets differ: the targets of {off} of {len(first.target)} samples are others, or stand in another order."
    rows = np.arange(len(first.target))
    return (rows, rows), ""


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays of targets are equal, values up to the digits that are kept on disk."""
    if one.shape != other.shape:
        return False
    if np.issubdtype(one.dtype, np.floating) or np.issubdtype(other.dtype, np.floating):
        return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6))
    return bool(np.array_equal(one, other))


def changes(first: Side, second: Side, rows: NDArray[np.int64]) -> dict[str, Any]:
    """How many answers changed, and the samples that changed most."""
    target = first.target
    if np.issubdtype(target.dtype, np.floating):
        errors = [np.abs(s.prediction.astype(np.float64) - target).reshape(len(target), -1).mean(1) for s in (first, second)]
        gain, counts = errors[0] - errors[1], {}
        moved = np.flatnonzero(gain != 0)
    else:
        right = [(s.prediction == target).reshape(len(target), -1).all(1) for s in (first, second)]
        alike = (first.prediction == second.prediction).reshape(len(target), -1).all(1)
        names = {"lost": right[0] & ~right[1], "won": ~right[0] & right[1], "both_right": right[0] & right[1], "agree": alike}
        counts = {**{name: int(mask.sum()) for name, mask in names.items()}, "both_wrong": int((~right[0] & ~right[1]).sum())}
        gain = right[1].astype(np.float64) - right[0]
        if first.loss is not None and second.loss is not None:
            gain = gain + 1e-3 * np.clip(np.nan_to_num(first.loss.astype(np.float64) - second.loss), -100, 100)
        moved = np.flatnonzero(~alike)
    order = moved[np.argsort(gain[moved], kind="stable")]
    half = LISTED // 2
    shown = order if len(order) <= LISTED else np.r_[order[:half], order[-half:]]
    samples = []
    for i in shown if target.ndim == 1 else ():
        losses = [None if s.loss is None else float(s.loss[i]) for s in (first, second)]
        name = str(first.ids[i]) if first.ids is not None else int(rows[i])
        values = {"target": target[i].item(), "prediction": [first.prediction[i].item(), second.prediction[i].item()]}
        samples.append({"sample": name, **values, "loss": losses})
    return {"changes": counts, "samples": plain_tree(samples), "moved": len(moved)}


def changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[list[Any]]:
    """Keys of two nested mappings whose values differ, as ``[key, first, second]``; a value that is absent is ``None``."""
    one, other = (dict(flat(mapping)) for mapping in (first, second))
    return [[key, one.get(key), other.get(key)] for key in sorted({*one, *other}) if one.get(key) != other.get(key)]


def flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested mapping; where a run was to write is no difference."""
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in PLACES:
            yield f"{prefix}{key}", value


def judge(comparison: Mapping[str, Any], *, margin: float = 0.0) -> Diagnosis:
    """Outcomes of a comparison: an error where the second run is worse in the metric to judge by, a warning where it is in another.

    Worse is: the whole 95 % interval of the difference lies on the wrong side, by more than ``margin``.
    """
    outcomes = [outcome for name, entry in comparison["loaders"].items() for outcome in outcomes_of(comparison, name, entry, margin)]
    if not outcomes:
        reason = "the runs evaluated no loader of the same name"
        outcomes = [Outcome(code="C600", rule="comparison", status=Status.NOT_RUN, reason=reason)]
    return Diagnosis(outcomes=tuple(outcomes))


def outcomes_of(comparison: Mapping[str, Any], loader: str, entry: Mapping[str, Any], margin: float) -> Iterator[Outcome]:
    """An outcome per metric of a loader."""
    if entry["refused"]:
        yield Outcome(code="C600", rule=f"comparison on {loader}", status=Status.NOT_RUN, reason=entry["refused"])
        return
    cause = ""  # the metric to judge by, where it is worse, speaks for the others
    for index, d in enumerate(entry["differences"]):
        code, title = f"C{601 + METRICS.index(d['metric'])}", TITLES.get(d["metric"], d["metric"].replace("_", " "))
        low, high = (d["low"], d["high"]) if d["better"] == "higher" else (-d["high"], -d["low"])
        said = f"{title} went from {d['first']:.4g} to {d['second']:.4g}, by {d['change']:+.3g} (95 % {d['low']:+.3g} to {d['high']:+.3g})"
        rule = f"worse-{d['metric'].replace('_', '-')}"
        if high < -margin:
            finding = Finding(
                code=code,
                rule=rule,
                severity=Severity.WARNING if index else Severity.ERROR,
                message=f"{comparison['names'][1]} is worse than {comparison['names'][0]}: {said}",
                where=loader,
                fix=FIX,
                evidence={"first": d["first"], "second": d["second"], "low": d["low"], "high": d["high"], "p": d["p"], "margin": margin},
            )
            yield Outcome(code=code, rule=rule, status=Status.FOUND, findings=(finding,), explained_by=cause)
            cause = cause if index else code
            continue
        verdict = "better" if low > 0 else "worse, within the margin" if high < 0 else "no difference shown"
        yield Outcome(code=code, rule=rule, status=Status.CLEAN, reason=f"{loader}: {verdict}; {said}")
