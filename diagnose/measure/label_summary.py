"""The numbers of several labels per sample as JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure import bootstrap, classification, ranking
from diagnose.measure.class_summary import MOST_CURVES, MOST_RANKED, tables
from diagnose.measure.json_values import plain, plain_tree


def label_summary(target: NDArray[Any], prediction: NDArray[Any], probability: Any, names: list[str], seed: int) -> dict[str, Any]:
    """Several labels per sample; accuracy is the share of samples with all labels right, as in scikit-learn."""
    yes, said = np.asarray(target) > 0, np.asarray(prediction) > 0
    hits, support, predicted = ((a).sum(0).astype(np.float64) for a in (yes & said, yes, said))
    exact = (yes == said).all(1)
    count = len(names)

    def columns(rows: slice) -> NDArray[np.float64]:
        y, p = yes[rows], said[rows]
        return np.column_stack([(y != p).mean(1), y & p, y, p]).astype(np.float64)

    means, drawn = bootstrap.mean_and_resampled(columns, len(yes), seed=seed)
    f1 = classification.per_class(*(drawn[:, 1 + i * count : 1 + (i + 1) * count] for i in range(3))).average("macro")["f1"]
    intervals: dict[str, Any] = {"accuracy": bootstrap.wilson(float(exact.sum()), len(yes))}
    intervals |= {"macro_f1": bootstrap.interval(f1), "hamming_loss": bootstrap.interval(drawn[:, 0])}
    usual = yes.mean(0) > 0.5
    entry: dict[str, Any] = {"task": "multilabel", "n": len(yes), "classes": count, "accuracy": float(exact.mean())}
    extra: dict[str, dict[str, Any]] = {}
    ranked = [(c, yes[:, c]) for c in range(count) if 0 < support[c] < len(yes)]
    if probability is not None and 0 < len(ranked) <= MOST_RANKED:
        found = ranking.areas(probability, ranked)
        intervals |= found["intervals"]
        entry |= {name: plain(found[name]) for name in ("roc_auc", "average_precision")}
        if len(ranked) <= MOST_CURVES:
            entry["curves"] = {str(c): row["curves"] for c, row in found["classes"].items()}
        extra = {str(c): {k: plain(row[k]) for k in ("roc_auc", "average_precision")} for c, row in found["classes"].items()}
    per_label = tables(hits, support, predicted, names, extra)
    always = np.where(usual, support, 0.0)
    flat = classification.per_class(always, support, np.where(usual, float(len(yes)), 0.0)).average("macro")["f1"]
    baseline = {
        "name": "more frequent answer per label",
        "accuracy": float((yes == usual).all(1).mean()),
        "hamming_loss": float((yes != usual).mean()),
        "macro_f1": plain(flat),
        "names": {},
    }
    if "roc_auc" in entry:
        baseline |= {"roc_auc": 0.5, "average_precision": float(np.mean([member.mean() for _, member in ranked]))}
        baseline["names"] = dict.fromkeys(("roc_auc", "average_precision"), "label shares")
    at_random = classification.per_class(support * predicted / len(yes), support, predicted).average("macro")["f1"]
    shares = support / len(yes), predicted / len(yes)
    independent = {
        "name": "own predictions dealt at random",
        "accuracy": dealt_alike(yes, said),
        "macro_f1": plain(at_random),
        "hamming_loss": float((shares[0] * (1 - shares[1]) + shares[1] * (1 - shares[0])).mean()),
    }
    return {
        **entry,
        "macro_f1": per_label["macro"]["f1"],
        "hamming_loss": plain(means[0]),
        **per_label,
        "confusion": None,
        "intervals": plain_tree({k: list(v) for k, v in intervals.items()}),
        "baseline": baseline,
        "independent": independent,
        "zero_division": classification.ZERO_DIVISION,
    }


def dealt_alike(yes: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """The share of samples with all labels right on average, if the rows ``said`` were dealt to the samples at random.

    >>> dealt_alike(np.array([[True], [False]]), np.array([[True], [True]]))
    0.5
    """
    place = np.unique(np.packbits(np.concatenate([yes, said]), axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    own, other = (np.bincount(half, minlength=int(place.max()) + 1) for half in np.split(place, 2))
    return float(own.astype(np.float64) @ other) / len(yes) ** 2
