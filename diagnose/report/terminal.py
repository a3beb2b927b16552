"""The last thing that a run prints: what was found, what to do, the numbers, the path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diagnose.report.html import TONES
from diagnose.report.text import clean, duration, number, sentence
from diagnose.report.values import Report
from diagnose.values import COLOURS

if TYPE_CHECKING:
    from rich.console import Console

MEMBERS = 12  # rows of an ensemble's table
TONE = {"error": "bold red", "warning": "bold yellow", "interrupted": "bold yellow", "clean": "bold green", "unknown": "bold"}


def print_summary(report: Report, console: Console, path: Path | None = None) -> None:
    """Print the summary of a report; names from the run are plain text, never markup and never terminal codes.

    Args:
        report: What to print.
        console: Where to.
        path: The page that was written; its absolute path is the last line.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.print(Text.assemble(((report.badge or TONES[report.tone]).capitalize(), TONE[report.tone]), "  ", clean(report.verdict)))
    fixes: dict[str, str] = {}
    for f in report.diagnosis.findings:
        console.print()
        head = Text.assemble((f"{f.severity.value:8}", COLOURS[f.severity]), (clean(f"{f.code} {f.rule}"), "bold"))
        head.append(f"  {clean(f.where)}" if f.where else "", "dim")
        console.print(head)
        console.print(Padding(Text(clean(sentence(f.message))), (0, 0, 0, 8)))
        if f.fix and fixes.get(f.code) != f.fix:  # what helps against nine of a kind is said once
            console.print(Padding(Text.assemble(("fix  ", "green"), clean(sentence(f.fix))), (0, 0, 0, 8)))
        fixes[f.code] = f.fix
        if f.override:
            console.print(Padding(Text(clean(f.override), "cyan"), (0, 0, 0, 13)))
    if report.headlines:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for column, justify in (("", "left"), ("value", "right"), ("95 % interval", "left"), ("baseline", "left")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        scope = ""
        for h in report.headlines:
            if h.scope != scope:
                scope = h.scope
                table.add_row(Text(clean(scope), "dim"))
            span = "" if h.low is None else f"{number(h.low)} – {number(h.high)}"
            base = "" if h.baseline is None else f"{number(h.baseline)} {h.baseline_name}"
            table.add_row(*(Text(clean(v), style) for v, style in ((h.name, ""), (number(h.value), "bold"), (span, ""), (base, ""))))
        console.print()
        console.print(table)
    print_ensemble(report, console)
    console.print()
    console.print(Text(report.diagnosis.summary(), "dim"))
    if report.diagnosis.obstacle:
        console.print(Text(clean(report.diagnosis.obstacle), "yellow"))
    if report.stages:
        spent = sum(seconds for _, seconds in report.stages)
        parts = "  ".join(f"{clean(name)} {duration(seconds)}" for name, seconds in report.stages)
        console.print(Text(f"{duration(spent)} in all: {parts}", "dim"))
    if path is not None:
        console.print(Text.assemble("Report  ", (str(path.resolve()), "bold")), soft_wrap=True)


def print_ensemble(report: Report, console: Console) -> None:
    """The members of an ensemble, their mean and their vote, and what the ensemble gains."""
    from rich.table import Table
    from rich.text import Text

    section = next((s for s in report.sections if s.name == "ensemble"), None)
    if section is None or not section.tables:
        return
    shown = section.tables[0]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column, kind in zip(shown.columns[:5], shown.formats, strict=False):
        table.add_column(column, justify="left" if kind == "text" else "right")
    rows = shown.rows if len(shown.rows) <= MEMBERS else (*shown.rows[: MEMBERS - 4], *shown.rows[-3:])
    for row in rows:
        table.add_row(*(Text(clean(v) if isinstance(v, str) else number(v)) for v in row[:5]))
    console.print()
    console.print(table)
    for note in section.notes:
        console.print(Text(clean(note), "dim"))
