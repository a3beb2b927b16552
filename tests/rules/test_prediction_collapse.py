"""Rule T315: constant predictions."""

from __future__ import annotations

from typing import Any

import pytest

from diagnose.rules.prediction_collapse import PredictionCollapse
from diagnose.values import Severity
from tests.rules.training import falling, findings, not_run, training


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


START = {"loss": 0.39, "total": 0.39, "prior": 0.384}


@pytest.mark.parametrize(("end", "held", "found"), [(0.33, 0.35, 0), (0.38, 0.38, 1), (0.33, 0.4, 1)])
def test_rare_events_that_get_no_likelier_than_not_are_no_collapse(end: float, held: float, found: int) -> None:
    """Clicks, a seventh of the views: 99 % of the predictions are `no click`, yet the loss is far below that of their share."""
    record = training(
        falling(0.39, end, noise=0.02),
        facts={"probe.initial_loss": START},
        prediction__top_share=[0.99] * 30,
        target__top_share=[0.89] * 30,
        val__loss=[held] * 9,
    )
    if found:
        assert len(findings(PredictionCollapse(), record)) == found
    else:
        assert "below that of the classes' shares" in not_run(PredictionCollapse(), record)


@pytest.mark.parametrize(("held", "found"), [(0.335, 0), (0.37, 1)])
def test_a_validation_loss_below_that_of_any_constant_takes_answers_that_go_with_the_input(held: float, found: int) -> None:
    """Clicks are 0.126 of validation, where no constant has less than 0.379; the few batches read at the start held fewer clicks."""
    record = training(
        falling(0.39, 0.33, noise=0.04),
        facts={"probe.initial_loss": {**START, "prior": 0.35}, "task": {"classes": 2, "loss": "binary_cross_entropy_with_logits"}},
        prediction__top_share=[0.99] * 30,
        target__top_share=[0.874] * 30,
        val__loss=[held] * 9,
        val__top_share=[0.99] * 9,
        val__target_top_share=[0.874] * 9,
    )
    if found:
        assert len(findings(PredictionCollapse(), record)) == found
    else:
        assert "below that of the classes' shares" in not_run(PredictionCollapse(), record)


def test_targets_of_one_class_are_not_judged() -> None:
    record = training([0.2] * 300, prediction__top_share=[1.0] * 30, target__top_share=[0.95] * 30)
    assert not_run(PredictionCollapse(), record) == "95% of the targets are one class"


def test_unknown_predictions_are_not_judged() -> None:
    assert "no predictions could be read" in not_run(PredictionCollapse(), training([0.2] * 300))


def weighted(weights: list[float], counts: list[int], top: float, base: float = 0.9, **series: Any) -> Any:
    facts = {"probe.step": {"class_weights": {"weight": weights, "count": counts}}}
    return training([0.2] * 300, facts=facts, prediction__top_share=[top] * 30, target__top_share=[base] * 30, **series)


def test_class_weights_that_rise_with_the_frequency_are_named() -> None:
    (found,) = findings(PredictionCollapse(), weighted([0.9, 0.1], [900, 100], top=0.992))
    assert found.where == "class weights of the loss"
    assert found.severity == Severity.WARNING
    assert "class 0, 90% of the targets, with 0.9 and class 1, 0.1 of them, with 0.1" in found.message


@pytest.mark.parametrize("top", [0.94, 0.6])
def test_rising_weights_do_no_harm_where_the_other_classes_are_predicted(top: float) -> None:
    assert findings(PredictionCollapse(), weighted([0.9, 0.1], [800, 200], top=top, base=0.8)) == ()


def test_rising_weights_do_no_harm_where_validation_shows_none() -> None:
    held = {"val__top_share": [0.85] * 9, "val__target_top_share": [0.8] * 9}
    assert findings(PredictionCollapse(), weighted([0.9, 0.1], [800, 200], top=0.99, base=0.8, **held)) == ()


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ([0.1, 0.9], [900, 100]),  # as they should be
        ([1.0, 1.0], [900, 100]),
        ([1.3, 1.0], [900, 100]),  # hardly different
        ([2.0, 1.0], [520, 480]),  # no imbalance
        ([0.05, 1.0, 1.0, 1.4], [900, 60, 25, 15]),  # the class of what is nothing weighs little
        ([0.0, 1.0], [900, 100]),  # left out
        ([1.0, 0.1], [999, 1]),  # too few to know
    ],
)
def test_other_class_weights_leave_it_as_it_was(weights: list[float], counts: list[int]) -> None:
    assert "90% of the targets" in not_run(PredictionCollapse(majority=0.85), weighted(weights, counts, top=1.0))


def test_weights_of_many_classes_may_rise_roughly() -> None:
    assert findings(PredictionCollapse(), weighted([0.5, 0.2, 0.25, 0.05], [500, 250, 200, 50], top=0.97, base=0.5)) != ()


def test_two_sides_that_become_one_constant_are_found() -> None:
    shrinking = [0.05 * 0.8**n for n in range(24)]
    loss = falling(1.0, 0.001)
    (found,) = findings(PredictionCollapse(), training(loss, prediction__std=shrinking, target__std=shrinking))
    assert "both sides of the loss have shrunk" in found.message
    assert findings(PredictionCollapse(), training(loss, prediction__std=shrinking[:10], target__std=shrinking[:10])) == ()


@pytest.mark.parametrize(("drawn", "held", "found"), [(0.11, 0.002, 1), (0.11, 0.05, 0), (0.6, 0.002, 0)])
def test_predictions_that_are_noise_in_training_and_constant_in_validation(drawn: float, held: float, found: int) -> None:
    """An autoencoder whose latent variable says nothing: what it draws still moves the output a little."""
    record = training(
        falling(1.0, 0.3),
        prediction__std=[drawn] * 30,
        target__std=[1.0] * 30,
        val__std=[held] * 9,
        val__target_std=[1.0] * 9,
    )
    assert len(findings(PredictionCollapse(), record)) == found
