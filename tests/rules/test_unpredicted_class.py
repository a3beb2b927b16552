from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.rules import NotRun, build, diagnose, run
from diagnose.rules.unpredicted_class import UnpredictedClass
from diagnose.values import Finding, Severity
from tests.rules.training import training


def judge(target: np.ndarray, prediction: np.ndarray) -> list[Finding]:
    return list(UnpredictedClass().judge(evaluate_predictions(Record(), target, prediction, class_names=list("abcd")).record))


def test_a_class_that_is_never_predicted() -> None:
    target = np.arange(100) % 4
    (finding,) = judge(target, np.where(target == 3, 0, target))
    assert finding.message == "class d has 25 of 100 samples of test and is never predicted"
    assert (finding.severity, finding.where) == (Severity.WARNING, "test, d")


@pytest.mark.parametrize(("share", "ends", "count"), [(0.2, 900, 1), (0.02, 900, 0), (0.2, 0, 0)])
def test_a_class_that_pads_and_is_ignored(share: float, ends: int, count: int) -> None:
    record = Record()
    record.add("data.ignored", {"value": 0, "inside": 300, "ends": ends, "share": share})
    found = run(UnpredictedClass(), record).findings
    assert len(found) == count
    assert all(f.message.startswith("the loss ignores class 0, the padding of the targets, and 20% of the places inside") for f in found)


@pytest.mark.parametrize(("samples", "severity"), [(20_000, Severity.WARNING), (500, Severity.INFO)])
def test_small_objects_that_no_validation_predicts(samples: int, severity: Severity) -> None:
    """Of few samples a useful agreement is not ruled out."""
    shares = np.array([0.98, 0.01, 0.01])
    record = training(
        labels={key: ["0", "1", "2"] for key in ("val__predicted", "val__actual")},
        val__accuracy=[0.98] * 3,
        val__predicted=[[samples, 0, 0]] * 3,
        val__actual=[list(shares * samples)] * 3,
    )
    (finding,) = UnpredictedClass().judge(record)
    assert (finding.severity, finding.where) == (severity, "validation, 1, 2")
    alarms = diagnose(record).at_or_above("warning")
    assert [alarm.code for alarm in alarms] == (["E402"] if severity is Severity.WARNING else [])


def test_several() -> None:
    (finding,) = judge(np.arange(100) % 4, np.zeros(100, dtype=int))
    assert finding.message == "classes b, c, d have 75 of 100 samples of test and are never predicted"


def test_all_are_predicted_or_too_few() -> None:
    target = np.arange(100) % 4
    assert judge(target, target) == []
    rare = np.where(np.arange(1000) < 9, 3, np.arange(1000) % 3)
    assert judge(rare, np.where(rare == 3, 0, rare)) == []
    assert judge(np.arange(100) % 3, np.arange(100) % 3) == []


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_a_model_of_right_probabilities_that_never_answers_with_a_rare_class_is_no_alarm(share: float) -> None:
    """A healthy program: its probabilities are those that the labels were drawn with."""
    rng = np.random.default_rng(0)
    probability = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + 0.5 * rng.normal(size=1000))))
    target = (rng.random(1000) < probability).astype(int)
    assert probability.max() < 0.5
    record = evaluate_predictions(Record(), target, np.zeros(1000, dtype=int), np.stack([1 - probability, probability], 1)).record
    (finding,) = UnpredictedClass().judge(record)
    assert finding.severity is Severity.INFO


def test_what_is_uncertain_by_nature_is_no_alarm() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 4, 1000)
    (finding,) = judge(target, np.where(rng.random(1000) < 0.1, np.minimum(target, 2), rng.integers(0, 3, 1000)))
    assert finding.severity is Severity.INFO


def test_values_have_no_classes() -> None:
    record = evaluate_predictions(Record(), np.arange(9.0), np.arange(9.0)).record
    with pytest.raises(NotRun, match="no evaluated loader has two classes or more"):
        list(UnpredictedClass().judge(record))


def test_labels_that_are_all_one_class() -> None:
    with pytest.raises(NotRun, match="no evaluated loader has two classes or more"):
        judge(np.zeros(100, dtype=int), np.arange(100) % 3 + 1)


