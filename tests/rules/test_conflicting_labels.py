from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.conflicting_labels import ConflictingLabels
from diagnose.values import Finding, Severity

JOINED = {
    "rows": 3600,
    "distinct": 600,
    "largest": 0.01,
    "groups": 590,
    "involved": 3528,
    "share": 0.98,
    "kind": "class",
    "floor": 0.6,
    "prior": 0.69,
}
JOINED |= {"bits": 70.0, "continuous": True, "example": [0, 7]}


@pytest.mark.parametrize(("shape", "severity"), [([1, 20, 20], Severity.WARNING), ([5], Severity.INFO), ([3, 4, 4], Severity.INFO)])
def test_equal_pictures_of_few_values(shape: list[int], severity: Severity) -> None:
    record = Record()
    record.add("data.conflicts", {**JOINED, "continuous": False, "bits": 10.0, "share": 0.4, "floor": 0.2})
    record.add("data", {"train": {"inputs": ["x"], "fields": {"x": {"shape": shape}}, "guessed": []}})
    assert [f.severity for f in ConflictingLabels().judge(record)] == [severity]


def judge(**changes: Any) -> list[Finding]:
    record = Record()
    record.add("data.conflicts", {**JOINED, **changes})
    return list(ConflictingLabels().judge(record))


def test_equal_rows_of_different_classes() -> None:
    (finding,) = judge()
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        "98% of the training rows (3528 of 3600) have inputs that occur with other targets, "
        "so the loss cannot fall below 0.6 nats, chance being 0.69"
    )


def test_all_inputs_are_one() -> None:
    (finding,) = judge(distinct=1, largest=1.0, continuous=False, bits=0.0)
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("all training inputs read are identical, with different targets")


@pytest.mark.parametrize(("share", "severity"), [(0.95, Severity.WARNING), (0.8, Severity.INFO)])
def test_sequences_that_differ_in_length_alone(share: float, severity: Severity) -> None:
    (finding,) = judge(by_length=share, continuous=False, bits=7.0, share=0.5)
    assert finding.severity is severity
    said = "95% of the training inputs read are the same as all others of their length, with different targets, so the loss"
    assert finding.message.startswith(said) is ("the vocabulary" in finding.fix) is (severity is Severity.WARNING)


def test_nearly_all_inputs_are_one() -> None:
    (finding,) = judge(distinct=10, largest=0.97, continuous=False, bits=2.0)
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("97% of the training inputs read are identical, with different targets")
    assert judge(distinct=10, largest=0.85, continuous=False, bits=2.0)[0].severity is Severity.INFO


def test_inputs_that_leave_nothing_to_learn() -> None:
    (finding,) = judge(largest=0.2, distinct=7, continuous=False, bits=3.0, floor=0.685)
    assert finding.severity is Severity.WARNING
    assert judge(largest=0.2, distinct=7, continuous=False, bits=3.0, floor=0.66)[0].severity is Severity.INFO
    (finding,) = judge(largest=0.02, distinct=80, continuous=False, bits=6.0, floor=0.65, expected=0.685)
    assert finding.severity is Severity.WARNING
    for changes in ({"largest": 0.2, "distinct": 7, "continuous": False, "bits": 3.0, "floor": 0.685}, {}):
        record = Record()
        record.add("data.conflicts", {**JOINED, **changes})
        record.add("data", {"train": {"guessed": ["target"]}})
        assert [f.severity for f in ConflictingLabels().judge(record)] == [Severity.INFO]  # a field that no loss is seen to get


def test_standardised_columns_cast_to_integers() -> None:
    coarse: dict[str, Any] = {"largest": 0.2, "distinct": 170, "share": 0.76, "continuous": False, "bits": 7.6, "floor": 0.47}
    (finding,) = judge(**coarse, cut=True)
    assert finding.severity is Severity.WARNING
    assert finding.fix == "cast the labels alone to integers: all input columns look standardised and cut to whole numbers"
    assert judge(**coarse)[0].severity is judge(**coarse, cut=False)[0].severity is Severity.INFO


NEGATIVES: dict[str, Any] = {"largest": 0.001, "distinct": 3000, "share": 0.38, "continuous": False, "bits": 12.0, "floor": 0.25}


def test_negatives_that_are_positive_elsewhere() -> None:
    (finding,) = judge(**NEGATIVES, opposed={"inputs": 870, "apart": 0.75, "most": 0.47, "z": 16.0})
    assert finding.severity is Severity.WARNING
    assert "and two rows with one input differ more often (75%) than labels drawn one by one can (47%), so the loss" in finding.message
    assert finding.fix == "draw negative rows from what is not positive, or add the input that tells such rows apart"


def test_two_classes_that_the_inputs_do_not_tell_apart() -> None:
    seen = {"inputs": 82, "apart": 0.8, "most": 0.5, "z": 5.4, "pair": [0, 1]}
    (finding,) = judge(**{**NEGATIVES, "prior": 1.78, "floor": 0.72}, opposed=seen)
    assert finding.severity is Severity.WARNING
    assert (
        "two rows of the classes 0 and 1 with one input differ more often (80%) than labels drawn one by one can (50%)" in finding.message
    )
    assert finding.fix.startswith("look at what tells these classes apart in the raw data")


@pytest.mark.parametrize(
    "changes",
    [
        {"opposed": {"inputs": 870, "apart": 0.33, "most": 0.5, "z": -10.0}},  # people who do not always click
        {"opposed": {"inputs": 870, "apart": 0.65, "most": 0.47, "z": 10.0}},
        {"opposed": {"inputs": 12, "apart": 0.75, "most": 0.47, "z": 1.9}},
        {"opposed": {"inputs": 870, "apart": 0.75, "most": 0.47, "z": 16.0}, "floor": 0.12},
        {"opposed": None},
        {},
    ],
)
def test_labels_that_are_noisy_but_not_opposed(changes: dict[str, Any]) -> None:
    (finding,) = judge(**{**NEGATIVES, **changes})
    assert finding.severity is Severity.INFO
    assert "differ more often" not in finding.message


def test_values() -> None:
    (finding,) = judge(kind="value", floor=0.7, prior=1.0)
    assert "the loss cannot fall below 70% of the variance" in finding.message
    assert finding.severity is Severity.WARNING
    assert judge(kind="value", floor=0.2, prior=1.0)[0].severity is Severity.INFO  # repeated measurements


def test_a_few_categories_are_no_alarm() -> None:
    (finding,) = judge(continuous=False, bits=14.0)
    assert finding.severity is Severity.INFO


@pytest.mark.parametrize("changes", [{"involved": 4}, {"share": 0.01}, {"floor": 0.001}])
def test_few_conflicts(changes: dict[str, Any]) -> None:
    assert judge(**changes) == []


@pytest.mark.parametrize(
    ("changes", "found"), [({}, 1), ({"whole": 0.97}, 0), ({"batches": 9}, 0), ({"expected": 0.8}, 0)], ids=["", "not all", "few", "usual"]
)
def test_classes_that_each_batch_numbers_anew(changes: dict[str, float], found: int) -> None:
    record = Record()
    record.add("data.numbering", {"batches": 40, "whole": 1.0, "expected": 0.02, "classes": 12, **changes})
    said = [f.message for f in run(ConflictingLabels(), record).findings]
    assert len(said) == found
    assert all(message.startswith("each batch numbers its classes anew: all of 40 batches") for message in said)
