"""The numbers of a classifier as JSON values: metrics with intervals beside their baselines, per class, confusion, calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure import bootstrap, calibration, classification, ranking
from diagnose.measure.json_values import plain, plain_tree
from diagnose.measure.label_errors import label_errors

AVERAGES = ("precision", "recall", "f1")
MOST_RANKED = 100  # classes; of more the ranking is left out
MOST_CURVES = 30
TOP = (2, 3, 5, 10)

Floats = NDArray[np.float64]


def class_summary(
    task: str,
    target: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any] | None,
    names: list[str],
    seed: int,
    loss: NDArray[Any] | None = None,
    group: NDArray[Any] | None = None,
) -> dict[str, Any]:
    """The numbers of one class per sample; ``loss`` per sample gives a next-token model its perplexity where probabilities are too many.

    Samples of one ``group`` are not independent: groups are resampled then, not samples.
    """
    cells = classification.cells(target, prediction, len(names))
    by_group = None
    if group is not None:
        group = np.unique(group, return_inverse=True)[1]
        by_group = bootstrap.cells_by_group(target * len(names) + prediction, cells.true * len(names) + cells.predicted, group)
    totals = cells.totals()
    hits, support, predicted = totals
    numbers = {k: plain(v) for k, v in classification.headline(*totals).items()}
    resampled = bootstrap.resampled_headline(cells, seed=seed, by_group=by_group)
    intervals: dict[str, Any] = {k: bootstrap.interval(v) for k, v in resampled.items() if numbers[k] is not None}
    if group is None:
        intervals["accuracy"] = bootstrap.wilson(float(hits.sum()), cells.n)
    baseline = majority(support, names)
    entry: dict[str, Any] = {"task": task, "n": cells.n, "classes": len(names), **numbers}
    if group is not None:
        entry["groups"] = int(group.max()) + 1
    dealt = classification.headline(support * predicted / cells.n, support, predicted)  # all linear in the hits, so these are expectations
    nil = {name: 0.0 for name in ("mcc", "kappa") if numbers[name] is not None}  # exactly; what is computed is off by rounding
    independent = {"name": "own predictions dealt at random", **{k: plain(v) for k, v in dealt.items()}, **nil}
    extra: dict[str, dict[str, Any]] = {}
    if probability is not None:
        scores, ranges = probabilities(probability, target, prediction, seed, group)
        entry |= scores
        ranked, spans, extra = rankings(probability, target, support, group)
        entry |= ranked
        intervals |= ranges | spans
        baseline |= priors(support, entry)
        independent["log_loss"] = dealt_log_loss(probability, support)
        entry["label_errors"] = plain_tree(label_errors(probability, target))
    if task == "next-token":
        costs = calibration.log_losses(probability, target) if probability is not None else loss
        if costs is not None:
            perplexity(entry, intervals, baseline, np.asarray(costs, dtype=np.float64), support, seed, group)
    matrix = cells.matrix
    if matrix is None:
        entry["note"] = f"No confusion matrix: {len(names):,} classes are more than {classification.WIDEST:,}; the counts per class remain."
    return {
        **entry,
        **tables(hits, support, predicted, names, extra),
        "confusion": None if matrix is None else matrix.tolist(),
        "intervals": {k: [plain(low), plain(high)] for k, (low, high) in intervals.items() if math.isfinite(low)},
        "baseline": baseline,
        "independent": independent,
        "zero_division": classification.ZERO_DIVISION,
    }


def majority(support: Floats, names: list[str]) -> dict[str, Any]:
    """What always answering with the most frequent class gives."""
    largest = int(support.argmax())
    only = np.zeros_like(support)
    only[largest] = support.sum()
    numbers = classification.headline(np.where(only > 0, support, 0.0), support, only)
    kept = {k: plain(numbers[k]) for k in ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "kappa")}
    return {"name": f"majority class {names[largest]}", "class": largest, "majority": kept["accuracy"], **kept, "names": {}}


def priors(support: Floats, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What always answering with the shares of the classes gives; ``names`` says so per metric."""
    share = support / support.sum()
    found: dict[str, Any] = {"log_loss": calibration.prior_log_loss(support)}
    found["brier"] = float(share[1] * (1 - share[1])) if len(share) == 2 else float(1 - (share**2).sum())
    falling = np.sort(share)[::-1]
    found |= {f"top_{k}_accuracy": float(falling[:k].sum()) for k in TOP if f"top_{k}_accuracy" in entry}
    if entry.get("roc_auc") is not None:
        ranked = share[1:] if len(share) == 2 else share[support > 0]
        found |= {"roc_auc": 0.5, "average_precision": float(ranked.mean())}
    return {**found, "names": dict.fromkeys(found, "class shares")}


