"""Whether the loss of a step is a sum over the batch, in whole or in part."""

from __future__ import annotations

import torch

from diagnose.experiments.batches import size, take
from diagnose.experiments.dependence import output
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record


def double_batch(sandbox: Sandbox, record: Record) -> None:
    """Give a batch twice over and compare the losses.

    Writes ``probe.reduction``: ``single`` and ``double`` (the loss of the batch and of the batch repeated), ``ratio``, ``samples``;
    and where the step returns more than the watched loss the ratios of both parts, ``watched`` and ``added``.
    """
    batch = sandbox.batches[0]
    n = size(batch)
    if n is None:
        record.skip("probe.reduction", "the tensors of the batch share no batch axis")
        return
    single, double = (output(sandbox, b) for b in (batch, take(batch, torch.arange(n).repeat(2))))
    values = [loss if loss is not None else call.value if call is not None else None for call, loss in (single, double)]
    if any(v is None or v.numel() != 1 or not torch.isfinite(v) for v in values):
        record.skip("probe.reduction", "the step gave no finite loss")
        return
    one, two = (float(v) for v in values if v is not None)
    facts = {"single": one, "double": two, "ratio": two / one if one else 1.0, "samples": n}
    called = [float(call.value) for call, _ in (single, double) if call is not None and call.value is not None and call.value.numel() == 1]
    if len(called) == 2 and called[0] and abs(one - called[0]) > 1e-6 * abs(one):
        facts |= {"watched": called[1] / called[0], "added": (two - called[1]) / (one - called[0])}
    record.add("probe.reduction", facts)
