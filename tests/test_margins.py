"""The margins of thresholds, on records made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diagnose.rules.prediction_collapse import PredictionCollapse
from diagnose.rules.saturated_units import SaturatedUnits
from scripts.margins import Case, margin, numbers, read, table
from tests.rules.training import training


def collapsed(name: str, share: float, *rules: str) -> Case:
    record = training([2.3] * 300, prediction__top_share=[share] * 30, target__top_share=[0.2] * 30)
    return Case(name=name, rules=rules, records=(record,))


def test_the_nearest_programs_on_both_sides_of_a_threshold() -> None:
    cases = [collapsed("varied", 0.4), collapsed("near", 0.9), collapsed("flat", 1.0, "prediction-collapse")]
    found = margin(cases, PredictionCollapse(), "share")
    assert found.healthy is not None
    assert found.faulty is not None
    assert found.healthy[0] == pytest.approx(0.9, rel=0.01)
    assert found.faulty[0] == pytest.approx(1.0, rel=0.01)
    assert "| T315 | `share` | 0.98 | 0.9 (near) | 1 (flat) |" in table([found], cases)


def test_thresholds_that_decide_nothing_have_no_margin() -> None:
    found = margin([collapsed("varied", 0.4)], PredictionCollapse(), "spread")
    assert (found.healthy, found.faulty) == (None, None)
    assert "| - | - |" in table([found], [])


def test_faults_of_other_rules_are_not_counted() -> None:
    assert margin([collapsed("flat", 1.0, "dead-units")], PredictionCollapse(), "share").faulty is None


def test_whole_numbers_stay_whole() -> None:
    assert dict(numbers(SaturatedUnits()))["records"] == 5
    found = margin([collapsed("flat", 1.0, "prediction-collapse")], PredictionCollapse(), "rows")
    assert found.faulty == (301, "flat")


def test_cases_are_read_from_what_the_corpus_kept(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no case in"):
        read(tmp_path)
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "rules.json").write_text(json.dumps(["dead-units"]))
    (case,) = read(tmp_path)
    assert (case.name, case.rules, case.records) == ("flat", ("dead-units",), ())
