"""Freezing and thawing that was asked for in a way that does nothing, or for a moment that may never come."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn


def asked(module: nn.Module) -> list[dict[str, Any]]:
    """Submodules that were given an attribute ``requires_grad`` that their parameters do not follow.

    Assigning it to a module makes an attribute of that name and changes no parameter; `requires_grad_` does.

    Returns:
        Per module ``name``, ``wanted`` (the attribute), and ``parameters``, how many do the opposite.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> net[0].requires_grad = False
    >>> asked(net)
    [{'name': '0', 'wanted': False, 'parameters': 2}]
    """
    found = []
    for name, child in module.named_modules():
        wanted = vars(child).get("requires_grad")
        if isinstance(wanted, bool) and name:
            against = sum(p.requires_grad is not wanted for p in child.parameters())
            if against:
                found.append({"name": name, "wanted": wanted, "parameters": against})
    return found


FREEZING = re.compile(r"freez|frozen|thaw")
MOMENT = re.compile(r"epoch|step|batch|(^|_)(at|after|until|from|for)(_|$)")


def awaited(owners: Iterable[tuple[str, Mapping[str, Any]]], module: nn.Module) -> dict[str, Any] | None:
    """Moments at which something is to be frozen no longer, by the names of attributes, while parts of the module are frozen.

    Args:
        owners: Name and attributes of each object that may hold such a moment, as a whole number of epochs, steps or batches.
        module: The module that is trained.

    Returns:
        ``moments`` (``who``, ``at`` and its ``unit``: ``"epochs"``, ``"steps"`` or ``""`` where the name does not say) and ``frozen``, the
        outermost submodules of which no parameter is trained; ``None`` without a moment or without such a submodule.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> awaited([("Rest", {"unfreeze_at_epoch": 10, "freeze_layers": 2})], net[:1].requires_grad_(False))
    {'moments': [{'who': 'Rest.unfreeze_at_epoch', 'at': 10, 'unit': 'epochs'}], 'frozen': ['0']}
    """
    moments = [
        {"who": f"{owner}.{name}", "at": value, "unit": _unit(name)}
        for owner, attributes in owners
        for name, value in attributes.items()
        if type(value) is int and value > 0 and FREEZING.search(name.lower()) and MOMENT.search(name.lower())
    ]
    frozen = list[str]()
    for name, child in module.named_modules() if moments else ():
        if name and not any(name.startswith(f"{other}.") for other in frozen):
            own = [p.requires_grad for p in child.parameters()]
            if own and not any(own):
                frozen.append(name)
    return {"moments": moments, "frozen": frozen} if frozen else None


def _unit(name: str) -> str:
    return "epochs" if "epoch" in name.lower() else "steps" if re.search("step|batch", name.lower()) else ""
