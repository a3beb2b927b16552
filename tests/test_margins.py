"""The margins of thresholds, on records made by hand, and those that the package keeps."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diagnose.rules import catalogue
from diagnose.rules.prediction_collapse import PredictionCollapse
from diagnose.rules.saturated_units import SaturatedUnits
from scripts.margins import KEPT, PAGE, Case, Margin, Turn, leave_out, margin, numbers, read, shake
from scripts.margins_page import factor, is_share, lines, over_seeds, page, table
from tests.rules.training import training


def collapsed(name: str, share: float, *rules: str) -> Case:
    record = training([2.3] * 300, prediction__top_share=[share] * 30, target__top_share=[0.2] * 30)
    return Case(name=name, rules=rules, records=(record,))


def faulty(name: str, share: float = 1.0) -> Case:
    return collapsed(name, share, "prediction-collapse")


def test_the_nearest_programs_on_both_sides_of_a_threshold() -> None:
    cases = [collapsed("varied", 0.4), collapsed("near", 0.9), faulty("flat")]
    found = margin(cases, PredictionCollapse(), "share")
    assert [turn.program for turn in found.healthy] == ["near", "varied"]
    assert [turn.value for turn in found.healthy] == pytest.approx([0.9, 0.4], rel=0.01)
    (flat,) = found.faulty
    assert flat.program == "flat"
    assert flat.value == pytest.approx(1.0, rel=0.01)
    assert "| T315 | `share` | 0.98 | 0.9 (5 ×, near) | 1 (its bound, flat) |" in table({"T315": {"share": found.to_dict()}})


def test_thresholds_that_decide_nothing_have_no_margin() -> None:
    found = margin([collapsed("varied", 0.4)], PredictionCollapse(), "spread")
    assert found.to_dict() == {"value": 0.02}
    assert "spread" not in table({"T315": {"spread": found.to_dict()}})


def test_faults_of_other_rules_are_not_counted() -> None:
    assert not margin([collapsed("flat", 1.0, "dead-units")], PredictionCollapse(), "share").faulty


def test_whole_numbers_stay_whole() -> None:
    assert dict(numbers(SaturatedUnits()))["records"] == 5
    found = margin([faulty("flat")], PredictionCollapse(), "rows")
    assert found.faulty == (Turn(value=301, program="flat"),)


def test_distances_are_ratios_and_of_large_shares_from_one() -> None:
    assert factor(2.0, 6.0) == factor(6.0, 2.0) == 3.0
    assert factor(0.8, 0.4, share=True) == pytest.approx(3.0)
    assert factor(0.98, 1.0, share=True) == factor(2.0, 0.0) == math.inf
    assert is_share({"value": 0.8, "healthy": [0.4, "a"], "faulty": [1.0, "b"]})
    assert not is_share({"value": 0.8, "healthy": [0.4, "a"], "faulty": [1.01, "b"]})
    assert not is_share({"value": 0.4})


def margins_of(cases: list[Case]) -> Margin:
    return margin(cases, PredictionCollapse(share=0.8), "share")


def test_a_threshold_is_placed_between_the_others() -> None:
    found = margins_of([collapsed("varied", 0.4), collapsed("near", 0.64), faulty("flat"), faulty("nearly", 0.9)])
    assert found.without("near") == pytest.approx(math.sqrt(0.4 * 0.9), rel=0.01)
    assert found.without("nearly") == pytest.approx(math.sqrt(0.64 * 1.0), rel=0.01)
    assert replace(found, value=1).without("flat") == 1  # a whole number
    assert replace(found, healthy=()).without("flat") is None


def test_programs_that_are_left_out_are_judged_by_the_others() -> None:
    rules = [PredictionCollapse(share=0.8)]
    cases = [collapsed("varied", 0.4), collapsed("near", 0.75), faulty("flat"), faulty("nearly", 0.9)]
    left = leave_out(cases, [margins_of(cases)], rules)
    assert (left.faulty, left.lost, left.healthy, left.accused, left.alone) == (1, (), 1, ("near",), 0)
    cases = [collapsed("near", 0.75), faulty("flat"), faulty("nearly", 0.81)]
    left = leave_out(cases, [margins_of(cases)], rules)
    assert (left.faulty, left.lost, left.healthy, left.accused, left.alone) == (1, ("nearly",), 0, (), 1)


def test_all_thresholds_are_moved_at_once() -> None:
    cases = [collapsed("varied", 0.4), collapsed("near", 0.985), faulty("flat")]
    shaken = shake(cases, [PredictionCollapse(share=0.985 + 1e-6)], draws=20)
    assert (shaken.found, shaken.fewest) == (1.0, 1)
    assert set(shaken.accused) == {"near"}
    assert 5 <= shaken.accused["near"] <= 15


def test_cases_are_read_from_what_the_corpus_kept(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no case in"):
        read(tmp_path)
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "rules.json").write_text(json.dumps(["dead-units"]))
    (case,) = read(tmp_path)
    assert (case.name, case.rules, case.records) == ("flat", ("dead-units",), ())


def test_margins_of_a_few_rules_are_not_kept(root: Path) -> None:
    command = [sys.executable, "scripts/margins.py", "nowhere", "--only", "T3*", "--write"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--write keeps the margins of all rules together, got --only 'T3*': leave one of them out" in done.stderr


def test_nothing_is_measured_without_a_folder(root: Path) -> None:
    done = subprocess.run([sys.executable, "scripts/margins.py"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected a folder of evidence, or --seeds and --write to renew the figures over seeds alone" in done.stderr


def test_the_figures_over_seeds_are_read(tmp_path: Path) -> None:
    result = {"case": "a", "rules": ["dead-units"], "before": [{"rule": "dead-units", "severity": "error"}]}
    (tmp_path / "seeds.json").write_text(json.dumps({"a": {"0": result, "1": {**result, "before": []}}}))
    found = over_seeds(tmp_path / "seeds.json")
    assert (found["named"], found["runs"], found["fewer"]) == (1, 2, {"a": (1, 2)})


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def test_the_page_says_what_the_package_keeps(kept: dict[str, Any]) -> None:
    assert KEPT.read_text(encoding="utf-8") == lines(kept)
    assert PAGE.read_text(encoding="utf-8") == page(kept)


def test_every_margin_is_of_a_threshold_of_a_rule(kept: dict[str, Any]) -> None:
    known = {(rule.code, name) for rule in catalogue() for name, _ in numbers(rule())}
    assert {(code, name) for code, of in kept["margins"].items() for name in of} <= known
