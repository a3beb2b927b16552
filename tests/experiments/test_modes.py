"""Modes of a training step, and of a validation step: as Lightning, and the module's own hooks, set them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from diagnose.experiments.modes import validate, wrong_mode
from tests.experiments.looking import look
from tests.experiments.odd import Classifier, blobs, loaders, sandboxed


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


def test_eval_mode_is_wrong_where_nobody_keeps_it() -> None:
    norm = nn.BatchNorm1d(4)
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), norm, nn.Dropout(0.5), nn.Dropout(0.0)), nn.ReLU())
    ran = [name for name, _ in net.named_modules()]
    assert wrong_mode(net, ran) == []
    net[0].eval()
    assert wrong_mode(net, ran) == ["0.1", "0.2"]
    assert wrong_mode(net, ["0.1"]) == ["0.1"]
    assert not norm.training  # looking changes nothing
    net[0].requires_grad_(False)
    assert wrong_mode(net, ran) == []


def test_a_frozen_batch_norm_and_one_without_averages_may_stand_in_eval_mode() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, track_running_stats=False)).eval()
    assert wrong_mode(net, ["1", "2"]) == ["1"]
    net[1].requires_grad_(False)
    assert wrong_mode(net, ["1", "2"]) == []


def test_how_far_stored_statistics_are_from_the_data() -> None:
    module = Classifier(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Linear(16, 3))
    known, foreign = (blobs()[0], 40 + 9 * torch.randn(200, 8))
    for data, apart in ((known, (0.0, 0.3)), (foreign, (0.7, 9.0))):
        module.train()
        for _ in range(40):
            module(data)
        module.eval()
        record, _ = look(module)
        modes = record.facts["probe.modes"]
        assert modes["training"] == list(modes["apart"]) == ["net.1", "net.4"]
        assert all(apart[0] < value < apart[1] for value in modes["apart"].values())
    module.net[4].reset_running_stats()  # type: ignore[operator]
    record, _ = look(module)
    assert list(record.facts["probe.modes"]["apart"]) == ["net.1"]


def test_a_module_that_stays_in_eval_mode_on_purpose() -> None:
    class Kept(nn.Sequential):
        def train(self, mode: bool = True) -> Kept:
            super().train(mode)
            self[0].eval()
            return self

    net = Kept(nn.BatchNorm1d(4), nn.Linear(4, 4)).train()
    assert wrong_mode(net, ["0"]) == []
