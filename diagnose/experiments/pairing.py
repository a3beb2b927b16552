"""Whether the step holds the output of a sample against that sample's own target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.batches import changed, leaves, size
from diagnose.experiments.dependence import SEED, evaluating
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import primary
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

FIELDS = 4
SHARED = 0.5


def pair(sandbox: Sandbox, record: Record) -> None:
    """Change one sample's fields in turn, and see which rows of the loss's input and of its target change.

    A field that reaches the targets alone is a target, one that reaches the outputs alone an input, by whatever way the step treats them.
    Both of one sample meet in the same rows; mixup joins a sample to others, but leaves it its own.

    Writes ``probe.pairing``: ``samples`` (that were tried), ``apart`` (those whose target met hardly any output that depends on them),
    ``input`` and ``target`` (paths of fields), ``rows`` (of the first sample apart: its row, and the first rows of outputs and targets).
    """
    batch = sandbox.batches[0]
    n = size(batch)
    first = _compared(sandbox, batch)
    if n is None or n < 4 or sandbox.ready_made or first is None:
        record.skip("probe.pairing", "the rows of the batch cannot be matched with those of the loss")
        return
    if len(first[0]) < n or any(len(target) != len(first[0]) for target in first[1:]):
        record.skip("probe.pairing", "the loss does not compare rows of outputs with rows of targets")
        return
    if (again := _compared(sandbox, batch)) is None or any(_changes(first, again)):
        record.skip("probe.pairing", "two runs on the same batch differ")
        return
    fields = [(path, t) for path, t in leaves(batch) if t.dim() > 0 and len(t) == n and t.layout is torch.strided][:FIELDS]
    tried = [n // 4, n // 2, n - 1]
    reached: dict[int, set[int]] = {}
    met: dict[int, list[set[int]]] = {}
    names: dict[str, str] = {}
    for path, field in fields:
        for row in tried:
            other = next((k for k in range(n) if not torch.equal(field[k], field[row])), None)
            after = None if other is None else _compared(sandbox, _replaced(batch, field, row, other))
            if after is None or [t.shape for t in after] != [t.shape for t in first]:
                continue
            outputs, *targets = _changes(first, after)
            if outputs and not any(targets):
                reached.setdefault(row, set()).update(outputs)
                names.setdefault("input", path)
            elif any(targets) and not outputs and row not in met:
                met[row] = targets
                names.setdefault("target", path)
    both = [row for row in tried if row in reached and row in met]
    if not both:
        record.skip("probe.pairing", "no field of the batch reaches the targets alone beside one that reaches the outputs alone")
        return
    apart = [row for row in both if _apart(reached[row], met[row])]
    row = (apart or both)[0]
    foreign = sorted(set().union(*met[row]), key=lambda r: (r in reached[row], r))
    rows = [row, sorted(reached[row])[:3], foreign[:3]]
    record.add("probe.pairing", {"samples": len(both), "apart": len(apart), **names, "rows": rows})


def _compared(sandbox: Sandbox, batch: Any) -> list[Tensor] | None:
    """What the primary loss is given: the outputs, its target, and further targets that the same outputs are held against."""
    torch.manual_seed(SEED)
    with evaluating(sandbox.module), watch_losses() as watch:
        loss, _ = sandbox.training_step(sandbox.move(batch))
    if not sandbox.module.automatic_optimization:
        sandbox.reset()
    calls = watch.every(loss)
    call = primary(calls, loss)
    if call is None or call.target is None or call.input.dim() == 0:
        return None
    others = [c.target for c in calls if c is not call and c.input is call.input and c.target is not None]
    found = [t.detach() for t in (call.input, call.target, *others)]
    return None if any(t.dim() == 0 for t in found) else found


def _changes(before: list[Tensor], after: list[Tensor]) -> list[set[int]]:
    """Rows that differ, of each."""
    pairs = zip(before, after, strict=False)
    return [set((b != a).reshape(len(b), -1).any(1).nonzero().reshape(-1).tolist()) if b.shape == a.shape else {-1} for b, a in pairs]


def _apart(outputs: set[int], targets: list[set[int]]) -> bool:
    """Whether a target is held against outputs of other samples; where nothing was mixed a second target may have no weight."""
    judged = targets if len(outputs) > 1 else targets[:1]
    return any(found and len(outputs & found) < SHARED * len(found) for found in judged)


def _replaced(batch: Any, field: Tensor, row: int, other: int) -> Any:
    def replace(tensor: Tensor) -> Tensor:
        if tensor is not field:
            return tensor
        new = tensor.clone()
        new[row] = tensor[other]
        return new

    return changed(batch, replace)
