"""What holds for every rule, so that a new one needs only its own file and its own test."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from diagnose.record import Record
from diagnose.rules import SECTIONS, Rule, catalogue, diagnose, run
from diagnose.values import Severity, Status

ROOT = Path(__file__).parents[1]
RULES = catalogue()
STAGES = {"D1": "data", "M2": "model", "T3": "training", "E4": "evaluation"}

every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)


@cache
def table() -> Mapping[str, tuple[str, str]]:
    """Name and severity of every code in docs/rules.md."""
    rows = re.findall(r"^\| ([A-Z]\d{3}) \| ([\w-]+) \| (\w+) \|", (ROOT / "docs/rules.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {code: (name, severity) for code, name, severity in rows}


def page(rule: type[Rule]) -> dict[str, str]:
    """The sections of a rule's page, and its first paragraph under ``""``."""
    parts = re.split(r"^## (.+)$", inspect.cleandoc(rule.__doc__ or ""), flags=re.MULTILINE)
    return {"": parts[0].strip(), **{title: text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}}


def test_the_table_is_read() -> None:
    assert len(table()) == 63
    assert table()["T302"] == ("vanishing-gradient", "warning")


def test_every_rule_of_the_table_is_there_and_no_other() -> None:
    assert {rule.code for rule in RULES} == set(table())


@every_rule
def test_code_name_and_severity_are_those_of_the_table(rule: type[Rule]) -> None:
    assert (rule.name, rule.severity) == table()[rule.code]
    assert isinstance(rule.severity, Severity)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.code[:2] in STAGES


@every_rule
def test_the_page_has_its_sections_in_order(rule: type[Rule]) -> None:
    sections = page(rule)
    assert tuple(sections) == ("", *SECTIONS)
    for title, text in sections.items():
        assert text, f"section {title!r} of {rule.code} is empty"
    assert sections[""].splitlines()[0].endswith("."), "a page starts with one sentence"


@every_rule
def test_the_page_names_every_threshold(rule: type[Rule]) -> None:
    text = " ".join(page(rule).values())
    missing = [f.name for f in fields(rule) if not re.search(rf"\b{f.name}\b", text)]
    assert missing == [], f"the page of {rule.code} does not say what {missing} mean"


@every_rule
def test_thresholds_are_plain_numbers_with_defaults(rule: type[Rule]) -> None:
    json.dumps(rule().thresholds(), allow_nan=False)


@every_rule
def test_one_rule_stands_in_one_file_of_its_name(rule: type[Rule]) -> None:
    assert rule.__module__ == f"diagnose.rules.{rule.name.replace('-', '_')}"
    assert [r for r in RULES if r.__module__ == rule.__module__] == [rule]


@every_rule
def test_what_it_explains_exists(rule: type[Rule]) -> None:
    names = {name for name, _ in table().values()}
    assert set(rule.explains) <= names
    assert rule.name not in rule.explains
    assert rule.role in ("cause", "symptom")


@every_rule
def test_what_it_needs_is_documented(rule: type[Rule]) -> None:
    text = (ROOT / "docs/record.md").read_text(encoding="utf-8")
    assert rule.needs, "a rule without needs would run on an empty record"
    assert [need for need in rule.needs if f"`{need}`" not in text] == [], f"docs/record.md does not say what {rule.code} needs"


@every_rule
def test_without_evidence_it_does_not_run_and_says_why(rule: type[Rule]) -> None:
    outcome = run(rule(), Record())
    assert outcome.status is Status.NOT_RUN
    assert outcome.reason == f"{rule.needs[0]} was not recorded"


@every_rule
def test_it_has_a_test_of_a_faulty_and_of_a_healthy_record(rule: type[Rule]) -> None:
    file = ROOT / "tests" / "rules" / f"test_{rule.name.replace('-', '_')}.py"
    assert file.is_file(), f"{rule.code} has no test: expected {file.relative_to(ROOT)}"
    assert len(re.findall(r"^def test_", file.read_text(encoding="utf-8"), re.MULTILINE)) >= 2


def test_an_empty_record_gives_no_finding_and_no_crash() -> None:
    diagnosis = diagnose(Record())
    assert {o.status for o in diagnosis.outcomes} <= {Status.NOT_RUN}
    assert diagnosis.findings == ()
