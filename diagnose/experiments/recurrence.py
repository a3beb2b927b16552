"""How far back in time the gradient of a recurrent layer reaches before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record


def reach_back(sandbox: Sandbox, record: Record) -> None:
    """Differentiate one loss by what recurrent layers are given at each time step.

    Writes ``probe.recurrence``: per `nn.RNN`, `nn.LSTM` and `nn.GRU` that ran once on a tensor: ``name``, ``kind``, ``steps``, and
    ``reach``, the norm of the gradient with respect to the first tenth of the time steps over its largest norm at any step.

    References:
        Y. Bengio, P. Simard and P. Frasconi (1994); R. Pascanu, T. Mikolov and Y. Bengio (2013), equation 5.
    """
    sandbox.reset()
    torch.manual_seed(0)
    with _given(sandbox.module) as given:
        loss, _ = sandbox.training_step(sandbox.move(sandbox.batches[0]))
    if not given:
        record.skip("probe.recurrence", "no recurrent layer ran on a tensor with a batch axis")
        return
    if loss is None or not loss.requires_grad:
        record.skip("probe.recurrence", "training_step returned no loss with a gradient")
        return
    gradients = torch.autograd.grad(loss, [x for _, _, x in given], allow_unused=True)
    sandbox.reset()
    found = []
    for (name, module, _), gradient in zip(given, gradients, strict=True):
        if gradient is None or not torch.isfinite(gradient).all():
            continue
        by_time = torch.linalg.vector_norm(gradient.double(), dim=(0, 2) if module.batch_first else (1, 2))
        largest, early = float(by_time.max()), float(by_time[: max(1, len(by_time) // 10)].max())
        if largest > 0:
            found.append({"name": name, "kind": type(module).__name__, "steps": len(by_time), "reach": early / largest})
    record.add("probe.recurrence", found)


@contextmanager
def _given(module: nn.Module) -> Iterator[list[tuple[str, nn.RNNBase, Tensor]]]:
    """Recurrent layers with the tensor that each was given, as a part of the graph; those that run more than once are left out."""
    given: dict[str, tuple[str, nn.RNNBase, Tensor]] = {}
    again: set[str] = set()

    def hook(name: str) -> Any:
        def before(child: nn.RNNBase, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not args or not isinstance(args[0], Tensor) or args[0].dim() != 3:
                return None
            x = args[0] if args[0].requires_grad else args[0].detach().requires_grad_()
            again.update({name} & given.keys())
            given[name] = (name, child, x)
            return (x, *args[1:])

        return before

    layers = [(name, child) for name, child in module.named_modules() if isinstance(child, nn.RNNBase)]
    handles = [child.register_forward_pre_hook(hook(name)) for name, child in layers]
    found: list[tuple[str, nn.RNNBase, Tensor]] = []
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        found += [entry for name, entry in given.items() if name not in again]
