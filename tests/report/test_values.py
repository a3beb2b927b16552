from __future__ import annotations

import json
import math

import pytest

from diagnose.record import Record
from diagnose.report import Report, build_report
from diagnose.report.text import clean, plain
from diagnose.values import Diagnosis, Finding, Outcome, Severity, Status
from tests.report.synthetic import HOSTILE, faulty, full_record


@pytest.mark.parametrize("names", [tuple("0123456789"), HOSTILE])
def test_json_reads_back_to_an_equal_report(names: tuple[str, ...]) -> None:
    report = build_report(full_record(names), faulty(), created="today")
    assert Report.from_json(report.to_json()) == report


def test_json_has_no_nan_tokens_and_a_schema() -> None:
    record = full_record()
    record.append({"train/loss": math.nan, "val/loss": math.inf, "grad_norm/total": None}, step=900)
    record.add("probe.initial_loss", {"loss": math.nan, "chance": math.inf, "classes": 10})
    evidence = {"ratio": math.nan, "limit": -math.inf, "fine": 1.0}
    found = Finding(code="T301", rule="non-finite", severity=Severity.ERROR, message="the loss is NaN", evidence=evidence)
    diagnosis = Diagnosis(outcomes=(Outcome(code="T301", rule="non-finite", status=Status.FOUND, findings=(found,)),))
    report = build_report(record, diagnosis)

    def refuse(token: str) -> None:
        raise AssertionError(token)

    assert json.loads(report.to_json(), parse_constant=refuse)["schema"] == 1
    assert Report.from_json(report.to_json()) == report


def test_a_newer_schema_is_refused() -> None:
    data = json.loads(build_report(Record(), Diagnosis()).to_json())
    with pytest.raises(ValueError, match="the report has schema 99, this version reads up to 1: update lightning-diagnose"):
        Report.from_json(json.dumps({**data, "schema": 99}))


def test_what_a_later_version_adds_is_passed_over() -> None:
    report = build_report(full_record(batches=20), faulty())
    data = json.loads(report.to_json())
    data["mood"] = data["sections"][0]["mood"] = data["headlines"][0]["mood"] = "good"
    for table in (t for s in data["sections"] for t in s["tables"]):
        table["mood"] = "good"
    assert Report.from_json(json.dumps(data)) == report


def test_a_damaged_report_is_named() -> None:
    data = json.loads(build_report(full_record(batches=20), faulty()).to_json())
    del data["sections"][0]["name"]
    with pytest.raises(ValueError, match=r"expected a report of schema 1, got one that is damaged: TypeError: .*name"):
        Report.from_json(json.dumps(data))


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a report in JSON, got text that is not JSON"):
        Report.from_json("<html>")
    with pytest.raises(ValueError, match=r"expected a report .* got other JSON: write one with write_report"):
        Report.from_json("[1, 2]")


def test_text_of_the_run_is_cleaned() -> None:
    text = build_report(full_record(HOSTILE), faulty()).to_json()
    assert "\\u0000" not in text
    assert "\\u001b" not in text
    assert "\u202e" not in text
    assert clean("a\x1b]0;title\x07b\x9b31m\ud800") == "ab31m"


def test_plain_takes_numpy_numbers_and_refuses_nothing() -> None:
    import numpy as np

    assert plain({1: np.float32(0.5), "b": (np.int64(3), float("inf")), "c": object}) == {"1": 0.5, "b": (3, None), "c": "<class 'object'>"}
