"""Rule T314: gradients that are never cleared."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize(("left", "count"), [(0.3, 1), (0.01, 0)])
def test_gradients_that_the_loss_of_another_optimizer_left(left: float, count: int) -> None:
    names = {"zero_grad__carried": ["Adam 0", "Adam 1"], "zero_grad__foreign": ["Adam 0", "Adam 1"]}
    record = training(labels=names, zero_grad__carried=[[0.0, 0.0]] * 9, zero_grad__foreign=[[0.0, left]] * 9)
    found = findings(MissingZeroGrad(), record)
    assert [f.where for f in found] == ["Adam 1"] * count
    assert all("in 100% of 9 steps of Adam 1 its gradients held what the loss of another optimizer" in f.message for f in found)


def test_what_is_never_cleared_is_said_once() -> None:
    names = {"zero_grad__carried": ["Adam 0", "Adam 1"], "zero_grad__foreign": ["Adam 0", "Adam 1"]}
    record = training(labels=names, zero_grad__carried=[[0.0, 1.0]] * 9, zero_grad__foreign=[[0.0, 0.5]] * 9)
    assert len(findings(MissingZeroGrad(), record)) == 1
