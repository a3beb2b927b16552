from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules.split_overlap import SplitOverlap, chance_of_even_groups
from diagnose.values import Finding, Severity

CLEAN = {"train_rows": 1000, "val_rows": 200, "shared": 0, "distinct": 0, "share": 0.0, "estimate": 0.0, "same_target": None}
CLEAN |= {"twins": 0.0, "bits": 90.0, "continuous": True, "index_share": None}
HALF = {**CLEAN, "shared": 100, "distinct": 90, "share": 0.5, "estimate": 0.5, "same_target": 1.0, "twins": 0.5}


def judge(*loaders: dict[str, Any]) -> list[Finding]:
    record = Record()
    record.add("data.overlap", {f"val/{number}": facts for number, facts in enumerate(loaders)})
    return list(SplitOverlap().judge(record))


def test_real_numbers_that_stand_in_both() -> None:
    (finding,) = judge(HALF)
    assert finding.severity is Severity.ERROR
    assert finding.message.startswith("50% of the rows of validation loader 0 stand in the training data as well (100 of 200 rows read")
    assert finding.where == "val/0"


def test_inputs_that_do_not_tell_which_sample_it_is() -> None:
    for share, count in ((0.1, 1), (0.98, 0)):
        record = Record()
        record.add("data.overlap", {"val/0": HALF})
        record.add("data.conflicts", {"share": share})
        assert len(list(SplitOverlap().judge(record))) == count


def test_rows_of_one_data_set_in_both_subsets() -> None:
    (finding,) = judge({**CLEAN, "index_share": 0.3})
    assert finding.severity is Severity.ERROR
    assert finding.evidence["share"] == pytest.approx(0.3)


def test_long_discrete_rows() -> None:
    tokens = {**HALF, "continuous": False, "bits": 80.0, "twins": 0.0}
    assert len(judge(tokens)) == 1
    assert judge({**tokens, "twins": 0.4}) == []  # they repeat within training as well
    assert judge({**tokens, "bits": 30.0, "twins": 0.05}) == []  # chance
    assert judge({**tokens, "bits": 15.0}) == []
    assert len(judge({**tokens, "bits": 30.0, "twins": 0.01})) == 1  # hardly any within training, half of validation


@pytest.mark.parametrize(("largest", "count"), [(3, 1), (12, 0)])
def test_texts_that_stand_once_per_annotator(largest: int, count: int) -> None:
    """900 texts, three rows each: drawn one by one, some would occur more often than that."""
    record = Record()
    record.add("data.overlap", {"val/0": {**HALF, "continuous": False, "bits": 67.0, "share": 0.93, "estimate": 0.98, "twins": 0.95}})
    record.add("data.conflicts", {"share": 0.0, "rows": 2048, "distinct": 883, "largest": largest / 2048})
    assert len(list(SplitOverlap().judge(record))) == count


@pytest.mark.parametrize("rows", [1, 1000, 100_000])
def test_rows_that_are_all_equal_are_no_even_groups(rows: int) -> None:
    assert chance_of_even_groups({"rows": rows, "distinct": 1, "largest": 1.0}) > 0.1


@pytest.mark.parametrize(
    "facts",
    [
        CLEAN,
        {**CLEAN, "shared": 2, "distinct": 2, "share": 0.05, "estimate": 0.05},
        {**HALF, "same_target": 0.1},  # a grid that was measured anew
        {**HALF, "distinct": 1, "continuous": False, "bits": 0.0},  # all inputs are the same
        {**CLEAN, "shared": 3, "distinct": 3, "share": 0.015, "estimate": 0.015},
    ],
)
def test_clean_splits(facts: dict[str, Any]) -> None:
    assert judge(facts) == []


def test_training_rows_on_purpose_beside_a_clean_loader() -> None:
    everything = {**HALF, "share": 1.0, "estimate": 1.0}
    assert [f.severity for f in judge(everything, CLEAN)] == [Severity.INFO]
    assert [f.severity for f in judge(CLEAN, HALF)] == [Severity.INFO]
    assert [f.severity for f in judge(everything)] == [Severity.ERROR]


def test_windows_of_the_same_stretches() -> None:
    (finding,) = judge({**CLEAN, "windows": 0.9})
    assert finding.severity is Severity.ERROR
    assert "90% of the windows of validation loader 0 hold values that stand in training windows" in finding.message
    assert judge({**CLEAN, "windows": 0.2}) == []
    assert [f.severity for f in judge(CLEAN, {**CLEAN, "windows": 0.9})] == [Severity.INFO]
