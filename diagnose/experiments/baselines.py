"""What a loss can reach: its floor, and what a predictor that ignores its input reaches."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.measure.losses import LossCall

CATEGORICAL = ("cross_entropy", "nll_loss")
BERNOULLI = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


def chance(call: LossCall) -> float | None:
    """The least loss of a constant prediction on the call's own targets, in the unit of its value; ``None`` where it is not known.

    Cross-entropy and NLL: entropy of the class shares. Binary cross-entropy: entropy of each column's share. Both with label smoothing and
    weights as the loss has them; soft-margin losses are binary cross-entropy by another name. Hinge loss over classes: that of equal
    scores. Squared error: variance per column; absolute error: mean distance from the median; Huber and smooth L1: their value at the
    median. Poisson: that of the mean count. What is written by hand may be a multiple of these or their root.
    """
    mean = _constant(as_cross_entropy(call))
    return None if mean is None else call.in_its_unit(mean)


def _constant(call: LossCall) -> float | None:
    if call.target is None:
        return None
    if call.kind == "multi_margin_loss":
        options = {k: call.options[k] for k in ("p", "margin", "weight") if k in call.options}
        return float(F.multi_margin_loss(torch.zeros_like(call.input.detach()), call.target, **options))
    if call.kind in CATEGORICAL:
        return float(_least(_class_weights(call).sum(0)))
    if call.kind in BERNOULLI:
        ones, zeros = _odds(call)
        return float(_least(torch.stack([ones.mean(0), zeros.mean(0)], -1)).mean())
    columns = _columns(call.target.detach().float())
    if call.kind == "poisson_nll_loss":
        return _poisson(columns.mean(0).expand_as(columns), columns, call)
    if call.kind == "mse_loss":
        return float(columns.var(0, correction=0).mean())
    centre = columns.median(0).values.expand_as(columns)
    if call.kind == "l1_loss":
        return float((columns - centre).abs().mean())
    if call.kind == "huber_loss":
        return float(F.huber_loss(centre, columns, delta=call.options.get("delta", 1.0)))
    if call.kind == "smooth_l1_loss":
        return float(F.smooth_l1_loss(centre, columns, beta=call.options.get("beta", 1.0)))
    return None


def floor(call: LossCall) -> float | None:
    """The least loss, in the unit of its value, that any prediction can reach on the call's targets; ``None`` where it is not known.

    Zero for class indices, margins and for regression; the entropy of the targets under label smoothing and for probability targets;
    for Poisson that of the counts themselves.
    """
    mean = _lowest(as_cross_entropy(call))
    return None if mean is None else call.in_its_unit(mean)


def _lowest(call: LossCall) -> float | None:
    if call.target is None:
        return None
    if call.kind in CATEGORICAL:
        return float(_least(_class_weights(call)).sum())
    if call.kind in BERNOULLI:
        return float(_least(torch.stack(_odds(call), -1)).mean())
    if call.kind == "poisson_nll_loss":
        counts = call.target.detach().float()
        return _poisson(counts, counts, call)
    return 0.0 if call.kind in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "multi_margin_loss") else None


def uniform(call: LossCall) -> float | None:
    """The loss of equal odds: ``ln C`` for ``C`` classes, ``ln 2`` for binary, times the weights of the loss; ``None`` for other losses."""
    call = as_cross_entropy(call)
    if call.kind == "multi_margin_loss":
        return chance(call)
    if call.target is None:
        return None
    if call.kind in CATEGORICAL:
        weights = _class_weights(call)
        return call.in_its_unit(float(weights.sum()) * math.log(max(2, weights.shape[1])))
    return call.in_its_unit(float(sum(_odds(call)).mean()) * math.log(2)) if call.kind in BERNOULLI else None  # type: ignore[union-attr]


def as_cross_entropy(call: LossCall) -> LossCall:
    """A soft-margin loss as the binary cross-entropy that it is; other calls as they are."""
    if call.target is None or call.kind not in ("soft_margin_loss", "multilabel_soft_margin_loss"):
        return call
    target = (call.target > 0).float() if call.kind == "soft_margin_loss" else call.target.float()
    return LossCall("binary_cross_entropy_with_logits", call.input, target, call.value, call.options)


def _poisson(rate: Tensor, counts: Tensor, call: LossCall) -> float:
    return float(F.poisson_nll_loss(rate.clamp_min(1e-8), counts, log_input=False, full=bool(call.options.get("full", False))))


def _least(weights: Tensor) -> Tensor:
    """The minimum over distributions q of ``-sum(weights * log q)`` along the last axis, shape ``(...)``; it lies at q = weights / sum."""
    least: Tensor = torch.special.entr(weights).sum(-1) - torch.special.entr(weights.sum(-1))
    return least


def _class_weights(call: LossCall) -> Tensor:
    """How much each position's loss counts each class's ``-log p`` in the mean, shape ``(n, C)``."""
    assert call.target is not None
    classes = call.input.shape[1 if call.input.dim() > 1 else 0]
    target, smoothing = call.target.detach(), float(call.options.get("label_smoothing", 0.0))
    given = call.options.get("weight")
    weight = torch.ones(classes) if given is None else given.detach().float().cpu()
    if target.is_floating_point():
        rows = target.float().cpu().movedim(1, -1).reshape(-1, classes) if target.dim() > 1 else target.float().cpu().reshape(1, -1)
        return ((1 - smoothing) * rows + smoothing / classes) * weight / len(rows)
    labels = target.reshape(-1).cpu()
    labels = labels[(labels >= 0) & (labels < classes) & (labels != call.options.get("ignore_index", -100))]
    counted = (1 - smoothing) * F.one_hot(labels.long(), classes) + smoothing / classes
    return counted * weight / max(float(weight[labels.long()].sum()), 1e-12)


def _odds(call: LossCall) -> tuple[Tensor, Tensor]:
    """How much each target counts ``-log p`` and ``-log(1 - p)`` in the mean, two tensors of shape ``(n, k)``."""
    assert call.target is not None
    target = call.target.detach().float().clamp(0, 1)
    parts = (call.options.get(name) for name in ("weight", "pos_weight"))
    weight, positive = (torch.ones(()) if p is None else p.detach().float().to(target.device) for p in parts)
    return _columns(weight * positive * target), _columns((weight * (1 - target)).expand_as(weight * positive * target))


def _columns(target: Tensor) -> Tensor:
    return target.reshape(len(target), -1) if target.dim() > 0 else target.reshape(1, 1)
