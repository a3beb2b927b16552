"""Whether the loss of a step is a sum over the batch, in whole or in part."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.dependence import output
from diagnose.experiments.ragged import choose, count
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.gradients import each_norm
from diagnose.measure.losses import LossCall
from diagnose.record import Record

TURNS = 12  # training steps under manual optimisation, in which an optimizer is to step
EQUAL = 0.02  # relative change of a mean for which noise that the step draws is enough


def double_batch(sandbox: Sandbox, record: Record) -> None:
    """Give a batch twice over and compare the losses.

    Writes ``probe.reduction``: ``single`` and ``double`` (the loss of the batch and of the batch repeated), ``ratio``, ``samples``;
    ``quadruple``, the loss of the batch given four times, where it grew by less than itself, else ``None``; and where the step returns
    more than the watched loss the ratios of both parts, ``watched`` and ``added``. Where the loss grew under manual optimisation also
    ``left``: how long the gradients were that an optimizer got, of those that the backward passes had gathered.
    """
    batch = sandbox.batches[0]
    n = count(batch)
    if n is None:
        record.skip("probe.reduction", "the tensors of the batch share no batch axis")
        return
    single, double = (output(sandbox, b) for b in (batch, choose(batch, torch.arange(n).repeat(2))))
    one, two = _value(*single), _value(*double)
    if one is None or two is None:
        record.skip("probe.reduction", "the step gave no finite loss")
        return
    facts: dict[str, Any] = {"single": one, "double": two, "ratio": two / one if one else 1.0, "samples": n, "quadruple": None}
    if EQUAL * abs(one) < two - one < (1 - EQUAL) * abs(one):
        facts["quadruple"] = _value(*output(sandbox, choose(batch, torch.arange(n).repeat(4))))
    if two > (1 + EQUAL) * one and not sandbox.module.automatic_optimization:
        facts["left"] = _left(sandbox)
    called = [float(call.value) for call, _ in (single, double) if call is not None and call.value is not None and call.value.numel() == 1]
    if len(called) == 2 and called[0] and abs(one - called[0]) > 1e-6 * abs(one):
        facts |= {"watched": called[1] / called[0], "added": (two - called[1]) / (one - called[0])}
    record.add("probe.reduction", facts)


def _left(sandbox: Sandbox) -> float | None:
    """Share of the length of the gathered gradients with which the last of some steps was taken; ``None`` where none was."""
    gathered: dict[int, Tensor] = {}
    left: list[float] = []

    def gather(parameter: Tensor) -> None:
        if parameter.grad is not None and not parameter.grad.is_sparse:
            gathered[id(parameter)] = parameter.grad.detach().clone()

    def compare(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        held = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None and id(p) in gathered]
        before, after = (math.hypot(*map(float, each_norm(g))) for g in ([gathered[id(p)] for p in held], [p.grad for p in held]))
        if before:
            left.append(after / before)

    handles: list[Any] = [o.register_step_pre_hook(compare) for o in sandbox.optimizers]
    handles += [p.register_post_accumulate_grad_hook(gather) for p in sandbox.module.parameters() if p.requires_grad and p.is_leaf]  # type: ignore[no-untyped-call]
    try:
        with suppress(Exception):  # training may never come to such a step
            for index in range(TURNS):
                sandbox.training_step(sandbox.move(sandbox.batches[index % len(sandbox.batches)]), index)
    finally:
        for handle in handles:
            handle.remove()
        sandbox.reset()
    return left[-1] if left and math.isfinite(left[-1]) else None


def _value(call: LossCall | None, loss: Tensor | None) -> float | None:
    value = loss if loss is not None else call.value if call is not None else None
    return float(value) if value is not None and value.numel() == 1 and bool(torch.isfinite(value)) else None
