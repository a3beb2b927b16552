from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pytest

import diagnose.rules
from diagnose.record import Record
from diagnose.rules import REGISTRY, NotRun, Rule, build, catalogue, find, fold, run
from diagnose.values import Finding, Outcome, Severity, Status


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """Rules that a test defines go away with it."""
    catalogue()
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)
    catalogue.cache_clear()


def judge_x(self: Any, record: Record) -> Iterator[Finding]:
    if record.facts["x"] > self.threshold:
        yield self.finding(f"x is {record.facts['x']}", where="net.0", x=record.facts["x"], threshold=self.threshold)


def make(code: str, name: str, severity: Severity = Severity.WARNING, **attributes: Any) -> Rule:
    """A rule of one's own making; unless it brings another ``judge`` it finds a fact ``x`` above its threshold."""
    body = {"code": code, "name": name, "severity": severity, "needs": ("x",), "judge": judge_x, "threshold": 1.0}
    kind: type[Any] = type(name, (Rule,), {"__annotations__": {"threshold": float}, **body, **attributes})
    catalogue.cache_clear()
    rule: Rule = dataclass(frozen=True, kw_only=True)(kind)()
    return rule


def holding(**facts: Any) -> Record:
    record = Record()
    for name, value in facts.items():
        record.add(name, value)
    return record


def outcome(rule: Rule, *severities: Severity) -> Outcome:
    findings = tuple(rule.finding("m", severity=s, number=i) for i, s in enumerate(severities))
    return Outcome(code=rule.code, rule=rule.name, status=Status.FOUND if findings else Status.CLEAN, findings=findings)


# One rule


def test_clean_and_found() -> None:
    rule = make("X901", "x-too-large")
    assert run(rule, holding(x=1.0)).status is Status.CLEAN
    found = run(rule, holding(x=3))
    assert found.status is Status.FOUND
    assert found.findings[0].to_dict() == {
        "code": "X901",
        "rule": "x-too-large",
        "severity": "warning",
        "message": "x is 3",
        "where": "net.0",
        "fix": "",
        "override": "",
        "evidence": {"x": 3.0, "threshold": 1.0},
    }


def test_without_its_evidence_a_rule_does_not_run_and_says_why() -> None:
    rule = make("X901", "x-too-large")
    bare = run(rule, Record())
    assert (bare.status, bare.reason) == (Status.NOT_RUN, "x was not recorded")
    record = Record()
    record.skip("x", "the loader yields nothing")
    assert run(rule, record).reason == "the loader yields nothing"


def test_too_little_evidence_is_not_run() -> None:
    def judge(self: Rule, record: Record) -> Iterator[Finding]:
        raise NotRun("3 steps, at least 30 are needed")
        yield

    done = run(make("X901", "too-short", judge=judge), holding(x=1))
    assert (done.status, done.reason) == (Status.NOT_RUN, "3 steps, at least 30 are needed")


def test_a_crash_is_an_outcome_and_costs_no_other_rule() -> None:
    broken, sound = make("X901", "broken"), make("X902", "sound")
    record = holding(x="three")
    record.add("y", 1)
    diagnosis = diagnose.rules.diagnose(record, [broken, make("X903", "needs-y", needs=("z",)), sound])
    assert [o.status for o in diagnosis.outcomes] == [Status.CRASHED, Status.NOT_RUN, Status.CRASHED]
    assert diagnosis.outcomes[0].reason == "TypeError: '>' not supported between instances of 'str' and 'float'"
    assert diagnosis.findings == ()


def test_strict_raises_what_the_rule_raises() -> None:
    with pytest.raises(TypeError, match="'>' not supported"):
        diagnose.rules.diagnose(holding(x="three"), [make("X901", "broken")], strict=True)


def test_findings_before_a_crash_are_not_kept_as_found() -> None:
    def judge(self: Rule, record: Record) -> Iterator[Finding]:
        yield self.finding("one")
        raise RuntimeError("then this")

    done = run(make("X901", "half", judge=judge), holding(x=1))
    assert (done.status, done.findings, done.reason) == (Status.CRASHED, (), "RuntimeError: then this")


# The registry


@pytest.mark.parametrize("code", ["T30", "302", "t302", "T3021", ""])
def test_a_code_is_a_letter_and_three_digits(code: str) -> None:
    with pytest.raises(TypeError, match=rf"a letter and three digits, such as 'T302'; .* has '{code}'"):
        make(code, "x")


def test_a_code_is_taken_once() -> None:
    make("X901", "first")
    with pytest.raises(TypeError, match=r"X901 is already the code of .*\.first"):
        make("X901", "second")


