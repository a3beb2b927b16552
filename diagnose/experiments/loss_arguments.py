"""What a loss function was given: its classes, its input, its labels and targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from diagnose.experiments.batches import leaves, same
from diagnose.measure.graph import sums_to_one
from diagnose.measure.losses import LossCall, class_last

UNLABELLED = 255
MOST = 1000  # classes


def classes(call: LossCall) -> int | None:
    """Number of classes that a loss call distinguishes, ``None`` for regression."""
    if call.kind in ("cross_entropy", "nll_loss"):
        return call.input.shape[1] if call.input.dim() > 1 else call.input.shape[0]
    return 2 if call.kind.startswith("binary") else None


def input_statistics(call: LossCall) -> dict[str, Any]:
    """What the loss was given: ``min``, ``max``, ``std``, and whether it is made of probabilities or log-probabilities over the classes."""
    x = call.input.detach().float()
    finite = x[torch.isfinite(x)]
    if not finite.numel():
        return {"min": float("nan"), "max": float("nan"), "std": float("nan"), "probabilities": False, "log_probabilities": False}
    stats: dict[str, Any] = {"min": float(finite.min()), "max": float(finite.max()), "std": float(finite.std(correction=0))}
    if call.kind in ("cross_entropy", "nll_loss", "kl_div"):
        rows = class_last(call).float() if call.kind != "kl_div" else x.reshape(-1, x.shape[-1])
        stats["probabilities"] = rows.shape[1] > 1 and sums_to_one(rows, 1)
        stats["log_probabilities"] = bool((rows <= 1e-4).all()) and sums_to_one(rows.exp(), 1)
    return stats


def label_statistics(call: LossCall) -> dict[str, int]:
    """Class indices among the targets, without those that are ignored: ``count``, ``distinct``, ``min``, ``max``."""
    target = call.target
    if target is None or target.is_floating_point():
        return {"count": 0, "distinct": 0, "min": 0, "max": 0}
    labels = torch.unique(target[target != call.options.get("ignore_index", -100)])
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    classes = call.input.shape[1] if call.input.dim() > 1 else high + 1
    if high == UNLABELLED >= classes and len(labels) > 1 and int(labels[-2]) < classes:  # pixels without a label, not a class
        high = int(labels[-2])
    return {"count": target.numel(), "distinct": len(labels), "min": low, "max": high}


def columns_set(call: LossCall, batches: Sequence[Any]) -> dict[str, Any] | None:
    """Which columns of targets that are zeros and ones, one column per unit of the output, are ever set.

    They are a field of the batches, or one-hot rows made of a field of class indices; two other values stand for both where labels are
    smoothed.

    Args:
        call: The loss call of the first batch.
        batches: Batches as their loader gave them.

    Returns:
        ``units`` (columns), ``count`` (entries that are set), ``distinct`` (columns that ever are), and the first and last of these,
        ``min`` and ``max``. ``None`` where the targets are of another form or in no field.
    """
    target = call.target
    if target is None or target.dim() != 2 or target.shape != call.input.shape or target.shape[1] < 3 or not target.numel() or not batches:
        return None
    target = target.detach().cpu().double()
    low, high = target.min(), target.max()
    hot = target == high
    if low == high or not (hot | (target == low)).all():
        return None
    one = hot.double().argmax(1) if bool((hot.sum(1) == 1).all()) else None
    for path, field in leaves(batches[0]):
        whole = [t.cpu() for batch in batches for p, t in leaves(batch) if p == path and t.layout is torch.strided]
        if one is not None and not field.is_floating_point() and same(field.cpu(), one):
            labels = torch.cat([t.reshape(-1) for t in whole])
        elif low == 0 and field.shape == target.shape and same(field.cpu(), target):
            labels = torch.cat([(t > 0).nonzero()[:, 1] for t in whole if t.dim() == 2])
        else:
            continue
        known = torch.unique(labels)
        ends = {"min": int(known[0]), "max": int(known[-1])}
        return {"units": target.shape[1], "count": len(labels), "distinct": len(known), **ends}
    return None


def class_weights(call: LossCall) -> dict[str, list[float]] | None:
    """How much each class weighs in a loss, and how often it is among the targets: ``weight``, ``count``.

    ``None`` without such weights, and for more than a thousand classes.
    """
    target, several = call.target, call.kind in ("cross_entropy", "nll_loss")
    given = call.options.get("weight" if several else "pos_weight")
    if target is None or not isinstance(given, torch.Tensor) or (several and target.is_floating_point()):
        return None
    if given.numel() > MOST:
        return None
    weight = given.detach().reshape(-1).tolist()
    if several:
        labels = target[(target != call.options.get("ignore_index", -100)) & (target >= 0) & (target < len(weight))]
        return {"weight": weight, "count": torch.bincount(labels.reshape(-1), minlength=len(weight)).tolist()}
    positive = float((target > 0.5).sum())
    return {"weight": [1.0, *weight], "count": [target.numel() - positive, positive]} if len(weight) == 1 else None


def asked_of(batch: Any, call: LossCall | None) -> dict[str, Any] | None:
    """Which field of a batch, as its loader gave it, a loss of classes took for its targets, and what of it the loss counts.

    Returns:
        ``path`` (of the field), ``kind``, ``classes``, ``ignore_index`` (where the loss has one) and ``weightless`` (the classes whose
        weight is 0). ``None`` where the targets were changed on their way, as by a mask, or the loss gives one value for each of them.
    """
    if call is None or call.target is None or call.options.get("reduction") == "none" or classes(call) is None:
        return None
    target = call.target.detach().cpu()
    plain = ((path, tensor.detach().cpu()) for path, tensor in leaves(batch) if tensor.layout is torch.strided)
    path = next((path for path, tensor in plain if same(tensor, target)), None)
    if path is None:
        return None
    weight = (class_weights(call) or {}).get("weight", [])
    facts = {"path": path, "kind": call.kind, "classes": classes(call), "weightless": [n for n, w in enumerate(weight) if not w]}
    return facts | {k: call.options[k] for k in ("ignore_index",) if k in call.options}


BOUNDS: dict[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(("Sigmoid", "Softmax", "Hardsigmoid"), (0.0, 1.0)),
    **dict.fromkeys(("Relu", "Softplus", "Exp", "Abs"), (0.0, None)),
    **dict.fromkeys(("LogSigmoid", "LogSoftmax"), (None, 0.0)),
    "Tanh": (-1.0, 1.0),
}


def target_statistics(call: LossCall) -> dict[str, Any]:
    """``min`` and ``max`` of the targets, and per activation the share ``below`` and ``above`` the range that it can give."""
    if call.target is None or not call.target.numel():
        return {}
    t = call.target.detach().double()
    return {
        "min": float(t.min()),
        "max": float(t.max()),
        "below": {k: float((t < low - 1e-6).double().mean()) if low is not None else 0.0 for k, (low, _) in BOUNDS.items()},
        "above": {k: float((t > high + 1e-6).double().mean()) if high is not None else 0.0 for k, (_, high) in BOUNDS.items()},
    }
