"""Axes that a step exchanges by `view` or `reshape`, which leaves the numbers in their order, instead of a transposition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.dependence import SEED, evaluating
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.calls import WatchCalls
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

FUNCTIONS: tuple[Callable[..., Any], ...] = (Tensor.view, Tensor.reshape, torch.reshape, Tensor.view_as, Tensor.reshape_as)


def exchanged_axes(sandbox: Sandbox, record: Record) -> None:
    """Look at each `view` and `reshape` of a training step whose result has the lengths of its axes in another order.

    Axes of length one, and what differs in length alone, are passed over.

    Writes ``probe.views``, where there are any: ``before`` and ``after`` (shapes), ``samples``: whether the axis that is as long as the
    first of the loss's input, which stands for the samples, is another one then, and ``scores``: whether the loss was given the result.
    """
    found: list[tuple[Tensor, Tensor]] = []

    def see(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        if isinstance(args[0], Tensor) and isinstance(output, Tensor) and jumbled(args[0].shape, output.shape):
            found.append((args[0], output))

    torch.manual_seed(SEED)
    with evaluating(sandbox.module), watch_losses() as watch, WatchCalls(dict.fromkeys(FUNCTIONS, see)):
        loss, _ = sandbox.training_step(sandbox.move(sandbox.batches[0]))
    call = watch.primary(loss)
    if not found or call is None or call.input.dim() == 0:
        record.skip("probe.views", "no view or reshape of the step exchanges axes")
        return
    n, entries = len(call.input), []
    for before, after in found:
        first, second = (list(t.shape) for t in (before, after))
        moved = first.count(n) == 1 and _long(first).index(n) != _long(second).index(n) if n > 1 else False
        scores = after.shape == call.input.shape and torch.equal(after.detach(), call.input.detach())
        entries.append({"before": first, "after": second, "samples": moved, "scores": scores})
    record.add("probe.views", entries)


def jumbled(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether two shapes have the same lengths above one in different orders.

    >>> jumbled((20, 32, 2), (32, 20, 2)), jumbled((32, 1, 8), (32, 8, 1)), jumbled((32, 6), (32, 2, 3))
    (True, False, False)
    """
    return _long(before) != _long(after) and sorted(_long(before)) == sorted(_long(after))


def _long(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]
