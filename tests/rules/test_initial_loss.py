from __future__ import annotations

from math import nan
from typing import Any

from diagnose.rules.initial_loss import InitialLoss
from diagnose.values import Severity
from tests.rules.probes import findings, not_run

HIGH: dict[str, Any] = {"loss": 9.2, "total": 9.2, "chance": 2.3, "uniform": 2.3026, "ratio": 4.0, "kind": "cross_entropy"}
REGRESSION: dict[str, Any] = {"loss": 1.1, "total": 1.1, "chance": 1.0, "uniform": None, "ratio": 1.1, "kind": "mse_loss"}
REGRESSION |= {"prediction_std": 0.3, "target_rms": 1.0}


def judge(fact: dict[str, Any], **changes: Any) -> list[Any]:
    return findings(InitialLoss(), probe__initial_loss={**fact, **changes})


def test_confidently_wrong() -> None:
    (finding,) = judge(HIGH)
    assert finding.severity is Severity.WARNING
    assert finding.message == "the loss before the first step is 9.2, 4 times that of chance (2.3)"
    assert "scale of the inputs and of the initial weights" in finding.fix
    assert finding.evidence == {"loss": 9.2, "chance": 2.3, "ratio": 4.0, "limit": 3.0}


def test_chance_and_below_is_clean() -> None:
    assert judge(HIGH, loss=2.35, ratio=1.02) == []
    assert judge(HIGH, loss=0.1, ratio=0.04) == []  # a pretrained network
    assert judge(HIGH, loss=6.89, ratio=3.0) == []  # the edge


def test_regression_is_judged_by_the_spread_of_its_predictions() -> None:
    (finding,) = judge(REGRESSION, prediction_std=11.0)
    assert finding.severity is Severity.INFO
    assert "the first predictions spread over 11, 11 times the size of the targets (1)" in finding.message
    assert judge(REGRESSION, prediction_std=10.0) == []


def test_regression_far_from_zero() -> None:
    far = {"loss": 9000.0, "chance": 30.0, "ratio": 300.0, "target_rms": 95.0}
    (finding,) = judge(REGRESSION, **far)
    assert "the targets (size 95) lie far from where the network starts" in finding.message
    assert "standardise the targets" in finding.fix
    assert judge(REGRESSION, **{**far, "ratio": 100.0}) == []


def test_a_loss_that_is_not_finite_is_not_judged() -> None:
    assert not_run(InitialLoss(), probe__initial_loss={**HIGH, "loss": nan}) == "the initial loss is not finite"
