"""Initial weights by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

INITS = ("default", "xavier", "he", "orthogonal", "lsuv", "zeros", "constant")
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


def initialise(net: nn.Module, name: str = "default", *, value: float = 0.01, batch: Tensor | None = None) -> None:
    """Set the weights of linear and convolutional layers, and their biases to zero; ``default`` leaves those of torch.

    Args:
        net: Changed in place.
        name: ``xavier`` (Glorot and Bengio 2010, equation 12, normal), ``he`` (He et al. 2015, equation 10), ``orthogonal`` (Saxe et al.
            2014), ``lsuv`` (Mishkin and Matas 2016), or for demonstration ``zeros`` and ``constant``.
        value: Of ``constant``.
        batch: Inputs, shape ``(n, ...)``, that ``lsuv`` measures on.

    Raises:
        ValueError: The name is not known, or ``lsuv`` has no batch.
    """
    if name not in INITS:
        raise ValueError(f"init.name must be one of {', '.join(INITS)}, got {name!r}")
    if name == "default":
        return
    if name == "lsuv" and batch is None:
        raise ValueError("init=lsuv measures on a batch, and there is none")
    setters: dict[str, Callable[[Tensor], Tensor]] = {
        "xavier": nn.init.xavier_normal_,
        "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
        "orthogonal": nn.init.orthogonal_,
        "lsuv": nn.init.orthogonal_,
        "zeros": nn.init.zeros_,
        "constant": lambda w: nn.init.constant_(w, value),
    }
    layers: list[nn.Linear | nn.Conv1d | nn.Conv2d] = [child for child in net.modules() if isinstance(child, LAYERS)]
    for layer in layers:
        setters[name](layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    if name == "lsuv" and batch is not None:
        unit_variance(net, layers, batch)


@torch.no_grad()
def unit_variance(
    net: nn.Module, layers: Sequence[nn.Linear | nn.Conv1d | nn.Conv2d], batch: Tensor, rounds: int = 5, tolerance: float = 0.02
) -> None:
    """Divide the weights of each layer in turn by the deviation of its outputs, until their variance is one within ``tolerance``."""
    before = net.training
    net.eval()
    for layer in layers:
        seen: list[Tensor] = []
        handle = layer.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output))
        for _ in range(rounds):
            seen.clear()
            net(batch)
            if not seen or not (deviation := float(seen[0].std())) > 1e-12 or abs(deviation**2 - 1) < tolerance:
                break
            layer.weight /= deviation
        handle.remove()
    net.train(before)
