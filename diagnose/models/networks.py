"""Networks from options: a multi-layer perceptron and a small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from diagnose.models.layers import activation_named, check_options, in_order, needs_bias, norm_of


def mlp(
    inputs: Sequence[int],
    outputs: int,
    *,
    hidden: Sequence[int] = (128, 64),
    activation: str = "relu",
    norm: str = "batch",
    norm_after: bool = False,
    dropout: float = 0.2,
) -> nn.Sequential:
    """A multi-layer perceptron: linear, norm, activation and dropout per hidden layer, and a linear output.

    Without hidden layers it is softmax regression. A bias that the batch norm would cancel is left out.

    Args:
        inputs: Shape of one sample; it is flattened.
        outputs: Number of output units (logits).
        hidden: Units per hidden layer.
        activation: A name as `activation_named` knows.
        norm: ``none``, ``batch`` or ``layer``.
        norm_after: Whether the norm stands after the activation, not before it.
        dropout: Probability, after each activation.

    Raises:
        ValueError: An option that is not known or out of range.
    """
    check_options(norm, ("none", "batch", "layer"), dropout, hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    width = prod(inputs)
    for size in hidden:
        layers += [nn.Linear(width, size, bias=needs_bias(norm, norm_after)), *in_order(norm_of(norm, size), activation, norm_after)]
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
    norm_after: bool = False,
    dropout: float = 0.2,
) -> nn.Sequential:
    """A convolutional network: two 3x3 convolutions and a pooling per entry of ``channels``, one hidden layer, a linear output.

    Args:
        inputs: Shape of one sample, ``(channels, height, width)``.
        outputs: Number of output units (logits).
        channels: Channels per stage; each stage halves height and width.
        hidden: Units of the layer before the output.
        activation: A name as `activation_named` knows.
        norm: ``none`` or ``batch``.
        norm_after: Whether the norm stands after the activation, not before it.
        dropout: Probability, before the output.

    Raises:
        ValueError: Samples that are no images, or too small for the stages; an option that is not known or out of range.
    """
    check_options(norm, ("none", "batch"), dropout, [*channels, hidden])
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
            layers.append(nn.Conv2d(depth, size, 3, padding=1, bias=needs_bias(norm, norm_after)))
            layers += in_order(norm_of(norm, size, nn.BatchNorm2d), activation, norm_after)
            depth = size
        layers.append(nn.MaxPool2d(2))
    flat = depth * (height // 2 ** len(channels)) * (width // 2 ** len(channels))
    layers += [nn.Flatten(), nn.Linear(flat, hidden), activation_named(activation)]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(hidden, outputs))


def autoencoder(
    inputs: Sequence[int], outputs: int, *, hidden: Sequence[int] = (64,), code: int = 8, activation: str = "relu", norm: str = "none"
) -> nn.Sequential:
    """Fully connected layers to a narrow code and, mirrored, back to the shape of a sample; it learns its own inputs.

    Args:
        inputs: Shape of one sample.
        outputs: Not used: the outputs have the shape of the inputs.
        hidden: Units per layer of the encoder; the decoder has them in reverse.
        code: Units of the code.
        activation: A name as `activation_named` knows.
        norm: ``none``, ``batch`` or ``layer``, before the activation.

    Raises:
        ValueError: An option that is not known or out of range, or a code that is not narrower than a sample.
    """
    check_options(norm, ("none", "batch", "layer"), 0.0, [*hidden, code])
    if code >= prod(inputs):
        raise ValueError(f"model.code={code} is not below the {prod(inputs)} numbers of a sample: there would be nothing to learn")
    encoder = mlp(inputs, code, hidden=hidden, activation=activation, norm=norm, dropout=0.0)
    decoder = mlp((code,), prod(inputs), hidden=hidden[::-1], activation=activation, norm=norm, dropout=0.0)
    return nn.Sequential(encoder, decoder, nn.Unflatten(1, tuple(inputs)))
