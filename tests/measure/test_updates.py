"""Update ratios against a step computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from diagnose.measure.updates import Weights, expansion, sample, update_ratios


def test_one_step_of_plain_descent_is_rate_times_gradient_over_weight() -> None:
    layer = nn.Linear(4, 3, bias=False)
    weights, size = Weights([layer.weight]), layer.weight.norm().item()
    before = weights.copy()
    layer(torch.randn(5, 4)).square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    expected = 0.1 * gradient.norm().item() / size
    torch.optim.SGD([layer.weight], lr=0.1).step()
    (moved,) = weights.moved(before)
    assert math.isclose(update_ratios([moved.item()], [size])[0], expected, rel_tol=1e-4)


def test_a_snapshot_is_a_copy_and_a_sample_is_not() -> None:
    weight = torch.zeros(3)
    copied, seen = Weights([weight]).copy(), sample([weight])[0]
    weight += 1
    assert copied.tolist() == [0, 0, 0]
    assert seen.tolist() == [1, 1, 1]


def test_large_tensors_are_sampled_evenly() -> None:
    view = sample([torch.arange(1000.0)], limit=100)[0]
    assert len(view) == 91
    assert view[:3].tolist() == [0, 11, 22]
    assert len(sample([torch.zeros(70, 3).T], limit=100)[0]) == 70


def test_the_move_of_a_large_tensor_is_estimated_from_its_sample() -> None:
    torch.manual_seed(0)
    weight, step = torch.randn(400, 500), torch.randn(400, 500)
    weights = Weights([weight])
    before = weights.copy()
    weight += step
    assert len(before) < weight.numel() / 10
    assert math.isclose(weights.moved(before)[0].item() * expansion(weight), step.norm().item(), rel_tol=0.02)


def test_weights_are_found_again_where_their_storage_was_replaced() -> None:
    first, second = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.ones(3, 2, dtype=torch.float64).T)
    weights = Weights([first, second])
    before = weights.copy()
    first.data = torch.full((2, 3), 2.0)
    second.data += 1
    assert [norm.item() for norm in weights.moved(before)] == pytest.approx([math.sqrt(24), math.sqrt(6)])


def test_weights_that_were_zero_have_no_ratio() -> None:
    ratios = update_ratios([1.4, 0.0, math.nan], [0.0, 1.4, math.nan])
    assert math.isnan(ratios[0])
    assert math.isnan(ratios[2])
    assert ratios[1] == 0
