"""``train``: check, train with the doctor, evaluate on the test part from the best checkpoint, write the report."""

from __future__ import annotations

import json
import platform
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from diagnose.cli import runs
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import Composed, combinations, config, normalise
from diagnose.record import Record
from diagnose.report import build_report, write_report
from diagnose.report.terminal import print_summary
from diagnose.report.values import Report
from diagnose.rules import Rule, build
from diagnose.rules import diagnose as judge
from diagnose.values import Severity

INTERRUPTED = 130
DISTRIBUTIONS = ("torch", "lightning", "torchmetrics", "scikit-learn", "numpy", "openTSNE", "hydra-core")


def run(arguments: Arguments) -> int:
    """Run the command once, or once per combination under ``--multirun``."""
    return repeat(arguments, "train", train)


def repeat(arguments: Arguments, command: str, once: Any) -> int:
    """Compose and run a command; with ``--multirun`` once per combination, with a table at the end. The worst exit status counts."""
    overrides = normalise(arguments.words, arguments.config_dir)
    sweeps = list(combinations(overrides)) if arguments.multirun else [overrides]
    results = []
    for own in sweeps:
        composed = config(arguments, own)
        OmegaConf.update(composed.config, "command", command, force_add=True)
        OmegaConf.update(composed.hydra, "run.dir", _run_dir(composed), force_add=True)
        if arguments.cfg:
            print(_shown(arguments, composed))
            return 0
        results.append((own, *once(arguments, composed)))
    if len(results) > 1 and not arguments.json:
        _table(results)
    return max(int(status) for _, status, _ in results)


def _run_dir(composed: Composed) -> str:
    """Hydra's ``run.dir`` with the run's own ``output_dir`` and ``command`` filled in."""
    raw: Any = OmegaConf.to_container(composed.hydra, resolve=False)
    return str(OmegaConf.create({**plain(composed), "dir": raw["run"]["dir"]}).dir)


def _shown(arguments: Arguments, composed: Composed) -> str:
    if arguments.cfg not in ("job", "hydra", "all"):
        raise UsageError(f"--cfg must be job, hydra or all, got {arguments.cfg!r}")
    parts = []
    if arguments.cfg in ("hydra", "all"):
        parts.append(OmegaConf.to_yaml(OmegaConf.create({"hydra": composed.hydra})))
    if arguments.cfg in ("job", "all"):
        parts.append(OmegaConf.to_yaml(composed.config, resolve=arguments.resolve))
    return "\n".join(parts).rstrip()


def _table(results: list[tuple[list[str], int, Report]]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2))
    for column in ("run", "headline", "findings", "status"):
        table.add_column(column)
    for own, status, report in results:
        numbers = ", ".join(f"{h.name} {h.value:.4f}" for h in report.headlines[:2] if h.value is not None)
        worst = report.diagnosis.worst
        table.add_row(" ".join(own), numbers, f"{len(report.diagnosis.findings)} ({worst.value if worst else 'clean'})", str(status))
    Console().print(table)


def chosen_rules(settings: dict[str, Any]) -> tuple[Rule, ...]:
    """The rules that the group ``rules`` chooses."""
    known = {k: settings["rules"].get(k) for k in ("select", "ignore", "options")}
    try:
        return build(known["select"] or (), known["ignore"] or (), known["options"] or {})
    except ValueError as error:
        raise UsageError(str(error)) from error


def threshold(settings: dict[str, Any]) -> Severity:
    """``fail_on`` as a severity."""
    try:
        return Severity(str(settings["fail_on"]))
    except ValueError as error:
        raise UsageError(f"fail_on must be one of {', '.join(s.value for s in Severity)}, got {settings['fail_on']!r}") from error


def plain(composed: Composed) -> dict[str, Any]:
    """The config as plain values."""
    values = OmegaConf.to_container(composed.config, resolve=True)
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in DISTRIBUTIONS}}


