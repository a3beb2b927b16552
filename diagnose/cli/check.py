"""``check``: what can be known before training."""

from __future__ import annotations

from rich.console import Console

from diagnose.cli import runs
from diagnose.cli.arguments import Arguments
from diagnose.cli.compose import Composed
from diagnose.cli.train import chosen_rules, finish, plain, repeat, threshold, versions
from diagnose.record import Record
from diagnose.report.values import Report


def run(arguments: Arguments) -> int:
    return repeat(arguments, "check", _check)


def _check(arguments: Arguments, composed: Composed) -> tuple[int, Report]:
    stages = runs.Stages()
    settings = plain(composed)
    rules, fail_on = chosen_rules(settings), threshold(settings)
    console = Console(stderr=arguments.json, highlight=False)
    with stages("import"):
        from diagnose.cli import setup
        from diagnose.experiments.check import check
    setup.prepare(settings)
    data = setup.data(settings)
    module = setup.module(settings, data)
    folder = runs.create(composed)
    trainer = setup.trainer(settings, folder, setup.callbacks(settings, folder))
    record = Record(folder / "record")
    record.add("config", runs.redacted(composed.config))
    record.add("config_keys", setup.config_keys(settings))
    record.add("run", {"command": "check", "seed": settings["seed"], "versions": versions(), "interrupted": ""})
    with stages("check"):
        check(module, datamodule=data, trainer=trainer, record=record, rules=rules)
    result = finish(record, rules, folder, stages, arguments, console, fail_on=fail_on)
    record.close()
    return result
