"""Update ratios against a step computed by hand."""

from __future__ import annotations

import math

import torch
from torch import nn

from diagnose.measure.updates import expansion, moves, sample, snapshot, update_ratios


def test_one_step_of_plain_descent_is_rate_times_gradient_over_weight() -> None:
    layer = nn.Linear(4, 3, bias=False)
    before, size = snapshot([layer.weight]), layer.weight.norm().item()
    layer(torch.randn(5, 4)).square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    expected = 0.1 * gradient.norm().item() / size
    torch.optim.SGD([layer.weight], lr=0.1).step()
    assert math.isclose(update_ratios(moves(before, [layer.weight]).tolist(), [size], [0], 1)[0], expected, rel_tol=1e-4)


def test_a_snapshot_is_a_copy_and_a_sample_is_not() -> None:
    weight = torch.zeros(3)
    copied, seen = snapshot([weight])[0], sample([weight])[0]
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
    before = snapshot([weight])
    weight += step
    assert len(before[0]) < weight.numel() / 10
    assert math.isclose(moves(before, [weight]).item() * expansion(weight), step.norm().item(), rel_tol=0.02)


def test_weights_that_were_zero_have_no_ratio() -> None:
    ratios = update_ratios([1.4, 0.0], [0.0, 1.4], [0, 1], 3)
    assert math.isnan(ratios[0])
    assert math.isnan(ratios[2])
    assert ratios[1] == 0
