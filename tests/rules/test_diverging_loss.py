"""Rule T307: a loss that rises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.diverging_loss import DivergingLoss
from diagnose.rules.exploding_gradient import ExplodingGradient
from diagnose.rules.loss_not_decreasing import LossNotDecreasing
from diagnose.values import Severity
from tests.rules.playing import LAYERS, game
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


@pytest.mark.parametrize(
    ("watched", "weights", "found"),
    [
        ([1.0] * 5 + [1.5] * 5 + [2.0] * 10, 4000, 1),
        ([1.0] * 5 + [0.5] * 15, 4000, 0),  # the loss holds a minus as well
        ([1.0] * 5 + [1.5] * 5 + [2.0] * 10, 4, 0),  # a multiplier is to climb
    ],
)
def test_an_error_that_an_optimizer_climbs(watched: list[float], weights: int, found: int) -> None:
    optimizers = [{"name": "SGD", "maximize": True, "weights": weights}, {"name": "Adam", "maximize": False, "weights": 100}]
    facts = {"task": {"loss": "mse_loss"}, "run": {"optimizers": optimizers}}
    together: dict[str, Any] = {"loss__optimizers": [[1.0, 1.0]] * 20}
    climbed = training([3.0] * 300, facts=facts, train__watched_loss=watched, **together)
    messages = [f.message for f in run(DivergingLoss(), climbed).findings]
    assert messages == ["mse_loss rose from 1 to 2: SGD climbs the loss, it was made with maximize=True"] * found
    climbed.add("probe.parameters", {"frozen": 6})
    assert not run(DivergingLoss(), climbed).findings  # an input that is to mislead a trained network
    if weights > 100:
        rising = training([*falling(2.3, 1.0, 150), *np.linspace(1, 9, 150)], facts=facts, **together)
        for rule in (DivergingLoss(), LossNotDecreasing()):
            assert "SGD climbs the loss (maximize=True), so its trend says nothing" in not_run(rule, rising)


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ({"metric__val_mae": [4.0, 9.0, 20.0, 30.0, 40.0, 50.0]}, 1),
        ({"metric__val_mae": [4.0, 3.0, 2.0, 1.5, 1.2, 1.0]}, 0),
        ({"metric__val_mae": [4.0, 9.0, 20.0, 30.0, 40.0, 50.0], "metric__val_wer": [0.9, 0.7, 0.6, 0.5, 0.4, 0.3]}, 0),
        ({"metric__val_loss": [4.0, 9.0, 20.0, 30.0, 40.0, 50.0]}, 0),  # it may be a reward
        ({"metric__val_mae": [4.0, 9.0, 20.0]}, 0),
    ],
)
def test_a_loss_of_unknown_kind_that_an_optimizer_climbs(errors: dict[str, Any], found: int) -> None:
    facts = {"task": {"loss": ""}, "run": {"optimizers": [{"name": "Adam", "maximize": True, "weights": 100}]}}
    said = run(DivergingLoss(), training(np.linspace(1.6, 1e5, 300), facts=facts, **errors)).findings
    messages = ["val_mae rose from 4 to 45: Adam climbs the loss, it was made with maximize=True"]
    assert [f.message for f in said] == messages * found


def test_a_falling_loss_is_healthy() -> None:
    assert findings(DivergingLoss(), training(falling(2.3, 0.1), facts=TASK)) == ()


def test_noise_at_a_low_level_is_healthy() -> None:
    assert findings(DivergingLoss(), training([*falling(2.3, 0.01, 250), *[0.05] * 50])) == ()


def test_few_batches_are_too_short() -> None:
    assert "too short" in not_run(DivergingLoss(), training([1.0, 1.1, 1.2]))


LOST, WON = ([0.7] * 10 + [1.6] * 30, [0.6] * 10 + [0.1] * 30)


def playing(maker: list[float], critic: list[float], layers: list[str], loss: str = "binary_cross_entropy_with_logits") -> Record:
    record = game(losses=(maker, critic), critic={"layers": layers})
    record.add("task", {"loss": loss})
    return record


def test_a_critic_that_the_makers_optimizer_trains_as_well_is_found() -> None:
    (found,) = findings(DivergingLoss(), playing(WON, LOST, LAYERS[:2]))
    assert (found.severity, found.where) == (Severity.ERROR, "maker.0, maker.2")
    assert "rose from 0.7 to 1.6 while that of maker (Adam 0), which holds maker.0, maker.2 as well, fell from 0.6 to 0.1" in found.message
    assert "the weights of its own player alone" in found.fix


@pytest.mark.parametrize(
    "record",
    [
        playing(WON, LOST, LAYERS[2:]),  # a game with a strong maker
        playing(WON, LOST, LAYERS[1:]),  # with one layer in common
        playing(WON, [0.7] * 10 + [1.0] * 30, LAYERS[:2]),
        playing([0.6] * 10 + [0.4] * 30, LOST, LAYERS[:2]),
        playing(WON, LOST, LAYERS[:2], loss="mse_loss"),  # values of an actor that moves
    ],
)
def test_games_are_not_judged(record: Record) -> None:
    assert "several optimizers" in not_run(DivergingLoss(), record)


@pytest.mark.parametrize(("end", "count"), [(0.48, 0), (0.6, 1)])
def test_a_task_that_becomes_harder_is_told_by_validation(end: float, count: int) -> None:
    """Teacher forcing that fades: the loss of training rises, that of validation falls."""
    rises = [*falling(0.19, 0.16, 100, noise=0.02), *np.linspace(0.16, 0.46, 300)]
    held = [0.887, 0.598, 0.505, 0.519, 0.48, 0.475, end]
    record = training(rises, facts={"task": {"loss": "mse_loss"}}, val__loss=held)
    assert len(findings(DivergingLoss(), record)) == count
