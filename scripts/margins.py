"""How far each threshold of the rules is from the nearest healthy and from the nearest faulty program.

The evidence that `scripts/corpus.py --records FOLDER` kept is judged again, one threshold changed at a time, up and down to `REACH` times
its value: where the first healthy program would get an alarm of the rule, and where the first faulty one, which the rule finds and which
names it, would be lost. What lies between is the margin, in the threshold's own unit.

    python scripts/corpus.py --records FOLDER [--repaired] [--jobs 2]
    python scripts/margins.py FOLDER [--only GLOB] [--output docs/margins.md]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from diagnose.record import Record
from diagnose.rules import Rule, build, run
from diagnose.values import Severity

REACH = 32.0
STEPS = 12


@dataclass(frozen=True, kw_only=True)
class Case:
    """One program: its name, the names of the rules that name its fault (none if it is healthy), and what was recorded of it."""

    name: str
    rules: tuple[str, ...]
    records: tuple[Record, ...]

    def alarmed(self, rule: Rule) -> bool:
        """Whether the rule alone, before anything is folded, raises an alarm on any of the records."""
        return any(f.severity >= Severity.WARNING for record in self.records for f in run(rule, record).findings)


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Where a threshold begins to do harm: the value at which a healthy program gets an alarm, and at which a fault is lost.

    ``None`` where no value up to `REACH` times higher or lower does; beside each value the program.
    """

    code: str
    threshold: str
    value: float
    healthy: tuple[float, str] | None
    faulty: tuple[float, str] | None


def read(folder: Path) -> list[Case]:
    """The cases under a folder that `scripts/corpus.py --records` wrote.

    Raises:
        SystemExit: There is none.
    """
    cases = []
    for told in sorted(folder.glob("*/rules.json")):
        parts = [told.parent / moment for moment in ("before", "during")]
        records = tuple(Record.read(part) for part in parts if part.is_dir())
        cases.append(Case(name=told.parent.name, rules=tuple(json.loads(told.read_text())), records=records))
    if not cases:
        raise SystemExit(f"no case in {folder}: expected what scripts/corpus.py --records {folder} writes")
    return cases


def numbers(rule: Rule) -> Iterator[tuple[str, float]]:
    """The thresholds that can be scaled."""
    for name, value in rule.thresholds().items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0:
            yield name, value


def turning(case: Case, rule: Rule, name: str, factor: float) -> float | None:
    """The value of a threshold, between its own and ``factor`` times that, at which the verdict on a case changes."""
    own = getattr(rule, name)

    def scaled(power: float) -> float:
        value = own * factor**power
        return round(value) if isinstance(own, int) else float(value)

    verdict = case.alarmed(rule)
    if case.alarmed(replace(rule, **{name: scaled(1.0)})) == verdict:
        return None
    same, other = 0.0, 1.0
    for _ in range(STEPS):
        middle = (same + other) / 2
        if case.alarmed(replace(rule, **{name: scaled(middle)})) == verdict:
            same = middle
        else:
            other = middle
    return scaled(other)


def margin(cases: Sequence[Case], rule: Rule, name: str) -> Margin:
    """The nearest healthy and the nearest faulty case of one threshold."""
    own = getattr(rule, name)

    def nearest(some: Sequence[Case]) -> tuple[float, str] | None:
        turns = [(value, c.name) for c in some for factor in (REACH, 1 / REACH) if (value := turning(c, rule, name, factor)) is not None]
        return min(turns, key=lambda turn: max(turn[0] / own, own / turn[0]) if turn[0] else float("inf"), default=None)

    healthy = [c for c in cases if not c.rules and not c.alarmed(rule)]
    found = [c for c in cases if rule.name in c.rules and c.alarmed(rule)]
    return Margin(code=rule.code, threshold=name, value=own, healthy=nearest(healthy), faulty=nearest(found))


def table(margins: Sequence[Margin], cases: Sequence[Case]) -> str:
    """The margins as a Markdown table."""

    def told(turn: tuple[float, str] | None) -> str:
        return "-" if turn is None else f"{turn[0]:.3g} ({turn[1]})"

    healthy = sum(not c.rules for c in cases)
    rows = [
        f"Of {len(cases) - healthy} faulty and {healthy} healthy programs; `-`: none up to {REACH:.0f} times higher or lower.",
        "",
        "| rule | threshold | is | a healthy program gets an alarm at | a fault is lost at |",
        "|---|---|--:|---|---|",
    ]
    rows += [f"| {m.code} | `{m.threshold}` | {m.value:g} | {told(m.healthy)} | {told(m.faulty)} |" for m in margins]
    return "\n".join(rows)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what scripts/corpus.py --records wrote")
    parser.add_argument("--only", default="*", metavar="GLOB", help="codes of rules, such as 'T3*'")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    args = parser.parse_args()
    cases = read(args.folder)
    margins = [margin(cases, rule, name) for rule in build() if fnmatch(rule.code, args.only) for name, _ in numbers(rule)]
    text = table(margins, cases)
    print(text)
    if args.output:
        args.output.write_text(f"# Margins of the thresholds\n\n{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
