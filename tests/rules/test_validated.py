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
from tests.rules.training import findings, not_run, training

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
