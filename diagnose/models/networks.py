"""Networks from options: a multi-layer perceptron and a small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation_named(name: str) -> nn.Module:
    """The activation module of a name.

    Raises:
        ValueError: There is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"model.activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]()


def _check(norm: str, known: Sequence[str], dropout: float, sizes: Sequence[int]) -> None:
    if norm not in known:
        raise ValueError(f"model.norm must be one of {', '.join(known)}, got {norm!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"model.dropout must be at least 0 and below 1, got {dropout!r}")
    if any(not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(f"layers need a whole number of units, at least one, got {list(sizes)!r}")


def mlp(
    inputs: Sequence[int],
    outputs: int,
    *,
    hidden: Sequence[int] = (128, 64),
    activation: str = "relu",
    norm: str = "batch",
    dropout: float = 0.2,
) -> nn.Sequential:
    """A multi-layer perceptron: linear, norm, activation and dropout per hidden layer, and a linear output.

    Without hidden layers it is softmax regression. A bias that the batch norm would cancel is left out.

    Args:
        inputs: Shape of one sample; it is flattened.
        outputs: Number of output units (logits).
        hidden: Units per hidden layer.
        activation: A name in `ACTIVATIONS`.
        norm: ``none``, ``batch`` or ``layer``, before the activation.
        dropout: Probability, after each activation.

    Raises:
        ValueError: An option that is not known or out of range.
    """
    _check(norm, ("none", "batch", "layer"), dropout, hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    width = prod(inputs)
    for size in hidden:
        layers.append(nn.Linear(width, size, bias=norm != "batch"))
        if norm != "none":
            layers.append(nn.BatchNorm1d(size) if norm == "batch" else nn.LayerNorm(size))
        layers.append(activation_named(activation))
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = size
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def cnn(
    inputs: Sequence[int],
    outputs: int,
    *,
    channels: Sequence[int] = (32, 64),
    hidden: int = 64,
    activation: str = "relu",
    norm: str = "batch",
    dropout: float = 0.2,
) -> nn.Sequential:
    """A convolutional network: two 3x3 convolutions and a pooling per entry of ``channels``, one hidden layer, a linear output.

    Args:
        inputs: Shape of one sample, ``(channels, height, width)``.
        outputs: Number of output units (logits).
        channels: Channels per stage; each stage halves height and width.
        hidden: Units of the layer before the output.
        activation: A name in `ACTIVATIONS`.
        norm: ``none`` or ``batch``.
        dropout: Probability, before the output.

    Raises:
        ValueError: Samples that are no images, or too small for the stages; an option that is not known or out of range.
    """
    _check(norm, ("none", "batch"), dropout, [*channels, hidden])
    if len(inputs) != 3:
        raise ValueError(
            f"model=cnn needs images of shape (channels, height, width), the data have samples of shape {tuple(inputs)}; try model=mlp"
        )
    depth, height, width = inputs
    if min(height, width) < 2 ** len(channels):
        raise ValueError(f"{len(channels)} stages halve images of {height} x {width} to nothing; use fewer model.channels")
    layers: list[nn.Module] = []
    for size in channels:
        for _ in range(2):
            layers.append(nn.Conv2d(depth, size, 3, padding=1, bias=norm != "batch"))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(size))
            layers.append(activation_named(activation))
            depth = size
        layers.append(nn.MaxPool2d(2))
    flat = depth * (height // 2 ** len(channels)) * (width // 2 ** len(channels))
    layers += [nn.Flatten(), nn.Linear(flat, hidden), activation_named(activation)]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(hidden, outputs))
