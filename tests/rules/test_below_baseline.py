from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.rules import NotRun, run
from diagnose.rules.below_baseline import BelowBaseline
from diagnose.values import Finding, Severity
from tests.rules.training import falling, training

RNG = np.random.default_rng(0)


def judge(target: Any, prediction: Any, probability: Any = None) -> list[Finding]:
    record = evaluate_predictions(Record(), np.asarray(target), np.asarray(prediction), probability).record
    return list(BelowBaseline().judge(record))


def test_one_class_for_everything() -> None:
    (finding,) = judge(np.arange(200) % 4, np.full(200, 2))
    assert finding.message == "accuracy on test is 0.25, always answering with the most frequent class gives 0.25"
    assert (finding.severity, finding.where) == (Severity.ERROR, "test")


def test_guessing() -> None:
    target = RNG.permutation(np.arange(1000) % 10)
    found = judge(target, (target + RNG.integers(1, 10, 1000)) % 10)
    assert found[0].evidence["accuracy"] < found[0].evidence["baseline"]


@pytest.mark.parametrize(("classes", "n"), [(10, 360), (2, 1000), (5, 500)])
def test_answers_at_random_are_found_for_every_seed(classes: int, n: int) -> None:
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found += len(judge(np.arange(n) % classes, rng.integers(classes, size=n)))
    assert found >= 18


def test_the_mean_with_a_little_noise_is_found_for_every_seed() -> None:
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found += len(judge(target := rng.normal(size=300), target.mean() + 1e-3 * rng.normal(size=300)))
    assert found >= 18


def test_too_few_samples_to_rule_out_a_useful_model() -> None:
    target = np.arange(30) % 2
    assert judge(target, np.where(np.arange(30) < 16, target, 1 - target)) == []


def test_a_model_that_has_learned_a_little() -> None:
    target = np.arange(400) % 4
    assert judge(target, np.where(RNG.random(400) < 0.3, target, RNG.integers(0, 4, 400))) == []


def test_accuracy_given_up_for_a_rare_class() -> None:
    target = (np.arange(1000) % 20 == 0).astype(int)
    prediction = np.where(target == 1, RNG.random(1000) < 0.9, RNG.random(1000) < 0.12).astype(int)
    assert (prediction == target).mean() < 0.95
    assert judge(target, prediction) == []


def test_a_ranking_that_no_threshold_shows() -> None:
    target = (np.arange(1000) % 20 == 0).astype(int)
    score = np.clip(0.05 + 0.2 * target + RNG.normal(0, 0.02, 1000), 0, 0.49)
    assert judge(target, np.zeros(1000, dtype=int), np.stack([1 - score, score], 1)) == []


def test_values() -> None:
    target = RNG.normal(size=200)
    (finding,) = judge(target, np.full(200, 0.5))
    assert finding.message.startswith("R² on test is -")
    assert judge(target, target + RNG.normal(size=200) * 0.9) == []


def test_too_few_samples_of_other_classes() -> None:
    target = (np.arange(100) < 9).astype(int)
    with pytest.raises(NotRun, match="no evaluated loader has 20 samples, 10 of them outside of the largest class"):
        judge(target, np.zeros(100, dtype=int))


def test_too_few_samples() -> None:
    with pytest.raises(NotRun, match="no evaluated loader has 20 samples"):
        judge([0, 1, 1], [1, 0, 1])


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, 1),
        ({"weight": [1.0, 2.3]}, 0),  # it makes up for the frequencies
        ({"accuracy": 0.66}, 0),  # within three standard errors
        ({"predicted": [550.0, 200.0]}, 0),
        ({"finished": False}, 0),
    ],
)
def test_weights_that_cost_more_than_they_make_up_for(changes: dict[str, Any], found: int) -> None:
    given = {"weight": [1.0, 12.0], "accuracy": 0.57, "predicted": [208.0, 542.0], "finished": True, **changes}
    seen: dict[str, Any] = {"val__accuracy": [given["accuracy"]] * 9, "val__target_top_share": [0.692] * 9}
    counts: dict[str, Any] = {"val__predicted": [given["predicted"]] * 9, "val__actual": [[519.0, 231.0]] * 9}
    record = training(
        falling(2.0, 1.0),
        run={"finished": given["finished"]},
        facts={"probe.step": {"class_weights": {"weight": given["weight"], "count": [540, 228]}}},
        labels={"val__predicted": ["0", "1"], "val__actual": ["0", "1"]},
        **seen,
        **counts,
    )
    said = [f for f in run(BelowBaseline(), record).findings if "times as much in the loss" in f.message]
    assert [f.severity for f in said] == [Severity.WARNING] * found
