"""Rules: numbers in, findings out. A rule registers by standing in this folder, one file per rule.

A third party registers rules through the entry-point group ``diagnose.rules``: each entry point names a module that defines them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, ClassVar, Literal

from diagnose.record import Record
from diagnose.values import Diagnosis, Finding, Outcome, Severity, Status

SECTIONS = ("What it measures", "Why it matters", "When it is wrong", "What to try", "References")
REGISTRY: dict[str, type[Rule]] = {}


class NotRun(Exception):
    """Raised by ``judge`` when the evidence is there but not enough of it; the text is the reason."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule looks at a record and yields findings. Its class docstring is its page; its thresholds are dataclass fields.

    Class attributes:
        code: Such as ``"T302"``; the letter and hundreds digit give the causal stage (data, model, training, evaluation).
        name: Such as ``"vanishing-gradient"``.
        severity: The severity of its findings, unless it says otherwise for one.
        needs: Facts, series or arrays of the record without which it cannot judge.
        instead: Those of which any is enough in their place.
        role: A ``"symptom"`` is folded into any cause that was found; a ``"cause"`` only into those that name it in ``explains``.
        explains: Names of rules whose findings this rule's finding accounts for.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]
    needs: ClassVar[tuple[str, ...]]
    instead: ClassVar[tuple[str, ...]] = ()
    role: ClassVar[Literal["cause", "symptom"]] = "cause"
    explains: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not re.fullmatch(r"[A-Z]\d{3}", cls.code):
            raise TypeError(f"a rule's code is a letter and three digits, such as 'T302'; {cls.__qualname__} has {cls.code!r}")
        known = REGISTRY.get(cls.code)
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise TypeError(f"{cls.code} is already the code of {known.__module__}.{known.__qualname__}")
        REGISTRY[cls.code] = cls

    def judge(self, record: Record) -> Iterator[Finding]:
        """Yield what this rule finds in the record.

        Raises:
            NotRun: The record holds too little to judge by.
        """
        raise NotImplementedError

    def finding(
        self, message: str, *, where: str = "", fix: str = "", override: str = "", severity: Severity | None = None, **evidence: float
    ) -> Finding:
        """A finding of this rule."""
        return Finding(
            code=self.code,
            rule=self.name,
            severity=severity or self.severity,
            message=message,
            where=where,
            fix=fix,
            override=override,
            evidence={k: float(v) for k, v in evidence.items()},
        )

    def thresholds(self) -> dict[str, Any]:
        """The rule's thresholds by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@cache
def catalogue() -> tuple[type[Rule], ...]:
    """All rules, in the order of their codes: those in this folder and those of the entry-point group ``diagnose.rules``."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    for point in entry_points(group="diagnose.rules"):
        point.load()
    return tuple(REGISTRY[code] for code in sorted(REGISTRY))


