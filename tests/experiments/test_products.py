"""Layers that were written by hand, as products with matrices of a module's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.initial import signal_scale
from diagnose.experiments.products import Products, rms
from diagnose.measure.calls import WatchCalls
from diagnose.rules import run
from diagnose.rules.poor_initialization import PoorInitialization
from tests.experiments.odd import Classifier, loaders, sandboxed


class ByHand(nn.Module):
    """Three layers, whose weights are drawn with a standard deviation."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        sizes = ((8, 64), (64, 64), (3, 64))
        self.first, self.second, self.third = (nn.Parameter(scale * torch.randn(*size, generator=generator)) for size in sizes)
        self.bias = nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.addmm(self.bias, F.relu(x @ self.first), self.second)
        return F.linear(F.relu(hidden), self.third)


def test_each_product_is_a_layer() -> None:
    net, found = ByHand(1.0), dict[str, dict[str, Any]]()
    x = torch.randn(16, 8)
    with WatchCalls(Products(net, found).functions()):
        net(x)
    assert list(found) == ["first", "second", "third"]
    assert [(e["fan_in"], e["fan_out"]) for e in found.values()] == [(8, 64), (64, 64), (64, 3)]
    assert found["first"]["gain"] == pytest.approx(rms(net.first) * 8**0.5)
    assert found["first"]["input_std"] == pytest.approx(float(x.square().mean().sqrt()))
    assert found["third"]["output_std"] == pytest.approx(float(net(x).detach().square().mean().sqrt()))


def test_a_transposed_matrix_and_one_on_the_left() -> None:
    net, found = ByHand(1.0), dict[str, dict[str, Any]]()
    with WatchCalls(Products(net, found).functions()):
        torch.randn(4, 64) @ net.first.t()
        net.third @ torch.randn(64, 2)
        torch.randn(4, 5) @ torch.randn(5, 2)
    assert {name: (e["fan_in"], e["fan_out"]) for name, e in found.items()} == {"first": (64, 8), "third": (64, 3)}


def test_a_single_matrix_stays_with_its_module() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    assert Products(Dense(), {}).functions() == {}


def test_matrices_in_a_list_of_parameters() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList([nn.Parameter(torch.randn(8, 16)), nn.Parameter(torch.randn(16, 3))])

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.weights
            return torch.mm(F.relu(torch.mm(x, first)), second)

    net, found = Listed(), dict[str, dict[str, Any]]()
    with WatchCalls(Products(net, found).functions()):
        net(torch.randn(4, 8))
    assert [(name, e["fan_in"]) for name, e in found.items()] == [("weights.0", 8), ("weights.1", 16)]


@pytest.mark.parametrize(("scale", "found"), [(1.0, True), (0.1, False)])
def test_weights_drawn_by_hand(scale: float, found: bool) -> None:
    record = sandboxed(Classifier(ByHand(scale)), loaders()[0], signal_scale)
    assert [e["kind"] for e in record.facts["probe.initialization"]] == ["product"] * 3
    record.add("probe.initial_loss", {"ratio": 50.0, "uniform": 1.1})
    findings = run(PoorInitialization(), record, strict=True).findings
    assert bool(findings) == found
    assert all(f.where == "net.0.second" and "through 2 layers" in f.message for f in findings)


def test_products_that_a_norm_may_follow_are_left_alone() -> None:
    record = sandboxed(Classifier(ByHand(1.0)), loaders()[0], signal_scale)
    record.add("probe.initial_loss", {"ratio": 1.2, "uniform": 1.1})
    assert run(PoorInitialization(), record, strict=True).findings == ()
