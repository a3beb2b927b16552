from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import NotRun, build, diagnose, run
from diagnose.rules.class_imbalance import ClassImbalance
from diagnose.values import Severity
from tests.rules.training import training


def record(counts: dict[str, int] | None, kind: str = "class", target: str | None = "y") -> Record:
    fields: dict[str, Any] = {"y": {"target": {"kind": kind, "counts": counts}}}
    result = Record()
    result.add("data", {"train": {"target": target, "fields": fields}})
    return result


def test_a_rare_class() -> None:
    (finding,) = ClassImbalance().judge(record({"0": 960, "1": 40}))
    assert finding.message == "class 0 has 960 of the training rows read, class 1 has 40: 24 to 1"
    assert finding.severity is Severity.INFO
    assert finding.evidence["ratio"] == 24


@pytest.mark.parametrize(("drawn", "count"), [(0.87, 0), (1.0, 1), (None, 1)])
def test_what_a_sampler_of_ones_own_draws(drawn: float | None, count: int) -> None:
    episodes = record({"0": 108, "1": 9})
    episodes.facts["data"]["train"]["drawn"] = drawn
    assert len(list(ClassImbalance().judge(episodes))) == count


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({"metric__val_f1": [0.0, 0.4]}, False),  # it decides by another threshold
        ({"val__top_share": [0.98, 0.98]}, False),
        ({"metric__val_recall": [], "metric__val_f1": []}, False),
    ],
)
def test_a_rare_class_that_the_modules_own_recall_says_is_never_found(changes: dict[str, Any], warned: bool) -> None:
    series: dict[str, Any] = {"metric__val_recall": [0.0, 0.03], "metric__val_f1": [0.0, 0.06], "metric__train_f1": [0.0, 0.5]}
    series |= {"val__top_share": [1.0, 0.999], "val__target_top_share": [0.983, 0.983], **changes}
    payments = training([0.1] * 60, facts=record({"0": 2000, "1": 40}).facts, run={"finished": True}, **series)
    (finding,) = ClassImbalance().judge(payments)
    assert (finding.severity is Severity.WARNING) is warned
    assert ("50 to 1, 99.9% of the predictions are one class, and val_recall is 0.03" in finding.message) is warned


@pytest.mark.parametrize(
    ("share", "step", "count"),
    [
        (0.8, {}, 1),
        (0.4, {}, 0),
        (0.8, {"reduction": "none"}, 0),  # a mask may follow
        (0.8, {"class_weights": {"weight": [0.0, 1.0], "count": [5, 5]}}, 0),
    ],
)
def test_padding_that_the_loss_counts(share: float, step: dict[str, Any], count: int) -> None:
    padded = record(None)
    padded.add("data.counted", {"path": "x", "value": 0.0, "label": 0, "places": 900, "share": share})
    padded.add("probe.step", {"class_weights": None, **step})
    found = run(ClassImbalance(), padded).findings
    assert len(found) == count
    assert all(f.message.startswith("80% of the targets that the loss counts are padding: class 0, at the end of") for f in found)
    assert all(f.severity is Severity.WARNING for f in found)


def test_classes_of_like_size() -> None:
    assert list(ClassImbalance().judge(record({"0": 500, "1": 50}))) == []


@pytest.mark.parametrize("record", [record(None, "value"), record(None), record({"0": 1}, target=None), record({"0": 9}, "map")])
def test_without_class_labels(record: Record) -> None:
    with pytest.raises(NotRun, match="no field with one class label per row"):
        list(ClassImbalance().judge(record))


def test_class_weights_that_widen_an_imbalance_are_worth_knowing() -> None:
    widened = record({"0": 300, "1": 100})
    widened.add("probe.step", {"class_weights": {"weight": [0.75, 0.25], "count": [300, 100]}})
    (finding,) = ClassImbalance().judge(widened)
    assert finding.message == "the loss weighs the most frequent class 0 with 0.75 and the rarest, 1, with 0.25"
    assert finding.severity is Severity.INFO


def test_class_weights_against_an_imbalance() -> None:
    balanced = record({"0": 300, "1": 100})
    balanced.add("probe.step", {"class_weights": {"weight": [0.25, 0.75], "count": [300, 100]}})
    assert list(ClassImbalance().judge(balanced)) == []


@pytest.mark.parametrize(
    ("weight", "count", "severity"),
    [
        ([0.62, 0.2, 0.1, 0.05, 0.03], [610, 215, 92, 51, 32], Severity.WARNING),  # the frequencies of all data
        ([0.49, 0.04, 0.01], [700, 205, 95], Severity.WARNING),  # their squares
        ([3.0, 1.0, 1.0], [600, 200, 200], Severity.INFO),  # one class is worth more
        ([2.0, 1.2, 0.5], [600, 250, 150], Severity.INFO),
        ([0.75, 0.25], [300, 100], Severity.INFO),  # two numbers always follow
    ],
)
def test_weights_that_were_computed_the_wrong_way_round_are_a_warning(weight: list[float], count: list[int], severity: Severity) -> None:
    widened = record({"0": 300, "1": 100})
    widened.add("probe.step", {"class_weights": {"weight": weight, "count": count}})
    (finding,) = ClassImbalance().judge(widened)
    assert finding.severity is severity


@pytest.mark.parametrize(("top", "by"), [(0.99, "T315"), (0.85, "D104")])
def test_what_comes_of_such_weights_is_said_in_their_place(top: float, by: str) -> None:
    weights = {"class_weights": {"weight": [2.4, 0.36, 0.24], "count": [800, 120, 80]}}
    trained = training([0.2] * 300, facts={"probe.step": weights}, prediction__top_share=[top] * 30, target__top_share=[0.8] * 30)
    trained.add("data", record({"0": 800, "1": 120, "2": 80}).facts["data"])
    diagnosis = diagnose(trained, build(["D104", "T315"]))
    assert [f.code for f in diagnosis.at_or_above("warning")] == [by]
    assert {f.code for f in diagnosis.findings} == {"D104", by}
