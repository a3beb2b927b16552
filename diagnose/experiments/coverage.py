"""Which weights a step uses, which get a gradient, and which the optimizers hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record


def weigh(
    sandbox: Sandbox,
    used: Mapping[int, Tensor],
    reached: set[int],
    flat: set[int],
    stepped: set[int],
    names: Mapping[int, str],
    trainable: set[int],
    record: Record,
) -> None:
    """Write ``probe.parameters``, see `anatomy.examine`.

    Args:
        sandbox: After its steps.
        used: Parameters that any function was seen to be given, by ``id``; transforms of `torch.func` give others in their place.
        reached: Parameters that got a gradient, by ``id``.
        flat: Those of them whose gradient is zero, since a rounding or a sign stands before the loss, by ``id``.
        stepped: Optimizers that stepped, by ``id``; under automatic optimisation none does.
        names: Names of the module's parameters, by ``id``.
        trainable: Those that want a gradient, by ``id``.
        record: Where to write.
    """
    own = [v for m in sandbox.module.modules() for v in vars(m).values() if isinstance(v, torch.optim.Optimizer)]  # stepped by hand
    optimized = {id(p) for o in (*sandbox.optimizers, *own) for g in o.param_groups for p in g["params"]}
    idle = [o for o in sandbox.optimizers if id(o) not in stepped] if not sandbox.module.automatic_optimization else []
    waiting = {id(p) for o in idle for g in o.param_groups for p in g["params"]}
    waiting -= {id(p) for o in (*sandbox.optimizers, *own) if o not in idle for g in o.param_groups for p in g["params"]}
    norms = {id(p) for m in sandbox.module.modules() if isinstance(m, _BatchNorm) for p in m.parameters(recurse=False)}
    entries = []
    for parameter in sandbox.module.parameters():
        if id(parameter) in trainable and not isinstance(parameter, UninitializedParameter):
            i = id(parameter)
            entry = {"name": names[i], "size": parameter.numel(), "used": i in used or i in reached, "reached": i in reached}
            entries.append({**entry, "flat": i in flat, "optimized": i in optimized, "waits": i in waiting, "norm": i in norms})
    stray = [p for i, p in used.items() if i not in names and p.requires_grad and i in reached and i not in optimized]
    facts = {"registered": entries, "unregistered": _locate(sandbox.module, stray), "optimizers": len(sandbox.optimizers)}
    facts["frozen"] = sum(not p.requires_grad for p in sandbox.module.parameters())
    held = {id(p): p for p in (*sandbox.module.parameters(), *used.values())}.values()
    record.add("probe.parameters", {**facts, "matrices": sum(isinstance(p, UninitializedParameter) or p.dim() > 1 for p in held)})


def _locate(module: nn.Module, stray: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Name the plain lists and dicts of the module that hold unregistered parameters."""
    owners: dict[int, str] = {}
    for path, child in module.named_modules():
        for attribute, value in vars(child).items():
            if not attribute.startswith("_") and isinstance(value, (list, tuple, dict)):
                for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                    place = f"{path + '.' if path else ''}{attribute}[{key!r}]"
                    if isinstance(item, nn.Module):
                        owners |= {id(p): f"{place}.{n}" for n, p in item.named_parameters()}
                    elif isinstance(item, nn.Parameter):
                        owners[id(item)] = place
    return [{"name": owners.get(id(p), "a module outside the LightningModule"), "size": p.numel()} for p in stray]
