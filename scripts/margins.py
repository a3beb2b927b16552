"""How far each threshold of the rules is from the nearest healthy and from the nearest faulty program, and whether it holds without them.

The evidence that `scripts/corpus.py --records FOLDER` kept is judged again, one threshold changed at a time, up and down to `REACH` times
its value: where the first healthy program would get an alarm of the rule, and where the first faulty one, which the rule finds and which
names it, would be lost. What lies between is the margin, in the threshold's own unit.

Then each program is left out in turn: every threshold that it bounds is placed anew from the others alone, in the geometric middle between
the nearest healthy and the nearest faulty of them, and the program is judged by that. At last all thresholds are moved at once, each by
chance up to `SHAKE` times higher or lower.

    python scripts/corpus.py --records FOLDER [--jobs 2]
    python scripts/corpus.py --records FOLDER --repaired [--jobs 2]
    python scripts/margins.py FOLDER [--only GLOB] [--seeds FILE] [--write]

``--seeds`` takes in what `scripts/seeds.py --json FILE` wrote. ``--write`` keeps the margins in diagnose/rules/margins.json, where
`python -m diagnose explain` finds them, and writes docs/margins.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from diagnose.record import Record  # noqa: E402
from diagnose.rules import Rule, build, run  # noqa: E402
from diagnose.values import Severity  # noqa: E402
from scripts.margins_page import factor, lines, over_seeds, page, table  # noqa: E402

KEPT = ROOT / "diagnose" / "rules" / "margins.json"
PAGE = ROOT / "docs" / "margins.md"
REACH = 32.0
LADDER = (1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 8.0, REACH)
STEPS = 12
SHAKE = 1.25
DRAWS = 50


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
class Turn:
    """The value of a threshold at which the verdict of its rule on one program changes."""

    value: float
    program: str


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Where a threshold begins to do harm.

    Attributes:
        code: Of the rule.
        threshold: Its name.
        value: What it is.
        healthy: Where healthy programs get an alarm of the rule, the nearest first; empty where none does within `REACH`.
        faulty: Where faults that the rule finds are lost, the nearest first.
    """

    code: str
    threshold: str
    value: float
    healthy: tuple[Turn, ...]
    faulty: tuple[Turn, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: of each side the nearest."""
        sides = {"healthy": self.healthy, "faulty": self.faulty}
        return {"value": self.value} | {side: [float(f"{t[0].value:.4g}"), t[0].program] for side, t in sides.items() if t}

    def without(self, program: str) -> float | None:
        """The geometric middle between the nearest healthy and the nearest faulty program other than this; ``None`` if a side is empty."""
        healthy = next((t.value for t in self.healthy if t.program != program), None)
        faulty = next((t.value for t in self.faulty if t.program != program), None)
        if not healthy or not faulty:
            return None
        middle = math.sqrt(healthy * faulty)
        return round(middle) if isinstance(self.value, int) else middle


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


def turning(case: Case, rule: Rule, name: str, upwards: bool) -> float | None:
    """The first value of a threshold, from its own up or down, at which the verdict on a case changes; ``None`` within `REACH`."""
    own = getattr(rule, name)

    def scaled(times: float) -> float:
        value = own * times if upwards else own / times
        return round(value) if isinstance(own, int) else float(value)

    def changed(times: float) -> bool:
        return case.alarmed(replace(rule, **{name: scaled(times)})) != verdict

    verdict = case.alarmed(rule)
    for same, other in pairwise(LADDER):
        if changed(other):
            for _ in range(STEPS):
                middle = math.sqrt(same * other)
                same, other = (same, middle) if changed(middle) else (middle, other)
            return scaled(other)
    return None


def margin(cases: Sequence[Case], rule: Rule, name: str) -> Margin:
    """The healthy and the faulty cases that bound one threshold, on either side of it."""
    own = getattr(rule, name)

    def turns(some: Sequence[Case], upwards: bool) -> tuple[Turn, ...]:
        found = [(value, case.name) for case in some if (value := turning(case, rule, name, upwards)) is not None]
        return tuple(Turn(value=value, program=program) for value, program in sorted(found, key=lambda turn: factor(own, turn[0])))

    healthy = [c for c in cases if not c.rules and not c.alarmed(rule)]
    found = [c for c in cases if rule.name in c.rules and c.alarmed(rule)]
    ways = [(turns(healthy, upwards), turns(found, not upwards)) for upwards in (True, False)]
    alarms, lost = max(ways, key=lambda way: (len(way[0]), len(way[1])))
    return Margin(code=rule.code, threshold=name, value=own, healthy=alarms, faulty=lost)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What becomes of programs that bound a threshold, judged by thresholds that were placed without them.

    Attributes:
        faulty: How many faulty programs bound a threshold with others on both sides.
        lost: Those of them that are no longer found.
        healthy: How many healthy ones do.
        accused: Those of them that get an alarm.
        alone: Thresholds with a single program on one of two sides, so that nothing is left to place them by.
    """

    faulty: int
    lost: tuple[str, ...]
    healthy: int
    accused: tuple[str, ...]
    alone: int


def leave_out(cases: Sequence[Case], margins: Sequence[Margin], rules: Sequence[Rule]) -> LeftOut:
    """Leave each program out in turn, place the thresholds that it bounds by the others, and judge it."""
    bounded: dict[str, dict[str, dict[str, float]]] = {}
    alone = 0
    for m in margins:
        if m.healthy and m.faulty:
            for program in (m.healthy[0].program, m.faulty[0].program):
                placed = m.without(program)
                alone += placed is None
                if placed is not None:
                    bounded.setdefault(program, {}).setdefault(m.code, {})[m.threshold] = placed
    lost, accused = [], []
    tried = [case for case in cases if case.name in bounded]
    for case in tried:
        raised = {rule.name for rule in rules if case.alarmed(replace(rule, **bounded[case.name].get(rule.code, {})))}
        if case.rules and not raised & set(case.rules):
            lost.append(case.name)
        if not case.rules and raised:
            accused.append(case.name)
    faulty = sum(bool(case.rules) for case in tried)
    return LeftOut(faulty=faulty, lost=tuple(lost), healthy=len(tried) - faulty, accused=tuple(accused), alone=alone)


@dataclass(frozen=True, kw_only=True)
class Shaken:
    """What becomes of all programs while every threshold is moved by chance, up to ``times`` higher or lower, ``draws`` times.

    Attributes:
        times: How far.
        draws: How often.
        found: Faulty programs that a rule which names them finds: the mean over the draws.
        fewest: The same in the worst draw.
        accused: Healthy programs that got an alarm, and in how many draws.
    """

    times: float
    draws: int
    found: float
    fewest: int
    accused: dict[str, int]


def shake(cases: Sequence[Case], rules: Sequence[Rule], draws: int = DRAWS) -> Shaken:
    """Move all thresholds at once, by factors drawn evenly on the scale of logarithms; shares above one half by their distance from 1."""
    random = Random(0)

    def moved(value: float) -> float:
        times: float = SHAKE ** random.uniform(-1, 1)
        if isinstance(value, int):
            return value + int(value * times - value)  # never further than that
        return 1 - (1 - value) * times if 0.5 < value < 1 else value * times

    found, accused = [], Counter[str]()
    for _ in range(draws):
        others = [replace(rule, **{name: moved(value) for name, value in numbers(rule)}) for rule in rules]
        raised = {case.name: {rule.name for rule in others if case.alarmed(rule)} for case in cases}
        found.append(sum(bool(raised[case.name] & set(case.rules)) for case in cases))
        accused.update(case.name for case in cases if not case.rules and raised[case.name])
    return Shaken(times=SHAKE, draws=draws, found=round(sum(found) / draws, 1), fewest=min(found), accused=dict(accused.most_common()))


def measured(cases: Sequence[Case], only: str = "*") -> dict[str, Any]:
    """All that is kept about the thresholds of the chosen rules, as JSON values."""
    rules = build()
    margins = [margin(cases, rule, name) for rule in rules if fnmatch(rule.code, only) for name, _ in numbers(rule)]
    by_rule: dict[str, dict[str, Any]] = {}
    for m in margins:
        by_rule.setdefault(m.code, {})[m.threshold] = m.to_dict()
    faulty = sum(bool(case.rules) for case in cases)
    return {
        "date": f"{date.today()}",
        "faulty": faulty,
        "healthy": len(cases) - faulty,
        "reach": REACH,
        "left_out": asdict(leave_out(cases, margins, rules)),
        "shaken": asdict(shake(cases, rules)),
        "margins": by_rule,
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="what scripts/corpus.py --records wrote")
    parser.add_argument("--only", default="*", metavar="GLOB", help="codes of rules, such as 'T3*'")
    parser.add_argument("--seeds", type=Path, metavar="FILE", help="what scripts/seeds.py --json wrote")
    parser.add_argument("--write", action="store_true", help="keep the margins of all rules in the package and write docs/margins.md")
    args = parser.parse_args()
    if args.write and args.only != "*":
        parser.error(f"--write keeps the margins of all rules together, got --only {args.only!r}: leave one of them out")
    if args.folder is None and not (args.seeds and args.write):
        parser.error("expected a folder of evidence, or --seeds and --write to renew the figures over seeds alone")
    warnings.filterwarnings("ignore", category=RuntimeWarning)  # of thresholds so far out that nothing is left to take a mean of
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    if args.folder is not None:
        kept |= measured(read(args.folder), args.only)
        print(table(kept["margins"]) + f"\nleft out: {kept['left_out']}\nshaken: {kept['shaken']}")
    if args.seeds:
        kept["seeds"] = over_seeds(args.seeds)
        print(f"seeds: {kept['seeds']}")
    if args.write:
        KEPT.write_text(lines(kept), encoding="utf-8")
        PAGE.write_text(page(kept), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
