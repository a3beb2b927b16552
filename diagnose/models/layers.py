"""The pieces that the networks share: activations by name, norm and activation in order, the checks of their options."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation_named(name: str) -> nn.Module:
    """The activation module of a name: one of `ACTIVATIONS`, or ``relu_N``, a ReLU that ends at N.

    Raises:
        ValueError: There is none.
    """
    if capped := re.fullmatch(r"relu_(\d+(?:\.\d+)?)", name):
        if float(capped[1]) > 0:
            return nn.Hardtanh(0.0, float(capped[1]))
    elif name in ACTIVATIONS:
        return ACTIVATIONS[name]()
    raise ValueError(f"model.activation must be one of {', '.join(ACTIVATIONS)} or relu_N (N above 0), got {name!r}")


def check_options(norm: str, known: Sequence[str], dropout: float, sizes: Sequence[int]) -> None:
    """Refuse what no network can be made of.

    Raises:
        ValueError: A norm that is not known, a dropout out of range, a layer without units.
    """
    if norm not in known:
        raise ValueError(f"model.norm must be one of {', '.join(known)}, got {norm!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"model.dropout must be at least 0 and below 1, got {dropout!r}")
    if any(not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(f"layers need a whole number of units, at least one, got {list(sizes)!r}")


def in_order(norm: nn.Module | None, activation: str, norm_after: bool) -> list[nn.Module]:
    """Norm and activation, in this order or the other."""
    made = [activation_named(activation)]
    if norm is None:
        return made
    return [*made, norm] if norm_after else [norm, *made]


def needs_bias(norm: str, norm_after: bool) -> bool:
    """Whether the layer before has a bias that a batch norm does not subtract again."""
    return norm != "batch" or norm_after


def norm_of(norm: str, size: int, batch: Callable[[int], nn.Module] = nn.BatchNorm1d) -> nn.Module | None:
    """The norm of a name over ``size`` units or channels, or nothing."""
    return {"batch": batch, "layer": nn.LayerNorm}[norm](size) if norm != "none" else None
