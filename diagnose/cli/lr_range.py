"""``lr_range``: suggest a learning rate for the run that ``train`` would make with the same words."""

from __future__ import annotations

from diagnose.cli.arguments import Arguments
from diagnose.cli.finding import find
from diagnose.cli.job import Job, repeat
from diagnose.cli.result import Result


def run(arguments: Arguments) -> int:
    return repeat(arguments, "lr_range", once)


def once(job: Job) -> Result:
    from diagnose.experiments.rate_range import lr_range

    return find(job, "lr_range", lr_range)
