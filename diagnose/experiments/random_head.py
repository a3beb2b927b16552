"""Whether the last layer of a network is frozen as torch drew it at the start."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from diagnose.measure.graph import reshaped

WORDS = ("freez", "thaw", "requires_grad", "finetun")


def random_head(output: Tensor, linear: dict[Any, tuple[str, nn.Linear]], module: nn.Module) -> dict[str, Any] | None:
    """The frozen linear layer whose results are ``output``, against how `torch.nn.Linear` draws its weights.

    These are uniform between minus and plus the root of 1 over the inputs. Training moves some of them beyond that, other first weights
    have another bound or shape.

    Args:
        output: What the loss is given.
        linear: Of the linear layers that ran: node that made its result → name and layer.
        module: A hook of its that may thaw layers later makes this ``None``, too.

    Returns:
        ``name``, ``weights`` (how many, with the bias), ``largest`` (in units of the bound), ``distance`` (the largest between the shares
        of the weights below a value and those of a uniform distribution: Kolmogorov and Smirnov), and ``others``, how many further
        parameters of the module are frozen. ``None`` where there is no such layer, or nothing before it is trained.
    """
    found = next((linear[node] for node in reshaped(output) if node in linear), None)
    if found is None or may_thaw(module):
        return None
    name, layer = found
    own = [p for p in (layer.weight, layer.bias) if p is not None]
    if any(p.requires_grad or isinstance(p, UninitializedParameter) for p in own):
        return None
    bound = layer.in_features**-0.5
    values = np.sort(np.concatenate([p.detach().double().cpu().numpy().ravel() for p in own]) / bound)
    even = (values + 1) / 2
    steps = np.arange(len(values) + 1) / len(values)
    distance = max(float(np.abs(even - part).max()) for part in (steps[:-1], steps[1:]))
    others = sum(not p.requires_grad for p in module.parameters()) - len(own)
    return {"name": name, "weights": len(values), "largest": float(np.abs(values).max()), "distance": distance, "others": others}


def may_thaw(module: nn.Module) -> bool:
    """Whether a hook or a step of the module names the freezing of parameters."""
    for base in type(module).__mro__:
        for name, method in vars(base).items():
            code = getattr(method, "__code__", None) if name.startswith("on_") or name.endswith("_step") else None
            if code is not None and any(word in used.lower() for used in code.co_names for word in WORDS):
                return True
    return False
