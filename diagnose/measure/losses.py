"""What a step compares with what: the loss functions that it calls, watched from outside.

`diagnose.measure.watched_losses` sees every loss of `torch.nn.functional`, also those under ``nn.*Loss`` modules, and the usual ones that
are written by hand, so logits, targets and reduction are known without asking the user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.measure.plain import plain

ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "poisson_nll_loss")
LOGISTIC = ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "soft_margin_loss")
OTHERS = (
    "cross_entropy",
    "nll_loss",
    "gaussian_nll_loss",
    "poisson_nll_loss",
    "kl_div",
    "ctc_loss",
    "soft_margin_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "hinge_embedding_loss",
    "cosine_embedding_loss",
    "margin_ranking_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
)
LOSSES: dict[Callable[..., Any], str] = {getattr(F, name): name for name in (*ELEMENTWISE, *OTHERS)}
WRITTEN = {
    "mse_loss": "squared error",
    "l1_loss": "absolute error",
    "nll_loss": "negative log-likelihood",
    "cross_entropy": "cross-entropy",
    "binary_cross_entropy": "binary cross-entropy",
    "binary_cross_entropy_with_logits": "binary cross-entropy",
}
COPIED = 4_194_304  # numbers


@dataclass(slots=True, eq=False)
class LossCall:
    """One call of a loss function.

    Attributes:
        kind: Name of the function in `torch.nn.functional`.
        input: Its first argument (logits, log-probabilities, probabilities or values), in the graph of the step; without gradients a copy
            of it, as steps of validation may work on it in place, unless it is large.
        target: Its target, of losses without one its second argument; ``None`` where it was given no tensor there.
        value: What it returned; ``None`` when it raised.
        options: Its other arguments by name (``reduction``, ``weight``, ``label_smoothing``, ``ignore_index`` ...).
        written: The step spells the loss out instead of calling the function; ``value`` is ``None`` where it is part of a sum over samples.
        factor: What ``value`` is a multiple of the mean loss by, as a loss written by hand may be.
        root: ``value`` is the root of the mean loss, times ``factor``.
    """

    kind: str
    input: Tensor
    target: Tensor | None
    value: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)
    written: bool = False
    factor: float = 1.0
    root: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.input, Tensor):
            return  # the function itself refuses it
        self.input = plain(self.input)
        self.target, self.value = (None if t is None else plain(t) for t in (self.target, self.value))
        if not self.input.requires_grad and self.input.numel() <= COPIED:
            self.input = self.input.clone()

    @property
    def name(self) -> str:
        """What a user knows the loss by."""
        return f"the {WRITTEN[self.kind]} written by hand" if self.written else self.kind

    def in_its_unit(self, mean: float) -> float:
        """A mean loss in the unit of ``value``."""
        return self.factor * (mean**0.5 if self.root else mean)

    @classmethod
    def of(cls, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], value: Tensor | None = None) -> LossCall:
        """A call of one of the `LOSSES` with these arguments."""
        names, defaults = _parameters(function)
        given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
        compared = "target" if "target" in names else names[1]  # losses of pairs have two inputs before it
        input, target = given.pop(names[0], None), given.pop(compared, None)  # the function itself refuses a call without them
        return cls(LOSSES[function], input, target if isinstance(target, Tensor) else None, value, given)


@cache
def _parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Names of the parameters of a function, and the defaults of those that have one."""
    parameters = signature(function).parameters.values()
    return tuple(p.name for p in parameters), {p.name: p.default for p in parameters if p.default is not p.empty}


