"""Rule T314: gradients that are never cleared."""

from __future__ import annotations

from diagnose.rules.missing_zero_grad import MissingZeroGrad
from tests.rules.training import findings, not_run, training

NAN = float("nan")
LABELS = {"zero_grad__carried": ["SGD 0", "Adam 1"]}


def test_carried_gradients_are_found() -> None:
    (found,) = findings(MissingZeroGrad(), training(labels=LABELS, zero_grad__carried=[[1.0, 0.0]] * 9 + [[0.0, 0.0]]))
    assert found.where == "SGD 0"
    assert found.evidence["share"] == 0.9


def test_the_users_own_step_is_named() -> None:
    facts = {"source": {"training_step": "gan.py:31"}}
    (found,) = findings(MissingZeroGrad(), training(facts=facts, labels=LABELS, zero_grad__carried=[[1.0, NAN]] * 9))
    assert found.where == "gan.py:31"


def test_cleared_gradients_are_healthy() -> None:
    assert findings(MissingZeroGrad(), training(labels=LABELS, zero_grad__carried=[[0.0, NAN], [NAN, 0.0]] * 9)) == ()


def test_two_steps_are_too_short() -> None:
    assert "too short" in not_run(MissingZeroGrad(), training(labels=LABELS, zero_grad__carried=[[1.0, 1.0]] * 2))
