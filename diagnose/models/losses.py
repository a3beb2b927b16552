"""The losses by name, with what each can be used for; all take logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

FITTING = {
    "cross_entropy": ("classes", "tokens"),
    "bce_with_logits": ("classes",),
    "mse": ("values", "reconstruction"),
    "l1": ("values", "reconstruction"),
    "huber": ("values", "reconstruction"),
}
USUAL = {"classes": "cross_entropy", "tokens": "cross_entropy", "values": "mse", "reconstruction": "mse"}


def loss_named(name: str, task: str, counts: Sequence[int] = (), **options: Any) -> nn.Module:
    """The loss of a name for a task.

    Args:
        name: A name in `FITTING`, or ``auto``: cross-entropy for classes and tokens, squares for the rest.
        task: ``classes``, ``tokens``, ``values`` or ``reconstruction``.
        counts: Samples per class in the training part.
        options: ``label_smoothing`` and ``class_weights`` of cross_entropy, ``class_weights`` of bce_with_logits, ``delta`` of huber.
            ``class_weights`` is ``balanced``, n / (classes x count), or a number per class.

    Raises:
        ValueError: The name is not known, does not fit the task, or an option is out of range.
        TypeError: An option that the loss does not have.
    """
    if name == "auto":
        name = USUAL[task]
    if name not in FITTING:
        raise ValueError(f"loss.name must be one of auto, {', '.join(FITTING)}, got {name!r}")
    if task not in FITTING[name]:
        fitting = [other for other, tasks in FITTING.items() if task in tasks]
        raise ValueError(f"loss={name} is for {' or '.join(FITTING[name])}, here are {task}; choose loss={' or '.join(fitting)}")
    if name == "cross_entropy":
        return _cross_entropy(counts, **options)
    if name == "bce_with_logits":
        return _binary(counts, **options)
    if name == "huber":
        return _huber(**options)
    if options:  # torch's own would take `reduction`, and a sum would make the rate depend on the batch size
        raise TypeError(f"loss={name} has no option {next(iter(options))!r}; losses are means over the batch")
    return nn.MSELoss() if name == "mse" else nn.L1Loss()


def _cross_entropy(counts: Sequence[int], *, label_smoothing: float = 0.0, class_weights: Any = None) -> nn.Module:
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"loss.label_smoothing must be at least 0 and below 1, got {label_smoothing!r}")
    return nn.CrossEntropyLoss(weight=_weights(class_weights, counts), label_smoothing=label_smoothing)


def _binary(counts: Sequence[int], *, class_weights: Any = None) -> nn.Module:
    if len(counts) != 2:
        raise ValueError(f"loss=bce_with_logits needs two classes, the data have {len(counts)}; choose loss=cross_entropy")
    weights = _weights(class_weights, counts)
    return nn.BCEWithLogitsLoss(pos_weight=None if weights is None else weights[1] / weights[0])


def _huber(*, delta: float = 1.0) -> nn.Module:
    if not delta > 0:
        raise ValueError(f"loss.delta must be above 0, got {delta!r}")
    return nn.HuberLoss(delta=delta)


def _weights(given: Any, counts: Sequence[int]) -> Tensor | None:
    if given is None:
        return None
    if not counts:
        raise ValueError("loss.class_weights needs classes with counts, here are none")
    if given == "balanced":
        return sum(counts) / (len(counts) * torch.tensor(counts, dtype=torch.float32))
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(counts) or not all(w > 0 for w in given):
        raise ValueError(f"loss.class_weights must be null, balanced, or {len(counts)} numbers above 0, got {given!r}")
    return torch.tensor([float(w) for w in given])
