"""Which layer of a network mixes the samples of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diagnose.experiments.batches import leaves
from diagnose.experiments.hooking import hooked

TOLERANCE = 1e-4  # of the largest


def mixes(module: nn.Module, run: Callable[[Any], Any], before: Any, after: Any, kept: Tensor, n: int) -> str:
    """The first module whose results for the samples ``kept`` change from one batch to another, though what it gets of them does not.

    Looked at are modules that get and give tensors with one row for each of the ``n`` samples.

    Returns:
        Its name, or ``""``.
    """
    first, second = _seen(module, run, before, n), _seen(module, run, after, n)
    for (name, given, result), (other, given_then, result_then) in zip(first, second, strict=False):
        if name != other:
            break
        if not _differ(given, given_then, kept) and _differ(result, result_then, kept):
            return name
    return ""


def _seen(module: nn.Module, run: Callable[[Any], Any], batch: Any, n: int) -> list[tuple[str, list[Tensor], list[Tensor]]]:
    """Of each call of a submodule its name, and a fingerprint of each row of the tensors that it got and gave, shape ``(n, 2)``."""
    calls: list[tuple[str, list[Tensor], list[Tensor]]] = []

    def look(name: str, child: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        given, result = (_fingerprints(values, n) for values in (args, output))
        if name and given and result:
            calls.append((name, given, result))

    with hooked(module, look):
        run(batch)
    return calls


def _fingerprints(values: Any, n: int) -> list[Tensor]:
    found = [t.detach() for _, t in leaves(values) if t.dim() > 0 and len(t) == n and t.is_floating_point()]
    rows = [t.reshape(n, -1).double() for t in found if t.numel()]
    return [torch.stack([r.sum(1), r.square().sum(1)], 1) for r in rows]


def _differ(first: list[Tensor], second: list[Tensor], kept: Tensor) -> bool:
    if len(first) != len(second):
        return False
    return any(bool(((a - b)[kept].abs() > TOLERANCE * a.abs().amax(0)).any()) for a, b in zip(first, second, strict=True))
