"""Short trainings of a copy: overfit one batch, and learn from a few batches what holds on others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.baselines import chance, floor
from diagnose.experiments.batches import leaves, roles, size
from diagnose.experiments.copying import Unusable
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import REGRESSION, LossCall
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

RATES = (3e-3, 3e-2, 0.3)
STEPS = 150
MOST_STEPS = STEPS * len(RATES)
TIMED = 5
ROWS = 8  # that each have a label of their own, so that it is no chance


def train(
    sandbox: Sandbox,
    batches: Sequence[Any],
    steps: int,
    rate: float,
    enough: Callable[[float], bool] = lambda _: False,
    same_draws: bool = False,
    by: Callable[[LossCall], Tensor | None] | None = None,
) -> list[float]:
    """Train the copy with Adam, dropout off and gradients clipped to norm 10, by the losses of its own ``training_step``.

    The module's own optimizer is left out on purpose: what this training cannot do is the fault of the model, the loss or the data, not
    of the learning rate.

    Args:
        sandbox: The copy.
        batches: Used in turn.
        steps: The most steps to take.
        rate: Learning rate.
        enough: Ends the training early, given the last loss.
        same_draws: Each step draws the same random numbers.
        by: Train by what this makes of the primary loss call, instead of by what the step returns.

    Returns:
        The loss of each step; it ends early when a loss is not finite or has no gradient.

    Raises:
        Unusable: The steps would take longer than the sandbox has patience for, by the time of the quickest of the first: the very first
            one warms up.
    """
    weights = [p for p in sandbox.module.parameters() if p.requires_grad and not isinstance(p, UninitializedParameter)]
    optimizer = torch.optim.Adam(weights, lr=rate)
    dropouts = [m for m in sandbox.module.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.training]
    losses: list[float] = []
    start, quickest = time.monotonic(), float("inf")
    try:
        for module in dropouts:
            module.eval()
        for step in range(steps):
            if step == TIMED and (needed := quickest * steps) > sandbox.patience:
                raise Unusable(f"{steps} steps of training take about {needed:.0f} s here; diagnose.check(..., patience=) allows more")
            began = time.monotonic()
            optimizer.zero_grad()
            if same_draws:
                torch.manual_seed(0)
            with watch_losses() if by is not None else nullcontext() as watch:
                loss, _ = sandbox.training_step(sandbox.move(batches[step % len(batches)]), step % len(batches))
            if watch is not None and by is not None:
                call = watch.primary(loss)
                loss = by(call) if call is not None else None
            if loss is None or not loss.requires_grad or not torch.isfinite(loss):
                break
            loss.backward()  # type: ignore[no-untyped-call]
            for weight in weights:
                if weight.grad is not None and weight.grad.is_sparse:
                    weight.grad = weight.grad.to_dense()
            torch.nn.utils.clip_grad_norm_(weights, 10.0)
            optimizer.step()
            losses.append(loss.item())
            quickest = min(quickest, time.monotonic() - began)
            if enough(losses[-1]):
                break
    finally:
        sandbox.patience -= time.monotonic() - start
        for module in dropouts:
            module.train()
    return losses


def overfit_batch(sandbox: Sandbox, call: LossCall, record: Record) -> None:
    """Train a copy on one fixed batch until its loss is near the floor; what the step draws as its targets is held fixed, too.

    Writes ``probe.overfit``: ``losses``, ``initial``, ``final`` (median of the last five), ``floor`` (what no prediction can beat on these
    targets, nor on equal inputs with different ones), ``chance`` (the best constant prediction), ``progress`` (1 at the floor, 0 at
    chance), ``steps``, ``rate``, ``batch_size``, ``weights`` (number of trainable weights), ``targets`` (number of targets in the batch),
    ``sole`` (the step's loss is this loss and nothing else), ``numbered`` (the labels are the numbers of the rows, in any order).

    References:
        A. Karpathy, "A Recipe for Training Neural Networks" (2019), step 2.
    """
    if not sandbox.module.automatic_optimization:
        record.skip("probe.overfit", "manual optimisation: the module takes its own steps")
        return
    batch = sandbox.batches[0]
    again, sole = _again(sandbox, batch, call)
    held = again is not None and redrawn(call, again)
    low, constant = lowest(batch, call), chance(call)
    if low is None or constant is None or call.target is None:
        record.skip("probe.overfit", f"the floor of {call.kind} is not known")
        return
    goal = low + 0.1 * max(constant - low, 1e-6)
    best: dict[str, Any] = {}
    for rate in RATES if call.kind in REGRESSION else RATES[:-1]:  # targets far from zero need large steps
        sandbox.reset()
        torch.manual_seed(0)
        losses = train(sandbox, [batch], STEPS, rate, lambda loss: loss <= goal, same_draws=held)
        if not losses or (len(losses) < STEPS and losses[-1] > goal):  # it became infinite, or lost its gradient, on the way
            continue
        final = float(np.median(losses[-5:])) if losses[-1] > goal else losses[-1]
        if not best or final < best["final"]:
            best = {"losses": losses, "initial": losses[0], "final": final, "steps": len(losses), "rate": rate}
        if best["final"] <= low + 0.3 * (constant - low):
            break
    if not best:
        record.skip("probe.overfit", "the loss has no gradient, or does not stay finite")
        return
    if best["final"] > goal and again is not None and not held:
        after, _ = _again(sandbox, batch, call)
        if after is not None and redrawn(again, after):
            record.skip("probe.overfit", "the targets of the batch are made of what is trained, and move with it: their floor is not known")
            return
    progress = (constant - best["final"]) / max(constant - low, 1e-9)
    weights = sum(p.numel() for p in sandbox.module.parameters() if p.requires_grad and not isinstance(p, UninitializedParameter))
    best |= {"floor": low, "chance": constant, "progress": progress, "sole": sole, "weights": weights, "numbered": numbered(call.target)}
    record.add("probe.overfit", {**best, "batch_size": size(batch) or len(call.target), "targets": call.target.numel()})


def numbered(target: Tensor) -> bool:
    """Whether labels are the numbers from 0 on, each once, in any order: made by the step to tell the rows apart, not read.

    >>> numbered(torch.tensor([4, 5, 6, 7, 0, 1, 2, 3])), numbered(torch.tensor([4, 4, 6, 7, 0, 1, 2, 3]))
    (True, False)
    """
    if target.dim() != 1 or target.is_floating_point() or len(target) < ROWS:
        return False
    return torch.equal(target.sort().values, torch.arange(len(target), device=target.device, dtype=target.dtype))


def lowest(batch: Any, call: LossCall) -> float | None:
    """The `floor` of a call, where samples of the batch have equal inputs and other targets that of the best answer to each input."""
    low, target, n = floor(call), call.target, size(batch)
    found = roles(batch, target)
    inputs = [t for path, t in leaves(batch) if found[path] == "input" and t.layout is torch.strided] if found else []
    rows = n is not None and target is not None and target.dim() > 0 and call.input.dim() > 0 and len(target) == len(call.input) == n
    weighed = any(isinstance(option, Tensor) for option in call.options.values())
    mean = str(call.options.get("reduction", "mean")) == "mean" and not call.root and not weighed
    if low is None or target is None or not (rows and mean and "target" in found.values() and inputs and all(len(t) == n for t in inputs)):
        return low
    groups: dict[bytes, list[int]] = {}
    flat = [t.detach().cpu().contiguous().reshape(len(t), -1).view(torch.uint8).numpy() for t in inputs]
    for row in range(len(target)):
        groups.setdefault(b"".join(t[row].tobytes() for t in flat), []).append(row)
    if all(len(group) == 1 for group in groups.values()):
        return low
    each = [replace(call, input=call.input[group], target=target[group]) for group in groups.values()]
    least = [(chance if len(one.input) > 1 else floor)(one) for one in each]
    known = [value * len(one.input) for value, one in zip(least, each, strict=True) if value is not None]
    return sum(known) / len(target) if len(known) == len(each) else low


def _again(sandbox: Sandbox, batch: Any, call: LossCall) -> tuple[LossCall | None, bool]:
    """The loss call of the step with other random numbers, and whether its value alone is the loss of the step."""
    with watch_losses() as watch:
        loss, _ = sandbox.training_step(sandbox.move(batch))
    first = watch.primary(loss)
    if first is None or first.value is None or loss is None or first.value.numel() != 1:
        return first, False
    mean = str(call.options.get("reduction", "mean")) == "mean"
    alone = torch.isclose(first.value.detach().reshape(()).float(), loss.detach().reshape(()).float(), rtol=1e-3, atol=1e-6)
    return first, mean and bool(alone)


def redrawn(call: LossCall, again: LossCall) -> bool:
    """Whether a tenth of what is to be predicted for a batch, or more, is other the second time, and not the same in another order.

    As where the step draws noise, or the places that it masks.
    """
    first, second = call.target, again.target
    if first is None or second is None or call.kind != again.kind:
        return False
    if first.shape != second.shape:
        return True
    other = float((first != second).float().mean()) > 0.1
    return other and not torch.equal(first.reshape(-1).sort().values, second.reshape(-1).sort().values)
