"""Rule T310: validation rises while training falls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.rules.overfitting import Overfitting
from diagnose.values import Severity
from tests.rules.training import falling, findings, not_run, training

UP = [1.0, 0.7, 0.6, 0.62, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2]


def test_a_rising_validation_loss_is_found() -> None:
    (found,) = findings(
        Overfitting(), training(falling(1.0, 0.01), val__loss=UP, val__accuracy=[0.5, 0.7, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6, 0.6, 0.6])
    )
    assert found.severity == Severity.WARNING
    assert found.evidence["minimum"] == 0.6


def test_with_the_accuracy_kept_it_is_for_information() -> None:
    up = [1.0, 0.7, 0.6, 0.62, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    (found,) = findings(Overfitting(), training(falling(1.0, 0.01), val__loss=up, val__accuracy=[0.5, 0.7, *[0.8] * 8]))
    assert found.severity == Severity.INFO


@pytest.mark.parametrize(("chance", "severity"), [(0.78, Severity.WARNING), (0.84, Severity.INFO)])
def test_worse_than_a_constant_it_is_a_warning_though_the_accuracy_is_kept(chance: float, severity: Severity) -> None:
    up = [1.0, 0.7, 0.6, 0.62, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    facts = {"probe.initial_loss": {"loss": chance, "total": chance, "chance": chance}}
    (found,) = findings(Overfitting(), training(falling(1.0, 0.01), facts=facts, val__loss=up, val__accuracy=[0.5, 0.7, *[0.8] * 8]))
    assert found.severity == severity


@pytest.mark.parametrize(("top", "judged"), [(0.97, True), (0.99, False)])
def test_where_all_predictions_are_one_class_nothing_is_learned_by_heart(top: float, judged: bool) -> None:
    seen: dict[str, Any] = {"prediction__top_share": [top] * 20, "target__top_share": [0.5] * 20}
    record = training(falling(1.0, 0.01), val__loss=UP, **seen)
    if judged:
        assert findings(Overfitting(), record)
    else:
        assert "nearly all predictions of training are one class" in not_run(Overfitting(), record)


def test_after_early_stopping_it_is_for_information() -> None:
    (found,) = findings(Overfitting(), training(falling(1.0, 0.01), run={"stopped": "no improvement"}, val__loss=UP))
    assert found.severity == Severity.INFO


def test_validation_that_never_gains_is_found() -> None:
    (found,) = findings(Overfitting(), training(np.linspace(2.3, 2.0, 300), val__loss=np.linspace(2.30, 2.48, 40)))
    assert found.severity == Severity.WARNING


def test_validation_that_levels_off_is_healthy() -> None:
    assert findings(Overfitting(), training(falling(1.0, 0.1), val__loss=falling(1.0, 0.3, 20, noise=0.03))) == ()


def test_two_validations_are_too_short() -> None:
    assert not_run(Overfitting(), training(falling(1.0, 0.1), val__loss=[0.5, 0.9])).startswith("too short: 2 validations")


def test_samples_learned_by_heart_are_found_without_a_rise() -> None:
    facts = {"probe.initial_loss": {"loss": 1.09, "total": 1.09, "chance": 1.05}}
    flat = [1.0, 0.9, 0.86, 0.85, 0.851, 0.852, 0.851, 0.853, 0.852, 0.852]
    (found,) = findings(Overfitting(), training(falling(1.1, 0.0005), facts=facts, val__loss=flat))
    assert "learned by heart" in found.message
    learned = [0.7 * value for value in flat]
    assert findings(Overfitting(), training(falling(1.1, 0.0005), facts=facts, val__loss=learned)) == ()
    assert findings(Overfitting(), training(falling(1.1, 0.3), facts=facts, val__loss=flat)) == ()
    assert findings(Overfitting(), training(falling(1.1, 0.0005), val__loss=flat)) == ()


def test_what_never_holds_in_validation_is_found() -> None:
    facts = {"probe.initial_loss": {"loss": 1.39, "total": 1.39, "chance": 1.386}}
    worse = [1.399, 1.396, 1.406, 1.419, 1.411, 1.435, 1.432, 1.463]
    trained = np.linspace(1.39, 1.33, 320)
    (found,) = findings(Overfitting(), training(trained, facts=facts, val__loss=worse))
    assert "holds in training alone" in found.message
    right: dict[str, Any] = {"val__accuracy": [0.9] * 8, "val__target_top_share": [0.3] * 8}  # too sure of itself, and yet right
    assert findings(Overfitting(), training(trained, facts=facts, val__loss=worse, **right)) == ()
    assert findings(Overfitting(), training(trained, facts=facts, val__loss=[value - 0.06 for value in worse])) == ()
    assert findings(Overfitting(), training(trained, facts=facts, val__loss=worse[::-1])) == ()
    assert findings(Overfitting(), training([1.39, 1.38] * 160, facts=facts, val__loss=worse)) == ()
    level = [2.30, 2.299, 2.297, 2.295, 2.292, 2.289]  # of an average of the weights that hardly follows them
    facts = {"probe.initial_loss": {"loss": 2.31, "total": 2.31, "chance": 2.303}}
    (found,) = findings(Overfitting(), training(falling(2.3, 0.1), facts=facts, val__loss=level))
    assert "that validation runs the weights" in found.fix
    assert findings(Overfitting(), training(falling(2.3, 1.9), facts=facts, val__loss=level)) == ()


def test_validation_in_another_unit_is_not_held_against_the_constant_of_training() -> None:
    facts: dict[str, Any] = {"probe.initial_loss": {"loss": 2.1, "total": 2.1, "chance": 0.41}, "task": {"loss": "smooth_l1_loss"}}
    flat = [1.006, 1.007, 1.01, 1.012, 1.015, 1.019, 1.02]
    for trained in (falling(2.1, 0.2), falling(2.1, 0.001)):
        squared = {**facts, "validation": {"loss": "mse_loss", "calls": 1}}
        assert findings(Overfitting(), training(trained, facts=squared, val__loss=flat)) == ()
        alike = {**facts, "validation": {"loss": "smooth_l1_loss", "calls": 1}}
        assert len(findings(Overfitting(), training(trained, facts=alike, val__loss=flat))) == 1


def test_noise_of_dropout_that_dies_down_to_the_constant_is_nothing_learned() -> None:
    facts = {"probe.initial_loss": {"loss": 0.5, "total": 0.5, "chance": 0.41}}
    up = [0.42, 0.421, 0.422, 0.423, 0.424, 0.425, 0.426, 0.427]
    assert findings(Overfitting(), training(falling(2.1, 0.44), facts=facts, val__loss=up)) == ()


def test_a_penalty_that_falls_is_no_training_loss_that_falls() -> None:
    facts = {"probe.initial_loss": {"loss": 0.69, "total": 2.1, "chance": 0.69}}
    up = [0.42, 0.45, 0.47, 0.49, 0.5, 0.51, 0.52, 0.53, 0.54, 0.55]
    assert findings(Overfitting(), training(falling(2.1, 0.6), facts=facts, train__watched_loss=[0.55] * 60, val__loss=up)) == ()
    assert len(findings(Overfitting(), training(falling(2.1, 0.6), val__loss=up))) == 1


def test_squared_errors_are_held_against_the_spread_of_the_targets_of_validation() -> None:
    """Heavy tails: the targets of validation vary six times as much, and a quarter of that is explained."""
    facts: dict[str, Any] = {"probe.initial_loss": {"loss": 1.1, "total": 1.1, "chance": 1.0}, "task": {"loss": "mse_loss"}}
    up = [4.5, 4.45, 4.4, 4.41, 4.42, 4.43, 4.44, 4.45]
    for spread, found in ((6**0.5, 0), (1.0, 1)):
        record = training(falling(1.1, 0.4), facts=facts, val__loss=up, val__target_std=[spread] * 8)
        assert len(findings(Overfitting(), record)) == found
