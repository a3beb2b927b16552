"""What a step predicted, in a few numbers that stay on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from diagnose.measure.losses import LossCall, predictions


def describe(call: LossCall) -> dict[str, Tensor]:
    """Summary of the predictions of a loss call.

    Returns:
        ``n`` (samples), ``top_share`` and ``target_top_share`` (share of the most frequent class among predictions and targets),
        ``accuracy``; for regression and for several labels ``std`` and ``target_std`` (over samples, the mean over outputs), for
        classes ``std`` of the probabilities over samples. Empty for losses that name no prediction.
    """
    found = predictions(call)
    if found is None or not len(found.target):
        return {}
    n = torch.tensor(float(len(found.target)), device=found.target.device)
    if found.task in ("regression", "multilabel"):
        values = found.prediction if found.probability is None else found.probability
        numbers = {"n": n, "std": spread(values), "target_std": spread(found.target.float())}
        if found.task == "multilabel":
            numbers["accuracy"] = (found.prediction == found.target).float().mean()
        return numbers
    numbers = {"n": n, "accuracy": (found.prediction == found.target).float().mean()}
    numbers["top_share"] = frequencies(found.prediction, found.classes).max() / n
    numbers["target_top_share"] = frequencies(found.target, found.classes).max() / n
    if found.probability is not None:
        numbers["std"] = spread(found.probability)
    return numbers


def spread(values: Tensor) -> Tensor:
    """Standard deviation over the first axis, the root of the mean square over the others; 0 for fewer than two rows.

    >>> spread(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
    tensor(0.7071)
    """
    if len(values) < 2:
        return values.new_zeros(())
    return values.float().var(0, correction=0).mean().sqrt()


def frequencies(classes: Tensor, count: int) -> Tensor:
    """How often each of ``count`` classes occurs, shape ``(count,)``; indices outside are not counted."""
    kept = classes[(classes >= 0) & (classes < count)]
    return torch.zeros(count, device=classes.device).index_add_(0, kept, torch.ones_like(kept, dtype=torch.float32))


def score(call: LossCall) -> dict[str, Tensor]:
    """What a whole validation run needs from one batch, as sums: ``n``, ``loss``, ``right``, ``predicted`` and ``actual`` per class.

    Regression and losses of several labels give the sums ``s1``, ``s2``, ``t1``, ``t2`` of the predictions, targets and their squares
    over samples, for the spread over the whole run.
    """
    found = predictions(call)
    if found is None or call.value is None or not len(found.target):
        return {}
    count = float(len(found.target))
    loss = call.value.detach().float().mean() if call.options.get("reduction") == "mean" else found.loss.mean()
    sums = {"n": torch.tensor(count, device=found.target.device), "loss": loss * count}
    if found.task == "multilabel":
        sums["right"] = (found.prediction == found.target).float().mean() * count
    if found.task in ("regression", "multilabel"):
        values = (found.prediction if found.probability is None else found.probability).float().reshape(len(found.target), -1)
        target = found.target.float().reshape(len(found.target), -1)
        return sums | {"s1": values.sum(0), "s2": values.square().sum(0), "t1": target.sum(0), "t2": target.square().sum(0)}
    sums["right"] = (found.prediction == found.target).float().sum()
    return sums | {"predicted": frequencies(found.prediction, found.classes), "actual": frequencies(found.target, found.classes)}
