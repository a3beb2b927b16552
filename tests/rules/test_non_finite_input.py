from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules.non_finite_input import NonFiniteInput
from diagnose.values import Severity

CLEAN: dict[str, Any] = {"nan": 0, "posinf": 0, "neginf": 0, "bad_rows": 0, "first_bad": None, "bad_columns": [], "min": -1.0, "max": 1.0}
BAD = {**CLEAN, "nan": 3, "bad_rows": 2, "first_bad": {"batch": 4, "row": 1, "index": 137}, "bad_columns": [2, 5]}


def record(x: dict[str, Any], y: dict[str, Any] = CLEAN, **more: Any) -> Record:
    result = Record()
    facts = {"samples": 400, "inputs": ["batch[0]"], "target": "batch[1]", "guessed": [], "loss": {"kind": "mse_loss"}, **more}
    result.add("data", {"train": {**facts, "fields": {"batch[0]": x, "batch[1]": y}}})
    return result


def test_nan_in_the_inputs() -> None:
    (finding,) = NonFiniteInput().judge(record(BAD))
    assert finding.severity is Severity.ERROR
    assert finding.message == "batch[0] of the training loader holds 3 NaN in 2 of the 400 rows read (columns 2, 5)"
    assert finding.where == "train, batch[0], data set row 137"
    assert finding.evidence["rows"] == 2


def test_infinite_targets() -> None:
    bad = {**CLEAN, "posinf": 1, "neginf": 4, "bad_rows": 5, "first_bad": {"batch": 0, "row": 3, "index": None}}
    (finding,) = NonFiniteInput().judge(record(CLEAN, bad))
    assert "1 inf and 4 -inf in 5 of the 400 rows" in finding.message
    assert finding.where == "train, batch[1], batch 0, row 3"


def test_only_in_validation() -> None:
    result = record(CLEAN)
    facts = result.facts["data"]
    result.add("data", {**facts, "val/0": {**facts["train"], "fields": {"batch[0]": {**BAD, "first_bad": None}}}})
    (finding,) = NonFiniteInput().judge(result)
    assert "batch[0] of the validation loader 0 holds" in finding.message
    assert finding.where == "val/0, batch[0]"


def test_finite_values_and_attention_masks() -> None:
    mask = {**CLEAN, "neginf": 900, "bad_rows": 400, "min": 0.0, "max": 0.0}
    assert list(NonFiniteInput().judge(record(CLEAN))) == []
    assert list(NonFiniteInput().judge(record(mask))) == []


@pytest.mark.parametrize(
    ("x", "y", "more"),
    [
        (BAD, CLEAN, {"loss": {"kind": "mse_loss", "nonfinite_handled": True}}),
        (CLEAN, BAD, {"target": None, "inputs": ["batch[0]", "batch[1]"]}),  # the step masks the blanks, so the target is not known
        (CLEAN, BAD, {"target": None}),
    ],
)
def test_what_may_never_reach_the_loss_is_no_alarm(x: dict[str, Any], y: dict[str, Any], more: dict[str, Any]) -> None:
    (finding,) = NonFiniteInput().judge(record(x, y, **more))
    assert finding.severity is Severity.INFO
