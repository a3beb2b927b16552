"""A last layer that is frozen as torch drew it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diagnose.rules import run
from diagnose.rules.frozen_parameter import FrozenParameter
from tests.experiments.looking import look
from tests.experiments.odd import Classifier


def network(*, trained: bool = False, frozen: tuple[int, ...] = (0, 4)) -> Classifier:
    """Three layers, some of them frozen; the last one as drawn, or after some steps."""
    torch.manual_seed(0)
    module = Classifier(nn.Linear(8, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3))
    if trained:
        optimizer, x = torch.optim.Adam(module.parameters(), lr=1e-3), torch.randn(64, 8)
        for _ in range(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module.net(x), (x[:, 0] > 0).long()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    for place in frozen:
        module.net[place].requires_grad_(False)
    return module


def test_a_head_frozen_at_random_is_found() -> None:
    record, _ = look(network())
    fact = record.facts["probe.frozen_head"]
    assert (fact["name"], fact["weights"], fact["others"], fact["largest"] <= 1) == ("net.4", 123, 2, True)
    (found,) = run(FrozenParameter(), record).findings
    assert found.message.startswith(
        "net.4, the last layer before the loss, is frozen at the random values that torch drew: all 123 weights"
    )


@pytest.mark.parametrize(
    "module",
    [
        network(trained=True),
        network(frozen=(4,)),  # the last alone: on purpose
        network(frozen=(0, 2)),  # random features before a trained head
        network(frozen=()),
    ],
)
def test_what_is_frozen_on_purpose_is_left_alone(module: Classifier) -> None:
    record, _ = look(module)
    assert not run(FrozenParameter(), record).findings


class Thawed(Classifier):
    """It thaws its last layer itself."""

    def on_train_epoch_start(self) -> None:
        self.net[4].requires_grad_(self.current_epoch > 0)


def test_a_head_that_a_hook_thaws_is_left_alone() -> None:
    module = Thawed(nn.Linear(8, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3))
    module.net[0].requires_grad_(False)
    module.net[4].requires_grad_(False)
    assert "probe.frozen_head" not in look(module)[0].facts
