"""Rule T309: a loss that settles near chance."""

from __future__ import annotations

from diagnose.rules.underfitting import Underfitting
from tests.rules.training import falling, findings, not_run, training

PROBE = {"probe.overfit": {"sole": True, "progress": 0.97, "chance": 2.3, "floor": 0.0}}


def test_a_loss_that_settles_near_chance_is_found() -> None:
    (found,) = findings(Underfitting(), training(falling(2.5, 2.25, noise=0.01), facts=PROBE))
    assert found.evidence["gained"] < 0.1


def test_a_loss_that_settles_far_below_chance_is_healthy() -> None:
    assert findings(Underfitting(), training(falling(2.5, 0.5, noise=0.01), facts=PROBE)) == ()


def test_without_a_batch_learned_by_heart_it_does_not_run() -> None:
    facts = {"probe.overfit": {**PROBE["probe.overfit"], "progress": 0.2}}
    assert "did not learn one batch" in not_run(Underfitting(), training(falling(2.5, 2.25), facts=facts))
