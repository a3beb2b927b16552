"""E401 and E402 of a training that nobody evaluated: by its validations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from diagnose.record import Record
from diagnose.rules.below_baseline import BelowBaseline
from diagnose.rules.unpredicted_class import UnpredictedClass
from diagnose.rules.validated import evaluated
from diagnose.values import Severity
from tests.rules.training import falling, findings, not_run, training

TRUE = np.repeat(np.arange(4), 100)


def validated(*predictions: Any, run: dict[str, Any] | None = None, true: Any = TRUE) -> Record:
    true = np.asarray(true)
    counts = [np.bincount(p, minlength=4).astype(float) for p in predictions]
    return training(
        [1.0] * 300,
        run=run,
        val__accuracy=[float((p == true).mean()) for p in predictions],
        val__predicted=counts,
        val__actual=[np.bincount(true, minlength=4).astype(float)] * len(predictions),
    )


def guess(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, 400)


def test_kappa_and_its_interval_are_those_of_the_middle_validation() -> None:
    good = np.where(np.random.default_rng(3).random(400) < 0.5, TRUE, guess(0))
    entry = evaluated(validated(TRUE, good, guess(2)), 3)["validation"]
    assert entry["kappa"] == pytest.approx(cohen_kappa_score(TRUE, good))
    low, high = entry["intervals"]["kappa"]
    draws = [np.random.default_rng(s).integers(0, 400, 400) for s in range(300)]
    lowest, highest = np.quantile([cohen_kappa_score(TRUE[d], good[d]) for d in draws], [0.025, 0.975])
    assert (low, high) == pytest.approx((lowest, highest), abs=0.02)


def test_answers_at_random_in_all_of_the_last_validations_are_found() -> None:
    (found,) = findings(BelowBaseline(), validated(*[guess(s) for s in range(9)]))
    assert (found.where, found.severity) == ("validation", Severity.ERROR)
    assert found.message.endswith("always answering with the most frequent class gives 0.25")
    half = np.where(np.arange(400) % 2, TRUE, guess(0))
    assert findings(BelowBaseline(), validated(guess(1), guess(2), half, half)) == ()


def test_a_class_that_no_validation_of_the_last_third_predicted_is_found() -> None:
    blind = np.where(TRUE == 3, 0, TRUE)
    (found,) = findings(UnpredictedClass(), validated(TRUE, *[blind] * 5))
    assert found.message == "class 3 has 100 of 400 samples of validation and is never predicted"
    assert findings(UnpredictedClass(), validated(*[blind] * 5, TRUE)) == ()


def test_a_rare_class_is_told_and_no_alarm() -> None:
    true = np.where(np.arange(400) < 20, 3, np.arange(400) % 3)
    (found,) = findings(UnpredictedClass(), validated(*[np.where(true == 3, 0, true)] * 3, true=true))
    assert found.severity == Severity.INFO


@pytest.mark.parametrize("rule", [BelowBaseline(), UnpredictedClass()])
@pytest.mark.parametrize(
    ("record", "why"),
    [
        (validated(guess(0), guess(1)), "too short: 2 validations, at least 3"),
        (validated(guess(0), guess(1), guess(2), run={"finished": False}), "training goes on"),
        (validated(*[0 * TRUE] * 3, true=0 * TRUE), "of one class"),
    ],
)
def test_it_is_not_judged(rule: Any, record: Record, why: str) -> None:
    assert why in not_run(rule, record)


@pytest.mark.parametrize(("right", "found"), [(0.95, "warning"), (0.55, "info")])
def test_a_class_that_is_always_second_by_nature_is_no_alarm(right: float, found: str) -> None:
    """The next word: nobody can be sure of it, and one word may always be a little less likely than another."""
    draw = np.random.default_rng(0)
    given = np.where((TRUE == 3) | (draw.random(400) > right), draw.integers(0, 3, 400), TRUE)
    (said,) = findings(UnpredictedClass(), validated(*[given] * 3))
    assert said.severity.value == found


def by_hand(values: Any = (0.001,) * 6, loss: Any = None, *, held: Any = (0.1, 0.02, 0.01), calls: int = 0, **more: Any) -> Record:
    """A training with a loss that is written by hand, and an overlap that the module logs."""
    loss = falling(0.3, 0.005) if loss is None else loss
    run = more.pop("run", None)
    return training(loss, run=run, facts={"probe.step": {"calls": calls}, "logged": []}, metric__val_iou=values, val__loss=held, **more)


@pytest.mark.parametrize("values", [(0.001,) * 6, (0.3, 0.1, 0.015, 0.003, 0.0), (0.015,) * 3])
def test_a_metric_at_nothing_while_the_loss_falls_is_found(values: Any) -> None:
    (found,) = findings(BelowBaseline(), by_hand(values))
    assert f"val_iou, of which more is better, goes from {values[0]:.2g} to {values[-1]:.2g}" in found.message
    assert (found.evidence["last"], found.severity) == (values[-1], Severity.ERROR)
    assert "1 - the coefficient" in found.fix
    assert len(findings(BelowBaseline(), by_hand(values, held=()))) == 1


@pytest.mark.parametrize(
    "record",
    [
        by_hand((0.0, 0.0, 0.0, 0.0, 0.0, 0.03)),  # it has begun to rise
        by_hand((0.0, 0.0)),
        by_hand(loss=falling(0.3, 0.025)),  # as where hardly anything is positive
        by_hand(loss=[*falling(0.3, 0.005, rows=290), *[0.005, 0.3] * 5]),
        by_hand(held=(0.1, 0.2, 0.3)),
        by_hand(calls=1),  # such a loss says itself what the answers are worth
        by_hand(run={"finished": False}),
        by_hand(metric__val_pixel_accuracy=[0.97] * 6),  # a rare class that is not found
        by_hand(metric__val_auroc=[0.7] * 6),
    ],
)
def test_a_metric_at_nothing_may_have_other_reasons(record: Record) -> None:
    assert "evaluation was not recorded" in not_run(BelowBaseline(), record)


@pytest.mark.parametrize("name", ["val_dice_loss", "val_acc_error", "train_iou", "val_recall", "val_map", "val_r2", "val_iou_step"])
def test_other_metrics_do_not_tell_it(name: str) -> None:
    facts = {"probe.step": {"calls": 0}, "logged": []}
    series: dict[str, Any] = {f"metric__{name}": [0.0] * 6}
    assert "evaluation was not recorded" in not_run(BelowBaseline(), training(falling(0.3, 0.005), facts=facts, **series))


def test_a_validation_is_known_by_its_step_as_well() -> None:
    facts = {"probe.step": {"calls": 0}, "logged": [], "probe.logged": {"names": {"iou": "validation", "f1": "training"}, "elsewhere": []}}
    (found,) = findings(BelowBaseline(), training(falling(0.3, 0.005), facts=facts, metric__iou=[0.0] * 6, metric__f1=[0.0] * 6))
    assert "and iou, of which" in found.message


def test_few_batches_do_not_tell_it() -> None:
    assert "40 batches" in not_run(BelowBaseline(), by_hand(loss=falling(0.3, 0.005, rows=40)))
    assert findings(BelowBaseline(), by_hand(loss=falling(0.3, 0.005, rows=50)))


def test_players_of_a_game_are_not_held_to_a_metric() -> None:
    two = {"optimizers": [{"name": "Adam", "lr": 0.1}] * 2}
    assert "several optimizers" in not_run(BelowBaseline(), by_hand(run=two))
