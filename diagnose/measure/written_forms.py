"""Which loss function a term of a loss spells out, settled by numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.measure.graph import op, parents, sums_to_one
from diagnose.measure.losses import LossCall

PARTIAL = frozenset("Index IndexSelect Gather MaskedSelect Slice Select Narrow Split SplitWithSizes Chunk Unbind Diagonal Rsub".split())
CLOSE = 2e-3  # of two equal numbers, computed in different ways


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """A value that is ``factor`` times the mean cost, or times the root of that; ``upright`` unless it is so with a minus."""

    value: Tensor
    reduction: str
    factor: float
    root: bool
    upright: bool


@dataclass(eq=False, slots=True)
class Term:
    """What a loss is a linear function of.

    Attributes:
        node: Where it stands in the graph.
        kind: ``square``, ``absolute``, ``norm`` of a difference; ``pick`` of scores by labels, ``picked`` where a logarithm follows;
            ``product`` of a logarithm and something given.
        computed: Predictions, scores or logarithms.
        target: Targets or labels.
        path: Nodes from here up to the loss.
        weights: What it is multiplied with on the way.
        scalars: Values of nodes that have one.
        rows: First index of a pick.
        axis: Axis of the classes.
        source: What the logarithm was taken of.
    """

    node: Any
    kind: str
    computed: Tensor
    target: Tensor
    path: list[Any]
    weights: list[Tensor]
    scalars: Mapping[Any, Tensor]
    rows: Any = None
    axis: int = 1
    source: Tensor | None = None


def squares(terms: Sequence[Term]) -> Iterator[tuple[Term, LossCall]]:
    """Squared and absolute errors."""
    for term in terms:
        if term.kind not in ("square", "absolute", "norm"):
            continue
        values, target = term.computed, term.target
        error = (values.detach() - target).float()
        if error.numel() == values.numel() and target.shape != values.shape:  # nothing was repeated
            target = target.reshape(values.shape)
        cost = error.abs() if term.kind == "absolute" else error * error
        weight = _weight(term.weights, cost)
        if term.weights and weight is None:
            continue
        known = True
        if weight is not None:
            kept = weight != 0
            positive = weight[kept]
            if not positive.numel():
                continue
            known = bool((positive == positive[0]).all())
            if not bool(kept.all()) and values.shape == target.shape == cost.shape:  # a mask: the others are no targets
                values, target, cost = _masked(values, target, cost, kept)
        known = known and (term.kind != "norm" or term.node in term.scalars)
        scale = _scale(term, cost, term.node, term.kind == "norm") if known else None
        yield term, _call("l1_loss" if term.kind == "absolute" else "mse_loss", values, target, scale)


def _masked(values: Tensor, target: Tensor, cost: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = kept.reshape(len(kept), -1)
    if bool((rows.all(1) == rows.any(1)).all()):
        kept = rows[:, 0]
    with torch.enable_grad():
        chosen = values[kept]
    return chosen, target[kept], cost[kept]


def likelihoods(terms: Sequence[Term]) -> Iterator[tuple[Term, LossCall]]:
    """Cross-entropies of classes, by labels or probabilities, and of events."""
    for term in terms:
        if term.kind in ("pick", "picked"):
            call = _by_labels(term)
            if call is not None:
                yield term, call
    products = [t for t in terms if t.kind == "product"]
    paired: set[int] = set()
    for i, first in enumerate(products):
        for second in products[i + 1 :]:
            if not {id(first), id(second)} & paired and _complementary(first, second):
                paired |= {id(first), id(second)}
                yield first, _of_events(*((second, first) if _turned(first) and not _turned(second) else (first, second)))
    for term in products:
        if id(term) not in paired:
            call = _by_probabilities(term)
            if call is not None:
                yield term, call


def _by_labels(term: Term) -> LossCall | None:
    scores, labels = term.computed, term.target
    classes = scores.shape[term.axis]
    if classes < 2 or not labels.numel() or bool((labels < 0).any()) or not _every_row(term.rows, scores):
        return None
    if term.axis != 1:
        with torch.enable_grad():
            scores = scores.movedim(term.axis, 1)
    values = scores.detach().float()
    picked = values.gather(1, labels.long().unsqueeze(1)).squeeze(1)
    kind, start = "nll_loss", term.node
    if term.kind == "picked":
        if not sums_to_one(values, 1) and not _made_by(scores, "Softmax"):
            return None
        with torch.enable_grad():
            scores = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
        cost = -picked.clamp_min(torch.finfo(values.dtype).tiny).log()
    elif _made_by(scores, "LogSoftmax") or sums_to_one(values.exp(), 1):
        cost = -picked
    else:
        start = _beside_normaliser(term)
        if start is None:
            return None
        kind, cost = "cross_entropy", F.cross_entropy(values, labels.long(), reduction="none")
    weight = _weight(term.weights, cost)
    if term.weights and weight is None:
        return None
    if weight is None:
        return _call(kind, scores, labels, _scale(term, cost, start))
    kept = weight != 0
    if bool(((weight == 1) | ~kept).all()) and bool(kept.any()):  # padding; rewards are not divided by their own sum
        scale = _scale(term, cost[kept], start, masked=True)
        labels = labels.masked_fill(~kept, -100)
        return None if scale is None else _call(kind, scores, labels, scale, ignore_index=-100)
    return _call(kind, scores, labels, None) if _per_class(weight, labels) else None


def _every_row(rows: Any, scores: Tensor) -> bool:
    if rows is None:
        return True
    n = len(scores)
    return bool(torch.equal(torch.as_tensor(rows, device=scores.device).reshape(-1), torch.arange(n, device=scores.device)))


def _made_by(scores: Tensor, name: str) -> bool:
    return scores.grad_fn is not None and op(scores.grad_fn) == name


def _beside_normaliser(term: Term) -> Any:
    """The node where scores of the labels are taken from the logarithm of the sum of all, or ``None``."""
    for node, above in zip(term.path, term.path[1:], strict=False):
        if op(above) in ("Sub", "Add") and len(parents(above)) == 2:
            (other,) = (p for p in parents(above) if p is not node) if parents(above)[0] is not parents(above)[1] else (None,)
            while other is not None and op(other) in ("Squeeze", "Unsqueeze", "View", "Neg") and len(parents(other)) == 1:
                (other,) = parents(other)
            return above if other is not None and op(other) in ("Logsumexp", "Log") else None
    return None


def _per_class(weight: Tensor, labels: Tensor) -> bool:
    """Whether a weight is a function of the label, so no advantage or return."""
    weight, labels = weight.reshape(-1), labels.reshape(-1)
    found = torch.unique(torch.stack([labels.to(weight.dtype), weight]), dim=1)
    distinct = torch.unique(labels).numel()
    return found.shape[1] == distinct and 2 * distinct <= labels.numel() and bool((weight > 0).all())


def _by_probabilities(term: Term) -> LossCall | None:
    logs, target = term.computed, term.target.detach()
    if logs.dim() < 2 or logs.shape != target.shape:
        return None
    target = target.to(logs.dtype)
    axis = next((a for a in (1, -1) if logs.shape[a] > 1 and sums_to_one(target, a, 1e-3)), None)
    values = logs.detach().float()
    if axis is None or bool((values > 1e-4).any()):
        return None
    if axis != 1 and logs.dim() > 2:
        with torch.enable_grad():
            logs = logs.movedim(axis, 1)
        values, target = values.movedim(axis, 1), target.movedim(axis, 1)
    cost = -(target * values).sum(1)
    if term.weights:
        return None
    scale = _scale(term, cost, term.node)
    if bool(((target == 0) | (target == 1)).all()):
        return _call("nll_loss", logs, target.argmax(1), scale)
    return _call("cross_entropy", logs, target, scale)


def _complementary(first: Term, second: Term) -> bool:
    a, b, y, z = first.computed, second.computed, first.target, second.target
    if not a.shape == b.shape == y.shape == z.shape:
        return False
    ones = torch.ones((), device=a.device)
    events = bool(((y >= 0) & (y <= 1)).all()) and torch.allclose(y.float() + z.float(), ones, atol=1e-4)
    return events and torch.allclose(a.detach().float().exp() + b.detach().float().exp(), ones, atol=CLOSE)


def _turned(term: Term) -> bool:
    """Whether the logarithm is that of the probability that an event does not happen."""
    if term.source is None:
        return False
    node = term.source.grad_fn
    while node is not None and op(node) in ("Clamp", "ClampMin", "ClampMax", "Add", "View") and len(parents(node)) == 1:
        (node,) = parents(node)
    return node is not None and op(node) in ("Rsub", "Neg")


def _of_events(first: Term, second: Term) -> LossCall:
    target = first.target.detach().float()
    cost = -(target * first.computed.detach().float() + (1 - target) * second.computed.detach().float())
    join = next((n for n in first.path if n in second.path), None)
    scale = _scale(first, cost, join) if join is not None and not (first.weights or second.weights) else None
    logits = first.source is not None and op(first.computed.grad_fn) == "LogSigmoid"
    values = first.source
    if values is None:
        with torch.enable_grad():
            values = first.computed.exp()
    return _call("binary_cross_entropy_with_logits" if logits else "binary_cross_entropy", values, target, scale)


def _weight(weights: Sequence[Tensor], cost: Tensor) -> Tensor | None:
    """The product of what a cost is multiplied with, in its shape; ``None`` where there is nothing, or nothing that fits."""
    if not weights:
        return None
    total = torch.ones_like(cost)
    for w in (w.detach().to(cost.dtype) for w in weights):
        if w.numel() == cost.numel():
            total = total * w.reshape(cost.shape)
        elif w.dim() == cost.dim() or w.shape == cost.shape[cost.dim() - w.dim() :]:
            try:
                total = total * w.expand_as(cost)
            except RuntimeError:
                return None
        elif cost.dim() and w.numel() == len(cost):
            total = total * w.reshape(-1, *[1] * (cost.dim() - 1))
        else:
            return None
    return total


def _scale(term: Term, cost: Tensor, start: Any, norm: bool = False, masked: bool = False) -> Scale | None:
    """How the loss, or the part of it that is a multiple of the mean cost, follows from that.

    Where something joins above the node ``start``, is added or left out, only plain means and sums count; where the loss is ``masked``
    only the mean.
    """
    mean = float(cost.mean())
    if not math.isfinite(mean) or mean <= 0:
        return None
    n, rows = cost.numel(), len(cost) if cost.dim() else 1
    alone, exact, root, reached = True, True, norm, False
    found: list[tuple[bool, Scale]] = []
    for node in term.path:
        name, before = op(node), parents(node)
        if reached:
            alone = alone and len(before) < 2
            exact = exact and alone and name not in PARTIAL and not (name in ("Add", "Sub") and len(node.next_functions) > 1)
        root = root or (reached and name in ("Sqrt", "Pow"))
        reached = reached or node is start
        value = term.scalars.get(node)
        if reached and value is not None:
            ratio = float(value.detach()) / (math.sqrt(mean) if root else mean)
            plain = next((f for f in (1.0, float(n), n / rows) if abs(abs(ratio) / f - 1) < CLOSE), None)
            if (plain is not None or exact) and ratio and math.isfinite(ratio):
                reduction = "sum" if plain == n > 1 and not root else "mean"
                factor = 1.0 if reduction == "sum" or plain == 1 else abs(ratio)
                found.append((alone, Scale(value, reduction, factor, root, ratio > 0)))
    upright = [entry for entry in found if entry[1].upright]
    if masked:
        return next((s for _, s in upright if s.factor == 1 and s.reduction == "mean"), None)
    single = [s for is_alone, s in upright if is_alone]
    if single:
        return single[-1]
    return upright[0][1] if upright else found[0][1] if found else None


def _call(kind: str, values: Tensor, target: Tensor, scale: Scale | None, **options: Any) -> LossCall:
    if scale is None:
        return LossCall(kind, values, target, None, {"reduction": "", **options}, written=True)
    with torch.enable_grad():
        value = scale.value if scale.upright else -scale.value
    options["reduction"] = scale.reduction
    return LossCall(kind, values, target, value, options, written=True, factor=scale.factor, root=scale.root)
