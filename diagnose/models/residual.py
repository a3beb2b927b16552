"""A small residual network for images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from diagnose.models.layers import activation_named, check_options


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, then the activation (He et al. 2016, figure 2).

    Args:
        before: Channels in.
        after: Channels out.
        stride: Of the first convolution; the shortcut becomes a 1x1 convolution where the shape changes.
        activation: A name as `activation_named` knows.
    """

    def __init__(self, before: int, after: int, stride: int, activation: str) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            activation_named(activation),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = before == after and stride == 1
        self.shortcut: nn.Module = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        )
        self.activation = activation_named(activation)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return total


def resnet(
    inputs: Sequence[int],
    outputs: int,
    *,
    channels: Sequence[int] = (16, 32),
    blocks: int = 1,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """A convolution, stages of residual blocks, the mean over all pixels, a linear output.

    Args:
        inputs: Shape of one sample, ``(channels, height, width)``.
        outputs: Number of output units.
        channels: Channels per stage; each stage but the first halves height and width.
        blocks: Blocks per stage.
        activation: A name as `activation_named` knows.
        dropout: Probability, before the output.

    Raises:
        ValueError: Samples that are no images or too small, or an option out of range.
    """
    check_options("batch", ("batch",), dropout, [*channels, blocks])
    if len(inputs) != 3:
        raise ValueError(
            f"model=resnet needs images of shape (channels, height, width), the data have samples of shape {tuple(inputs)}; try model=mlp"
        )
    if not channels or min(inputs[1:]) < 2 ** (len(channels) - 1):
        raise ValueError(
            f"{len(channels)} stages do not fit images of {inputs[1]} x {inputs[2]}; model.channels needs at least one, and fewer"
        )
    layers: list[nn.Module] = [
        nn.Conv2d(inputs[0], channels[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(channels[0]),
        activation_named(activation),
    ]
    depth = channels[0]
    for stage, size in enumerate(channels):
        for block in range(blocks):
            layers.append(Block(depth, size, 2 if stage and not block else 1, activation))
            depth = size
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(depth, outputs))
