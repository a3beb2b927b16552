"""Whether a model that predicts the next step looks at it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from diagnose.experiments.batches import changed, leaves, same, size
from diagnose.experiments.dependence import output
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import LossCall, class_last
from diagnose.record import Record


def change_future(sandbox: Sandbox, record: Record) -> None:
    """For a model that predicts the next step: change the later steps and see whether earlier outputs change.

    Writes ``probe.future``: ``changed`` (largest change of an output whose target comes before the changed steps or is the first of them,
    in units of the outputs' standard deviation), ``noise``, ``position`` (first changed step), ``shift`` (how far ahead the targets are),
    ``field``.
    """
    batch = sandbox.batches[0]
    call, _ = output(sandbox, batch)
    n = size(batch)
    found = None
    if call is not None and call.target is not None and n and n > 1:
        found = _next_step(batch, call) or _shifted_inside(sandbox, batch, call)
    if found is None or call is None:
        record.skip("probe.future", "the targets are not the inputs of a later step, so this is no next-step model")
        return
    path, axis, shift, length = found
    position = max(shift, length // 2)  # the first step ahead of it is predicted from all steps before it
    before = position - shift + 1
    fields = dict(leaves(batch))
    original = fields[path]

    def later(tensor: Tensor) -> Tensor:
        if tensor is not original:
            return tensor
        new = tensor.clone()
        ahead = tensor.shape[axis] - position
        new.narrow(axis, position, ahead).copy_(tensor.roll(1, 0).narrow(axis, position, ahead))
        return new

    scores, again, other = (
        _by_step(c, n or 0, length) for c in (call, output(sandbox, batch)[0], output(sandbox, changed(batch, later))[0])
    )
    if scores is None or other is None or again is None:
        record.skip("probe.future", "the outputs of the network cannot be matched with the steps of its input")
        return
    scale = float(scores.std()) or 1.0
    record.add(
        "probe.future",
        {
            "changed": float((scores - other)[:, :before].abs().max()) / scale,
            "noise": float((scores - again).abs().max()) / scale,
            "position": position,
            "shift": shift,
            "field": path,
        },
    )


def _next_step(batch: Any, call: LossCall) -> tuple[str, int, int, int] | None:
    """The field that the network predicts ahead, its axis of time, by how many steps, and the number of predicted steps."""
    assert call.target is not None
    target = _alone(call.target)
    fields = [(p, _alone(t), 1 if _alone(t) is t else 2) for p, t in leaves(batch) if t.dim() > 1]
    fields = [(path, tensor, axis) for path, tensor, axis in fields if tensor.shape[1] > 4]
    for path, tensor, axis in fields:
        for shift in (1, 2, 3):
            if same(tensor[:, shift:], target) and not same(tensor[:, :-shift], target):
                return path, axis, shift, tensor.shape[1] - shift
    for path, tensor, axis in fields:
        for other, ahead, _ in fields:
            if other != path and tensor.shape == ahead.shape and same(ahead, target):
                for shift in (1, 2, 3):
                    if same(tensor[:, shift:], ahead[:, :-shift]):
                        return path, axis, shift, tensor.shape[1]
    return None


def _alone(series: Tensor) -> Tensor:
    """A series of one channel, shape ``(n, 1, time)`` as convolutions take it, without its channel; anything else as it is."""
    return series[:, 0] if series.dim() == 3 and series.shape[1] == 1 else series


def _shifted_inside(sandbox: Sandbox, batch: Any, call: LossCall) -> tuple[str, int, int, int] | None:
    """The same where the step itself shifts a field to the right: what enters the network is the target, some steps earlier."""
    assert call.target is not None
    entered: list[Tensor] = []

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        if not entered and args and isinstance(args[0], Tensor) and args[0].dim() > 1 and not args[0].is_floating_point():
            entered.append(args[0].detach())

    handles = [m.register_forward_pre_hook(look) for m in sandbox.module.modules() if isinstance(m, nn.Embedding)]
    try:
        output(sandbox, batch)
    finally:
        for handle in handles:
            handle.remove()
    for path, tensor in leaves(batch):
        if entered and tensor.dim() == 2 and tensor.shape[1] > 4 and same(tensor, call.target):
            length = tensor.shape[1]
            for shift in (1, 2, 3):
                earlier = entered[0][:, shift:]
                width = min(earlier.shape[1], length)
                if width > length - 4 and same(earlier[:, :width], tensor[:, :width]) and not same(entered[0][:, :length], tensor):
                    return path, 1, shift, length
    return None


def _by_step(call: LossCall | None, samples: int, length: int) -> Tensor | None:
    """Outputs of shape ``(samples, length, k)``."""
    if call is None or call.target is None:
        return None
    x = class_last(call) if call.kind in ("cross_entropy", "nll_loss") else call.input.detach()
    return x.float().reshape(samples, length, -1) if x.numel() % (samples * length) == 0 else None
