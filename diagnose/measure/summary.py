"""All numbers of one evaluated loader as JSON values: metrics with intervals beside their baselines, per class, confusion, calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure import bootstrap, calibration, classification, regression

AVERAGES = ("precision", "recall", "f1")


def summary(
    task: str,
    target: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any] | None = None,
    *,
    classes: int = 0,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The numbers of one loader.

    Args:
        task: ``binary``, ``multiclass``, ``next-token``, ``multilabel`` or ``regression``.
        target: Class indices or values, shape ``(n,)``, or ``(n, k)`` for several labels or outputs.
        prediction: The same shape.
        probability: Shape ``(n, C)``, or ``(n, k)`` for several labels.
        classes: Number of classes ``C``.
        class_names: A name per class or label.
        seed: Seed of the resampling for intervals.
    """
    if task == "regression":
        return _values(target, prediction, seed)
    names = [str(name) for name in class_names] if class_names is not None else [str(i) for i in range(classes)]
    if task == "multilabel":
        return _labels(target, prediction, probability, names, seed)
    return _classes(task, target, prediction, probability, names, seed)


def plain(value: Any) -> Any:
    """A number as JSON has it: ``None`` where it is undefined."""
    number = float(value)
    return number if math.isfinite(number) else None


def _classes(task: str, target: NDArray[Any], prediction: NDArray[Any], probability: Any, names: list[str], seed: int) -> dict[str, Any]:
    cells = classification.cells(target, prediction, len(names))
    totals = cells.totals()
    hits, support, predicted = totals
    numbers = {k: plain(v) for k, v in classification.headline(*totals).items()}
    resampled = bootstrap.resampled_headline(cells, seed=seed)
    intervals = {k: bootstrap.interval(v) for k, v in resampled.items() if numbers[k] is not None}
    intervals["accuracy"] = bootstrap.wilson(float(hits.sum()), cells.n)
    majority = int(support.argmax())
    baseline = _majority(support, majority, names)
    entry: dict[str, Any] = {"task": task, "n": cells.n, "classes": len(names), **numbers}
    if probability is not None:
        scores, ranges = _scores(probability, target, prediction, seed)
        entry |= scores
        intervals |= ranges
        baseline["log_loss"] = calibration.prior_log_loss(support)
    matrix = cells.matrix
    if matrix is None:
        entry["note"] = f"No confusion matrix: {len(names)} classes are more than {classification.WIDEST}; the counts per class remain."
    return {
        **entry,
        **_tables(hits, support, predicted, names),
        "confusion": None if matrix is None else matrix.tolist(),
        "intervals": {k: [plain(low), plain(high)] for k, (low, high) in intervals.items() if math.isfinite(low)},
        "baseline": baseline,
        "zero_division": classification.ZERO_DIVISION,
    }


def _majority(support: NDArray[np.float64], majority: int, names: list[str]) -> dict[str, Any]:
    """What always answering with the most frequent class gives."""
    only = np.zeros_like(support)
    only[majority] = support.sum()
    numbers = classification.headline(np.where(only > 0, support, 0.0), support, only)
    kept = {k: plain(numbers[k]) for k in ("accuracy", "balanced_accuracy", "macro_f1", "mcc")}
    return {"name": f"majority class {names[majority]}", "class": majority, "majority": kept["accuracy"], **kept}


