"""What a step predicted, in a few numbers that stay on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diagnose.measure.losses import LossCall, class_last, predictions, task

LIMIT = 1_000_000
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "soft_margin_loss")


def describe(call: LossCall) -> dict[str, Tensor]:
    """Summary of the predictions of a loss call.

    Returns:
        ``top_share`` and ``target_top_share`` (share of the most frequent class among predictions and targets),
        ``accuracy``; for regression and for several labels ``std`` and ``target_std`` (over samples, the mean over outputs). Of classes
        at most about a million scores are looked at, of evenly spaced rows. Empty for losses that name no prediction.
    """
    classes = _classes(call, LIMIT)
    if classes is not None:
        return _describe_classes(classes)
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
    return numbers


def _describe_classes(found: _Classes) -> dict[str, Tensor]:
    if not len(found.weight):
        return {}
    n = found.weight.sum()
    top_share, target_top_share = (found.counts().amax(1) / n).unbind()
    return {"accuracy": found.right() / n, "top_share": top_share, "target_top_share": target_top_share}


@dataclass(frozen=True, slots=True, eq=False)
class _Classes:
    """Predicted and true classes, shape ``(n,)``; rows without a target weigh 0: to leave them out would wait for the device."""

    classes: int
    prediction: Tensor
    target: Tensor
    weight: Tensor

    def right(self) -> Tensor:
        return (self.prediction == self.target).float() @ self.weight

    def counts(self) -> Tensor:
        """How often each class was predicted, and was true, shape ``(2, C)``."""
        place = torch.cat([self.prediction, self.target + self.classes])
        counts = torch.zeros(2 * self.classes, device=place.device).index_add_(0, place, torch.cat([self.weight, self.weight]))
        return counts.view(2, self.classes)


def _classes(call: LossCall, limit: float = float("inf")) -> _Classes | None:
    """Rows of a call that scores one class each, of many classes evenly spaced ones with about ``limit`` scores; ``None`` of others."""
    if call.target is not None and call.kind in ("cross_entropy", "nll_loss"):
        return _many(call, call.target.detach(), limit)
    if call.target is not None and call.kind in BINARY and task(call)[0] == "binary":
        return _two(call, call.target.detach())
    return None


def _two(call: LossCall, target: Tensor) -> _Classes:
    raw = call.input.detach().float()
    target = target.expand_as(raw) if target.numel() != raw.numel() else target
    predicted = (raw if call.kind == "binary_cross_entropy" else raw.sigmoid()).reshape(-1) > 0.5
    actual = target.reshape(-1) > (0.0 if call.kind == "soft_margin_loss" else 0.5)
    return _Classes(2, predicted.long(), actual.long(), torch.ones(len(predicted), device=raw.device))


def _many(call: LossCall, target: Tensor, limit: float) -> _Classes:
    scores = class_last(call)
    if target.is_floating_point():
        target = target.reshape(1, -1) if target.dim() == 1 else target.movedim(1, -1).reshape(scores.shape)
    elif target.dim() != 1:
        target = target.reshape(-1)
    stride = max(1, int(scores.numel() / limit))
    if stride > 1:
        scores, target = scores[::stride], target[::stride]
    target = target.argmax(1) if target.dim() > 1 else target
    classes, ignored = scores.shape[1], call.options.get("ignore_index", -100)
    inside = target.clamp(0, classes - 1)
    kept = inside == target
    kept = kept & (target != ignored) if 0 <= ignored < classes else kept
    return _Classes(classes, scores.argmax(1), inside, kept.float())


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


def mean_value(call: LossCall) -> Tensor | None:
    """The value of a loss call as a mean over what it scores, whatever its reduction; ``None`` where it raised.

    >>> x, y = torch.tensor([1.0, 3.0]), torch.zeros(2)
    >>> call = LossCall("mse_loss", x, y, torch.nn.functional.mse_loss(x, y, reduction="sum"), {"reduction": "sum"})
    >>> mean_value(call)
    tensor(5.)
    """
    if call.value is None or not call.value.numel():
        return None
    value = call.value.detach().float() / call.factor
    if call.options.get("reduction") != "sum":
        value = value.mean() if value.dim() else value
        return value.square() if call.root else value
    per_row = call.input.shape[1 if call.input.dim() > 1 else 0] if call.kind in ("cross_entropy", "nll_loss") else 1
    return value.sum() * (per_row / max(1, call.input.numel()))


def score(call: LossCall) -> dict[str, Tensor]:
    """What a whole validation run needs from one batch, as sums: ``n``, ``loss``, ``right``, ``predicted`` and ``actual`` per class.

    Regression and losses of several labels give the sums ``s1``, ``s2``, ``t1``, ``t2`` of the predictions, targets and their squares
    over samples, for the spread over the whole run. Losses that name no prediction (triplets, CTC) give ``n`` and ``loss``.
    """
    by_mean = call.value is not None and call.value.numel() == 1 and call.options.get("reduction") == "mean"
    classes = _classes(call) if by_mean else None
    if classes is not None and call.value is not None:
        n, (predicted, actual) = classes.weight.sum(), classes.counts()
        value = torch.where(n > 0, call.value.detach().float(), 0.0)  # the mean over no row is NaN
        return {"n": n, "loss": value * n, "right": classes.right(), "predicted": predicted, "actual": actual}
    found = predictions(call)
    if found is None and by_mean and call.target is not None and call.target.dim() > 0:
        rows = torch.tensor(float(len(call.target)), device=call.input.device)
        return {"n": rows, "loss": call.value.detach().float().reshape(()) * rows}  # type: ignore[union-attr]
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
