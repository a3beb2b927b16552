from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import NotRun, run
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


@pytest.mark.parametrize(("drawn", "count"), [(0.87, 0), (1.0, 1), (None, 1)])
def test_what_a_sampler_of_ones_own_draws(drawn: float | None, count: int) -> None:
    episodes = record({"0": 108, "1": 9})
    episodes.facts["data"]["train"]["drawn"] = drawn
    assert len(list(ClassImbalance().judge(episodes))) == count


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
