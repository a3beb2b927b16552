"""Rule T303: gradient norms without bound."""

from __future__ import annotations

import numpy as np

from diagnose.rules.exploding_gradient import ExplodingGradient
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