def finish(
    record: Record, rules: tuple[Rule, ...], folder: Path, stages: runs.Stages, arguments: Arguments, console: Console, *, fail_on: Severity
) -> tuple[int, Report]:
    """Judge the record, write the report, print the summary; returns the exit status and the report."""
    if stages.seconds:
        record.add("stages", stages.rows())
    with stages("report"):
        diagnosis = judge(record, rules)
        report = build_report(
            record, diagnosis, title=f"diagnose {record.facts['run']['command']}", created=datetime.now().isoformat(timespec="seconds")
        )
        try:
            paths = write_report(report, folder, fail_on=fail_on)
        except OSError as error:
            raise UsageError(
                f"the report cannot be written to {str(folder)!r}: {error}\nthe record is kept; try again by: diagnose report {folder}"
            ) from error
    if arguments.json:
        print(json.dumps({"folder": str(folder), "report": str(paths["html"]), **diagnosis.to_dict()}, indent=1, allow_nan=False))
    else:
        print_summary(report, console)
        console.print(f"report written in {stages.seconds['report']:.1f} s", style="dim")
        console.print(str(paths["html"].absolute()), highlight=False, soft_wrap=True)
    return int(bool(diagnosis.at_or_above(fail_on))), report


def train(arguments: Arguments, composed: Composed) -> tuple[int, Report]:
    """One training from check to report."""
    stages = runs.Stages()
    settings = plain(composed)
    rules, fail_on = chosen_rules(settings), threshold(settings)
    console = Console(stderr=arguments.json, highlight=False)
    with stages("import"):
        from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

        from diagnose.callbacks import Doctor
        from diagnose.cli import setup
        from diagnose.cli.progress import LiveProgress
        from diagnose.evaluation import evaluate
        from diagnose.experiments.check import check
    setup.prepare(settings)
    data = setup.data(settings)
    module = setup.module(settings, data)
    resume = _existing(settings["ckpt_path"])
    folder = runs.create(composed)
    console.print(
        f"run       {folder}\nseed      {settings['seed']}\nversions  " + "  ".join(f"{k} {v}" for k, v in versions().items()),
        soft_wrap=True,
    )
    record = Record(folder / "record")
    record.add("config", runs.redacted(composed.config))
    record.add("config_keys", setup.config_keys(settings))
    record.add("run", {"command": "train", "seed": settings["seed"], "versions": versions(), "started": time.time(), "interrupted": ""})
    doctor = Doctor(record=record, rules=rules, **(settings["callbacks"].get("doctor") or {}))
    own = setup.callbacks(settings, folder)
    trainer = setup.trainer(settings, folder, [*own, doctor, LiveProgress(console)])
    status = 0
    try:
        with stages("check"):
            check(module, datamodule=data, trainer=trainer, record=record, rules=rules)
        with stages("fit"):
            trainer.fit(module, datamodule=data, ckpt_path=resume)
        stopper = next((c for c in own if isinstance(c, EarlyStopping)), None)
        saver = next((c for c in own if isinstance(c, ModelCheckpoint)), None)
        best = saver.best_model_path if saver is not None else ""
        stopped = str(getattr(stopper, "stopping_reason_message", "") or "") if stopper is not None and stopper.stopped_epoch else ""
        _update(record, stopped=stopped or f"max_epochs={trainer.max_epochs} reached", checkpoint=_relative(best, folder))
        with stages("evaluate"):
            if best:
                module.load_state_dict(_weights(Path(best)))
            names = getattr(data, "class_names", None)
            evaluate(
                module, data.test_dataloader(), record=record, layers=settings["layers"], class_names=names, seed=int(settings["seed"])
            )
    except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into exit(1) after its own cleaning up
        where = f"interrupted at epoch {trainer.current_epoch}, step {trainer.global_step}"
        _update(record, interrupted=where)
        console.print(where, style="yellow")
        status = INTERRUPTED
    own_status, report = finish(record, rules, folder, stages, arguments, console, fail_on=fail_on)
    record.close()
    return status or own_status, report


def _update(record: Record, **values: Any) -> None:
    record.add("run", {**record.facts.get("run", {}), **values})


def _existing(path: str | None) -> str | None:
    if path and not Path(path).is_file():
        raise UsageError(f"there is no checkpoint {path!r}")
    return path


def _relative(path: str, folder: Path) -> str:
    return str(Path(path).relative_to(folder)) if path and Path(path).is_relative_to(folder) else path


def _weights(checkpoint: Path) -> dict[str, Any]:
    import torch

    weights: dict[str, Any] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return weights
