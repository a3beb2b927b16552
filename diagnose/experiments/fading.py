"""Where on its way through the layers the difference between samples is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from diagnose.experiments.hooking import hooked


def fading(module: nn.Module, step: Callable[[Any], Any], batch: Any, other: Any) -> list[dict[str, Any]]:
    """Per module with weights of its own, in forward order, ``name`` and ``change``: how far what it gives differs between two batches.

    In units of the root mean square of what it gives. What runs several times counts by its first time.
    """
    given: list[dict[str, Tensor]] = []

    def look(name: str, child: nn.Module, args: Any, output: Any) -> None:
        tensor = next((t for t in (output if isinstance(output, (tuple, list)) else [output]) if isinstance(t, Tensor)), None)
        if tensor is not None and any(p is not None and p.dim() > 1 for p in child._parameters.values()):
            given[-1].setdefault(name, tensor.detach().float().clone())  # what follows may work in place

    for each in (batch, other):
        given.append({})
        with hooked(module, look):
            step(each)
    first, second = given
    changes = {name: (t, second[name]) for name, t in first.items() if name in second and second[name].shape == t.shape and t.numel()}
    return [{"name": name, "change": float((b - a).norm() / a.norm().clamp(min=1e-30))} for name, (a, b) in changes.items()]
