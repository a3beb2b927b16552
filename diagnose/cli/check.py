"""``check``: what can be known before training."""

from __future__ import annotations

from contextlib import closing

from diagnose.cli import runs
from diagnose.cli.arguments import Arguments
from diagnose.cli.job import Job, finish, repeat
from diagnose.cli.result import Result
from diagnose.record import Record


def run(arguments: Arguments) -> int:
    return repeat(arguments, "check", once)


def once(job: Job) -> Result:
    settings = job.settings
    with job.stages("import"):
        from diagnose.cli import setup
        from diagnose.experiments.check import check
    setup.prepare(settings)
    with job.stages("data"):
        data = setup.data(settings)
    module = setup.module(settings, data)
    with runs.folder(job.composed) as folder, closing(Record(folder / "record")) as record:
        trainer = setup.trainer(settings, folder, setup.callbacks(settings, folder, module), module)
        setup.describe(record, job, "check")
        with job.stages("check"):
            check(module, datamodule=data, trainer=trainer, record=record, rules=job.rules)
        record.add("stages", job.stages.rows())
        result = finish(record, folder, rules=job.rules, fail_on=job.fail_on, stages=job.stages, console=job.console)
    return result
