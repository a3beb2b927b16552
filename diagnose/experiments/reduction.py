"""Whether the loss of a step is a sum over the batch, in whole or in part."""

from __future__ import annotations

import torch
from torch import Tensor

from diagnose.experiments.dependence import output
from diagnose.experiments.ragged import choose, count
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import LossCall
from diagnose.record import Record

EQUAL = 0.02  # relative change of a mean for which noise that the step draws is enough


def double_batch(sandbox: Sandbox, record: Record) -> None:
    """Give a batch twice over and compare the losses.

    Writes ``probe.reduction``: ``single`` and ``double`` (the loss of the batch and of the batch repeated), ``ratio``, ``samples``;
    ``quadruple``, the loss of the batch given four times, where it grew by less than itself, else ``None``; and where the step returns
    more than the watched loss the ratios of both parts, ``watched`` and ``added``.
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
    facts = {"single": one, "double": two, "ratio": two / one if one else 1.0, "samples": n, "quadruple": None}
    if EQUAL * abs(one) < two - one < (1 - EQUAL) * abs(one):
        facts["quadruple"] = _value(*output(sandbox, choose(batch, torch.arange(n).repeat(4))))
    called = [float(call.value) for call, _ in (single, double) if call is not None and call.value is not None and call.value.numel() == 1]
    if len(called) == 2 and called[0] and abs(one - called[0]) > 1e-6 * abs(one):
        facts |= {"watched": called[1] / called[0], "added": (two - called[1]) / (one - called[0])}
    record.add("probe.reduction", facts)


def _value(call: LossCall | None, loss: Tensor | None) -> float | None:
    value = loss if loss is not None else call.value if call is not None else None
    return float(value) if value is not None and value.numel() == 1 and bool(torch.isfinite(value)) else None
