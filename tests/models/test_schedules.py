"""Rates over a run, against formulas written out."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from diagnose.models.schedules import SCHEDULES, schedule


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)


def rates(name: str, steps: int = 20, **options: Any) -> list[float]:
    sgd = optimizer()
    made: Any = schedule(sgd, name, steps, **options)
    found = []
    for _ in range(steps):
        found.append(sgd.param_groups[0]["lr"])
        sgd.step()
        made["scheduler"].step()
    return found


@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [
        ("step", {"every": 4, "factor": 0.5}, lambda k: 0.5 ** (k // 4)),
        ("exponential", {"final": 0.1}, lambda k: 0.1 ** (k / 20)),
        ("two_stage", {"switch": 0.5, "middle": 0.4, "final": 0.04}, lambda k: 0.4 ** (k / 10) if k < 10 else 0.4 * 0.1 ** ((k - 10) / 10)),
        ("cosine", {}, lambda k: (1 + cos(pi * k / 20)) / 2),
        ("cyclic", {"cycles": 4}, lambda k: (1 + cos(pi * (k % 5) / 5)) / 2),
        ("cyclic", {"cycles": 3}, lambda k: (1 + cos(pi * (k % 7) / 7)) / 2),
        ("warmup", {"share": 0.2}, lambda k: (k + 1) / 4 if k < 4 else (1 + cos(pi * (k - 4) / 16)) / 2),
        ("warmup", {"share": 0.2, "then": "constant"}, lambda k: min(1, (k + 1) / 4)),
    ],
)
def test_the_rate_at_each_step(name: str, options: dict[str, Any], formula: Callable[[int], float]) -> None:
    assert rates(name, **options) == pytest.approx([formula(k) for k in range(20)], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "own"),
    [
        ("exponential", {"final": 0.1}, lambda o: lr_scheduler.ExponentialLR(o, 0.1 ** (1 / 20))),
        ("cosine", {}, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=20)),
        ("cyclic", {"cycles": 3}, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=7)),
    ],
)
def test_the_rates_are_those_of_torch(name: str, options: dict[str, Any], own: Callable[[Any], Any]) -> None:
    sgd, found = optimizer(), []
    scheduler = own(sgd)
    for _ in range(20):
        found.append(sgd.param_groups[0]["lr"])
        sgd.step()
        scheduler.step()
    assert rates(name, **options) == pytest.approx(found, abs=1e-9)


def test_one_cycle_climbs_to_the_rate_and_falls() -> None:
    found = rates("onecycle", warmup=0.5)
    assert max(found) == pytest.approx(1.0, abs=0.01)  # the top lies between two steps
    assert found.index(max(found)) in (9, 10)
    assert found[0] == pytest.approx(1 / 25)


def test_what_counts_epochs_is_stepped_per_epoch() -> None:
    units = {name: made["interval"] for name in SCHEDULES if (made := schedule(optimizer(), name, 10)) is not None}
    assert {name for name, unit in units.items() if unit == "epoch"} == {"step", "plateau"}
    assert schedule(optimizer(), "none", 10) is None


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    [
        ("linear", {}, ValueError, "scheduler.name must be one of none, step, .*, got 'linear'"),
        ("step", {"every": 0}, ValueError, "scheduler.every must be a whole number of epochs, at least 1, got 0"),
        ("step", {"factor": 2.0}, ValueError, "scheduler.factor must be above 0 and at most 1, got 2.0"),
        ("exponential", {"final": 0.0}, ValueError, "scheduler.final must be above 0 and at most 1, got 0.0"),
        ("two_stage", {"switch": 1.0}, ValueError, "scheduler.switch must be above 0 and below 1, got 1.0"),
        ("onecycle", {"warmup": 1.5}, ValueError, "scheduler.warmup must be above 0 and below 1, got 1.5"),
        ("warmup", {"share": 0}, ValueError, "scheduler.share must be above 0 and below 1, got 0"),
        ("warmup", {"then": "up"}, ValueError, "scheduler.then must be cosine or constant, got 'up'"),
        ("plateau", {"patience": -1}, ValueError, "scheduler.patience must be a whole number of epochs, at least 0, got -1"),
        ("plateau", {"factor": 1.5}, ValueError, "Factor should be < 1.0"),
        ("cosine", {"patience": 1}, TypeError, "unexpected keyword argument 'patience'"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        schedule(optimizer(), name, 10, **options)
