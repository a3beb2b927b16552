"""Update ratios against a step computed by hand."""

from __future__ import annotations

import math

import torch
from torch import nn

from diagnose.measure.updates import sample, snapshot, update_ratios


def test_one_step_of_plain_descent_is_rate_times_gradient_over_weight() -> None:
    layer = nn.Linear(4, 3, bias=False)
    before = snapshot([layer.weight])
    layer(torch.randn(5, 4)).square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    expected = 0.1 * gradient.norm() / layer.weight.norm()
    torch.optim.SGD([layer.weight], lr=0.1).step()
    assert math.isclose(update_ratios(before, sample([layer.weight]), [0], 1).item(), expected.item(), rel_tol=1e-4)


def test_a_snapshot_is_a_copy_and_a_sample_is_not() -> None:
    weight = torch.zeros(3)
    copied, seen = snapshot([weight])[0], sample([weight])[0]
    weight += 1
    assert copied.tolist() == [0, 0, 0]
    assert seen.tolist() == [1, 1, 1]


def test_large_tensors_are_sampled_evenly() -> None:
    view = sample([torch.arange(1000.0)], limit=100)[0]
    assert len(view) == 100
    assert view[:3].tolist() == [0, 10, 20]
    assert len(sample([torch.zeros(70, 3).T], limit=100)[0]) == 70


def test_weights_that_were_zero_have_no_ratio() -> None:
    ratios = update_ratios([torch.zeros(2), torch.ones(2)], [torch.ones(2), torch.ones(2)], [0, 1], 3)
    assert torch.isnan(ratios[[0, 2]]).all()
    assert ratios[1] == 0
