"""``rules``: the catalogue."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.rules import Rule, catalogue
from diagnose.values import COLOURS


def headline(rule: type[Rule]) -> str:
    """The first line of a rule's page."""
    return (rule.__doc__ or "").strip().splitlines()[0]


def run(arguments: Arguments) -> int:
    if arguments.words:
        raise UsageError(f"rules takes no arguments, got {' '.join(arguments.words)!r}; a single rule: python -m diagnose explain T302")
    if arguments.json:
        rows = [
            {"code": r.code, "name": r.name, "severity": r.severity.value, "summary": headline(r), "needs": list(r.needs)}
            for r in catalogue()
        ]
        print(json.dumps(rows, indent=1))
        return 0
    table = Table(box=None, padding=(0, 1))
    for column in ("code", "name", "severity", "found when"):
        table.add_column(column, no_wrap=column != "found when")
    for rule in catalogue():
        table.add_row(rule.code, rule.name, f"[{COLOURS[rule.severity]}]{rule.severity.value}[/]", headline(rule))
    Console().print(table)
    return 0
