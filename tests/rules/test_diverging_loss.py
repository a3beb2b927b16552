"""Rule T307: a loss that rises."""

from __future__ import annotations

import numpy as np

from diagnose.rules.diverging_loss import DivergingLoss
from diagnose.rules.exploding_gradient import ExplodingGradient
from tests.rules.training import falling, findings, not_run, training

TASK = {"task": {"loss": "cross_entropy"}}


def test_a_rise_above_the_start_is_found() -> None:
    (found,) = findings(DivergingLoss(), training([*falling(2.3, 1.0, 150), *np.linspace(1, 9, 150)]))
    assert found.evidence["end"] > 6


def test_a_rise_with_the_spread_of_the_targets_is_a_harder_task() -> None:
    rising = [*falling(2.3, 1.0, 150), *np.linspace(1, 9, 150)]
    assert "a harder task" in not_run(DivergingLoss(), training(rising, target__std=[0.3] * 10 + [0.9] * 10))
    for steady in ([0.3] * 10 + [0.4] * 10, [0.3] * 10 + [30.0] * 10, [0.3, 0.9]):
        assert len(findings(DivergingLoss(), training(rising, target__std=steady))) == 1


def test_a_phase_with_another_loss_is_judged_by_itself() -> None:
    """Reconstruction first, then classes: the loss jumps where it becomes a cross-entropy."""
    both = [*falling(0.1, 0.03, 150), *falling(2.3, 0.3, 150)]
    assert findings(DivergingLoss(), training(both, facts={"loss_changed": {"to": "cross_entropy", "batch": 150, "times": 1}})) == ()
    assert len(findings(DivergingLoss(), training(both, facts={"loss_changed": {"to": "cross_entropy", "batch": 150, "times": 9}}))) == 1


def test_growth_before_nan_is_found() -> None:
    (found,) = findings(DivergingLoss(), training([1.0, 50.0, 1e6, np.nan]))
    assert found.evidence["end"] == 1e6


def test_a_cross_entropy_that_falls_without_bound_is_found() -> None:
    (found,) = findings(DivergingLoss(), training(1 - np.linspace(0, 80, 300), facts=TASK))
    assert "never below zero" in found.message


def test_an_error_with_a_minus_is_found() -> None:
    error = np.linspace(1, 2, 20)
    facts = {"task": {"loss": "mse_loss", "name": "the squared error written by hand"}}
    (found,) = findings(DivergingLoss(), training(-0.5 * error, facts=facts, train__watched_loss=error))
    assert "the loss is -0.5 times the squared error written by hand in every measured step" in found.message
    grown = training(-0.5 * error, facts=facts, train__watched_loss=error, grad_norm__total=np.geomspace(1, 1e6, 20))
    assert "of which diverging-loss speaks" in not_run(ExplodingGradient(), grown)


def test_an_error_beside_other_terms_is_not_judged_by_its_sign() -> None:
    error = np.linspace(1, 2, 20)
    for loss in (0.5 * error, -error + np.sin(np.arange(20)), 3 - error):
        assert "too short" in not_run(DivergingLoss(), training(loss, facts={"task": {"loss": "mse_loss"}}, train__watched_loss=error))


def test_a_falling_loss_is_healthy() -> None:
    assert findings(DivergingLoss(), training(falling(2.3, 0.1), facts=TASK)) == ()


def test_noise_at_a_low_level_is_healthy() -> None:
    assert findings(DivergingLoss(), training([*falling(2.3, 0.01, 250), *[0.05] * 50])) == ()


def test_few_batches_are_too_short() -> None:
    assert "too short" in not_run(DivergingLoss(), training([1.0, 1.1, 1.2]))
