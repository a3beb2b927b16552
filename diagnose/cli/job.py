"""What the commands that make a run share: composing it, once or per combination, and ending it with a report."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from traceback import print_exc
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import Composed, combinations, config, normalise
from diagnose.cli.result import Result
from diagnose.cli.runs import Stages, Unwritten
from diagnose.cli.sweep import print_table, write_page
from diagnose.record import Record
from diagnose.rules import Rule, build
from diagnose.rules import diagnose as judge
from diagnose.values import Severity

USAGE_ERROR, INTERRUPTED = 2, 130
DISTRIBUTIONS = ("torch", "lightning", "torchmetrics", "scikit-learn", "numpy", "openTSNE", "hydra-core")


@dataclass(kw_only=True)
class Job:
    """A run that is to be made.

    Attributes:
        composed: Its config.
        settings: The config as plain values.
        rules: The rules to judge by.
        fail_on: The severity from which a finding makes the exit status 1.
        console: Where it speaks; not standard output under ``--json``.
        stages: Where its seconds go.
    """

    composed: Composed
    settings: dict[str, Any]
    rules: tuple[Rule, ...]
    fail_on: Severity
    console: Console
    stages: Stages = field(default_factory=Stages)


def repeat(arguments: Arguments, command: str, once: Callable[[Job], Result]) -> int:
    """Compose and make a run; with ``--multirun`` one per combination, each in its own folder, and a table at the end.

    All are composed before the first starts. One that cannot be made does not cost the others; Ctrl-C ends them all.

    Returns:
        The worst exit status.

    Raises:
        UsageError: A run cannot be composed, or the only one cannot be made.
    """
    overrides = normalise(arguments.words, arguments.config_dir)
    sweep = list(combinations(overrides)) if arguments.multirun else [overrides]
    jobs = [prepare(arguments, command, own) for own in sweep]
    if arguments.cfg:
        print(shown(arguments, jobs[0].composed))
        return 0
    for job in jobs if len(jobs) > 1 else ():
        if (job.settings.get("trainer") or {}).get("devices", 1) != 1:  # every process would be launched anew per run
            raise UsageError("--multirun runs on one device; set trainer.devices=1, or start the runs one by one")
    results: list[Result] = []
    for job in jobs:
        try:
            results.append(once(job))
        except UsageError as error:
            if len(jobs) == 1:
                raise
            job.console.print(f"diagnose: {error}", style="red", markup=False, soft_wrap=True)
            results.append(Result(status=USAGE_ERROR, error=str(error)))
        except Exception as error:
            if len(jobs) == 1:
                raise
            print_exc()
            results.append(Result(status=1, error=f"{type(error).__name__}: {error}"))
        if results[-1].status == INTERRUPTED:
            break
    if arguments.json:
        documents = [result.to_dict() for result in results]
        print(json.dumps(documents if arguments.multirun else documents[0], indent=1, allow_nan=False))
    elif arguments.multirun:
        print_table(sweep, results, jobs[0].console)
    if arguments.multirun and command == "train" and (page := write_page(sweep, results, command)):
        jobs[0].console.print(str(page), markup=False, soft_wrap=True)
    return max(result.status for result in results)


def prepare(arguments: Arguments, command: str, overrides: list[str]) -> Job:
    composed = config(arguments, command, overrides)
    values = OmegaConf.to_container(composed.config, resolve=True)
    assert isinstance(values, dict)
    settings = {str(k): v for k, v in values.items()}
    console = Console(stderr=arguments.json, highlight=False)
    rules, fail_on = chosen_rules(settings.get("rules") or {}), severity(settings.get("fail_on", "error"))
    return Job(composed=composed, settings=settings, rules=rules, fail_on=fail_on, console=console)


def shown(arguments: Arguments, composed: Composed) -> str:
    """The config as ``--cfg`` asks for it."""
    if arguments.cfg not in ("job", "hydra", "all"):
        raise UsageError(f"--cfg must be job, hydra or all, got {arguments.cfg!r}")
    parts = []
    if arguments.cfg in ("hydra", "all"):
        parts.append(OmegaConf.to_yaml(OmegaConf.create({"hydra": composed.hydra})))
    if arguments.cfg in ("job", "all"):
        parts.append(OmegaConf.to_yaml(composed.config, resolve=arguments.resolve))
    return "\n".join(parts).rstrip()


def chosen_rules(chosen: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules that the group ``rules`` chooses; one name may stand for a list of one."""
    names = {key: [v] if isinstance(v := chosen.get(key) or [], str) else v for key in ("select", "ignore")}
    try:
        rules = build(names["select"], names["ignore"], chosen.get("options") or {})
    except (TypeError, ValueError) as error:
        raise UsageError(f"rules: {error}") from error
    for rule in rules:
        usual = type(rule)().thresholds()
        for name, value in rule.thresholds().items():
            if isinstance(usual[name], int | float) and not isinstance(value, int | float):
                raise UsageError(f"rules.{rule.name}.{name} must be a number, such as {usual[name]!r}; got {value!r}")
    return rules


def severity(name: object) -> Severity:
    """``fail_on`` as a severity."""
    try:
        return Severity(str(name))
    except ValueError as error:
        raise UsageError(f"fail_on must be one of {', '.join(s.value for s in Severity)}, got {name!r}") from error


def versions(*names: str) -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in names or DISTRIBUTIONS}}


def finish(record: Record, folder: Path, *, rules: tuple[Rule, ...], fail_on: Severity, stages: Stages, console: Console) -> Result:
    """Judge a record, write the report into the run's folder, print the summary.

    Raises:
        Unwritten: The report cannot be written.
    """
    with stages("judge"):
        diagnosis = judge(record, rules)
    with stages("report"):
        from diagnose.report import build_report, write_report
        from diagnose.report.terminal import print_summary

        report = build_report(record, diagnosis, created=datetime.now().isoformat(sep=" ", timespec="minutes"))
        try:
            paths = write_report(report, folder, fail_on=fail_on)
        except OSError as error:
            raise Unwritten(f"{error}\nthe record is kept; try again by: python -m diagnose report {folder}") from error
    record.add("stages", stages.rows())
    print_summary(replace(report, stages=()), console)  # they follow, with the report's own
    checkpoint = record.facts.get("run", {}).get("checkpoint")
    if checkpoint:
        console.print(f"{'checkpoint':11}{checkpoint}", style="dim", markup=False, soft_wrap=True)
    console.print(f"{'seconds':11}{stages}", style="dim", soft_wrap=True)
    console.print(str(paths["html"].absolute()), markup=False, soft_wrap=True)
    return Result(status=int(bool(diagnosis.at_or_above(fail_on))), folder=folder.absolute(), report=report)
