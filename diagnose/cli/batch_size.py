"""``batch_size``: which batch sizes fit and are worth it, for the run that ``train`` would make with the same words."""

from __future__ import annotations

from functools import partial

from diagnose.cli.arguments import Arguments
from diagnose.cli.finding import find
from diagnose.cli.job import Job, repeat
from diagnose.cli.result import Result


def run(arguments: Arguments) -> int:
    return repeat(arguments, "batch_size", once)


def once(job: Job) -> Result:
    from diagnose.experiments.batch_size import batch_size

    options = dict(job.settings.get("batch_size") or {})
    memory = options.pop("memory", None)
    return find(job, "batch_size", partial(batch_size, memory=None if memory is None else int(memory * 2**30)), options)
