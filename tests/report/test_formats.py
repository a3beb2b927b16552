from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from diagnose.report import build_report
from diagnose.report.junit import to_junit
from diagnose.report.markdown import code, to_markdown
from diagnose.report.sarif import to_sarif
from diagnose.report.terminal import print_summary
from diagnose.values import Diagnosis, Finding, Outcome, Severity, Status
from tests.report.synthetic import HOSTILE, faulty, full_record, healthy


def hostile(text: str) -> Diagnosis:
    found = Finding(code="T301", rule="non-finite", severity=Severity.ERROR, message=text, where=text, fix=text, override=text)
    return Diagnosis(outcomes=(Outcome(code="T301", rule="non-finite", status=Status.FOUND, findings=(found,)),))


def test_junit_has_a_case_per_rule_and_none_passes_that_did_not_run() -> None:
    root = ElementTree.fromstring(to_junit(build_report(full_record(batches=20), faulty())))
    cases = {case.get("name", "")[:4]: case for case in root.iter("testcase")}
    assert root.attrib == {"name": "MLP", "tests": "10", "failures": "1", "errors": "1", "skipped": "2"}
    assert {s.get("name"): s.get("tests") for s in root} == {
        "diagnose.data": "2",
        "diagnose.model": "3",
        "diagnose.training": "3",
        "diagnose.evaluation": "2",
    }
    assert [child.tag for child in cases["M201"]] == ["failure"]
    assert [child.tag for child in cases["T311"]] == ["system-out"]
    assert "optimizer.lr=0.0001" in (cases["T311"][0].text or "")
    assert cases["T306"][0].get("message") == "found, explained by M201: The loss has no downward trend over 900 batches."
    assert cases["D106"][0].get("message") == "the validation loader gives no inputs that can be compared"
    assert cases["E405"][0].tag == "error"
    assert len(cases["D101"]) == 0


def test_junit_fails_from_the_severity_that_is_asked_for() -> None:
    root = ElementTree.fromstring(to_junit(build_report(full_record(batches=20), faulty()), fail_on="warning"))
    assert root.get("failures") == "2"


def test_sarif_has_what_code_hosts_need() -> None:
    log = json.loads(to_sarif(build_report(full_record(batches=20), faulty())))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    rules = run["tool"]["driver"]["rules"]
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [("M201", "error"), ("T311", "warning"), ("E409", "note")]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])
    place = {"artifactLocation": {"uri": "model.py"}, "region": {"startLine": 31}}
    assert run["results"][0]["locations"][0]["physicalLocation"] == place
    assert run["results"][1]["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "group 0"}]
    assert [n["level"] for n in run["invocations"][0]["toolExecutionNotifications"]] == ["note", "error"]
    assert run["invocations"][0]["executionSuccessful"] is False


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_stays_text_in_every_format(name: str) -> None:
    report = build_report(full_record(HOSTILE, batches=20), hostile(name))
    ElementTree.fromstring(to_junit(report))
    json.loads(to_sarif(report))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(to_markdown(report))
    assert "<script" not in html
    assert html.count("<img") == len(report.pictures)
    assert "onerror=alert(1)>" not in html


def test_markdown_escapes_cells_and_code() -> None:
    report = build_report(full_record(("a|b", "`c`"), batches=20), hostile("x|y `z` <b>"))
    markdown = to_markdown(report, figures=False)
    assert "| a\\|b | " in markdown
    assert "x\\|y \\`z\\` &lt;b&gt;." in markdown
    assert "![" not in markdown
    assert code("a`b") == "``a`b``"
    assert code("`") == "`` ` ``"
    html = MarkdownIt("commonmark").enable("table").render(markdown)
    assert "<td>a|b</td>" in html
    assert html.count("<table>") == markdown.count("\n|---")


def test_the_terminal_shows_findings_fixes_numbers_and_the_path(tmp_path: Path) -> None:
    out = io.StringIO()
    report = build_report(full_record(), faulty())
    print_summary(report, Console(file=out, width=100), tmp_path / "report.html")
    text = out.getvalue()
    for part in (
        "Fault found  Softmax is applied before cross-entropy",
        "error   M201 activation-loss-mismatch  model.py:31",
        "fix  Divide the learning rate by 10.",
        "optimizer.lr=0.0001",
        "0.936 – 0.977",
        "0.100 majority class",
        "13.0 s in all: check 1.9 s  fit 6.2 s",
    ):
        assert part in text
    assert text.endswith(f"Report  {tmp_path.resolve() / 'report.html'}\n")


def test_the_numbers_fit_a_terminal_of_80_columns() -> None:
    out = io.StringIO()
    record = full_record(batches=20)
    entry = record.facts["evaluation"]["test"]
    record.add("evaluation", {"test": {**entry, "baseline": {"accuracy": 0.1028, "macro_f1": 0.0186, "name": "majority class 1"}}})
    print_summary(build_report(record, healthy()), Console(file=out, width=80), None)
    rows = [line.rstrip() for line in out.getvalue().splitlines()]
    assert "test, 360 samples" in rows
    assert sum(line.endswith(" majority class 1") for line in rows) == 2
    assert "1" not in rows


def test_the_terminal_gets_no_codes_and_no_markup_from_the_run() -> None:
    out = io.StringIO()
    record = full_record(HOSTILE, batches=20)
    report = build_report(record, hostile("[red]net\x1b[2J[/red]\x07 [link=file:///x]y"), title="\x1b[31mname")
    print_summary(report, Console(file=out, width=200, force_terminal=False), None)
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert "[red]net[/red] [link=file:///x]y" in out.getvalue()