def find(selector: str) -> type[Rule]:
    """The rule with this code or name.

    Raises:
        ValueError: There is none; the text gives the nearest.
    """
    from difflib import get_close_matches

    for rule in catalogue():
        if selector.upper() == rule.code or selector.lower() == rule.name:
            return rule
    known = [n for rule in catalogue() for n in (rule.code, rule.name)]
    meant = selector.upper().translate(str.maketrans("OIL", "011"))  # letters that look like digits
    near = [meant] if meant in known else get_close_matches(selector, known, n=3, cutoff=0.5)
    near = near or get_close_matches(selector.upper(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "list them with: python -m diagnose rules"
    raise ValueError(f"no rule has the code or name {selector!r}; {hint}")


def build(
    select: Sequence[str] = (), ignore: Sequence[str] = (), options: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Rule, ...]:
    """Rules chosen as linters choose them.

    Args:
        select: Codes, prefixes of codes (``"M"``, ``"T3"``) or names; empty selects all.
        ignore: The same, taken away from the selected.
        options: Thresholds per rule, by code or name: ``{"vanishing-gradient": {"ratio": 1e-4}}``.

    Raises:
        ValueError: A selector matches no rule, or a rule has no such threshold.
    """

    def chosen(selector: str) -> set[str]:
        hits = {r.code for r in catalogue() if r.code.startswith(selector.upper()) or r.name == selector.lower()}
        return hits or {find(selector).code}

    keep = set().union(*map(chosen, select)) if select else {r.code for r in catalogue()}
    keep -= set().union(*map(chosen, ignore))
    settings: dict[str, Mapping[str, Any]] = {}
    for key, values in (options or {}).items():
        rule = find(key)
        known = [f.name for f in fields(rule)]
        for option in values:
            if option not in known:
                raise ValueError(f"rule {rule.name} has no threshold {option!r}; it has {', '.join(known) or 'none'}")
        settings[rule.code] = values
    return tuple(rule(**settings.get(rule.code, {})) for rule in catalogue() if rule.code in keep)


def diagnose(record: Record, rules: Iterable[Rule] | None = None, *, strict: bool = False) -> Diagnosis:
    """Judge a record by the rules (all of them by default) and fold symptoms into their causes.

    Args:
        record: What was measured.
        rules: The rules to judge by, from `build`.
        strict: Raise what a rule raises, where it would otherwise be its outcome ``crashed``.
    """
    return Diagnosis(outcomes=tuple(fold([run(rule, record, strict=strict) for rule in (build() if rules is None else rules)])))


def run(rule: Rule, record: Record, *, strict: bool = False) -> Outcome:
    """The outcome of one rule."""
    try:
        if not any(name in record for name in rule.instead):
            require(record, *rule.needs)
        findings = tuple(rule.judge(record))
    except NotRun as short:
        return Outcome(code=rule.code, rule=rule.name, status=Status.NOT_RUN, reason=str(short))
    except Exception as error:  # a bug in one rule must not cost the others
        if strict:
            raise
        return Outcome(code=rule.code, rule=rule.name, status=Status.CRASHED, reason=f"{type(error).__name__}: {error}")
    return Outcome(code=rule.code, rule=rule.name, status=Status.FOUND if findings else Status.CLEAN, findings=findings)


def require(record: Record, *names: str) -> None:
    """Say that a rule did not run, and why, where the record lacks one of the names.

    Raises:
        NotRun: One is missing.
    """
    for name in names:
        if name not in record:
            raise NotRun(record.missing.get(name, f"{name} was not recorded"))


def fold(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Fold findings into those that explain them; the cause takes their numbers into its evidence, and is as severe as they are.

    An explanation needs at least a warning: an ``info`` never silences an alarm.
    """

    def rule(outcome: Outcome) -> type[Rule]:
        return REGISTRY[outcome.code]

    def alarmed(outcome: Outcome) -> bool:
        return any(f.severity >= Severity.WARNING for f in outcome.findings)

    causes = [o for o in outcomes if alarmed(o)]
    explained: dict[str, str] = {}
    for o in outcomes:
        if o.findings:
            named = [c.code for c in causes if o.rule in rule(c).explains and explained.get(c.code) != o.code]
            others = [c for c in causes if c.code != o.code and c.rule not in rule(o).explains]
            general = [c.code for c in others if rule(o).role == "symptom" and rule(c).role == "cause"]
            if named or general:
                explained[o.code] = (named or general)[0]

    def root(code: str) -> str:
        seen = {code}
        while code in explained and explained[code] not in seen:
            code = explained[code]
            seen.add(code)
        return code

    result = []
    for o in outcomes:
        if o.code in explained:
            o = replace(o, explained_by=root(o.code))
        elif o.findings:
            folded = [other for other in outcomes if other.code in explained and root(other.code) == o.code]
            extra = {f"{other.rule}.{k}": v for other in folded for k, v in other.findings[0].evidence.items()}
            worst = max(range(len(o.findings)), key=lambda i: o.findings[i].severity.rank)
            severity = max((f.severity for other in (o, *folded) for f in other.findings), key=lambda s: s.rank)
            bearer = replace(o.findings[worst], severity=severity, evidence={**o.findings[worst].evidence, **extra})
            o = replace(o, findings=(*o.findings[:worst], bearer, *o.findings[worst + 1 :]))
        result.append(o)
    return result
