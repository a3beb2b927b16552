"""The values that every layer passes on: a finding, the outcome of a rule, the diagnosis of a run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


class Severity(StrEnum):
    """How bad a finding is: ``info < warning < error``."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule has found, with its numbers and its fix.

    Attributes:
        code: The rule's code, such as ``"T302"``.
        rule: The rule's name, such as ``"vanishing-gradient"``.
        severity: ``error``: the result is wrong or training cannot work; ``warning``: very likely harm; ``info``: worth knowing.
        message: One sentence that says what is wrong, with its numbers.
        where: Layer, parameter, loader, class, config key, ``"epoch 3, batch 17"``.
        fix: One sentence that says what to do first.
        override: The fix as a Hydra override of the run's own config, or ``""``.
        evidence: The numbers and the thresholds that they were held against.
    """

    code: str
    rule: str
    severity: Severity
    message: str
    where: str = ""
    fix: str = ""
    override: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON values; numbers that JSON lacks (NaN, infinities) are ``None``."""
        return {
            "code": self.code,
            "rule": self.rule,
            "severity": self.severity.value,
            "message": self.message,
            "where": self.where,
            "fix": self.fix,
            "override": self.override,
            "evidence": {k: float(v) if math.isfinite(v) else None for k, v in self.evidence.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        evidence = {k: math.nan if v is None else float(v) for k, v in data.get("evidence", {}).items()}
        return cls(**{**data, "severity": Severity(data["severity"]), "evidence": evidence})


class Status(StrEnum):
    """What became of a rule."""

    CLEAN = "clean"
    FOUND = "found"
    NOT_RUN = "not-run"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one rule: its findings, or why it has none.

    ``explained_by`` holds the code of the rule whose finding is the cause of these findings; they are then evidence, not findings of
    their own.
    """

    code: str
    rule: str
    status: Status
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    explained_by: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "rule": self.rule,
            "status": self.status.value,
            "reason": self.reason,
            "explained_by": self.explained_by,
            "findings": [f.to_dict() for f in self.findings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        return cls(
            code=data["code"],
            rule=data["rule"],
            status=Status(data["status"]),
            reason=data.get("reason", ""),
            explained_by=data.get("explained_by", ""),
            findings=tuple(Finding.from_dict(f) for f in data["findings"]),
        )


OBSTACLE = 10  # rules that one reason must have kept from running to be told with the findings
COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The outcome of every rule on one run; ``findings`` puts the root cause first."""

    outcomes: tuple[Outcome, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings that no other finding explains: worst first, then in causal order (data, model, training, evaluation)."""
        standing = [f for o in self.outcomes if not o.explained_by for f in o.findings]
        return tuple(sorted(standing, key=lambda f: (-f.severity.rank, f.code)))

    @property
    def worst(self) -> Severity | None:
        """The highest severity among the findings, or ``None`` without findings."""
        return max((f.severity for f in self.findings), key=lambda s: s.rank, default=None)

    def count(self, status: Status) -> int:
        return sum(o.status is status for o in self.outcomes)

    def at_or_above(self, severity: str) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity >= Severity(severity))

    def to_dict(self) -> dict[str, Any]:
        return {"findings": [f.to_dict() for f in self.findings], "outcomes": [o.to_dict() for o in self.outcomes]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Diagnosis:
        return cls(outcomes=tuple(Outcome.from_dict(o) for o in data["outcomes"]))

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @property
    def obstacle(self) -> str:
        """What kept many rules from running, such as an error in the user's own code; ``""`` where nothing did.

        Evidence that only another command records is no obstacle.
        """
        reasons = Counter(o.reason for o in self.outcomes if o.status is Status.NOT_RUN and not o.reason.endswith("was not recorded"))
        reason, rules = next(iter(reasons.most_common(1)), ("", 0))
        return f"{rules} rules did not run: {reason}" if rules >= OBSTACLE else ""

    def summary(self) -> str:
        """One line: how many rules found something, were clean, did not run, crashed."""
        counts = ", ".join(f"{self.count(s)} {s.value}" for s in Status)
        return f"{len(self.findings)} finding{'' if len(self.findings) == 1 else 's'} ({len(self.outcomes)} rules: {counts})"

    def __repr__(self) -> str:
        lines = [f"Diagnosis: {self.summary()}", *([f"  {self.obstacle}"] if self.obstacle else [])]
        for f in self.findings:
            lines.append(f"  {f.severity.value:7} {f.code} {f.rule}{f' [{f.where}]' if f.where else ''}: {f.message}")
            if f.fix:
                lines.append(f"          fix: {f.fix}{f'  ({f.override})' if f.override else ''}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{f.severity.value}</td><td>{escape(f.code)} {escape(f.rule)}</td><td>{escape(f.where)}</td>"
            f"<td>{escape(f.message)}<br><b>{escape(f.fix)}</b> <code>{escape(f.override)}</code></td></tr>"
            for f in self.findings
        )
        return f"<p>{escape(self.summary())}<br>{escape(self.obstacle)}</p><table>{rows}</table>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield Text(self.summary(), style="bold")
        if self.obstacle:
            yield Text(self.obstacle, style="yellow")
        for f in self.findings:
            line = Text.assemble((f"{f.severity.value:7} ", COLOURS[f.severity]), (f"{f.code} {f.rule}", "bold"))
            if f.where:
                line.append(f"  {f.where}", "dim")
            yield line
            yield Text(f"        {f.message}")
            if f.fix:
                yield Text.assemble("        fix: ", f.fix, (f"  {f.override}" if f.override else "", "green"))
