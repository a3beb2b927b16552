from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.class_imbalance import ClassImbalance
from diagnose.values import Severity


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


def test_classes_of_like_size() -> None:
    assert list(ClassImbalance().judge(record({"0": 500, "1": 50}))) == []


@pytest.mark.parametrize("record", [record(None, "value"), record(None), record({"0": 1}, target=None), record({"0": 9}, "map")])
def test_without_class_labels(record: Record) -> None:
    with pytest.raises(NotRun, match="no field with one class label per row"):
        list(ClassImbalance().judge(record))
