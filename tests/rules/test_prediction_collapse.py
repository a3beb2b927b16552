"""Rule T315: constant predictions."""

from __future__ import annotations

from diagnose.rules.prediction_collapse import PredictionCollapse
from tests.rules.training import findings, not_run, training


def test_one_class_for_all_is_found() -> None:
    (found,) = findings(PredictionCollapse(), training([2.3] * 300, prediction__top_share=[1.0] * 30, target__top_share=[0.2] * 30))
    assert found.evidence["share"] == 1.0


def test_one_value_for_all_is_found() -> None:
    (found,) = findings(PredictionCollapse(), training([1.0] * 300, prediction__std=[1e-4] * 30, target__std=[1.0] * 30))
    assert found.evidence["spread"] < 0.001


def test_varied_predictions_are_healthy() -> None:
    assert findings(PredictionCollapse(), training([2.3] * 300, prediction__top_share=[0.4] * 30, target__top_share=[0.2] * 30)) == ()
    assert findings(PredictionCollapse(), training([2.3] * 300, prediction__std=[0.5] * 30, target__std=[1.0] * 30)) == ()


def test_a_collapse_that_validation_does_not_show_is_healthy() -> None:
    record = training(
        [2.3] * 300,
        prediction__top_share=[1.0] * 30,
        target__top_share=[0.5] * 30,
        val__top_share=[0.6] * 9,
        val__target_top_share=[0.5] * 9,
    )
    assert findings(PredictionCollapse(), record) == ()


def test_targets_of_one_class_are_not_judged() -> None:
    record = training([0.2] * 300, prediction__top_share=[1.0] * 30, target__top_share=[0.95] * 30)
    assert not_run(PredictionCollapse(), record) == "95% of the targets are one class"


def test_unknown_predictions_are_not_judged() -> None:
    assert "no predictions could be read" in not_run(PredictionCollapse(), training([0.2] * 300))
