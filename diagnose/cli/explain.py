"""``explain CODE``: the page of a rule."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.rules import Rule, find


@cache
def measured() -> Mapping[str, Any]:
    """The margins that scripts/margins.py measured."""
    kept: Mapping[str, Any] = json.loads(files("diagnose.rules").joinpath("margins.json").read_text(encoding="utf-8"))
    return kept


def margin(kept: Mapping[str, Any] | None, value: Any) -> str:
    """How far a threshold is from the nearest programs, or "" where none is near."""
    if kept is None:
        return " (its margin was not measured yet)"
    if kept["value"] != value:
        return f" (margins were measured at {kept['value']:g})"
    sides = [("healthy", "alarm on a healthy program at"), ("faulty", "fault missed at")]
    return "".join(f"; {said} {kept[side][0]:.3g}" for side, said in sides if side in kept)


def thresholds(rule: Rule) -> Iterator[str]:
    """The thresholds of a rule with their margins, as lines of Markdown."""
    margins = measured()["margins"].get(rule.code, {})
    for name, value in rule.thresholds().items():
        yield f"- `rules.{rule.name}.{name}` = {value!r}{margin(margins.get(name), value) if margins else ''}"
    if not rule.thresholds():
        yield "None: it judges by exact facts."
    elif margins:
        kept = measured()
        yield (
            f"\nMargins, measured on {kept['date']}: the nearest of {kept['healthy']} healthy and {kept['faulty']} faulty programs, all "
            f"other thresholds as they are; none up to {kept['reach']:g} times away where none is given."
        )


def run(arguments: Arguments) -> int:
    if not arguments.words:
        raise UsageError("explain needs the code or name of a rule, for example: python -m diagnose explain T302")
    console = Console()
    for word in arguments.words:
        try:
            rule = find(word)
        except ValueError as error:
            raise UsageError(str(error)) from error
        page = inspect.cleandoc(rule.__doc__ or "")
        heading = f"# {rule.code} {rule.name} ({rule.severity.value})"
        text = f"{heading}\n\n{page}\n\n## Thresholds\n" + "\n".join(thresholds(rule()))
        console.print(Markdown(text))
    return 0
