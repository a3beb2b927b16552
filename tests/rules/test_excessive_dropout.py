from __future__ import annotations

import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.excessive_dropout import ExcessiveDropout
from diagnose.values import Severity
from tests.rules.probes import findings, step
from tests.rules.training import training


def test_strong_dropout() -> None:
    dropout = [{"name": "net.2", "p": 0.5}, {"name": "net.4", "p": 0.6, "units": 96}, {"name": "net.5", "p": 0.9, "units": 64}]
    (finding,) = findings(ExcessiveDropout(), probe__dropout=dropout, probe__step=step())
    assert finding.severity is Severity.WARNING
    assert finding.where == "self.net.5"
    assert finding.message == "dropout sets 90% of the units to zero in every step"
    assert finding.fix == "lower p to between 0.1 and 0.5"
    assert finding.evidence == {"p": 0.9, "limit": 0.75, "noise": pytest.approx(9 / 64 + 1 / 64)}


def test_a_mask_written_by_hand() -> None:
    dropout = [{"name": "", "p": 0.9, "units": 64, "written": True}]
    (finding,) = findings(ExcessiveDropout(), probe__dropout=dropout, probe__step=step())
    assert (finding.where, finding.message) == ("model.py:20", "a random mask sets 90% of the units to zero in every step")


def test_dropout_on_the_output_comes_first() -> None:
    dropout = [{"name": "net.5", "p": 0.9}]
    (finding,) = findings(ExcessiveDropout(), probe__dropout=dropout, probe__step=step(dropout_on_output=0.2))
    assert finding.severity is Severity.WARNING
    assert finding.where == "model.py:20"
    assert "dropout with p = 0.2 stands on the output" in finding.message
    assert finding.fix == "remove the dropout after the last layer"


@pytest.mark.parametrize(("p", "severity"), [(0.75, Severity.WARNING), (0.74, Severity.INFO), (0.6, Severity.INFO)])
def test_edges(p: float, severity: Severity) -> None:
    (finding,) = findings(ExcessiveDropout(), probe__dropout=[{"name": "d", "p": p}], probe__step=step())
    assert finding.severity is severity


def test_usual_dropout_is_clean() -> None:
    assert findings(ExcessiveDropout(), probe__dropout=[{"name": "d", "p": 0.59}], probe__step=step()) == []
    assert findings(ExcessiveDropout(), probe__dropout=[], probe__step={"kind": "", "head": []}) == []


def test_the_override() -> None:
    record = Record()
    record.add("probe.dropout", [{"name": "d", "p": 0.8}])
    record.add("probe.step", step())
    record.add("config_keys", {"dropout": "model.dropout"})
    assert next(ExcessiveDropout().judge(record)).override == "model.dropout=0.2"


@pytest.mark.parametrize(
    ("units", "severity"),
    [
        ((512,), Severity.INFO),
        ((100, 100), Severity.WARNING),
        ((64,), Severity.WARNING),
        ((512, 384), Severity.INFO),
        ((0,), Severity.WARNING),
    ],
)
def test_wide_layers_stand_strong_dropout(units: tuple[int, ...], severity: Severity) -> None:
    dropout = [{"name": f"d{i}", "p": 0.8, "units": n} for i, n in enumerate(units)]
    (finding,) = findings(ExcessiveDropout(), probe__dropout=dropout, probe__step=step())
    assert finding.severity is severity


def test_a_dropout_that_is_called_as_a_function_has_the_place_of_the_forward() -> None:
    (finding,) = findings(ExcessiveDropout(), probe__dropout=[{"name": "", "p": 0.9, "units": 64}], probe__step=step())
    assert finding.where == "model.py:20"


@pytest.mark.parametrize(("calls", "reached", "found"), [(12, 0.3, 1), (12, 0.9, 0), (3, 0.3, 0)])
def test_dropout_on_a_state_that_nothing_survives(calls: int, reached: float, found: int) -> None:
    simple = {"model": "words", "accuracy": 1.0, "rows": 256, "trained": 900, "majority": 0.2, "classes": 6}
    facts = {"probe.dropout": [{"name": "reader.drop", "p": 0.4, "units": 40}] * calls, "probe.step": step(), "data.simple": simple}
    told = run(ExcessiveDropout(), training([1.1] * 300, facts=facts, val__accuracy=[reached] * 6)).findings
    assert ["p = 0.4 acts 12 times in one pass, so that 0.002 of what a unit holds gets through" in f.message for f in told] == [
        True
    ] * found
