"""What a step predicted, in a few numbers that stay on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from diagnose.measure.losses import LossCall, class_last, predictions

LIMIT = 1_000_000


def describe(call: LossCall) -> dict[str, Tensor]:
    """Summary of the predictions of a loss call.

    Returns:
        ``top_share`` and ``target_top_share`` (share of the most frequent class among predictions and targets),
        ``accuracy``; for regression and for several labels ``std`` and ``target_std`` (over samples, the mean over outputs), for
        classes ``std`` of the probabilities over samples; of classes at most about a million scores are looked at, of evenly spaced
        rows. Empty for losses that name no prediction.
    """
    if call.kind in ("cross_entropy", "nll_loss") and call.target is not None:
        return _describe_classes(call, call.target.detach())
    found = predictions(call)
    if found is None or not len(found.target):
        return {}
    if found.task in ("regression", "multilabel"):
        values = found.prediction if found.probability is None else found.probability
        numbers = {"std": spread(values), "target_std": spread(found.target.float())}
        if found.task == "multilabel":
            numbers["accuracy"] = (found.prediction == found.target).float().mean()
        return numbers
    numbers = {"accuracy": (found.prediction == found.target).float().mean()}
    numbers["top_share"] = frequencies(found.prediction, found.classes).max() / len(found.target)
    numbers["target_top_share"] = frequencies(found.target, found.classes).max() / len(found.target)
    if found.probability is not None:
        numbers["std"] = spread(found.probability)
    return numbers


def _describe_classes(call: LossCall, target: Tensor) -> dict[str, Tensor]:
    """The same in few kernels, and without a choice of rows, which would wait for the device: rows without a target weigh nothing."""
    scores = class_last(call)
    if target.is_floating_point():
        target = target.reshape(scores.shape[0], -1) if target.dim() == 1 else target.movedim(1, -1).reshape(scores.shape)
    else:
        target = target.reshape(-1)
    stride = max(1, scores.numel() // LIMIT)
    scores, target = scores[::stride], target[::stride]
    target = target.argmax(1) if target.dim() > 1 else target
    if not len(target):
        return {}
    classes = scores.shape[1]
    kept = (target >= 0) & (target < classes)
    ignored = call.options.get("ignore_index", -100)
    weight = (kept & (target != ignored) if 0 <= ignored < classes else kept).float()
    prediction, n = scores.argmax(1), weight.sum()
    counts = torch.zeros(2, classes, device=scores.device)
    counts[0].index_add_(0, prediction, weight)
    counts[1].index_add_(0, target.clamp(0, classes - 1), weight)
    shares = counts.amax(1) / n
    probability = scores.float().softmax(1) if call.kind == "cross_entropy" else scores.float().exp()
    mean = weight @ probability / n
    std = (weight @ (probability - mean).square_() / n).mean().sqrt()
    accuracy = ((prediction == target) * weight).sum() / n
    return {"accuracy": accuracy, "top_share": shares[0], "target_top_share": shares[1], "std": std}


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
