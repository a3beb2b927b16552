"""The corpus score, with results made by hand and with cases that crash and hang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.corpus import Result, by_rule, cases_in, repair, run_apart, score


def alarm(rule: str, severity: str = "error") -> dict[str, Any]:
    return {"rule": rule, "severity": severity}


def results() -> list[Result]:
    seconds: dict[str, Any] = {"bare": 1.0, "check": 2.0, "watched": 1.5}
    return [
        Result(case="root", rules=["a", "b"], before=[alarm("a")], during=[alarm("c", "info")], **seconds),
        Result(case="symptom", rules=["a", "b"], during=[alarm("b", "warning"), alarm("z")], **seconds),
        Result(case="other", rules=["c"], before=[alarm("z")], **seconds),
        Result(case="missed", rules=["c"], before=[alarm("c", "info")], **seconds),
        Result(case="quiet", before=[alarm("a", "info")], **seconds),
        Result(case="false", during=[alarm("z", "warning")], **seconds),
        Result(case="crash", crash="Segmentation fault"),
    ]


def test_verdicts() -> None:
    assert {r.case: r.verdict for r in results()} == {
        "root": "ok",
        "symptom": "symptom",
        "other": "other",
        "missed": "MISSED",
        "quiet": "ok",
        "false": "FALSE",
        "crash": "CRASH",
    }


def test_the_figures() -> None:
    assert score(results()) == {
        "faulty": 4,
        "healthy": 2,
        "crashed": 1,
        "detected": 0.5,  # root, symptom
        "root_cause": 0.25,  # root
        "any_alarm": 0.75,  # all but missed
        "precision": 0.5,  # a and b of a, b, z, z
        "false_alarms": 0.5,
        "before_training": 0.5,  # root of root, symptom
        "seconds_check": 2.0,
        "watched_over_bare": 1.5,
    }


def test_the_table_by_rule() -> None:
    rows = {line.split(" | ")[0].strip("| "): line for line in by_rule(results()).splitlines()[2:]}
    assert rows == {
        "a": "| a | 2 | 1 | 1 | 0 | 0 | 0 |",
        "b": "| b | 0 | 0 | 0 | 0 | 0 | 0 |",
        "c": "| c | 2 | 0 | 0 | 2 | 0 | 0 |",
        "z": "| z | 0 | 0 | 0 | 0 | 2 | 1 |",
    }


def test_no_case_at_all_is_no_division_by_zero() -> None:
    assert score([])["detected"] == 0.0


@pytest.mark.slow
def test_a_case_that_crashes_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such dataset')\n")
    (tmp_path / "endless.py").write_text("while True: pass\n")
    broken = run_apart(tmp_path / "broken.py", timeout=600)
    assert broken.crash.endswith("RuntimeError: no such dataset")
    assert run_apart(tmp_path / "endless.py", timeout=1).crash == "no end within 1 s"


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no case in .* matches 'x\*': expected Python files with RULES, TRAINER and build\(\)"):
        cases_in([tmp_path], "x*")


def test_cases_are_found_in_the_folder_or_in_its_cases(root: Path) -> None:
    corpus = root / "tests" / "corpus"
    assert cases_in([corpus], "*") == cases_in([corpus / "cases"], "*")


def test_a_case_is_mended_by_its_repairs(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    for name in ("one", "two"):
        (tmp_path / "cases" / f"{name}.py").write_text("RULES = ['a']\nlr = 9.0\n")
    (tmp_path / "repairs.json").write_text('{"one": [["9.0", "0.1"]]}')
    (mended,) = repair(cases_in([tmp_path], "*"), tmp_path)
    assert mended.name == "one_mended.py"
    values: dict[str, Any] = {}
    exec(mended.read_text(), values)
    assert (values["RULES"], values["lr"]) == ([], 0.1)


def test_a_repair_that_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "one.py").write_text("lr = 9.0\n")
    (tmp_path / "repairs.json").write_text('{"one": [["8.0", "0.1"]]}')
    with pytest.raises(SystemExit, match=r"repairs\.json: '8\.0' is not in one\.py"):
        repair(cases_in([tmp_path], "*"), tmp_path)


def test_every_repair_of_the_corpus_fits(root: Path, tmp_path: Path) -> None:
    cases = cases_in([root / "tests" / "corpus"], "*")
    assert len(repair(cases, tmp_path)) == len(cases)
