"""Rules M205 and T312: targets out of reach of ordinary steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.initial_loss import InitialLoss
from diagnose.rules.learning_rate_too_low import LearningRateTooLow
from diagnose.values import Severity
from tests.rules.training import findings, not_run, training

PRICES: dict[str, Any] = {"loss": 3.8e10, "total": 3.8e10, "chance": 6e9, "uniform": None, "ratio": 6.3, "kind": "mse_loss"}
PRICES |= {"prediction_std": 0.05, "target_rms": 2e5, "prediction_mean": 0.0, "target_mean": 1.8e5, "shift": 2.5}


def prices(end: float = 3.4e10, moved: float = 0.01, finished: bool = True, **changes: Any) -> Record:
    """A regression on raw prices, whose loss falls from 3.8e10 along a straight line."""
    return training(
        np.linspace(3.8e10, end, 400),
        run={"finished": finished, "steps_done": 400},
        facts={"probe.initial_loss": {**PRICES, **changes}, "task": {"loss": "mse_loss"}},
        labels={"update_ratio__layers": ["a"]},
        update_ratio__layers=[[moved]] * 30,
    )


def test_targets_that_ordinary_steps_do_not_come_to() -> None:
    (finding,) = findings(InitialLoss(), prices())
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        "the targets are around 1.8e+05 and the first predictions spread over 0.05; after 400 batches the loss has come from 3.78e+10 to "
        "3.44e+10, and a constant prediction has 6e+09: the outputs are still on their way to the targets"
    )
    assert finding.fix.startswith("standardise the targets")
    assert "of which initial-loss speaks" in not_run(LearningRateTooLow(), prices())


@pytest.mark.parametrize(
    "changes",
    [
        {"end": 5e9},  # it came there
        {"end": 4e10},  # it went away
        {"moved": 1e-5},  # the rate is to blame
        {"finished": False},
        {"prediction_std": 1e3},  # the last layer is scaled for them
        {"frozen": True},
    ],
)
def test_targets_within_reach(changes: dict[str, Any]) -> None:
    record = prices(**changes)
    assert not any("on their way" in finding.message for finding in run(InitialLoss(), record).findings)
    assert "initial-loss" not in run(LearningRateTooLow(), record).reason


def test_a_loss_call_of_one_sample_tells_nothing_of_the_spread() -> None:
    assert findings(InitialLoss(), prices(chance=0.0, prediction_std=0.0, ratio=float("nan"), shift=None)) == ()


def flows(end: float = 0.8, copy: float | None = 0.2, **changes: Any) -> Record:
    """A regression on targets around 0 that vary by 1000, and what a copy came to that was trained on standardised ones."""
    start = {"loss": 1e6, "total": 1e6, "chance": 1e6, "ratio": 1.0, "prediction_std": 0.1, "target_rms": 1e3, "shift": 0.0, **changes}
    facts = {"probe.initial_loss": {**PRICES, **start}, "task": {"loss": "mse_loss"}}
    if copy is not None:
        facts["probe.rescaled"] = {"held_out": copy * 1e6, "chance": 1e6, "steps": 150}
    moved: dict[str, Any] = {"labels": {"update_ratio__layers": ["a"]}, "update_ratio__layers": [[0.01]] * 30}
    return training(np.linspace(1e6, end * 1e6, 400), run={"finished": True, "steps_done": 400}, facts=facts, **moved)


def test_a_spread_that_ordinary_steps_do_not_come_to() -> None:
    (finding,) = findings(InitialLoss(), flows())
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        "the targets have a size of 1e+03 and the first predictions spread over 0.1; after 400 batches the loss is 8.2e+05, and a constant "
        "prediction has 1e+06; a copy trained for 150 steps on standardised targets comes to 2e+05 on batches that it had not seen"
    )
    assert finding.fix.startswith("standardise the targets")


@pytest.mark.parametrize(
    "changes",
    [
        {"end": 0.3},  # it came there
        {"copy": 0.5},  # the data hold no more
        {"copy": None},  # not known
        {"prediction_std": 10.0},
    ],
)
def test_a_spread_within_reach(changes: dict[str, Any]) -> None:
    assert findings(InitialLoss(), flows(**changes)) == ()