def test_rules_register_through_the_entry_point_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "their_rules.py").write_text(
        "from diagnose.rules import Rule\nfrom diagnose.values import Severity\n"
        "class Theirs(Rule):\n    code, name, severity, needs = 'X950', 'their-rule', Severity.INFO, ('x',)\n"
        "    def judge(self, record):\n        return iter(())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="theirs", value="their_rules", group="diagnose.rules")
    monkeypatch.setattr(diagnose.rules, "entry_points", lambda group: [point] if group == "diagnose.rules" else [])
    catalogue.cache_clear()
    assert find("their-rule").code == "X950"


def test_the_catalogue_is_in_the_order_of_the_codes() -> None:
    make("X902", "later")
    make("X901", "earlier")
    codes = [rule.code for rule in catalogue()]
    assert codes == sorted(codes)
    assert {"X901", "X902"} <= set(codes)


def test_find_takes_codes_and_names_in_any_case() -> None:
    rule = type(make("X901", "x-too-large"))
    assert find("X901") is find("x901") is find("x-too-large") is find("X-Too-Large") is rule


def test_find_names_the_nearest() -> None:
    make("X901", "x-too-large")
    with pytest.raises(ValueError, match="no rule has the code or name 'x-to-large'; did you mean x-too-large"):
        find("x-to-large")
    with pytest.raises(ValueError, match="'qqqqqqqqqqqq'; list them with: python -m diagnose rules"):
        find("qqqqqqqqqqqq")


def test_select_and_ignore_take_codes_prefixes_and_names() -> None:
    make("X901", "first")
    make("X902", "second")
    make("Y901", "third")

    def codes(**choice: list[str]) -> list[str]:
        return [rule.code for rule in build(**choice)]  # type: ignore[arg-type]

    assert codes(select=["X"]) == ["X901", "X902"]
    assert codes(select=["x9", "third"]) == ["X901", "X902", "Y901"]
    assert codes(select=["X", "Y"], ignore=["X902"]) == ["X901", "Y901"]
    assert codes(select=["X"], ignore=["X"]) == []
    assert set(codes()) == {rule.code for rule in catalogue()}
    assert "X901" not in codes(ignore=["first"])


@pytest.mark.parametrize("argument", ["select", "ignore"])
def test_a_selector_that_matches_nothing_is_refused(argument: str) -> None:
    make("X901", "first")
    with pytest.raises(ValueError, match="no rule has the code or name 'frist'; did you mean first"):
        build(**{argument: ["frist"]})  # type: ignore[arg-type]


def test_options_set_thresholds_by_code_or_name() -> None:
    make("X901", "first")
    make("X902", "second")
    first, second = build(["X"], options={"first": {"threshold": 5}, "X902": {"threshold": 7}})
    assert first.thresholds() == {"threshold": 5}
    assert second.thresholds() == {"threshold": 7}
    assert run(first, holding(x=4)).status is Status.CLEAN


def test_an_unknown_threshold_names_those_there_are() -> None:
    make("X901", "first")
    with pytest.raises(ValueError, match="rule first has no threshold 'treshold'; it has threshold"):
        build(options={"first": {"treshold": 5}})
    with pytest.raises(ValueError, match="no rule has the code or name 'frist'"):
        build(options={"frist": {"threshold": 5}})


# Folding


def test_a_symptom_folds_into_any_cause() -> None:
    cause, symptom = make("X901", "cause"), make("X902", "symptom", Severity.ERROR, role="symptom")
    folded = fold([outcome(cause, Severity.WARNING), outcome(symptom, Severity.ERROR)])
    assert [o.explained_by for o in folded] == ["", "X901"]
    assert folded[0].findings[0].evidence == {"number": 0.0, "symptom.number": 0.0}
    assert folded[0].findings[0].severity == "error"  # a cause is as severe as what it explains


def test_a_symptom_without_a_cause_stands() -> None:
    one, other = make("X901", "one", role="symptom"), make("X902", "other", role="symptom")
    assert [o.explained_by for o in fold([outcome(one, Severity.ERROR), outcome(other, Severity.ERROR)])] == ["", ""]


def test_an_info_explains_nothing() -> None:
    cause, symptom = make("X901", "cause", explains=("symptom",)), make("X902", "symptom", role="symptom")
    assert [o.explained_by for o in fold([outcome(cause, Severity.INFO), outcome(symptom, Severity.ERROR)])] == ["", ""]


def test_a_cause_folds_only_into_one_that_names_it() -> None:
    a, b, c = make("X901", "a", explains=("b",)), make("X902", "b"), make("X903", "c")
    folded = fold([outcome(rule, Severity.WARNING) for rule in (a, b, c)])
    assert [o.explained_by for o in folded] == ["", "X901", ""]


def test_chains_fold_into_the_root() -> None:
    a, b, c = make("X901", "a", explains=("b",)), make("X902", "b", explains=("c",)), make("X903", "c")
    folded = fold([outcome(rule, Severity.WARNING) for rule in (a, b, c)])
    assert [o.explained_by for o in folded] == ["", "X901", "X901"]
    assert set(folded[0].findings[0].evidence) == {"number", "b.number", "c.number"}


def test_two_rules_that_name_each_other_leave_one_standing() -> None:
    a, b = make("X901", "a", explains=("b",)), make("X902", "b", explains=("a",))
    assert sorted(o.explained_by == "" for o in fold([outcome(a, Severity.WARNING), outcome(b, Severity.WARNING)])) == [False, True]


def test_clean_rules_explain_and_are_explained_by_nothing() -> None:
    cause, symptom = make("X901", "cause", explains=("symptom",)), make("X902", "symptom", role="symptom")
    assert [o.explained_by for o in fold([outcome(cause), outcome(symptom, Severity.ERROR)])] == ["", ""]
    assert [o.explained_by for o in fold([outcome(cause, Severity.ERROR), outcome(symptom)])] == ["", ""]


def test_judge_is_to_be_written() -> None:
    with pytest.raises(NotImplementedError):
        make("X901", "bare", judge=Rule.judge).judge(Record())
