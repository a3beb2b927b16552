"""Rule T311: steps that undo what they learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from diagnose.rules.learning_rate_too_high import LearningRateTooHigh
from diagnose.values import Finding
from tests.rules.playing import ROWS, game
from tests.rules.training import falling, findings, not_run, training

LABELS = {"update_ratio__layers": ["a", "b"]}


def test_large_steps_and_a_loss_that_blows_up_are_found() -> None:
    record = training([10.0, 500.0, 1e8, np.nan, np.nan], labels=LABELS, update_ratio__layers=[[3.0, 0.5], [40.0, 2.0], [np.nan, np.nan]])
    (found,) = findings(LearningRateTooHigh(), record)
    assert found.where == "lr=0.1"
    assert "to 0.01 first" in found.fix


def test_the_override_sets_the_rate_of_our_configuration() -> None:
    facts = {"config_keys": {"learning_rate": "optimizer.lr"}}
    record = training([1.0, 5.0, np.inf], facts=facts, labels=LABELS, update_ratio__layers=[[3.0, 0.5], [4.0, 2.0]])
    (found,) = findings(LearningRateTooHigh(), record)
    assert found.override == "optimizer.lr=0.01"


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"momentum": 0.999}, "momentum=0.999"),
        ({"momentum": 0.99}, "lr=0.1"),
        ({"momentum": 0.9}, "lr=0.1"),
        ({"momentum": 0.999, "dampening": 0.999}, "lr=0.1"),
    ],
)
def test_momentum_that_adds_steps_up_is_named(settings: dict[str, float], where: str) -> None:
    optimizer = {"name": "SGD", "lr": 0.1, "weight_decay": 0.0, "decoupled": False, **settings}
    facts = {"config_keys": {"learning_rate": "optimizer.lr", "momentum": "optimizer.momentum"}}
    record = training(
        [1.0, 5.0, np.inf], run={"optimizers": [optimizer]}, facts=facts, labels=LABELS, update_ratio__layers=[[3.0, 0.5], [4.0, 2.0]]
    )
    (found,) = findings(LearningRateTooHigh(), record)
    assert found.where == where
    assert found.override == ("optimizer.momentum=0.9" if where.startswith("momentum") else "optimizer.lr=0.01")


def test_a_loss_thrown_up_that_never_comes_back_is_found() -> None:
    record = training([2.3, 9.0, *[160.0] * 30, *[2.4] * 200], labels=LABELS, update_ratio__layers=[[0.3, 0.2]] * 12)
    assert len(findings(LearningRateTooHigh(), record)) == 1


def test_large_steps_with_a_falling_loss_are_healthy() -> None:
    assert findings(LearningRateTooHigh(), training(falling(1.0, 0.1), labels=LABELS, update_ratio__layers=[[0.5, 0.2]] * 20)) == ()


def test_small_steps_are_healthy() -> None:
    assert findings(LearningRateTooHigh(), training(np.linspace(1, 3, 300), labels=LABELS, update_ratio__layers=[[1e-3, 1e-3]] * 20)) == ()


def test_a_loss_that_repeats_every_epoch_is_healthy() -> None:
    waves = [1.0, 1.0, 1.0, *np.tile(np.linspace(1, 5, 30), 10)][:300]
    assert findings(LearningRateTooHigh(), training(waves, labels=LABELS, update_ratio__layers=[[0.5, 0.2]] * 20)) == ()


def test_with_an_input_that_is_not_finite_it_does_not_run() -> None:
    record = training([np.nan], facts={"nonfinite": {"what": "input"}}, labels=LABELS, update_ratio__layers=[[0.5, 0.2]] * 20)
    assert not_run(LearningRateTooHigh(), record) == "the input is not finite"


def test_one_thrown_batch_and_a_model_that_stays_at_chance_are_found() -> None:
    loss = [2.3, 10.0, 4.0, *[2.2] * 200]
    ratios: dict[str, Any] = {"labels": LABELS, "update_ratio__layers": [[0.3, 0.2]] * 12, "target__top_share": [0.1] * 12}
    assert len(findings(LearningRateTooHigh(), training(loss, train__accuracy=[0.12] * 12, **ratios))) == 1
    assert findings(LearningRateTooHigh(), training(loss, train__accuracy=[0.5] * 12, **ratios)) == ()


def test_giant_first_steps_of_most_layers_and_one_answer_at_the_end_are_found() -> None:
    loss = [0.75, 0.72, *[0.7] * 200]

    def found(ratios: list[float], top: float) -> int:
        shares: dict[str, Any] = {"prediction__top_share": [top] * 12, "target__top_share": [0.55] * 12}
        return len(findings(LearningRateTooHigh(), training(loss, labels=LABELS, update_ratio__layers=[ratios] * 12, **shares)))

    assert found([0.4, 0.3], 1.0) == 1
    assert found([0.4, 0.01], 0.7) == 0
    assert found([0.15, 0.01], 1.0) == 0  # one layer that starts near zero, and a collapse of another cause


@pytest.mark.parametrize(
    ("first", "held", "skill", "found"), [(0.4, 1.39, 0.0, 1), (0.05, 1.39, 0.0, 0), (0.4, 1.2, 0.0, 0), (0.4, 1.39, 0.3, 0)]
)
def test_giant_first_steps_after_which_nothing_is_ever_learned_are_found(first: float, held: float, skill: float, found: int) -> None:
    """A transformer at ten times its rate: the loss leaps to 2.3 and comes back to where it began."""
    loss = [1.388, 2.26, 2.0, 1.8, *[1.4] * 200]
    facts = {"probe.initial_loss": {"loss": 1.388, "total": 1.388, "chance": 1.386}}
    shares: dict[str, Any] = {"train__accuracy": [0.25 + 0.75 * skill] * 12, "target__top_share": [0.25] * 12, "val__loss": [held] * 5}
    shares["update_ratio__layers"] = [*[[first, 3 * first]] * 10, [0.01, 0.01], [0.01, 0.01]]
    assert len(findings(LearningRateTooHigh(), training(loss, facts=facts, labels=LABELS, **shares))) == found


@pytest.mark.parametrize(("first", "reached", "found"), [(0.3, 0.4, 1), (0.3, 0.85, 0), (0.05, 0.4, 0)])
def test_giant_first_steps_after_which_a_simple_model_is_better_are_found(first: float, reached: float, found: int) -> None:
    simple = {"model": "nearest", "accuracy": 0.95, "rows": 256, "trained": 900, "majority": 0.1, "classes": 10}
    series: dict[str, Any] = {"labels": LABELS, "update_ratio__layers": [[first, first]] * 6 + [[1e-3, 1e-3]] * 6}
    series |= {"val__accuracy": [reached] * 8, "train__accuracy": [reached] * 12, "target__top_share": [0.1] * 12}
    told = findings(LearningRateTooHigh(), training(falling(2.3, 1.9), facts={"data.simple": simple}, **series))
    assert ["ends far from what there is to learn: the model reaches an accuracy of 0.400" in f.message for f in told] == [True] * found


def test_a_layer_that_was_never_measured_is_passed_over() -> None:
    rows = [[np.nan, 3.0], [np.nan, 40.0], [np.nan, np.nan]]
    (found,) = findings(LearningRateTooHigh(), training([10.0, 500.0, 1e8, np.nan], labels=LABELS, update_ratio__layers=rows))
    assert found.where == "lr=0.1"


def test_a_step_that_throws_the_first_weights_away_is_found_after_twenty_batches() -> None:
    def found(ratio: float, skill: float, held: float, jump: float = 460.0) -> int:
        shares: dict[str, Any] = {"train__accuracy": [0.5 + skill / 2] * 12, "target__top_share": [0.5] * 12, "val__loss": [held] * 6}
        shares["update_ratio__layers"] = [[ratio, 40.0], *[[0.05, 0.05]] * 11]
        return len(findings(LearningRateTooHigh(), training([1.1, jump, jump / 10, *[0.01] * 37], labels=LABELS, **shares)))

    assert found(29.0, 0.9, 86.0) == 1
    assert found(29.0, 0.6, 0.5) == 1
    assert found(29.0, 0.9, 0.5) == 0  # it came back
    assert found(29.0, 0.9, 0.5, jump=1.2) == 0  # and here it never was away
    assert found(29.0, 0.9, 86.0, jump=1.2) == 1  # no validation is as good as that before training would have been


def test_one_layer_that_starts_at_zero_takes_a_giant_step_without_harm() -> None:
    ratios = [[0.01, 40.0, 0.01], *[[0.01, 0.05, 0.01]] * 11]
    record = training([1.1, 460.0, *[0.5] * 100], labels={"update_ratio__layers": ["a", "b", "c"]}, update_ratio__layers=ratios)
    assert findings(LearningRateTooHigh(), record) == ()


def test_steps_that_stay_large_and_a_loss_that_goes_back_are_found() -> None:
    def found(loss: ArrayLike, ratio: float = 0.05, watched: float = 1.8, **series: Any) -> tuple[Finding, ...]:
        series |= {"update_ratio__layers": [[ratio, 0.005]] * 20, "train__watched_loss": [watched] * 20}
        return findings(LearningRateTooHigh(), training(loss, labels=LABELS, **series))

    back = [*np.linspace(2.4, 1.2, 60), *np.linspace(1.2, 1.9, 180)]
    (one,) = found(back)
    assert one.message.endswith("and the loss was 1.267 at its best and ended at 1.808")
    assert found(back, ratio=0.01) == ()
    assert found(back, watched=0.4) == ()  # a sum of several terms has no trend of its own
    assert found(falling(2.4, 1.2)) == ()
    assert found(back, target__std=[0.3] * 6 + [0.9] * 6) == ()  # an agent whose returns grow


@pytest.mark.parametrize(
    ("updates", "losses", "total", "said"),
    [
        ((2e-3, 4e-3, 0.12, 0.3), [1.4] * ROWS, [2.0] * 300, "still moves by 0.3"),
        ((2e-3, 4e-3, 0.12, 0.3), [1.4] * 5 + [40.0] + [1.4] * (ROWS - 6), [2.0] * 300, "leaped from 1.4 to 40"),
        ((2e-3, 4e-3, 0.12, 0.3), [1.4] * ROWS, [2.0] * 50 + [np.nan] * 250, "became NaN"),
    ],
)
def test_of_two_players_the_one_that_throws_its_weights_about_is_found(
    updates: tuple[float, ...], losses: list[float], total: list[float], said: str
) -> None:
    (found,) = findings(LearningRateTooHigh(), game(updates=updates, losses=([0.7] * ROWS, losses), total=total))
    assert found.where == "critic (Adam 1), lr=0.002"
    assert said in found.message


def test_a_last_layer_of_zeros_moves_far_at_first_and_is_no_fault() -> None:
    reason = not_run(LearningRateTooHigh(), game(updates=(2e-3, 4e-3, 3e-3, 0.3)))
    assert "several optimizers" in reason


@pytest.mark.parametrize(("late", "found"), [(3.0, 0), (1.1, 1)])
def test_a_batch_of_heavy_tails_leaps_at_any_time(late: float, found: int) -> None:
    loss = [1.04, 1.0, 3.56, *[1.0] * 150, late, *[1.0] * 50]
    shares: dict[str, Any] = {"train__accuracy": [0.5] * 12, "target__top_share": [0.5] * 12}
    record = training(loss, labels=LABELS, update_ratio__layers=[[0.18, 1.2], *[[0.12, 0.05]] * 11], **shares)
    assert len(findings(LearningRateTooHigh(), record)) == found


@pytest.mark.parametrize(("noise", "found"), [(0.2, 0), (0.01, 1)])
def test_an_end_above_a_start_of_three_batches_must_stand_out_of_the_noise(noise: float, found: int) -> None:
    rng = np.random.default_rng(0)
    loss = [0.86, 0.8, 0.87, *(0.97 + noise * rng.standard_normal(300))]
    assert len(findings(LearningRateTooHigh(), training(loss, labels=LABELS, update_ratio__layers=[[0.18, 1.2]] * 12))) == found
