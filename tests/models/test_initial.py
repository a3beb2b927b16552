"""Initial weights: their scale, and what it does to a deep network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from diagnose.models.initial import INITS, initialise
from diagnose.models.networks import mlp


def scales(name: str, activation: str, depth: int = 20) -> list[float]:
    """Root mean square of the outputs of each activation, in a deep network without norms."""
    torch.manual_seed(0)
    net = mlp((256,), 10, hidden=[256] * depth, activation=activation, norm="none", dropout=0.0)
    x = torch.randn(256, 256)
    initialise(net, name, batch=x)
    found: list[float] = []
    for layer in net:
        if isinstance(layer, nn.ReLU | nn.Tanh):
            layer.register_forward_hook(lambda _, __, y: found.append(float(y.detach().square().mean().sqrt())))
    net(x)
    return found


@pytest.mark.parametrize(("name", "activation"), [("he", "relu"), ("lsuv", "relu"), ("lsuv", "tanh")])
def test_the_scale_of_the_activations_stays_with_depth(name: str, activation: str) -> None:
    found = scales(name, activation)
    assert max(found) < 2 * min(found)


def test_other_scales_fade_with_depth() -> None:
    fading = scales("xavier", "relu")
    assert fading[-1] < fading[0] / 100  # half the variance is lost at each ReLU


def test_the_scales_are_those_of_the_papers() -> None:
    layer = nn.Linear(400, 200)
    initialise(layer, "xavier")
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 600) ** 0.5, rel=0.02)
    initialise(layer, "he")
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert not layer.bias.detach().any()
    initialise(layer, "orthogonal")
    assert torch.allclose(layer.weight.detach() @ layer.weight.detach().T, torch.eye(200), atol=1e-4)
    initialise(layer, "constant", value=0.5)
    assert bool((layer.weight.detach() == 0.5).all())
    initialise(layer, "zeros")
    assert not layer.weight.detach().any()


def test_default_leaves_the_weights_and_lsuv_the_mode() -> None:
    net = mlp((6,), 2, hidden=[5])
    before = [p.detach().clone() for p in net.parameters()]
    initialise(net)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    statistics = [b.clone() for b in net.buffers()]
    initialise(net, "lsuv", batch=torch.randn(20, 6))
    assert net.training
    assert all(torch.equal(a, b) for a, b in zip(statistics, net.buffers(), strict=True))


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=f"init.name must be one of {', '.join(INITS)}, got 'kaiming'"):
        initialise(nn.Linear(2, 2), "kaiming")
    batch: Tensor | None = None
    with pytest.raises(ValueError, match="init=lsuv measures on a batch, and there is none"):
        initialise(nn.Linear(2, 2), "lsuv", batch=batch)
