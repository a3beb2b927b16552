"""Freezing and thawing that was asked for in a way that does nothing."""

from __future__ import annotations

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
