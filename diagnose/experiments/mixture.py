"""Whether a step that blends samples (mixup) blends their targets by the same shares."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diagnose.experiments.batches import leaves, same, size
from diagnose.experiments.dependence import evaluating
from diagnose.experiments.hooking import hooked
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import LossCall
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

DRAWS = 8
ROWS, COLUMNS = 64, 1024  # of a batch that are looked at
EXACT = 1e-3  # of a row's square, that no blend of two rows leaves over
CLEAR = 0.2  # between both shares, below which it is not told which is which
CLOSE = 0.05  # of a share


def blend(sandbox: Sandbox, record: Record) -> None:
    """Run the step with several random states, and compare each sample's share in what the network is given with that of its target.

    The share in the input is that of the blend of two rows of the batch which leaves nothing over; that of the target is the weight of
    the loss call with the batch's own targets among those with targets of other rows, or what a soft target gives the sample's own class.

    Writes ``probe.mixture``: ``input`` and ``target``, the sample's own share in each draw of which both are known and apart from a half;
    and ``swapped``, in how many of them the target has the share of the other sample.
    """
    batch, step = sandbox.batches[0], record.facts.get("probe.step", {})
    soft = step.get("target_dtype", "").startswith("float") and step.get("input_shape") == step.get("target_shape")
    pairs = []
    if size(batch) is not None and sandbox.module.automatic_optimization and (step.get("calls") == 2 or soft):
        for seed in range(DRAWS):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            pairs.append(_shares(sandbox, batch))
            if seed and not any(pairs):
                break
    known = [(a, b) for a, b in filter(None, pairs) if abs(2 * a - 1) >= CLEAR]
    if not known:
        record.skip("probe.mixture", "the step does not blend two samples at a time")
        return
    swapped = sum(abs(1 - a - b) < CLOSE for a, b in known)
    record.add("probe.mixture", {"input": [a for a, _ in known], "target": [b for _, b in known], "swapped": swapped})


def _shares(sandbox: Sandbox, batch: Any) -> tuple[float, float] | None:
    given: list[Tensor] = []
    moved = sandbox.move(batch)
    fields = [t for _, t in leaves(moved)]
    inputs = [t for t in fields if t.is_floating_point() and t.dim() > 1]

    def look(name: str, child: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not given:
            given.extend(t.detach() for _, t in leaves(args) if any(t.shape == x.shape for x in inputs))

    with evaluating(sandbox.module), watch_losses() as watch, hooked(sandbox.module, look):
        loss, _ = sandbox.training_step(moved)
    if not given or loss is None or not loss.requires_grad:
        return None
    own = next((s for x in inputs if x.shape == given[0].shape and (s := _in_input(given[0], x)) is not None), None)
    told = _in_targets([c for c in watch.every(loss) if c.target is not None], loss, fields)
    return None if own is None or told is None else (own, told)


def _in_input(blended: Tensor, rows: Tensor) -> float | None:
    """Each row's own share in a blend of two rows: the median over the rows that are such a blend, if most are."""
    step = max(1, rows[0].numel() // COLUMNS)
    x, y = (t[:ROWS].detach().cpu().flatten(1)[:, ::step].double() for t in (rows, blended))
    apart = x[:, None] - x[None]  # (rows, others, columns)
    left = y[:, None] - x[None]
    shares = (left * apart).sum(2) / apart.square().sum(2).clamp_min(1e-12)
    rest = (left - shares[:, :, None] * apart).square().sum(2) / y.square().sum(1, keepdim=True).clamp_min(1e-12)
    best = rest.argmin(1)
    known = (rest.gather(1, best[:, None])[:, 0] < EXACT) & (best != torch.arange(len(x)))
    found = shares.gather(1, best[:, None])[known, 0]
    found = found[(found > 0) & (found < 1)]
    return float(found.median()) if 2 * len(found) > len(x) else None


def _in_targets(calls: list[LossCall], loss: Tensor, fields: list[Tensor]) -> float | None:
    """Each row's own share in what the loss compares with."""
    pairs = [(c.target, c.value) for c in calls if c.target is not None and c.value is not None and c.value.requires_grad]
    labels = [t for t in fields if t.dim() == 1 and not t.is_floating_point()]
    if len(pairs) == 2 and {c.shape for _, c in pairs} == {torch.Size([])}:
        mine = [any(same(target, t) for t in fields) for target, _ in pairs]
        weights = torch.autograd.grad(loss, [value for _, value in pairs], allow_unused=True)
        if sum(mine) != 1 or any(w is None for w in weights) or float(sum(weights)) <= 0:
            return None
        return float(weights[mine.index(True)] / sum(weights))
    if len(pairs) == 1 and pairs[0][0].dim() == 2 and pairs[0][0].is_floating_point():
        target = pairs[0][0]
        for label in labels:
            if len(label) == len(target) and int(label.min()) >= 0 and int(label.max()) < target.shape[1]:
                share = target.gather(1, label[:, None])[:, 0]
                share = share[target.amax(1) < 1 - CLOSE]  # not where both samples are of one class
                return float(share.median()) if len(share) else None
    return None
