"""Rule T306: a loss without a trend."""

from __future__ import annotations

import numpy as np
import pytest

from diagnose.rules.diverging_loss import DivergingLoss
from diagnose.rules.loss_not_decreasing import LossNotDecreasing
from diagnose.values import Finding
from tests.rules.training import falling, findings, not_run, training


def noisy(level: float, rows: int = 300, seed: int = 0) -> list[float]:
    return list(level * (1 + 0.05 * np.random.default_rng(seed).standard_normal(rows)))


@pytest.mark.parametrize("seed", range(10))
def test_noise_about_a_level_is_found_for_every_seed(seed: int) -> None:
    (found,) = findings(LossNotDecreasing(), training(noisy(2.3, seed=seed)))
    assert abs(found.evidence["drop"]) < 0.05


@pytest.mark.parametrize("seed", range(10))
def test_a_falling_loss_is_healthy_for_every_seed(seed: int) -> None:
    assert findings(LossNotDecreasing(), training(falling(2.3, 1.9, noise=0.2, seed=seed))) == ()


def test_a_significant_but_tiny_drop_is_found() -> None:
    facts = {"task": {"kind": "multiclass", "loss": "cross_entropy", "classes": 4}}
    assert len(findings(LossNotDecreasing(), training(np.linspace(1.314, 1.310, 300), facts=facts))) == 1


def test_a_significant_drop_of_a_loss_whose_floor_is_unknown_is_left_alone() -> None:
    """A likelihood up to a constant: independent components gained 0.17 of 10.5 and were found."""
    settled = np.array([10.2 + 0.3 * np.exp(-i / 30) for i in range(300)]) + np.random.default_rng(0).normal(0, 0.02, 300)
    assert "little but surely" in not_run(LossNotDecreasing(), training(settled))


def test_epochs_that_fell_one_after_the_other_are_left_alone() -> None:
    """Five parameters of a volatility: the batches differ by ten times what there is to gain, the epochs do not."""
    between = np.tile(np.random.default_rng(0).normal(0, 0.1, 10), 25)
    within = 1.57 + 0.02 * np.exp(-np.arange(250) / 60)
    assert "little but surely" in not_run(LossNotDecreasing(), training(within + between, epoch_length=10))
    assert (
        len(findings(LossNotDecreasing(), training(1.57 + between + np.random.default_rng(1).normal(0, 0.02, 250), epoch_length=10))) == 1
    )
    held = training(1.57 + np.random.default_rng(1).normal(0, 0.1, 250), epoch_length=10, val__loss=list(1.6 - 0.003 * np.arange(12)))
    assert "little but surely" in not_run(LossNotDecreasing(), held)


def test_a_loss_far_below_chance_is_healthy() -> None:
    facts = {"task": {"kind": "multiclass", "loss": "cross_entropy", "classes": 10}}
    assert findings(LossNotDecreasing(), training(noisy(0.4), facts=facts)) == ()


def test_three_batches_are_too_short() -> None:
    assert not_run(LossNotDecreasing(), training([2.3] * 3)).startswith("too short: 3 batches")


def test_two_epochs_are_too_short() -> None:
    assert not_run(LossNotDecreasing(), training([2.3] * 120, epoch_length=60)).startswith("too short: 2 epochs")


def test_the_beginning_of_a_run_is_too_early() -> None:
    assert "too early" in not_run(LossNotDecreasing(), training([2.3] * 120, run={"finished": False, "max_epochs": 100}))


def test_games_are_not_judged() -> None:
    assert "several optimizers" in not_run(LossNotDecreasing(), training([2.3] * 300, run={"optimizers": [{"lr": 1.0}] * 2}))


@pytest.mark.parametrize("rule", [LossNotDecreasing(), DivergingLoss()])
def test_games_in_one_loss_are_not_judged(rule: LossNotDecreasing | DivergingLoss) -> None:
    step = {"probe.step": {"adversary": "GradientReversal"}}
    assert "an adversary stands inside of the loss (GradientReversal)" in not_run(rule, training([0.7] * 300, facts=step))
    assert findings(LossNotDecreasing(), training([0.7] * 300, facts={"probe.step": {"adversary": ""}}))


def test_losses_below_zero_from_nowhere_are_not_judged() -> None:
    assert "below zero" in not_run(LossNotDecreasing(), training(np.linspace(0.1, -0.1, 300)))


def test_a_likelihood_below_zero_has_no_level_to_hold_its_fall_against() -> None:
    """Counts of a hundred and more: what is left out of the likelihood is far larger than what there is to gain."""
    facts = {"task": {"kind": "regression", "loss": "poisson_nll_loss"}}
    assert "below zero" in not_run(LossNotDecreasing(), training(noisy(-150.0), facts=facts))


def test_values_that_an_agent_learns_are_a_harder_task() -> None:
    record = training(noisy(0.02) + noisy(0.04), target__std=[0.3] * 10 + [0.9] * 10)
    assert "a harder task" in not_run(LossNotDecreasing(), record)


def test_a_loss_that_begins_anew_with_each_epoch_is_found() -> None:
    epoch = list(np.linspace(2.3, 1.2, 30))
    (found,) = findings(LossNotDecreasing(), training(epoch * 6))
    assert "what an epoch learns is gone" in found.message
    assert "begins anew" in not_run(DivergingLoss(), training(epoch * 6))
    assert findings(LossNotDecreasing(), training([value * 0.8**n for n in range(6) for value in epoch])) == ()


def test_a_small_fall_within_each_epoch_is_enough_where_batches_are_shuffled() -> None:
    def run(order: str, end: float, swings: float = 0.02) -> tuple[Finding, ...]:
        start = np.random.default_rng(0).normal(1.1, swings, 8)
        values = [v for first in start for v in np.linspace(first, end, 26)]
        return findings(LossNotDecreasing(), training(values, facts={"data": {"train": {"order": order}}}, epoch_length=26))

    (found,) = run("random", 0.88)
    assert "what an epoch learns is gone" in found.message
    assert not any("what an epoch" in f.message for f in run("sequential", 0.88))  # the same batches are hard each time
    assert not any("what an epoch" in f.message for f in run("random", 1.06))


@pytest.mark.parametrize(("falls", "found"), [(True, 0), (False, 1)])
def test_means_of_epochs_show_a_fall_that_single_batches_hide(falls: bool, found: int) -> None:
    """Rare claims: one batch differs from the next by more than there is to learn, and each epoch sees the same ones."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.033, 40)
    noise -= noise.mean()
    levels = [0.2509, 0.2454, 0.2432, 0.2424, 0.2421, 0.2420] if falls else [0.2432, 0.2424, 0.2509, 0.2420, 0.2454, 0.2421]
    loss = np.concatenate([level + rng.permutation(noise) for level in levels])
    assert len(findings(LossNotDecreasing(), training(loss, epoch_length=40, facts={"task": {"loss": "poisson_nll_loss"}}))) == found


@pytest.mark.parametrize(("held", "told"), [([1.024, 1.018, 1.018, 1.018], True), ([1.041, 1.04, 1.039, 1.039], False)])
def test_returns_that_hardly_anything_tells_are_judged_by_validation(held: list[float], told: bool) -> None:
    loss = 0.99 + np.random.default_rng(0).normal(0, 0.1, 540)
    record = training(loss, facts={"task": {"loss": "mse_loss"}}, val__loss=held, val__target_std=[1.021] * 4)
    if told:
        assert "validation is better than any constant prediction there" in not_run(LossNotDecreasing(), record)
    else:
        assert len(findings(LossNotDecreasing(), record)) == 1
