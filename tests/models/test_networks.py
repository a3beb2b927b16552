"""The networks from options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from diagnose.models.layers import ACTIVATIONS, activation_named
from diagnose.models.networks import autoencoder, cnn, mlp
from diagnose.models.residual import Block, resnet
from diagnose.models.sequences import gru, transformer


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
        (mlp, {"activation": "rleu"}, "model.activation must be one of relu, .* or relu_N .N above 0., got 'rleu'"),
        (mlp, {"activation": "relu_0"}, "model.activation must be one of relu, .*, got 'relu_0'"),
        (autoencoder, {"code": 64}, "model.code=64 is not below the 64 numbers of a sample: there would be nothing to learn"),
        (resnet, {"channels": [2] * 5}, "5 stages do not fit images of 8 x 8"),
        (transformer, {"width": 10}, "model.width=10 cannot be shared by model.heads=4; choose a multiple"),
        (gru, {"layers": 0}, r"layers need a whole number of units, at least one, got .64, 0."),
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


@pytest.mark.parametrize("make", [mlp, cnn])
def test_a_norm_after_the_activation_keeps_the_bias(make: Any) -> None:
    net = make((1, 8, 8), 3, norm_after=True)
    order = [type(m) for m in net.modules() if isinstance(m, (nn.ReLU, nn.BatchNorm1d, nn.BatchNorm2d))]
    assert issubclass(order[0], nn.ReLU)
    assert all(m.bias is not None for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))


def test_relu_that_ends() -> None:
    x = torch.tensor([-1.0, 2.0, 9.0])
    assert activation_named("relu_3")(x).tolist() == [0, 2, 3]
    assert activation_named("relu6")(x).tolist() == [0, 2, 6]


def test_a_residual_block_adds_its_input() -> None:
    block = Block(3, 3, 1, "relu").eval()
    nn.init.zeros_(block.residual[-1].weight)  # type: ignore[arg-type]
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(block(x), x)
    assert Block(3, 4, 2, "relu")(x).shape == (2, 4, 3, 3)
    assert resnet((1, 9, 8), 5, channels=[4, 6, 8], blocks=2)(torch.rand(2, 1, 9, 8)).shape == (2, 5)
    with pytest.raises(ValueError, match=r"model=resnet needs images of shape"):
        resnet((4,), 2)


def test_an_autoencoder_gives_back_the_shape_through_a_narrow_code() -> None:
    net = autoencoder((1, 4, 4), 0, hidden=[12, 10], code=3)
    assert net(torch.rand(2, 1, 4, 4)).shape == (2, 1, 4, 4)
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [12, 10, 3, 10, 12, 16]


@pytest.mark.parametrize("make", [gru, transformer])
@pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 5, 3)])
def test_sequences_read_tables_steps_and_rows(make: Any, shape: tuple[int, ...]) -> None:
    net = make(shape, 4, width=8, dropout=0.0)
    x = torch.rand(2, *shape)
    assert net(x).shape == (2, 4)
    rows = net.steps(x)
    assert rows.shape == (2, 5, 8)
    changed = x.clone()
    changed[(0, slice(None), 1) if len(shape) == 3 else (0, 1)] += 1  # the second step
    assert [bool(c) for c in (net.steps(changed) != rows)[0].any(1)] == [False, True, False, False, False]


@pytest.mark.parametrize("make", [gru, transformer])
def test_the_next_token_is_predicted_from_those_before_it(make: Any) -> None:
    net = make((6,), 9, width=8, vocabulary=9).eval()
    x = torch.randint(0, 9, (1, 6))
    changed = x.clone()
    changed[0, 3] = (x[0, 3] + 1) % 9
    one, two = net(x), net(changed)
    assert one.shape == (1, 6, 9)
    assert torch.allclose(one[0, :3], two[0, :3], atol=1e-6)
    assert not torch.allclose(one[0, 3:], two[0, 3:], atol=1e-6)
