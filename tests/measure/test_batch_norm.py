"""The difference of batch norm's two modes against torch's own layer, and what chance explains against drawn batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diagnose.measure.batch_norm import difference, memory


@pytest.mark.parametrize("shape", [(12, 5), (12, 5, 4, 3)])
def test_it_is_what_the_layer_gives_in_both_modes(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(shape, dtype=torch.float64)
    layer = nn.BatchNorm1d(5, affine=False).double() if len(shape) == 2 else nn.BatchNorm2d(5, affine=False).double()
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.normal_(3, 1)
    layer.running_var.uniform_(1, 9)
    found = difference(x, layer.running_mean.clone(), layer.running_var.clone()).found
    apart = layer.eval()(x) - layer.train()(x)
    assert found == pytest.approx(float(apart.square().mean().sqrt()), rel=1e-9)


@pytest.mark.parametrize(("momentum", "updates"), [(0.1, 200), (0.5, 50), (None, 50), (1.0, 5)])
def test_chance_explains_what_drawn_batches_show(momentum: float | None, updates: int) -> None:
    torch.manual_seed(1)
    layer = nn.BatchNorm1d(400, momentum=momentum, affine=False)
    for _ in range(updates):
        layer(2 + 3 * torch.randn(64, 400))
    left, carried = memory(momentum, updates)
    assert left < 1e-6
    assert layer.running_mean is not None
    assert layer.running_var is not None
    made = [difference(2 + 3 * torch.randn(64, 400), layer.running_mean, layer.running_var, carried=carried) for _ in range(20)]
    found = sum(d.found**2 for d in made) / 20
    assert found / (sum(d.expected**2 for d in made) / 20) == pytest.approx(1, abs=0.15)


def test_pixels_of_one_sample_are_not_counted_as_independent() -> None:
    torch.manual_seed(2)
    made = []
    for _ in range(40):
        flat = torch.randn(32, 50, 1).expand(-1, -1, 49)  # all pixels of a sample alike
        made.append(difference(flat, torch.zeros(50), torch.ones(50)))
    assert sum(d.found for d in made) / sum(d.expected for d in made) == pytest.approx(1, abs=0.1)
    assert made[0].expected > 0.15  # 1,568 values would explain 0.03