def labelled(counts: dict[str, int]) -> dict[str, Any]:
    fields = {"y": {"target": {"kind": "class", "counts": counts}}}
    return {"train": {"target": "y", "fields": fields}}


@pytest.mark.parametrize(
    ("changes", "facts", "count"),
    [
        ({}, {}, 1),
        ({"metric__val_f1": [0.0, 0.4]}, {}, 0),  # it decides by another threshold
        ({"val__top_share": [0.98, 0.98]}, {}, 0),
        ({"metric__val_recall": [], "metric__val_f1": []}, {}, 0),
        ({}, {"data": labelled({"0": 360, "1": 40})}, 0),  # nine times as frequent
        ({}, {"run": {"finished": False}}, 0),
        ({}, {"probe.step": {"class_weights": {"weight": [1.0, 9.0], "count": [2000, 40]}}}, 0),
    ],
)
def test_a_rare_class_that_the_modules_own_recall_says_is_never_found(changes: dict[str, Any], facts: dict[str, Any], count: int) -> None:
    series: dict[str, Any] = {"metric__val_recall": [0.0, 0.03], "metric__val_f1": [0.0, 0.06], "metric__train_f1": [0.0, 0.5]}
    series |= {"val__top_share": [1.0, 0.999], "val__target_top_share": [0.983, 0.983], **changes}
    known = {"data": labelled({"0": 2000, "1": 40}), "run": {"finished": True}, **facts}
    found = run(UnpredictedClass(), training([0.1] * 60, facts=known, **series)).findings
    assert len(found) == count
    said = "class 1 has 40 of the training rows read, class 0 has 2000; 99.9% of the predictions are one class, and val_recall is 0.03"
    assert all((f.message, f.severity) == (said, Severity.WARNING) for f in found)


@pytest.mark.parametrize(
    ("weight", "count", "found"),
    [
        ([0.62, 0.2, 0.1, 0.05, 0.03], [610, 215, 92, 51, 32], 1),  # the frequencies of all data
        ([0.49, 0.04, 0.01], [700, 205, 95], 1),  # their squares
        ([3.0, 1.0, 1.0], [600, 200, 200], 0),  # one class is worth more
        ([2.0, 1.2, 0.5], [600, 250, 150], 0),
        ([0.75, 0.25], [300, 100], 0),  # two numbers always follow
    ],
)
def test_class_weights_that_were_computed_the_wrong_way_round(weight: list[float], count: list[int], found: int) -> None:
    record = Record()
    record.add("probe.step", {"class_weights": {"weight": weight, "count": count}})
    findings = run(UnpredictedClass(), record).findings
    assert len(findings) == found
    assert all("its weights follow the frequencies" in f.message and f.severity is Severity.WARNING for f in findings)


@pytest.mark.parametrize(("top", "by"), [(0.99, "T315"), (0.85, "E402")])
def test_what_comes_of_such_weights_is_said_in_their_place(top: float, by: str) -> None:
    weights = {"class_weights": {"weight": [2.4, 0.36, 0.24], "count": [800, 120, 80]}}
    trained = training([0.2] * 300, facts={"probe.step": weights}, prediction__top_share=[top] * 30, target__top_share=[0.8] * 30)
    trained.add("data", labelled({"0": 800, "1": 120, "2": 80}))
    assert [f.code for f in diagnose(trained, build(["E402", "T315"])).at_or_above("warning")] == [by]


@pytest.mark.parametrize(
    ("weight", "count", "found"),
    [
        ([1.0, 1000.0], [395, 373], 1),
        ([1.0, 90.0], [395, 373], 0),
        ([1.0, 1000.0], [2997, 3], 0),  # it makes up for the frequencies
        ([0.0, 1.0], [395, 373], 0),  # left out on purpose
        ([1.0, 1.0, 200.0], [500, 8, 500], 1),
        ([1.0, 1.0], [3000, 20], 0),
    ],
)
def test_a_class_that_hardly_counts_in_the_loss(weight: list[float], count: list[int], found: int) -> None:
    record = Record()
    record.add("probe.step", {"class_weights": {"weight": weight, "count": count}})
    said = [f for f in run(UnpredictedClass(), record).findings if "hardly counts" in f.message]
    assert len(said) == found
