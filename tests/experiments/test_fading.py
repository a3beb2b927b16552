"""Where the difference between samples gets lost."""

from __future__ import annotations

import pytest
from torch import nn

from diagnose.experiments.dependence import swap_samples
from diagnose.rules.vanishing_gradient import VanishingGradient
from tests.experiments.odd import Classifier, loaders, sandboxed


def sigmoids(count: int) -> Classifier:
    middle = [layer for _ in range(count) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
    return Classifier(nn.Linear(8, 16), *middle, nn.Linear(16, 3))


def test_many_sigmoid_layers_lose_it_little_by_little() -> None:
    record = sandboxed(sigmoids(12), loaders()[0], swap_samples)
    changes = record.facts["probe.fading"]
    assert [c["name"] for c in changes] == ["net.0", *(f"net.{i}" for i in range(1, 25, 2)), "net.25"]
    assert changes[0]["change"] > 0.3
    found = VanishingGradient().blurs(record)
    assert found is not None
    assert found.evidence["change"] < 1e-5


def test_one_layer_that_takes_it_all() -> None:
    module = sigmoids(2)
    module.net[1].bias.data.fill_(-200.0)  # type: ignore[operator]
    record = sandboxed(module, loaders()[0], swap_samples)
    changes = [c["change"] for c in record.facts["probe.fading"]]
    assert changes[0] > 0.3
    assert changes[-1] == 0
    assert VanishingGradient().blurs(record) is None


@pytest.mark.parametrize("count", [0, 2])
def test_what_comes_through_is_not_followed(count: int) -> None:
    assert "probe.fading" not in sandboxed(sigmoids(count), loaders()[0], swap_samples)
