"""The script that measures the defaults: what it makes of runs that end well, with findings, or by a crash."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from scripts.defaults import HEAD, measure, row


def answer(monkeypatch: pytest.MonkeyPatch, status: int, document: dict[str, Any] | None, error: str = "") -> None:
    """Let each command end so."""
    printed = "" if document is None else json.dumps(document)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, status, printed, error))


def finding(severity: str) -> dict[str, str]:
    return {"code": "T304", "rule": "dead-units", "severity": severity}


@pytest.mark.parametrize(("severity", "named"), [("info", []), ("error", ["T304 dead-units"])])
def test_a_run_with_findings_has_a_score(severity: str, named: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 1, {"headlines": {"accuracy": 0.9}, "findings": [finding(severity)]})
    score, _, found = measure("mlp", "iris", 3, "o")
    assert (score, found) == (0.9, named)


@pytest.mark.parametrize(
    ("status", "document"), [(1, None), (2, None), (1, {"status": 1, "error": "e"}), (130, {"headlines": {"accuracy": 1.0}})]
)
def test_a_run_that_crashed_is_no_run_with_findings(status: int, document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, status, document, "Traceback\nRuntimeError: the tape is full")
    with pytest.raises(RuntimeError, match=rf"seed=3 .* ended with {status} and no score\n(.*\n)*RuntimeError: the tape is full"):
        measure("mlp", "iris", 3, "o")


def test_a_row_has_mean_deviation_lowest_and_seconds() -> None:
    runs = [(0.9, 10.0, []), (1.0, 12.0, ["T304 dead-units"]), (0.8, 40.0, [])]
    line, reached = row("mlp", "iris", 0.85, runs)
    assert line == "| mlp | iris | 0.9000 | 0.1000 | 0.8000 | 0.85 | 12 | 40 | T304 dead-units |"
    assert not reached
    assert row("mlp", "iris", 0.85, runs[:1])[1]
    assert not row("mlp", "iris", 0.95, runs[:1])[1]
    assert line.count("|") == HEAD.splitlines()[0].count("|")
