"""Rule T312: weights that hardly move."""

from __future__ import annotations

from typing import Any

import numpy as np

from diagnose.rules.learning_rate_too_low import LearningRateTooLow
from tests.rules.playing import ROWS, game
from tests.rules.training import falling, findings, not_run, training

KNOWN = {"task": {"loss": "cross_entropy"}}
LABELS = {"update_ratio__layers": ["a", "b"]}


def test_tiny_steps_and_a_flat_loss_are_found() -> None:
    (found,) = findings(LearningRateTooLow(), training([1.3] * 300, labels=LABELS, update_ratio__layers=[[1e-7, 3e-6]] * 30))
    assert found.where == "lr=0.1"
    assert found.evidence["travel"] < 0.01


def test_ordinary_steps_are_healthy() -> None:
    assert findings(LearningRateTooLow(), training([1.3] * 300, labels=LABELS, update_ratio__layers=[[1e-3, 3e-3]] * 30)) == ()


def test_tiny_steps_with_a_falling_loss_are_healthy() -> None:
    assert findings(LearningRateTooLow(), training(falling(1.3, 0.2), labels=LABELS, update_ratio__layers=[[1e-7, 3e-6]] * 30)) == ()


def test_tiny_gradients_are_another_fault() -> None:
    record = training([1.3] * 300, labels=LABELS, update_ratio__layers=[[1e-7, 3e-6]] * 30, grad_norm__total=[1e-8] * 30)
    assert findings(LearningRateTooLow(), record) == ()


def test_warm_up_is_too_early_to_judge() -> None:
    record = training([1.3] * 120, run={"finished": False, "max_epochs": 100}, labels=LABELS, update_ratio__layers=[[1e-7, 3e-6]] * 30)
    assert "too early" in not_run(LearningRateTooLow(), record)


def test_a_loss_that_never_slows_down_is_found() -> None:
    crawling = [0.693 - 1e-4 * i + 0.002 * (-1) ** i for i in range(450)]
    steps: dict[str, Any] = {"labels": LABELS, "update_ratio__layers": [[1e-4, 7e-4]] * 30}
    assert findings(LearningRateTooLow(), training(crawling, **steps)) == (), "the start of a loss that is not known has no meaning"
    (found,) = findings(LearningRateTooLow(), training(crawling, facts=KNOWN, **steps))
    assert found.message == "the loss went from 0.6908 to 0.6525 in 450 batches and falls at the end as at the start"
    assert "to 1 first" in found.fix


def test_a_loss_that_slows_down_or_is_cut_short_is_healthy() -> None:
    labels, steps = LABELS, [[1e-4, 7e-4]] * 30
    settling = [0.66 + 0.033 * 0.99**i for i in range(450)]
    assert findings(LearningRateTooLow(), training(settling, facts=KNOWN, labels=labels, update_ratio__layers=steps)) == ()
    crawling = [0.693 - 1e-4 * i for i in range(250)]
    assert findings(LearningRateTooLow(), training(crawling, facts=KNOWN, labels=labels, update_ratio__layers=steps)) == ()
    going_on = training(
        [0.693 - 1e-4 * i for i in range(450)], run={"finished": False}, facts=KNOWN, labels=labels, update_ratio__layers=steps
    )
    assert findings(LearningRateTooLow(), going_on) == ()


def test_a_loss_that_only_falls_in_training_is_another_fault() -> None:
    crawling = [0.693 - 1e-4 * i for i in range(450)]
    held = [0.69 + 0.01 * i for i in range(10)]
    assert (
        findings(
            LearningRateTooLow(), training(crawling, facts=KNOWN, labels=LABELS, update_ratio__layers=[[1e-4, 7e-4]] * 30, val__loss=held)
        )
        == ()
    )


def test_validations_tell_a_steady_fall_where_batches_are_noisy() -> None:
    noisy = [2.29 - 0.0001 * n + 0.1 * (-1) ** (n // 3) for n in range(240)]
    steps: dict[str, Any] = {"update_ratio__layers": [[1e-4]] * 20, "labels": {"update_ratio__layers": ["a"]}}
    steady = [2.288 - 0.003 * n for n in range(8)]
    steps["facts"] = KNOWN
    (found,) = findings(LearningRateTooLow(), training(noisy, val__loss=steady, **steps))
    assert "falls at the end as at the start" in found.message
    assert findings(LearningRateTooLow(), training(noisy, val__loss=[2.26 + 0.03 * 0.5**n for n in range(8)], **steps)) == ()
    assert findings(LearningRateTooLow(), training(noisy, val__loss=steady[:7], **steps)) == ()


def test_small_steps_that_fall_in_a_straight_line_are_found_wherever_they_come() -> None:
    straight = [0.95 - 0.0005 * i + 0.002 * (-1) ** i for i in range(800)]
    assert len(findings(LearningRateTooLow(), training(straight, labels=LABELS, update_ratio__layers=[[5e-5, 2e-4]] * 30))) == 1
    assert findings(LearningRateTooLow(), training(straight, labels=LABELS, update_ratio__layers=[[5e-5, 1e-3]] * 30)) == ()


def test_thirty_epochs_of_one_batch_are_enough() -> None:
    facts: dict[str, Any] = {"max_epochs": 40, "batches_per_epoch": 1, "steps_done": 40, "epochs_done": 40}
    loss = [1.1322 - 1.2e-4 * i for i in range(40)]
    record = training(loss, run=facts, epoch_length=1, labels=LABELS, update_ratio__layers=[[1e-4, 1.3e-4]] * 18)
    (found,) = findings(LearningRateTooLow(), record)
    assert "40 steps move them by 0.0052 at most" in found.message


def test_what_noise_alone_explains_is_no_progress() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.25, 400)
    steps: dict[str, Any] = {"labels": LABELS, "update_ratio__layers": [[1e-5, 4e-5]] * 29}
    run = {"max_epochs": 10, "batches_per_epoch": 40, "steps_done": 400}
    (found,) = findings(LearningRateTooLow(), training(1.07 - 1.6e-4 * np.arange(400) + noise, run=run, **steps))
    assert "400 steps move them by 0.016 at most" in found.message
    assert findings(LearningRateTooLow(), training(0.97 + 0.1 * np.exp(-np.arange(400) / 80) + 0.02 * noise, run=run, **steps)) == ()


def test_of_two_players_the_one_that_hardly_moves_is_found() -> None:
    (found,) = findings(LearningRateTooLow(), game(updates=(2e-5, 1e-4, 3e-3, 5e-3), losses=([0.7] * 10 + [9.0] * 30, [1.3] * ROWS)))
    assert found.where == "maker (Adam 0), lr=0.001"
    assert "its weights by 0.0001 of their size, one of critic (Adam 1) by 0.005" in found.message


def test_two_players_of_like_pace_are_no_fault_whoever_wins() -> None:
    assert "several optimizers" in not_run(LearningRateTooLow(), game(losses=([0.7] * 10 + [9.0] * 30, [1.3] * ROWS)))


def test_a_slow_player_that_gets_better_is_no_fault() -> None:
    slow = game(updates=(2e-5, 1e-4, 3e-3, 5e-3), losses=([0.7] * 10 + [0.3] * 30, [1.3] * ROWS))
    assert "several optimizers" in not_run(LearningRateTooLow(), slow)
