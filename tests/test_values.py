from __future__ import annotations

import io
import json
import math
from itertools import pairwise

import pytest
from rich.console import Console

from diagnose import Diagnosis, Finding, Outcome, Severity
from diagnose.values import Status


def finding(code: str = "T302", severity: Severity = Severity.WARNING, **changes: object) -> Finding:
    values: dict[str, object] = {
        "code": code,
        "rule": "vanishing-gradient",
        "severity": severity,
        "message": "the gradient of net.0 is 1e-6 of that of net.8",
        "where": "net.0",
        "fix": "use ReLU",
        "override": "model.activation=relu",
        "evidence": {"ratio": 1e-6, "threshold": 1e-3},
    }
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


def found(*findings: Finding, explained_by: str = "") -> Outcome:
    return Outcome(code=findings[0].code, rule=findings[0].rule, status=Status.FOUND, findings=findings, explained_by=explained_by)


def test_severities_are_ordered_and_compare_with_their_text() -> None:
    order = [Severity.INFO, Severity.WARNING, Severity.ERROR]
    assert sorted([Severity.ERROR, Severity.INFO, Severity.WARNING]) == order
    for low, high in pairwise(order):
        assert low < high
        assert low <= high
        assert high > low
        assert high >= low
        assert not low > high
        assert not high <= low
    assert Severity.ERROR >= "warning"
    assert max(order) is Severity.ERROR
    assert str(Severity.WARNING) == f"{Severity.WARNING}" == Severity.WARNING.value == "warning"


def test_an_unknown_severity_is_refused() -> None:
    with pytest.raises(ValueError, match="'fatal' is not a valid Severity"):
        Diagnosis(outcomes=(found(finding()),)).at_or_above("fatal")


def test_findings_come_worst_first_then_in_causal_order() -> None:
    rules = [("T301", Severity.WARNING), ("D101", Severity.INFO), ("E401", Severity.ERROR), ("M205", Severity.WARNING)]
    diagnosis = Diagnosis(outcomes=tuple(found(finding(code, severity)) for code, severity in rules))
    assert [f.code for f in diagnosis.findings] == ["E401", "M205", "T301", "D101"]
    assert diagnosis.worst is Severity.ERROR


def test_explained_findings_are_not_findings_of_their_own() -> None:
    diagnosis = Diagnosis(outcomes=(found(finding("M205")), found(finding("T306", Severity.ERROR), explained_by="M205")))
    assert [f.code for f in diagnosis.findings] == ["M205"]
    assert diagnosis.worst is Severity.WARNING
    assert diagnosis.at_or_above("error") == ()
    assert diagnosis.count(Status.FOUND) == 2


def test_an_empty_diagnosis_has_no_worst() -> None:
    assert Diagnosis().worst is None
    assert Diagnosis().findings == ()
    assert repr(Diagnosis()) == "Diagnosis: 0 findings (0 rules: 0 clean, 0 found, 0 not-run, 0 crashed)"


def test_json_reads_back_equal() -> None:
    diagnosis = Diagnosis(
        outcomes=(
            found(finding(), finding(where="net.2")),
            Outcome(code="T306", rule="loss-not-decreasing", status=Status.FOUND, findings=(finding("T306"),), explained_by="T302"),
            Outcome(code="M205", rule="initial-loss", status=Status.NOT_RUN, reason="the loss is of an unknown kind"),
            Outcome(code="E401", rule="below-baseline", status=Status.CRASHED, reason="KeyError: 'n'"),
        )
    )
    assert Diagnosis.from_dict(json.loads(diagnosis.to_json())) == diagnosis


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_holds_no_token_that_json_lacks(value: float) -> None:
    text = Diagnosis(outcomes=(found(finding(evidence={"loss": value})),)).to_json()
    assert json.loads(text, parse_constant=pytest.fail)["findings"][0]["evidence"] == {"loss": None}
    assert math.isnan(Diagnosis.from_dict(json.loads(text)).findings[0].evidence["loss"])


def test_repr_names_the_rule_the_place_the_fix_and_the_override() -> None:
    lines = repr(Diagnosis(outcomes=(found(finding()),))).splitlines()
    assert lines == [
        "Diagnosis: 1 finding (1 rules: 0 clean, 1 found, 0 not-run, 0 crashed)",
        "  warning T302 vanishing-gradient [net.0]: the gradient of net.0 is 1e-6 of that of net.8",
        "          fix: use ReLU  (model.activation=relu)",
    ]


def not_run(reasons: list[str]) -> Diagnosis:
    return Diagnosis(outcomes=tuple(Outcome(code="M205", rule="initial-loss", status=Status.NOT_RUN, reason=r) for r in reasons))


def test_what_kept_many_rules_from_running_is_told() -> None:
    diagnosis = not_run(["the probe raised KeyError: '<label>'"] * 10 + ["train/loss was not recorded"] * 20)
    told = "10 rules did not run: the probe raised KeyError: '<label>'"
    assert repr(diagnosis).splitlines()[1].strip() == told
    assert "&lt;label&gt;" in diagnosis._repr_html_()
    console = Console(file=io.StringIO(), width=200)
    console.print(diagnosis)
    assert told in console.file.getvalue()  # type: ignore[attr-defined]


def test_evidence_of_another_command_is_no_obstacle() -> None:
    assert not_run(["train/loss was not recorded"] * 30 + ["there is no validation loader"] * 2).obstacle == ""
    assert Diagnosis().obstacle == ""


def test_html_is_escaped() -> None:
    evil = "<script>alert('x')</script>"
    page = Diagnosis(outcomes=(found(finding(rule=evil, message=evil, where=evil, fix=evil, override=evil)),))._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 5


def test_rich_prints_the_text_as_it_is() -> None:
    out = io.StringIO()
    message = "layer [bold] net[0] has scale [1, 2]"  # what rich would take for its own markup
    Console(file=out, width=200, color_system=None).print(Diagnosis(outcomes=(found(finding(message=message)),)))
    text = out.getvalue()
    assert message in text
    assert "warning T302 vanishing-gradient" in text
    assert "fix: use ReLU  model.activation=relu" in text
