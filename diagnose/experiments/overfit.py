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
from diagnose.experiments.batches import changed, leaves, roles, size, take
from diagnose.experiments.copying import Unusable
from diagnose.experiments.dependence import evaluating
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import REGRESSION, LossCall, Predictions, predictions
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

RATES = (3e-3, 3e-2, 0.3)
STEPS = 150
MOST_STEPS = STEPS * len(RATES)
LEARN_STEPS = (120, 400)
TIMED = 5
ROWS = 8  # that each have a label of their own, so that it is no chance
NAMES = 3  # whole numbers of a sample that may name things, such as user, item and tag


def train(
    sandbox: Sandbox,
    batches: Sequence[Any],
    steps: int,
    rate: float,
    enough: Callable[[float], bool] = lambda _: False,
    same_draws: bool = False,
    alone: bool = False,
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
        alone: Train by the primary loss call alone, without what the step adds to it.

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
            with watch_losses() if alone else nullcontext() as watch:
                loss, _ = sandbox.training_step(sandbox.move(batches[step % len(batches)]), step % len(batches))
            if watch is not None:
                call = watch.primary(loss)
                loss = call.value if call is not None else None
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


def learn(sandbox: Sandbox, target_paths: Sequence[str], record: Record) -> None:
    """Train a copy on some batches and look whether its predictions go with the targets of batches it has not seen.

    The measure is a permutation test: the mean score of the true target, in standard deviations of its distribution over shuffled targets.

    Writes ``probe.learning``: ``train`` and ``held_out`` (that number on the batches trained on and on the others), ``samples`` (held
    out), ``steps``, ``losses``, and, where the held-out number is not clear, ``real`` and ``shuffled`` (final training losses with the
    labels as they are and with the labels shuffled over the samples).
    """
    batches = sandbox.batches
    if not sandbox.module.automatic_optimization or not target_paths:
        why = (
            "manual optimisation: the module takes its own steps" if target_paths else "the targets of the loss were not found in the batch"
        )
        record.skip("probe.learning", why)
        return
    inputs = [t for path, t in leaves(batches[0]) if path not in target_paths]
    if inputs and all(not t.is_floating_point() and (t.dim() < 2 or t[0].numel() <= NAMES) for t in inputs):
        record.skip("probe.learning", "the inputs are numbers of things (users, items): a few steps say nothing about those not seen")
        return
    seen, unseen = split(batches)
    if not unseen:
        record.skip("probe.learning", f"too little data: {len(batches)} batches")
        return
    sandbox.reset()
    torch.manual_seed(0)
    losses: list[float] = []
    fact: dict[str, Any] = {}
    for steps in LEARN_STEPS:
        losses += train(sandbox, seen, steps - len(losses), RATES[0])
        train_z, _ = association(sandbox, seen[:8])
        held_z, samples = association(sandbox, unseen)
        fact = {"train": train_z, "held_out": held_z, "samples": samples, "steps": len(losses), "losses": losses}
        if not samples:
            record.skip("probe.learning", "the loss names no predictions that could be held against its targets")
            return
        if held_z > 4 or len(losses) < steps or samples < 60:
            break
    if losses and len(losses) < LEARN_STEPS[0]:
        record.skip("probe.learning", f"the loss was not finite after {len(losses)} steps")
        return
    if fact["held_out"] <= 4:
        sandbox.reset()
        torch.manual_seed(0)
        shuffled = train(sandbox, [_shuffled(b, target_paths, i) for i, b in enumerate(seen)], len(losses), RATES[0])
        tail = max(1, len(seen))
        fact |= {
            "real": float(np.mean(losses[-tail:])) if losses else np.nan,
            "shuffled": float(np.mean(shuffled[-tail:])) if shuffled else np.nan,
        }
    record.add("probe.learning", fact)


def split(batches: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Seven of ten batches to train on, and the others."""
    cut = max(1, int(len(batches) * 0.7))
    return batches[:cut], batches[cut:]


def _shuffled(batch: Any, target_paths: Sequence[str], seed: int) -> Any:
    """The batch with the rows of its targets permuted."""
    fields = dict(leaves(batch))
    rows = torch.randperm(len(fields[target_paths[0]]), generator=torch.Generator().manual_seed(seed))
    own = [fields[p] for p in target_paths]
    return changed(batch, lambda t: take(t, rows) if any(t is f for f in own) else t)


def association(sandbox: Sandbox, batches: Sequence[Any]) -> tuple[float, int]:
    """How well predictions go with targets: standard deviations above shuffled targets, and the number of scored samples."""
    scored: list[Predictions] = []
    with evaluating(sandbox.module):
        for batch in batches:
            with watch_losses() as watch:
                loss, _ = sandbox.training_step(sandbox.move(batch))
            call = watch.primary(loss)
            result = predictions(call) if call is not None else None
            if result is not None and len(result.target):
                scored.append(result)
    if not scored:
        return 0.0, 0
    score = torch.cat([_scores(p) for p in scored]).double().numpy()
    target = torch.cat([_one_column(p) for p in scored]).double().numpy()
    n = len(score)
    if n > 4000:
        keep = np.random.default_rng(0).choice(n, 4000, replace=False)
        score, target, n = score[keep], target[keep], 4000
    score, target = score - score.mean(0), target - target.mean(0)
    spread = float(np.sqrt(((score.T @ score) * (target.T @ target)).sum().clip(0) / max(1, n - 1)))  # over all permutations of the rows
    return (float((score * target).sum()) / spread if spread > 1e-12 else 0.0), n


def _scores(p: Predictions) -> Tensor:
    if p.probability is None and p.classes and p.task != "multilabel":
        return torch.nn.functional.one_hot(p.prediction.long(), p.classes).float().cpu()
    values = p.probability if p.probability is not None else p.prediction.float()
    return values.reshape(len(values), -1).float().cpu()


def _one_column(p: Predictions) -> Tensor:
    if p.classes and p.task != "multilabel":
        return torch.nn.functional.one_hot(p.target.long(), p.classes).float().cpu()
    return p.target.float().reshape(len(p.target), -1).cpu()
