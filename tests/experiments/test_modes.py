"""Modes of a validation step: as Lightning, and the module's own hooks, set them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from diagnose.experiments.modes import validate
from tests.experiments.odd import Classifier, loaders, sandboxed


class Own(Classifier):
    """With a hook of its own where Lightning would call ``eval()``."""

    def __init__(self, set_modes: Callable[[Any], Any]) -> None:
        super().__init__(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
        self.unused = nn.Dropout(0.5)
        self.set_modes = set_modes

    def on_validation_model_eval(self) -> None:
        self.set_modes(self)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])


@pytest.mark.parametrize(
    ("set_modes", "found"),
    [
        (lambda module: None, ["net.1", "net.3"]),
        (lambda module: module.eval(), []),
        (lambda module: module.eval().net.train(), ["net.1", "net.3"]),
        (lambda module: module.eval().net[1].train(), ["net.1"]),
        (lambda module: module.eval().net[3].train(), []),  # Monte-Carlo dropout
        (lambda module: super(Own, module).on_validation_model_eval(), []),
    ],
)
def test_the_hook_that_stands_for_eval_decides(set_modes: Callable[[Any], Any], found: list[str]) -> None:
    def use(sandbox: Any, record: Any) -> None:
        record.add("probe.modes", {"training": [], "validation": []})
        before = [m.training for m in sandbox.module.modules()]
        validate(sandbox, record)
        assert [m.training for m in sandbox.module.modules()] == before
        assert not any(m._forward_pre_hooks for m in sandbox.module.modules())

    record = sandboxed(Own(set_modes), loaders()[0], use, val=loaders()[1])
    assert record.facts["probe.modes"] == {"training": [], "validation": found, "dropping": []}
