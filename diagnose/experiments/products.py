"""Products with matrices that a module of the user's own holds several of: layers that were written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter

from diagnose.measure.calls import See

FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__),
    *(F.linear, torch.addmm),
)


class Products:
    """The first product of each such matrix in a forward pass, and the scale of what went in and came out.

    Args:
        module: The network.
        found: Gets, by the name of the matrix, what `signal_scale` writes of a layer, its ``kind`` being ``product``.

    Attributes:
        multiplied: The names of the modules that hold several and have multiplied with one.
    """

    def __init__(self, module: nn.Module, found: dict[str, dict[str, Any]]) -> None:
        held = {name: [(key, p) for key, p in matrices(child) if p.dim() == 2] for name, child in module.named_modules()}
        several = {name: own for name, own in held.items() if len(own) > 1}
        self.found, self.multiplied = found, set[str]()
        self._names = {id(p): (name, key) for name, own in several.items() for key, p in own}

    def functions(self) -> dict[Callable[..., Any], See]:
        """For `WatchCalls`."""
        return dict.fromkeys(FUNCTIONS, self._see) if self._names else {}

    def _see(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        given = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
        factors = given[1:] if func is torch.addmm else given[:2]
        weights = [(t, names) for t in factors if (names := self._names.get(id(t)) or self._names.get(id(t._base))) is not None]
        if len(factors) != 2 or len(weights) != 1 or not isinstance(output, Tensor):
            return
        ((weight, (holder, key)),) = weights
        self.multiplied.add(holder)
        name = f"{holder}.{key}".lstrip(".")
        other = factors[0] if factors[1] is weight else factors[1]
        summed = weight.shape[1] if func is F.linear else weight.shape[0] if factors[1] is weight else weight.shape[-1]
        if name not in self.found:
            size = rms(weight)
            scales = {"input_std": rms(other), "output_std": rms(output), "calls": 0}
            entry = {"name": name, "kind": "product", "fan_in": summed, "fan_out": weight.numel() // summed, "zero": size == 0.0}
            self.found[name] = {**entry, "gain": size * math.sqrt(summed), **scales}
        self.found[name] |= {"calls": self.found[name]["calls"] + 1, "last_std": rms(output)}


def matrices(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Trainable tensors of several rows and columns that a module of the user's own holds itself, or a list of parameters."""
    own = isinstance(module, (nn.ParameterList, nn.ParameterDict)) or not type(module).__module__.startswith("torch.")
    for name, p in module.named_parameters(recurse=False) if own else ():
        if not isinstance(p, UninitializedParameter) and p.requires_grad and p.dim() > 1 and len(p) > 1 and p[0].numel() > 1:
            yield name, p


def rms(tensor: Tensor) -> float:
    """Root of the mean square."""
    return float(tensor.detach().float().square().mean().sqrt())