def _scores(probability: NDArray[Any], target: NDArray[Any], prediction: NDArray[Any], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Log loss, Brier score, calibration and ranking, with intervals of those that are means over samples."""
    right = np.asarray(prediction) == target

    def columns(rows: slice) -> NDArray[np.float64]:
        p, y = probability[rows], target[rows]
        return np.column_stack([calibration.log_losses(p, y), calibration.brier_scores(p, y), calibration.confidence_gaps(p, right[rows])])

    means, drawn = bootstrap.mean_and_resampled(columns, len(target), seed=seed)
    scores: dict[str, Any] = {
        "log_loss": plain(means[0]),
        "brier": plain(means[1]),
        "ece": plain(calibration.calibration_error(means[2:])),
        "temperature": calibration.temperature(probability, target),
    }
    ranges = {"log_loss": bootstrap.interval(drawn[:, 0]), "brier": bootstrap.interval(drawn[:, 1])}
    ranges["ece"] = bootstrap.interval(calibration.calibration_error(drawn[:, 2:]))
    present = np.unique(target)
    if probability.shape[1] == 2:
        ranked = [(classification.roc_auc, classification.average_precision, probability[:, 1], target == 1)]
    elif len(present) <= 100:
        ranked = [(classification.roc_auc, classification.average_precision, probability[:, c], target == c) for c in present]
    else:
        ranked = []
    if len(present) > 1 and ranked:
        scores["roc_auc"] = plain(np.mean([auc(score, positive) for auc, _, score, positive in ranked]))
        scores["average_precision"] = plain(np.mean([ap(score, positive) for _, ap, score, positive in ranked]))
    if probability.shape[1] > 10:
        scores["top_5_accuracy"] = classification.top_k(probability, target, 5)
    scores["reliability"] = calibration.reliability(probability, right)
    return scores, ranges


def _tables(hits: Any, support: Any, predicted: Any, names: list[str]) -> dict[str, Any]:
    found = classification.per_class(hits, support, predicted)
    rows = [
        {
            "name": name,
            **{m: plain(getattr(found, m)[i]) for m in AVERAGES},
            "support": int(support[i]),
            "predicted": int(predicted[i]),
        }
        for i, name in enumerate(names)
    ]
    micro = classification.per_class(*(np.asarray([total.sum()]) for total in (hits, support, predicted)))
    return {
        "per_class": rows,
        "macro": {m: plain(v) for m, v in found.average("macro").items()},
        "micro": {m: plain(np.nan_to_num(getattr(micro, m)[0])) for m in AVERAGES},
        "weighted": {m: plain(v) for m, v in found.average("weighted").items()},
    }


def _labels(target: NDArray[Any], prediction: NDArray[Any], probability: Any, names: list[str], seed: int) -> dict[str, Any]:
    """Several labels per sample; accuracy is the share of samples with all labels right, as in scikit-learn."""
    yes, said = np.asarray(target) > 0, np.asarray(prediction) > 0
    hits, support, predicted = ((a).sum(0).astype(np.float64) for a in (yes & said, yes, said))
    exact, wrong = (yes == said).all(1), (yes != said).mean(1)
    drawn = bootstrap.resampled_means(wrong[:, None], seed=seed)[:, 0]
    usual = yes.mean(0) > 0.5
    tables = _tables(hits, support, predicted, names)
    entry: dict[str, Any] = {
        "task": "multilabel", "n": len(yes), "classes": len(names), "accuracy": float(exact.mean()), "macro_f1": tables["macro"]["f1"],
        "hamming_loss": float(wrong.mean()),
    }  # fmt: skip
    if probability is not None:
        columns = [c for c in range(len(names)) if 0 < support[c] < len(yes)]
        if columns:
            entry["roc_auc"] = plain(np.mean([classification.roc_auc(probability[:, c], yes[:, c]) for c in columns]))
            entry["average_precision"] = plain(np.mean([classification.average_precision(probability[:, c], yes[:, c]) for c in columns]))
    return {
        **entry,
        **tables,
        "confusion": None,
        "intervals": {
            "accuracy": list(bootstrap.wilson(float(exact.sum()), len(yes))),
            "hamming_loss": list(bootstrap.interval(drawn)),
        },
        "baseline": {
            "name": "the more frequent answer per label",
            "accuracy": float((yes == usual).all(1).mean()),
            "hamming_loss": float((yes != usual).mean()),
        },
        "zero_division": classification.ZERO_DIVISION,
    }


def _values(target: NDArray[Any], prediction: NDArray[Any], seed: int) -> dict[str, Any]:
    columns = regression.moments(target, prediction)
    numbers = regression.errors(columns.mean(0))
    drawn = regression.errors(bootstrap.resampled_means(columns, seed=seed))
    mean = np.broadcast_to(np.asarray(target, dtype=np.float64).mean(0), np.shape(target))
    flat: Mapping[str, Any] = regression.errors(regression.moments(target, np.array(mean)).mean(0))
    return {
        "task": "regression",
        "n": len(columns),
        **{k: plain(v) for k, v in numbers.items()},
        "intervals": {k: [plain(v) for v in bootstrap.interval(values)] for k, values in drawn.items()},
        "baseline": {"name": "mean of the targets", **{k: plain(v) for k, v in flat.items()}},
    }
