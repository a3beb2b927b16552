"""Rule T303: gradient norms without bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.rules.exploding_gradient import ExplodingGradient
from diagnose.rules.learning_rate_too_high import LearningRateTooHigh
from tests.rules.training import falling, findings, not_run, training


def test_growth_before_nan_is_found() -> None:
    (found,) = findings(ExplodingGradient(), training([1.0, 1e3, 1e9, np.nan], grad_norm__total=[300.0, 4e5, 8e8, np.nan]))
    assert found.evidence["growth"] > 1e6


def test_slow_growth_with_a_runaway_loss_is_found() -> None:
    norms = list(np.geomspace(0.7, 3000, 60))
    (found,) = findings(ExplodingGradient(), training(-np.geomspace(1, 3e4, 300), grad_norm__total=norms))
    assert found.evidence["last"] > 70


def test_outputs_that_are_far_too_wide_are_found() -> None:
    record = training(falling(1e7, 1e5), grad_norm__total=[1e9] * 30, prediction__std=[5000.0] * 30, target__std=[1.0] * 30)
    (found,) = findings(ExplodingGradient(), record)
    assert "the predictions spread by 5e+03" in found.message


def test_growth_while_the_loss_falls_is_healthy() -> None:
    assert findings(ExplodingGradient(), training(falling(2.3, 0.1), grad_norm__total=list(np.geomspace(0.7, 3000, 60)))) == ()


def test_steady_norms_are_healthy() -> None:
    assert findings(ExplodingGradient(), training(falling(2.3, 0.1), grad_norm__total=falling(1.0, 0.2, 60))) == ()


def test_few_steps_are_too_short() -> None:
    assert "too short" in not_run(ExplodingGradient(), training([1.0] * 5, grad_norm__total=[1.0] * 5))


LEAPT = [2.0] * 10 + [30.0] + [2.0] * 5 + [500.0] * 15
RISEN = [1.0] * 150 + [1e4] * 150


def loop(
    loss: list[float], norms: list[float], *, growth: float = 5.0, reach: float = 1.0, steps: int = 40, lr: float = 0.01, name: str = "SGD"
) -> Record:
    """A run of a loop of so many steps, whose weights have the norm 4."""
    facts = {"probe.recurrence": [{"name": "net.0", "kind": "Linear", "steps": steps, "reach": reach, "growth": growth}]}
    layers: dict[str, Any] = {"weight_norm__layers": [[4.0]] * 20, "update_ratio__layers": [[0.3]] * 20}
    labels = {"weight_norm__layers": ["net.0"], "update_ratio__layers": ["net.0"]}
    run = {"optimizers": [{"name": name, "lr": lr, "momentum": 0.9}]}
    return training(loss, run=run, facts=facts, labels=labels, grad_norm__total=norms, **layers)


def test_a_norm_that_leaps_before_the_loss_through_a_loop_is_found_and_not_the_rate() -> None:
    (found,) = findings(ExplodingGradient(), loop(RISEN, LEAPT))
    assert found.message == (
        "the gradient of net.0 reaches back through 40 steps in time, and its norm leaped 15-fold, to 30, before the loss did; "
        "the loss went from 1 to 1e+04"
    )
    assert "of which exploding-gradient speaks" in not_run(LearningRateTooHigh(), loop(RISEN, LEAPT))


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.05}, {"name": "Adam"}, {"reach": 0.05}, {"steps": 15}, {"norms": [2.0] * 10 + [18.0] + [2.0] * 5 + [500.0] * 15}],
)
def test_without_walls_a_loop_or_an_ordinary_rate_it_is_the_rate(change: dict[str, Any]) -> None:
    record = loop(**{"loss": RISEN, "norms": LEAPT, **change})
    assert findings(ExplodingGradient(), record) == ()
    assert len(findings(LearningRateTooHigh(), record)) == 1


@pytest.mark.parametrize(("growth", "found"), [(120.0, 1), (80.0, 0)])
def test_a_gradient_that_grows_back_in_time_before_nan_is_found(growth: float, found: int) -> None:
    record = loop([1.0] + [np.nan] * 40, [50.0] + [np.nan] * 30, growth=growth, name="Adam")
    if found:
        (finding,) = findings(ExplodingGradient(), record)
        assert "before the first step of training; the loss became NaN" in finding.message
    else:
        assert "too short" in not_run(ExplodingGradient(), record)


def test_a_loop_whose_training_goes_well_is_healthy() -> None:
    assert findings(ExplodingGradient(), loop(falling(2.3, 0.1), LEAPT, growth=1e4)) == ()
