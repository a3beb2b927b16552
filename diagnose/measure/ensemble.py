"""Several models on the same samples: their mean, their vote, and how far they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure import bootstrap, paired
from diagnose.measure.paired import Predicted

TINY = 1e-12

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensembled:
    """What an ensemble is worth beside its members.

    Attributes:
        task: ``binary``, ``multiclass``, ``next-token`` or ``regression``.
        n: Number of samples.
        rows: For each member, then ``mean`` and ``vote``: ``name``, ``role`` (``member``, ``beside``, ``mean``, ``vote``), ``metrics`` by
            name, each value with the ends of its 95 % interval, and ``gain`` by metric: the mean (without probabilities: the vote) minus
            this row on the same samples, as `diagnose.measure.paired.Difference.to_dict` gives it.
        average: By metric, the mean of the members' values (``value``), and the ensemble minus it (``change``, ``low``, ``high``).
        disagreement: ``matrix`` and ``mean`` of the pairwise disagreement; of classes also ``predictive_entropy``, ``expected_entropy``
            and ``mutual_information`` (nats, means over samples), the last also over the samples that the ensemble has right and wrong;
            of values ``spread``, the mean standard deviation over members, and ``ambiguity``, what averaging takes off the squared error.
        mean: What the ensemble predicts, by mean where there is one, else by vote.
    """

    task: str
    n: int
    rows: tuple[dict[str, Any], ...]
    average: dict[str, dict[str, float]]
    disagreement: dict[str, Any]
    mean: Predicted

    def to_dict(self) -> dict[str, Any]:
        """As the fact ``ensemble`` holds it; predictions are arrays of their own."""
        return {name: getattr(self, name) for name in ("task", "n", "average", "disagreement")} | {"rows": list(self.rows)}


def votes(predictions: Sequence[NDArray[Any]], probability: Floats | None = None) -> Ints:
    """The class that most members predict, shape ``(n,)``.

    Of classes with equally many votes it is the one that has the higher mean probability, without probabilities the first in the order
    of the classes.

    >>> said = [np.array([0, 1, 2]), np.array([1, 1, 0]), np.array([0, 2, 1])]
    >>> votes(said).tolist()
    [0, 1, 0]
    >>> votes(said, np.array([[0.3, 0.4, 0.3], [0.1, 0.5, 0.4], [0.2, 0.3, 0.5]])).tolist()
    [0, 1, 2]
    """
    said = np.stack([np.asarray(p, dtype=np.int64) for p in predictions], axis=1)  # (n, members)
    count = (said[:, :, None] == said[:, None, :]).sum(2)
    tied = count == count.max(1, keepdims=True)
    if probability is None:
        chosen: Ints = np.where(tied, said, np.iinfo(np.int64).max).min(1)
        return chosen
    score = np.where(tied, np.take_along_axis(probability, said, 1), -1.0)
    best: Ints = np.take_along_axis(said, score.argmax(1)[:, None], 1)[:, 0]
    return best


def disagreements(predictions: Sequence[NDArray[Any]], *, values: bool = False) -> Floats:
    """Share of the samples on which two members differ, of values the root mean square of what they differ by; shape ``(m, m)``.

    >>> disagreements([np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])]).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    made = np.zeros((len(predictions), len(predictions)))
    for i, one in enumerate(predictions):
        for j, other in enumerate(predictions[:i]):
            apart = np.asarray(one) - np.asarray(other) if values else np.asarray(one) != np.asarray(other)
            made[i, j] = made[j, i] = np.sqrt(np.mean(np.square(apart, dtype=np.float64))) if values else np.mean(apart)
    return made


def entropy(probability: Floats) -> Floats:
    """Entropy of each row in nats, shape ``(n,)``.

    >>> np.round(entropy(np.array([[0.5, 0.5], [1.0, 0.0]])), 4).tolist()
    [0.6931, 0.0]
    """
    p = np.asarray(probability, dtype=np.float64)
    own: Floats = -(p * np.log(np.maximum(p, TINY))).sum(1)
    return np.maximum(own, 0.0)


def ensembled(
    task: str,
    target: NDArray[Any],
    members: Sequence[Predicted],
    names: Sequence[str],
    *,
    classes: int = 0,
    seed: int = 0,
    group: NDArray[Any] | None = None,
    beside: Mapping[str, Predicted] | None = None,
) -> Ensembled:
    """Average members, let them vote, and compare both with each of them.

    Probabilities are averaged, not logits: the mean is then a mixture, whose log loss is at most the mean of the members' (Jensen).

    Args:
        task: As `diagnose.evaluation.evaluate` knows it, but for several labels.
        target: Class numbers or values, shape ``(n,)`` or ``(n, k)``.
        members: What each predicted for the same samples in the same order.
        names: What each is called.
        classes: Number of classes.
        seed: Of resampling.
        group: Sequence or image of each sample, shape ``(n,)``.
        beside: Models that are compared with it without belonging to it.

    Raises:
        ValueError: Fewer than two members, or several labels per sample.

    References:
        Lakshminarayanan, Pritzel and Blundell, Simple and scalable predictive uncertainty estimation using deep ensembles, NeurIPS (2017).
        Depeweg et al., Decomposition of uncertainty in Bayesian deep learning, ICML (2018), equation 3: entropy of the mean = mean entropy
        + mutual information. Krogh and Vedelsby, Neural network ensembles, cross validation, and active learning, NIPS (1994), equation 7.
    """
    if len(members) < 2:
        raise ValueError(f"an ensemble needs at least two members, got {len(members)}")
    if task == "multilabel":
        raise ValueError("expected one class or values per sample, got several labels: their ensemble is not defined here")
    mean, vote, disagreement = _values(target, members) if task == "regression" else _classes(target, members)
    judged = mean or vote
    assert judged is not None
    everyone = [(name, "member", own) for name, own in zip(names, members, strict=True)]
    everyone += [(name, "beside", own) for name, own in (beside or {}).items()]
    everyone += [(name, name, own) for name, own in (("mean", mean), ("vote", vote)) if own is not None]
    rows = []
    for name, role, own in everyone:
        shown = [d for d in paired.differences(task, target, own, judged, classes=classes, seed=seed, group=group) if d.metric in SHOWN]
        table = _losses(task, target, own)
        metrics = {d.metric: [d.first, *_interval(d.metric, d.first, table, seed, group)] for d in shown}
        gain = {d.metric: d.to_dict() for d in shown} if own is not judged else {}
        rows.append({"name": name, "role": role, "metrics": metrics, "gain": gain})
    average = _average(task, target, members, judged, seed, group)
    return Ensembled(task=task, n=len(target), rows=tuple(rows), average=average, disagreement=disagreement, mean=judged)


