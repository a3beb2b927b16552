"""``explain CODE``: the page of a rule."""

from __future__ import annotations

import inspect

from rich.console import Console
from rich.markdown import Markdown

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.rules import find


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
        thresholds = [f"- `rules.{rule.name}.{name}` = {value!r}" for name, value in rule().thresholds().items()]
        text = f"# {rule.code} {rule.name} ({rule.severity.value})\n\n{page}\n\n## Thresholds\n" + ("\n".join(thresholds) or "none")
        console.print(Markdown(text))
    return 0
