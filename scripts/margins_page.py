"""What `scripts/margins.py` measured, as the table, the page docs/margins.md, and the file that `python -m diagnose explain` reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diagnose.rules import build
from scripts.corpus import Result
from scripts.seeds import summary

WEAK = 1.25
TEXT = """# Margins of the thresholds

Measured on {date} over {faulty} faulty programs and {healthy} healthy ones: `tests/corpus`, `tests/healthy`, and the faulty ones mended.
`scripts/margins.py` says how to measure again, and writes this page; `python -m diagnose explain T304` gives the margins of one rule.

A margin is how far a threshold can be moved, all others left as they are, until the first healthy program gets an alarm of the rule, or the
first fault is missed that the rule finds now. In brackets how many times away that is, and which program it is; shares above one half are
measured from 1. What is not in the table changes no verdict up to {reach:.0f} times higher or lower. No threshold at all, but exact facts,
decide {exact}. Rules that only say `info` never alarm.

## Leave one out

Programs that bound a threshold were judged by thresholds placed without them: in the geometric middle between the nearest others on both
sides. Of {left[faulty]} faulty ones {missed}; of {left[healthy]} healthy ones {accused}. {left[alone]} times a program stands alone on its
side, so that nothing is left to place the threshold by.

## All at once

Every threshold was moved by chance, up to {shaken[times]} times higher or lower, in {shaken[draws]} draws: of {faulty} faulty programs
{shaken[found]} were found in the mean and {shaken[fewest]} in the worst, and {shaky}.

## Seeds

Each program was run with up to {seeds[seeds]} seeds for data, splits and weights. The cause was named in {seeds[named]} of
{seeds[runs]} runs of {seeds[faulty]} faulty programs, and in at least nine of ten runs of each but {few}{fewer}. Of {seeds[healthy_runs]}
runs of {seeds[healthy]} healthy programs {seeds[false_alarms]} gave an alarm. `python scripts/seeds.py` measures again.

## Healthy programs nearer than {weak} times

{near}. Where there is one, a false alarm is likeliest.

## All margins

{table}"""


def factor(value: float, other: float, *, share: bool = False) -> float:
    """How many times one value is the other, never below 1; shares are measured from 1, infinite at 1 itself."""
    if share:
        value, other = 1 - value, max(0.0, 1 - other)
    return max(value / other, other / value) if value * other > 0 else math.inf


def is_share(entry: Mapping[str, Any]) -> bool:
    """Whether a threshold looks like a share above one half: nothing turns beyond 1."""
    return 0.5 < entry["value"] < 1 and all(entry[side][0] < 1 + 1e-3 for side in ("healthy", "faulty") if side in entry)


def words(entry: Mapping[str, Any], side: str) -> str:
    """A cell of the table: where a side begins, how many times away, and by which program."""
    if side not in entry:
        return "-"
    value, program = entry[side]
    away = factor(entry["value"], value, share=is_share(entry))
    return f"{value:.3g} (" + (f"{away:.3g} ×, " if math.isfinite(away) else "its bound, ") + f"{program})"


def table(margins: Mapping[str, Mapping[str, Any]]) -> str:
    """The margins as a Markdown table; thresholds without any are left out."""
    head = "| rule | threshold | is | a healthy program gets an alarm at | a fault is missed at |\n|---|---|--:|---|---|\n"
    rows = [(code, name, m) for code, of in margins.items() for name, m in of.items() if len(m) > 1]
    return head + "".join(
        f"| {code} | `{name}` | {m['value']:g} | {words(m, 'healthy')} | {words(m, 'faulty')} |\n" for code, name, m in rows
    )


def near(margins: Mapping[str, Mapping[str, Any]]) -> str:
    """The thresholds to which a healthy program is nearer than `WEAK` times."""
    rows = [(code, name, m) for code, of in margins.items() for name, m in of.items() if "healthy" in m]
    return (
        ", ".join(f"{code} `{name}`" for code, name, m in rows if factor(m["value"], m["healthy"][0], share=is_share(m)) < WEAK) or "None"
    )


def counted(programs: Sequence[str], became: str) -> str:
    """How many programs became something, and which."""
    return f"{len(programs)} {became}" + (f" ({', '.join(programs)})" if programs else "")


def page(kept: Mapping[str, Any]) -> str:
    """The page of all that is kept."""
    left, seeds = kept["left_out"], kept["seeds"]
    fewer = ", ".join(f"{program} {hits} of {runs}" for program, (hits, runs) in seeds["fewer"].items())
    accused = [f"{program} in {times}" for program, times in kept["shaken"]["accused"].items()]
    return TEXT.format(
        **kept,
        left=left,
        weak=WEAK,
        exact=", ".join(rule.code for rule in build() if not rule.thresholds()),
        missed=counted(left["lost"], "were missed"),
        accused=counted(left["accused"], "got an alarm"),
        few=len(seeds["fewer"]),
        shaky=f"{len(accused)} of {kept['healthy']} healthy ones got an alarm in any" + (f" ({', '.join(accused)})" if accused else ""),
        fewer=f" ({fewer})" if fewer else "",
        near=near(kept["margins"]),
        table=table(kept["margins"]),
    )


def lines(kept: Mapping[str, Any]) -> str:
    """All that is kept as JSON, with one line per rule."""
    rules = ",\n".join(f"  {json.dumps(code)}: {json.dumps(of)}" for code, of in kept["margins"].items())
    rest = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in kept.items() if key != "margins")
    return f'{{\n{rest} "margins": {{\n{rules}\n }}\n}}\n'


def over_seeds(file: Path) -> dict[str, Any]:
    """The figures of what `scripts/seeds.py` kept."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return summary({case: [Result(**result) for result in seeds.values()] for case, seeds in kept.items()})
