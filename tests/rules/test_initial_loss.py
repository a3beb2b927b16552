from __future__ import annotations

from math import nan
from typing import Any

import pytest

from diagnose.rules.initial_loss import InitialLoss
from diagnose.values import Severity
from tests.rules.probes import findings, not_run

HIGH: dict[str, Any] = {"loss": 11.5, "total": 11.5, "chance": 2.3, "uniform": 2.3026, "ratio": 5.0, "kind": "cross_entropy"}
REGRESSION: dict[str, Any] = {"loss": 1.1, "total": 1.1, "chance": 1.0, "uniform": None, "ratio": 1.1, "kind": "mse_loss"}
REGRESSION |= {"prediction_std": 0.3, "target_rms": 1.0}


def judge(fact: dict[str, Any], **changes: Any) -> list[Any]:
    return findings(InitialLoss(), probe__initial_loss={**fact, **changes})


def test_confidently_wrong() -> None:
    (finding,) = judge(HIGH)
    assert finding.severity is Severity.WARNING
    assert finding.message == "the loss before the first step is 11.5, 5 times that of chance (2.3)"
    assert "scale of the inputs and of the initial weights" in finding.fix
    assert finding.evidence == {"loss": 11.5, "chance": 2.3, "ratio": 5.0, "limit": 4.0}


def test_a_frozen_last_layer_is_as_sure_as_it_was_trained_to_be() -> None:
    assert "the last layer is frozen" in not_run(InitialLoss(), probe__initial_loss={**HIGH, "frozen": True})


def test_chance_and_below_is_clean() -> None:
    assert judge(HIGH, loss=2.35, ratio=1.02) == []
    assert judge(HIGH, loss=0.1, ratio=0.04) == []  # a pretrained network
    assert judge(HIGH, loss=9.19, ratio=4.0) == []  # the edge


def test_regression_is_judged_by_the_spread_of_its_predictions() -> None:
    (finding,) = judge(REGRESSION, prediction_std=11.0)
    assert finding.severity is Severity.INFO
    assert "the first predictions spread over 11, 11 times the size of the targets (1)" in finding.message
    assert judge(REGRESSION, prediction_std=10.0) == []


@pytest.mark.parametrize(("shift", "severity"), [(95.0, Severity.WARNING), (10.0, Severity.INFO), (3.1, Severity.INFO)])
def test_regression_far_from_its_targets(shift: float, severity: Severity) -> None:
    (finding,) = judge(REGRESSION, prediction_mean=0.0, target_mean=95.0, shift=shift)
    assert finding.severity is severity
    assert f"lie around 0, {shift:g} standard deviations of the targets away from their mean 95" in finding.message
    assert "standardise the targets" in finding.fix


def test_regression_near_its_targets() -> None:
    assert judge(REGRESSION, prediction_mean=0.0, target_mean=3.0, shift=3.0) == []
    assert judge(REGRESSION, shift=None) == []


def test_rare_classes_could_be_known_at_the_start() -> None:
    rare = {"loss": 0.7, "chance": 0.693, "uniform": 0.693, "prior": 0.1, "ratio": 1.01, "kind": "binary_cross_entropy_with_logits"}
    (finding,) = judge(HIGH, **rare)
    assert finding.severity is Severity.INFO
    assert "a network that knows the shares of the classes starts at 0.1" in finding.message
    assert judge(HIGH, **{**rare, "prior": 0.24}) == []
    assert judge(HIGH, **{**rare, "prior": 0.0}) == []  # one class alone: the place of the right one among candidates
    assert judge(HIGH, **{**rare, "loss": 0.11}) == []  # its bias is at the log odds


def test_a_loss_that_is_not_finite_is_not_judged() -> None:
    assert not_run(InitialLoss(), probe__initial_loss={**HIGH, "loss": nan}) == "the initial loss is not finite"
