from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.unshuffled_train import UnshuffledTrain
from diagnose.values import Finding, Severity

SORTED = {"order": "sequential", "kind": "class", "batches": 40, "size": 32.0, "within": 0.09, "expected": 2.15, "noise": 0.02}
SORTED |= {"ratio": 0.042, "z": -100.0, "trend": 0.0}


def judge(**changes: Any) -> list[Finding]:
    record = Record()
    record.add("data.order", {**SORTED, **changes})
    return list(UnshuffledTrain().judge(record))


def test_sorted_by_class() -> None:
    (finding,) = judge()
    assert finding.severity is Severity.WARNING
    assert "the labels of a batch have an entropy of 0.09 nats where mixed batches have 2.15" in finding.message
    assert finding.fix == "DataLoader(..., shuffle=True)"
    assert "buffer" in judge(order="stream")[0].fix


def test_sorted_by_value() -> None:
    (finding,) = judge(kind="value", trend=1.0)
    assert finding.severity is Severity.WARNING
    assert "the targets of a batch vary by 0.042 of what they vary by in mixed batches (trend 1.00)" in finding.message


def test_a_series_in_time_and_a_sampler_of_ones_own_are_no_alarm() -> None:
    assert judge(kind="value", trend=0.4)[0].severity is Severity.INFO
    assert judge(order="custom", ratio=0.4)[0].severity is Severity.INFO


def test_a_sampler_of_ones_own_is_told_what_it_can_do() -> None:
    (finding,) = judge(order="custom", along=0.9)
    assert "shuffle=True" not in finding.fix.partition("; ")[0]
    assert "draw the rows at random in your own sampler" in finding.fix
    assert judge(order="sequential", along=0.0)[0].severity is Severity.WARNING


@pytest.mark.parametrize(
    "changes",
    [{"order": "custom", "along": 0.1}, {"ratio": 1.0, "z": 0.3}, {"ratio": 0.4, "z": -3.0}, {"order": "random"}, {"order": "weighted"}],
)
def test_mixed_batches(changes: dict[str, Any]) -> None:
    assert judge(**changes) == []


def test_too_few_batches() -> None:
    with pytest.raises(NotRun, match="2 batches are too few to see an order in; 3 are needed"):
        judge(batches=2)


def test_a_sampler_of_ones_own_that_gives_one_class_after_another_is_found() -> None:
    assert judge(order="custom", along=0.6, ratio=0.28)[0].severity is Severity.WARNING  # sorted by a length that goes with the class
    assert judge(order="custom", along=0.9, within=0.0, ratio=0.0)[0].severity is Severity.WARNING
    assert judge(order="custom", along=0.1, within=0.0, ratio=0.0) == []  # any class may be next
    assert judge(order="custom", along=0.9, within=0.0, ratio=0.0, kind="value", trend=1.0)[0].severity is Severity.INFO