def primary(calls: Sequence[LossCall], loss: Tensor | None = None) -> LossCall | None:
    """The call to judge and evaluate a step by.

    It is the call whose value is the step's loss; else, among the calls with a target, the one whose input needs a gradient and that
    holds the most targets (the first of equals). ``None`` without calls.
    """
    usable = [c for c in calls if c.target is not None]
    if loss is not None and len(usable) > 1:
        for call in usable:
            if (
                call.value is not None
                and call.value.numel() == 1
                and torch.equal(call.value.detach().reshape(()).to(loss), loss.detach().reshape(()))
            ):
                return call
    order = {"cross_entropy": 2, "nll_loss": 2, "binary_cross_entropy_with_logits": 1, "binary_cross_entropy": 1}

    def weight(call: LossCall) -> tuple[bool, int, int]:
        return (call.input.requires_grad, order.get(call.kind, 0), call.target.numel() if call.target is not None else 0)

    return max(usable, key=weight, default=None)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a step predicted, sample by sample; ``n`` counts every scored position (tokens, pixels).

    Attributes:
        task: ``binary``, ``multiclass``, ``multilabel`` or ``regression``.
        prediction: Class indices or values, shape ``(n,)`` or ``(n, k)``.
        target: The same for the targets.
        probability: Shape ``(n, C)``, ``(n, k)`` for multilabel, ``None`` for regression.
        loss: Loss of each scored position, shape ``(n,)``.
        classes: Number of classes (2 for binary), 0 for regression.
        group: Which target along the batch each position belongs to, shape ``(n,)``: of one that has several (an image of pixels, a
            sequence of tokens) they are not independent; ``None`` where each has one.
    """

    task: str
    prediction: Tensor
    target: Tensor
    probability: Tensor | None
    loss: Tensor
    classes: int
    group: Tensor | None = None


def class_last(call: LossCall) -> Tensor:
    """The input of a cross-entropy or NLL call with the class axis last, shape ``(n, C)``."""
    x = call.input.detach()
    if x.dim() == 2:
        return x
    return x.reshape(1, -1) if x.dim() == 1 else x.movedim(1, -1).reshape(-1, x.shape[1])


def predictions(call: LossCall) -> Predictions | None:
    """Predictions, probabilities and targets from the arguments of a loss call; ``None`` for losses that name no prediction."""
    if call.target is None:
        return None
    with torch.no_grad():
        target = call.target.detach()
        if call.kind in ("cross_entropy", "nll_loss"):
            return _categorical(call, target)
        if call.kind in ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss"):
            return _bernoulli(call, target)
        if call.kind == "soft_margin_loss":  # the logistic loss on targets of -1 and 1
            return _bernoulli(call, (target > 0).float())
        if call.kind == "multi_margin_loss":
            return _margins(call, target)
        if call.kind in REGRESSION:
            return _values(call, target)
    return None


def task(call: LossCall) -> tuple[str, int | None]:
    """What a loss is about and its number of classes: ``multiclass``, ``binary``, ``multilabel``, ``regression`` or ``unknown``."""
    wide = call.input.dim() > 1 and call.input.shape[1:].numel() > 1
    if call.kind in ("cross_entropy", "nll_loss", "multi_margin_loss"):
        return "multiclass", call.input.shape[1] if call.input.dim() > 1 else None
    if call.kind in (*LOGISTIC, "binary_cross_entropy", "multilabel_margin_loss"):
        return ("multilabel", call.input.shape[1]) if wide else ("binary", 2)
    return ("regression" if call.kind in REGRESSION else "unknown"), None


def _categorical(call: LossCall, target: Tensor) -> Predictions:
    scores = class_last(call).float()
    classes = scores.shape[1]
    group = None
    log_p = scores.log_softmax(1) if call.kind == "cross_entropy" else scores
    if target.is_floating_point():  # probabilities as targets
        soft = target.reshape(1, -1) if target.dim() == 1 else target.movedim(1, -1).reshape(-1, classes)
        loss, hard = -(soft * log_p).sum(1), soft.argmax(1)
    else:
        hard = target.reshape(-1)
        keep = (hard != call.options.get("ignore_index", -100)) & (hard >= 0) & (hard < classes)
        log_p, hard = log_p[keep], hard[keep]
        group = keep.nonzero().squeeze(1) // max(1, target.shape[1:].numel())
        loss = -log_p.gather(1, hard[:, None]).squeeze(1)
    return Predictions("binary" if classes == 2 else "multiclass", log_p.argmax(1), hard, log_p.exp(), loss, classes, group)


def _bernoulli(call: LossCall, target: Tensor) -> Predictions:
    raw = call.input.detach().float()
    logits = call.kind != "binary_cross_entropy"
    target = target.float().expand_as(raw) if target.numel() != raw.numel() else target.float().reshape(raw.shape)
    cost = (
        F.binary_cross_entropy_with_logits(raw, target, reduction="none")
        if logits
        else F.binary_cross_entropy(raw.clamp(0, 1), target.clamp(0, 1), reduction="none")
    )
    p = raw.sigmoid() if logits else raw
    if p.dim() > 1 and p.shape[1:].numel() > 1:
        p, target, cost = p.flatten(1), target.flatten(1), cost.flatten(1)
        return Predictions("multilabel", (p > 0.5).long(), (target > 0.5).long(), p, cost.mean(1), p.shape[1])
    p = p.reshape(-1)
    probability = torch.stack([1 - p, p], 1)
    return Predictions("binary", (p > 0.5).long(), (target.reshape(-1) > 0.5).long(), probability, cost.reshape(-1), 2)


def _margins(call: LossCall, target: Tensor) -> Predictions:
    """Scores of a hinge loss are compared with each other, but are no probabilities."""
    scores, target = call.input.detach().float().reshape(-1, call.input.shape[-1]), target.reshape(-1)
    options = {name: call.options[name] for name in ("p", "margin", "weight") if name in call.options}
    cost = F.multi_margin_loss(scores, target, reduction="none", **options)
    return Predictions("binary" if scores.shape[1] == 2 else "multiclass", scores.argmax(1), target, None, cost, scores.shape[1])


def _values(call: LossCall, target: Tensor) -> Predictions:
    value = call.input.detach().float()
    if call.kind == "poisson_nll_loss" and call.options.get("log_input", True):
        value = value.exp()
    if value.numel() != target.numel():
        value, target = value + torch.zeros_like(target), target + torch.zeros_like(value)
    target = target.float().reshape(value.shape)
    if value.dim() > 1 and value.shape[1:].numel() > 1:
        value, target = value.flatten(1), target.flatten(1)
        return Predictions("regression", value, target, None, (value - target).square().mean(1), 0)
    value, target = value.reshape(-1), target.reshape(-1)
    return Predictions("regression", value, target, None, (value - target).square(), 0)