def dealt_log_loss(probability: NDArray[Any], support: Floats) -> float | None:
    """Log loss that these probabilities would have on average if they were dealt to the samples at random."""
    epsilon = float(np.finfo(probability.dtype).eps)
    total = np.zeros(probability.shape[1])
    for start in range(0, len(probability), bootstrap.LARGE):
        part = probability[start : start + bootstrap.LARGE].astype(np.float64)
        total -= np.log(np.clip(part, epsilon, 1 - epsilon)).sum(0)
    return plain(total @ support / len(probability) / support.sum())


def probabilities(
    probability: NDArray[Any], target: NDArray[Any], prediction: NDArray[Any], seed: int, group: NDArray[Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Log loss, Brier score and calibration with their intervals, and top-k accuracies."""
    right = np.asarray(prediction) == target

    def columns(rows: slice) -> Floats:
        p, y = probability[rows], target[rows]
        return np.column_stack([calibration.log_losses(p, y), calibration.brier_scores(p, y), calibration.confidence_gaps(p, right[rows])])

    means, drawn = bootstrap.mean_and_resampled(columns, len(target), seed=seed, group=group)
    error = float(calibration.calibration_error(means[2:]))
    scores: dict[str, Any] = {
        "log_loss": plain(means[0]),
        "brier": plain(means[1]),
        "ece": plain(error),
        "temperature": calibration.temperature(probability, target),
    }
    ranges = {"log_loss": bootstrap.interval(drawn[:, 0]), "brier": bootstrap.interval(drawn[:, 1])}
    ranges["ece"] = bootstrap.reflected(bootstrap.interval(calibration.calibration_error(drawn[:, 2:])), error)
    for k in TOP:
        if k < probability.shape[1] / 2:
            scores[f"top_{k}_accuracy"] = share = classification.top_k(probability, target, k)
            if group is None:
                ranges[f"top_{k}_accuracy"] = bootstrap.wilson(share * len(target), len(target))
    scores["reliability"] = calibration.reliability(probability, right)
    return scores, ranges


def rankings(
    probability: NDArray[Any], target: NDArray[Any], support: Floats, group: NDArray[Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """ROC area and average precision (means over the classes that occur), their intervals, and per class; curves and thresholds."""
    binary = probability.shape[1] == 2
    present = [1] if binary else np.flatnonzero(support).tolist()
    if (support > 0).sum() < 2 or len(present) > MOST_RANKED:
        return {}, {}, {}
    found = ranking.areas(probability, ((c, target == c) for c in present), group)
    entry: dict[str, Any] = {"roc_auc": plain(found["roc_auc"]), "average_precision": plain(found["average_precision"])}
    if len(present) <= MOST_CURVES:
        entry["curves"] = {str(c): row["curves"] for c, row in found["classes"].items()}
    if binary:
        entry["thresholds"] = plain_tree(ranking.threshold_table(ranking.ranked(probability[:, 1], target == 1)))
    per_class = {str(c): {k: plain(row[k]) for k in ("roc_auc", "average_precision")} for c, row in found["classes"].items()}
    return entry, found["intervals"], per_class


def perplexity(
    entry: dict[str, Any],
    intervals: dict[str, Any],
    baseline: dict[str, Any],
    costs: Floats,
    support: Floats,
    seed: int,
    group: NDArray[Any] | None = None,
) -> None:
    """Add log loss and perplexity of a next-token model, with their intervals and those of the shares of the tokens."""
    means, drawn = bootstrap.mean_and_resampled(lambda rows: costs[rows, None], len(costs), seed=seed, group=group)
    low, high = bootstrap.interval(drawn[:, 0])
    prior = calibration.prior_log_loss(support)
    entry |= {"log_loss": plain(means[0]), "perplexity": plain(np.exp(means[0]))}
    intervals |= {"log_loss": (low, high), "perplexity": (math.exp(low), math.exp(high))}
    baseline |= {"log_loss": prior, "perplexity": math.exp(prior)}
    baseline["names"] = {**baseline["names"], "log_loss": "token shares", "perplexity": "token shares"}


def tables(hits: Any, support: Any, predicted: Any, names: list[str], extra: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Precision, recall, F1, support per class (with what ``extra`` has by its number), and their three averages."""
    found = classification.per_class(hits, support, predicted)
    rows = [
        {
            "name": name,
            **{m: plain(getattr(found, m)[i]) for m in AVERAGES},
            "support": int(support[i]),
            "predicted": int(predicted[i]),
            **extra.get(str(i), {}),
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