SHOWN = ("accuracy", "log_loss", "rmse", "mae", "r2")


def _classes(target: NDArray[Any], members: Sequence[Predicted]) -> tuple[Predicted | None, Predicted, dict[str, Any]]:
    predictions = [member.prediction for member in members]
    matrix = disagreements(predictions)
    disagreement: dict[str, Any] = {"matrix": matrix.tolist(), "mean": _off_diagonal(matrix)}
    given = [member.probability for member in members if member.probability is not None]
    if len(given) < len(members):
        return None, Predicted(prediction=votes(predictions)), disagreement
    mean = np.mean([np.asarray(p, dtype=np.float64) for p in given], axis=0)
    total, inner = entropy(mean), np.mean([entropy(p) for p in given], axis=0)
    told = np.maximum(total - inner, 0.0)
    chosen = mean.argmax(1)
    right = chosen == target
    disagreement |= {
        "predictive_entropy": float(total.mean()),
        "expected_entropy": float(inner.mean()),
        "mutual_information": float(told.mean()),
        "mutual_information_right": float(told[right].mean()) if right.any() else None,
        "mutual_information_wrong": float(told[~right].mean()) if not right.all() else None,
    }
    loss = -np.log(np.maximum(mean[np.arange(len(target)), target], TINY))
    return Predicted(prediction=chosen, probability=mean, loss=loss), Predicted(prediction=votes(predictions, mean)), disagreement


def _values(target: NDArray[Any], members: Sequence[Predicted]) -> tuple[Predicted, None, dict[str, Any]]:
    said = np.stack([np.asarray(member.prediction, dtype=np.float64) for member in members])
    mean = said.mean(0)
    matrix = disagreements(list(said), values=True)
    disagreement = {
        "matrix": matrix.tolist(),
        "mean": _off_diagonal(matrix),
        "spread": float(said.std(0, ddof=1).mean()),
        "ambiguity": float(said.var(0).mean()),
    }
    return Predicted(prediction=mean, loss=np.square(mean - target).reshape(len(mean), -1).mean(1)), None, disagreement


def _off_diagonal(matrix: Floats) -> float:
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def _losses(task: str, target: NDArray[Any], own: Predicted) -> dict[str, Floats]:
    """Per sample, what a metric is the mean of."""
    if task == "regression":
        error = (np.asarray(own.prediction, dtype=np.float64) - target).reshape(len(target), -1)
        return {"rmse": np.square(error).mean(1), "mae": np.abs(error).mean(1)}
    made = {"accuracy": (np.asarray(own.prediction) == target).astype(np.float64)}
    if own.probability is not None:
        made["log_loss"] = -np.log(np.maximum(np.asarray(own.probability, dtype=np.float64)[np.arange(len(target)), target], TINY))
    return made


def _interval(metric: str, value: float, table: dict[str, Floats], seed: int, group: NDArray[Any] | None) -> list[float | None]:
    if metric not in table:
        return [None, None]
    if metric == "accuracy" and group is None:
        return list(bootstrap.wilson(value * len(table[metric]), len(table[metric])))
    _, drawn = bootstrap.mean_and_resampled(lambda rows: table[metric][rows, None], len(table[metric]), seed=seed, group=group)
    low, high = bootstrap.interval(drawn[:, 0])
    return [low**0.5, high**0.5] if metric == "rmse" else [low, high]


def _average(
    task: str, target: NDArray[Any], members: Sequence[Predicted], judged: Predicted, seed: int, group: NDArray[Any] | None
) -> dict[str, dict[str, float]]:
    """The ensemble against the average member, on the same resamples."""
    tables, own = [_losses(task, target, member) for member in members], _losses(task, target, judged)
    made = {}
    for metric in own:
        if any(metric not in table for table in tables):
            continue
        columns = np.column_stack([own[metric], *(table[metric] for table in tables)])
        means, drawn = bootstrap.mean_and_resampled(lambda rows, c=columns: c[rows], len(columns), seed=seed, group=group)  # type: ignore[misc]
        if metric == "rmse":
            means, drawn = np.sqrt(means), np.sqrt(np.maximum(drawn, 0.0))
        low, high = bootstrap.interval(drawn[:, 0] - drawn[:, 1:].mean(1))
        value = float(means[1:].mean())
        made[metric] = {"value": value, "change": float(means[0]) - value, "low": low, "high": high}
    return made
