"""A report as JUnit XML: a test case per rule, for the CI systems that draw them."""

from __future__ import annotations

from xml.etree import ElementTree

from diagnose.report.values import Report
from diagnose.values import Outcome, Severity, Status

STAGES = {"D": "data", "M": "model", "T": "training", "E": "evaluation", "C": "comparison"}


def to_junit(report: Report, *, fail_on: str = "error") -> str:
    """JUnit XML with a suite per causal stage.

    A finding at or above ``fail_on`` is a failure; one below it is printed by a case that passes. A rule that did not run, and one whose
    finding another explains, is skipped with its reason; one that crashed is an error.
    """
    limit = Severity(fail_on)
    root = ElementTree.Element("testsuites", {"name": report.title or "diagnose"})
    suites: dict[str, list[Outcome]] = {}
    for outcome in report.diagnosis.outcomes:
        suites.setdefault(STAGES.get(outcome.code[:1], "other"), []).append(outcome)
    for stage, outcomes in suites.items():
        suite = ElementTree.SubElement(root, "testsuite", {"name": f"diagnose.{stage}", "time": "0"})
        for outcome in outcomes:
            case = ElementTree.SubElement(
                suite, "testcase", {"classname": f"diagnose.{stage}", "name": f"{outcome.code} {outcome.rule}", "time": "0"}
            )
            fill(case, outcome, limit)
        count(suite)
    count(root)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def fill(case: ElementTree.Element, outcome: Outcome, limit: Severity) -> None:
    if outcome.explained_by:
        ElementTree.SubElement(case, "skipped", {"message": f"found, explained by {outcome.explained_by}: {outcome.findings[0].message}"})
    elif outcome.status is Status.NOT_RUN:
        ElementTree.SubElement(case, "skipped", {"message": outcome.reason})
    elif outcome.status is Status.CRASHED:
        ElementTree.SubElement(case, "error", {"message": outcome.reason, "type": "crashed"})
    for finding in () if outcome.explained_by else outcome.findings:
        text = "\n".join(filter(None, (finding.message, f"where: {finding.where}", f"fix: {finding.fix}", finding.override)))
        if finding.severity >= limit:
            failure = ElementTree.SubElement(case, "failure", {"message": finding.message, "type": finding.severity.value})
            failure.text = text
        else:
            ElementTree.SubElement(case, "system-out").text = f"{finding.severity.value}: {text}"


def count(element: ElementTree.Element) -> None:
    """Write the totals that readers expect; a case with several failures counts once."""
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
