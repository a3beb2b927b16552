"""What a training step adds to its data loss, such as a penalty on the weights, and how hard that pulls."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gradients(loss: Tensor, module: nn.Module) -> dict[Tensor, Tensor] | None:
    """The gradient of a part of the loss for each parameter that has one; the graph is kept. ``None`` where it cannot be taken alone."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not loss.requires_grad or not parameters:
        return None
    try:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    except RuntimeError:  # re-entrant checkpoints allow only `backward`
        return None
    return {p: g for p, g in zip(parameters, found, strict=True) if g is not None}


def pull(data: dict[Tensor, Tensor]) -> tuple[float, float]:
    """Norm of the data's gradient, and of what the parameters' present gradients hold besides."""
    rest = [p.grad - g for p, g in data.items() if p.grad is not None]
    return _norm(list(data.values())), _norm(rest)


def _norm(tensors: list[Tensor]) -> float:
    dense = [t.coalesce().values() if t.is_sparse else t for t in tensors]
    return float(torch.stack([t.detach().double().norm() for t in dense]).norm()) if dense else 0.0
