"""A report as SARIF 2.1.0, which code hosts show as annotations.

References:
    OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, 2020.
"""

from __future__ import annotations

import json
import re
from typing import Any

from diagnose.report.values import Report
from diagnose.values import Finding, Outcome, Severity, Status

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
PLACE = re.compile(r"(\S+\.py):(\d+)")


def to_sarif(report: Report) -> str:
    """SARIF with a result per finding; rules that did not run or crashed are notifications of the tool."""
    from diagnose import __version__

    outcomes = report.diagnosis.outcomes
    index = {o.code: i for i, o in enumerate(outcomes)}
    run = {
        "tool": {"driver": {"name": "diagnose", "version": __version__, "rules": [rule(o, report) for o in outcomes]}},
        "invocations": [
            {
                "executionSuccessful": not any(o.status is Status.CRASHED for o in outcomes),
                "toolExecutionNotifications": [
                    {
                        "associatedRule": {"id": o.code, "index": index[o.code]},
                        "level": "error" if o.status is Status.CRASHED else "note",
                        "message": {"text": f"{o.code} {o.rule} {'crashed' if o.status is Status.CRASHED else 'did not run'}: {o.reason}"},
                    }
                    for o in outcomes
                    if o.status in (Status.CRASHED, Status.NOT_RUN)
                ],
            }
        ],
        "results": [result(f, index[f.code], report) for f in report.diagnosis.findings],
        "columnKind": "unicodeCodePoints",
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1, ensure_ascii=False, allow_nan=False)


def rule(outcome: Outcome, report: Report) -> dict[str, Any]:
    described: dict[str, Any] = {"id": outcome.code, "name": "".join(part.capitalize() for part in outcome.rule.split("-"))}
    page = report.pages.get(outcome.code)
    if page:
        described |= {"shortDescription": {"text": page.split("\n", 1)[0]}, "help": {"text": page, "markdown": page}}
    return described


def result(finding: Finding, index: int, report: Report) -> dict[str, Any]:
    text = f"{finding.message} {finding.fix}".strip()
    location: dict[str, Any] = {}
    place = PLACE.search(finding.where) or PLACE.search(report.source.get("training_step", ""))
    if place:
        location["physicalLocation"] = {"artifactLocation": {"uri": place[1]}, "region": {"startLine": int(place[2])}}
    if finding.where:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.where}]
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{text} ({finding.override})" if finding.override else text},
        "locations": [location] if location else [],
        "properties": {k: v for k, v in finding.to_dict()["evidence"].items() if v is not None},
    }
