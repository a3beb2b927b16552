"""The networks from options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from diagnose.models.networks import ACTIVATIONS, activation_named, cnn, mlp


def count(net: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(m, kind) for m in net.modules())


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("hidden", [[], [5], [6, 4]])
def test_an_mlp_has_a_norm_an_activation_and_dropout_per_hidden_layer(norm: str, hidden: list[int]) -> None:
    net = mlp((1, 3, 3), 4, hidden=hidden, norm=norm, dropout=0.1)
    assert net(torch.rand(7, 1, 3, 3)).shape == (7, 4)
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [*hidden, 4]
    assert count(net, nn.ReLU) == count(net, nn.Dropout) == len(hidden)
    assert count(net, nn.BatchNorm1d) == (len(hidden) if norm == "batch" else 0)
    assert count(net, nn.LayerNorm) == (len(hidden) if norm == "layer" else 0)


def test_a_bias_that_batch_norm_would_cancel_is_left_out() -> None:
    biases = [m.bias is not None for m in mlp((9,), 4, hidden=[5, 5]).modules() if isinstance(m, nn.Linear)]
    assert biases == [False, False, True]
    assert all(m.bias is None for m in cnn((1, 8, 8), 3).modules() if isinstance(m, nn.Conv2d))
    assert all(m.bias is not None for m in cnn((1, 8, 8), 3, norm="none").modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_trains(name: str) -> None:
    net = mlp((6,), 2, hidden=[5], activation=name, norm="layer", dropout=0)
    net(torch.rand(3, 6)).sum().backward()
    assert count(net, ACTIVATIONS[name]) == 1
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in net.parameters())


@pytest.mark.parametrize(("shape", "channels"), [((1, 8, 8), [4, 6]), ((3, 9, 13), [4]), ((2, 4, 4), [3, 3])])
def test_a_cnn_halves_its_images_per_stage(shape: tuple[int, int, int], channels: list[int]) -> None:
    net = cnn(shape, 5, channels=channels, hidden=7)
    assert net(torch.rand(2, *shape)).shape == (2, 5)
    assert count(net, nn.Conv2d) == 2 * len(channels)
    assert count(net, nn.MaxPool2d) == len(channels)


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (mlp, {"activation": "rleu"}, "model.activation must be one of relu, leaky_relu, gelu, silu, elu, tanh, sigmoid, got 'rleu'"),
        (mlp, {"norm": "group"}, "model.norm must be one of none, batch, layer, got 'group'"),
        (cnn, {"norm": "layer"}, "model.norm must be one of none, batch, got 'layer'"),
        (mlp, {"dropout": 1.0}, "model.dropout must be at least 0 and below 1, got 1.0"),
        (mlp, {"hidden": [8, 0]}, r"layers need a whole number of units, at least one, got \[8, 0\]"),
        (cnn, {"channels": [2, 2, 2, 2]}, "4 stages halve images of 8 x 8 to nothing; use fewer model.channels"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make((1, 8, 8), 3, **options)


def test_a_cnn_needs_images() -> None:
    with pytest.raises(ValueError, match=r"model=cnn needs images of shape \(channels, height, width\), .* \(13,\); try model=mlp"):
        cnn((13,), 3)


def test_an_activation_is_made_anew_each_time() -> None:
    assert activation_named("relu") is not activation_named("relu")
