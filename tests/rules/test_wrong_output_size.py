from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import diagnose
from diagnose.rules.wrong_output_size import WrongOutputSize
from diagnose.values import Severity
from tests.rules.probes import findings, not_run, step


def labels(low: int, high: int, count: int = 768, distinct: int | None = None) -> dict[str, int]:
    return {"count": count, "distinct": high - low + 1 if distinct is None else distinct, "min": low, "max": high}


def judge(classes: int, known: dict[str, int], **changes: Any) -> list[Any]:
    return findings(WrongOutputSize(), probe__step=step(classes=classes, labels=known, **changes))


def test_one_unit() -> None:
    (finding,) = judge(1, labels(0, 1))
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:31"
    assert finding.message == "cross_entropy gets one unit, so the loss is zero whatever the output"
    assert "binary_cross_entropy_with_logits" in finding.fix
    assert finding.evidence == {"units": 1}


def test_one_unit_and_a_column_of_floats() -> None:
    nothing = {"count": 0, "distinct": 0, "min": 0, "max": 0}
    (finding,) = judge(1, nothing, target_dtype="float32", target_shape=[32, 1])
    assert finding.evidence == {"units": 1}


def test_too_few_units() -> None:
    (finding,) = judge(9, labels(0, 9))
    assert finding.severity is Severity.ERROR
    assert finding.message == "the labels go up to 9, so 10 classes need as many units; the output has 9"
    assert finding.fix == "give the last layer 10 units"
    assert finding.evidence == {"units": 9, "needed": 10}


def test_far_too_many_units() -> None:
    (finding,) = judge(1000, labels(0, 9))
    assert (finding.severity, finding.evidence) == (Severity.WARNING, {"units": 1000, "classes": 10})
    (unsure,) = judge(1000, labels(0, 9, count=199))
    assert unsure.severity is Severity.INFO


def test_far_too_many_columns_of_zeros_and_ones() -> None:
    def seen(high: int, *, count: int = 768, distinct: int = 10, fixed: bool = True) -> dict[str, Any]:
        known = {**labels(0, high, count, distinct), "units": 1000, "fixed": fixed}
        return step(kind="mse_loss", classes=None, target_dtype="float32", target_shape=[64, 1000], set=known)

    (finding,) = findings(WrongOutputSize(), probe__step=seen(99))
    assert finding.message == "the output has 1000 units, but the labels know 10 classes"
    assert finding.severity is Severity.WARNING
    assert findings(WrongOutputSize(), probe__step=seen(100)) == []
    assert findings(WrongOutputSize(), probe__step=seen(99, distinct=101, count=9000)) == []
    assert findings(WrongOutputSize(), probe__step=seen(99, count=199))[0].severity is Severity.INFO
    assert "candidates" in not_run(WrongOutputSize(), probe__step=seen(99, fixed=False))
    assert "candidates" in not_run(WrongOutputSize(), probe__step=seen(99, count=20))


def regression(broadcast: list[list[int]] | None, units: int | None = 1) -> dict[str, Any]:
    return step(kind="mse_loss", broadcast=broadcast, units=units, classes=None, target_dtype="float32")


@pytest.mark.parametrize("shapes", [[[32, 1], [32, 12]], [[32, 7, 1], [32, 7, 12]]])
def test_one_unit_for_several_columns(shapes: list[list[int]]) -> None:
    (finding,) = findings(WrongOutputSize(), probe__step=regression(shapes))
    assert (finding.severity, finding.where) == (Severity.ERROR, "model.py:31")
    assert finding.message == "the output has one unit, which mse_loss compares with 12 columns of targets"
    assert finding.fix == "give the last layer 12 units, or take the one column of the targets that is meant"
    assert finding.evidence == {"units": 1, "needed": 12}


@pytest.mark.parametrize(
    ("shapes", "units"),
    [
        (None, 1),
        ([[32, 1], [32]], 1),  # rule M203 speaks of these
        ([[32], [32, 1]], 1),
        ([[32, 1], [32, 32]], 1),  # targets that were broadcast themselves
        ([[32, 1], [1, 12]], 1),
        ([[32, 12], [32, 1]], 12),
        ([[32, 1], [32, 12]], None),  # one of many units was chosen
    ],
)
def test_other_shapes_do_not_tell_the_size_of_the_output(shapes: list[list[int]] | None, units: int | None) -> None:
    reason = "only class indices tell the number of classes; the loss is mse_loss"
    assert not_run(WrongOutputSize(), probe__step=regression(shapes, units)) == reason


def test_what_is_broadcast_over_several_columns_is_explained() -> None:
    record = Record()
    record.add("probe.step", regression([[32, 1], [32, 12]]))
    outcomes = {o.code: o for o in diagnose(record).outcomes}
    assert outcomes["M203"].explained_by == "M216"


@pytest.mark.parametrize(
    ("classes", "known", "changes"),
    [
        (10, labels(0, 9), {}),
        (99, labels(0, 9), {}),  # the edge
        (10, labels(1, 10), {}),  # counted from one: rule D109 speaks of it
        (30000, labels(0, 40), {"target_shape": [32, 12]}),  # a vocabulary
    ],
)
def test_what_fits_is_clean(classes: int, known: dict[str, int], changes: dict[str, Any]) -> None:
    assert judge(classes, known, **changes) == []


PLACES = "the labels hold one value, or each value once or twice: they may be places among candidates, not classes"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "mse_loss"}, "only class indices tell the number of classes; the loss is mse_loss"),
        ({"target_dtype": "float32"}, "only class indices tell the number of classes; the loss is cross_entropy"),
        ({"labels": labels(0, 0, count=0)}, "no class label was read"),
        ({"classes": 129, "labels": labels(0, 0, count=32)}, PLACES),
        ({"classes": 640, "labels": labels(0, 31, count=64)}, PLACES),
        (
            {"classes": 640, "labels": labels(0, 31), "fixed": False},
            "no weight has an axis as long as the output, so its columns may be candidates, not classes",
        ),
    ],
)
def test_what_it_cannot_judge(changes: dict[str, Any], reason: str) -> None:
    assert not_run(WrongOutputSize(), probe__step=step(**changes)) == reason


def test_a_step_without_a_known_loss() -> None:
    bare = {"kind": "", "head": [], "calls": 0, "broadcast": None, "raised": ""}
    assert not_run(WrongOutputSize(), probe__step=bare) == "only class indices tell the number of classes; the loss is not known"
