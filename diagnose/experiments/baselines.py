"""What a loss can reach: its floor, and what a predictor that ignores its input reaches."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.measure.losses import LossCall


def chance(call: LossCall) -> float | None:
    """The least mean loss of a constant prediction on the call's own targets, in the loss's unit; ``None`` where it is not known.

    Cross-entropy and NLL: entropy of the class shares (with label smoothing mixed in). Binary cross-entropy: entropy of each column's
    share. Squared error: variance per column; absolute error: mean distance from the median; Huber and smooth L1: their value at the
    median.
    """
    if call.target is None:
        return None
    target = call.target.detach().float() if call.target.is_floating_point() else call.target.detach()
    if call.kind in ("cross_entropy", "nll_loss"):
        return _entropy(_shares(call, target))
    columns = target.float().reshape(len(target), -1) if target.dim() > 0 else target.float().reshape(1, 1)
    if call.kind.startswith("binary_cross_entropy"):
        p = columns.mean(0).clamp(0, 1)
        return float(_bernoulli_entropy(p).mean())
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
    """The least mean loss that any prediction can reach on the call's targets; ``None`` where it is not known.

    Zero for class indices and for regression; the entropy of the targets under label smoothing and for probability targets.
    """
    if call.target is None:
        return None
    target = call.target.detach()
    if call.kind == "cross_entropy":
        smoothing, classes = float(call.options.get("label_smoothing", 0.0)), call.input.shape[1 if call.input.dim() > 1 else 0]
        if target.is_floating_point():
            rows = target.float().movedim(1, -1).reshape(-1, classes) if target.dim() > 1 else target.float().reshape(1, -1)
            rows = (1 - smoothing) * rows + smoothing / classes
            return float(torch.special.entr(rows.clamp(min=0)).sum(1).mean())
        row = torch.full((classes,), smoothing / classes)
        row[0] += 1 - smoothing
        return _entropy(row)
    if call.kind == "nll_loss":
        return 0.0
    if call.kind.startswith("binary_cross_entropy"):
        return float(_bernoulli_entropy(target.float().clamp(0, 1)).mean())
    return 0.0 if call.kind in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss") else None


def _shares(call: LossCall, target: Tensor) -> Tensor:
    classes = call.input.shape[1 if call.input.dim() > 1 else 0]
    smoothing = float(call.options.get("label_smoothing", 0.0))
    if target.is_floating_point():
        rows = target.movedim(1, -1).reshape(-1, classes) if target.dim() > 1 else target.reshape(1, -1)
        shares = rows.mean(0)
    else:
        labels = target.reshape(-1)
        labels = labels[(labels >= 0) & (labels < classes) & (labels != call.options.get("ignore_index", -100))]
        shares = torch.bincount(labels, minlength=classes).float() / max(1, len(labels))
    return (1 - smoothing) * shares + smoothing / classes


def _entropy(shares: Tensor) -> float:
    return float(torch.special.entr(shares).sum())


def _bernoulli_entropy(p: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(p) + torch.special.entr(1 - p)
    return entropy


def uniform(call: LossCall) -> float | None:
    """The loss of equal odds: ``ln C`` for ``C`` classes, ``ln 2`` for binary cross-entropy; ``None`` for other losses."""
    if call.kind in ("cross_entropy", "nll_loss"):
        return math.log(max(2, call.input.shape[1 if call.input.dim() > 1 else 0]))
    return math.log(2) if call.kind.startswith("binary_cross_entropy") else None
