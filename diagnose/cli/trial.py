"""One trial of a search: the training that a config describes, watched so that a hopeless one ends early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from diagnose.callbacks import Doctor
from diagnose.callbacks.doctor import line
from diagnose.cli import averaging, setup
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import config, normalise
from diagnose.cli.job import chosen_rules
from diagnose.cli.usage import GROUPS
from diagnose.namespace import Callback, LightningModule, Trainer
from diagnose.record import Record

if TYPE_CHECKING:
    from pathlib import Path

    from diagnose.values import Diagnosis


@dataclass
class Outcome:
    """What a trial gave: the metric per epoch, and why it ended early, if it did."""

    curve: list[float] = field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0

    def best(self, mode: str) -> tuple[float, int] | None:
        """The best value of the metric and its epoch."""
        known = [(v, i) for i, v in enumerate(self.curve) if math.isfinite(v)]
        if not known:
            return None
        return min(known) if mode == "min" else max(known, key=lambda pair: (pair[0], -pair[1]))


class Watch(Callback):
    """Reads the metric after each validation and ends the training when it is not finite or ``hopeless`` says why.

    Args:
        metric: Name of the metric.
        hopeless: Told value and epoch; its answer, if any, is the reason to stop.
    """

    def __init__(self, metric: str, hopeless: Callable[[float, int], str]) -> None:
        self.metric, self.hopeless, self.outcome = metric, hopeless, Outcome()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.metric not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise UsageError(f"tune.metric {self.metric!r} is not logged; logged are {known}")
        value, epoch = float(trainer.callback_metrics[self.metric]), len(self.outcome.curve)
        self.outcome.curve.append(value)
        if not math.isfinite(value):
            self.outcome.reason = f"{self.metric} was {value} in epoch {epoch}"
        else:
            self.outcome.reason = self.outcome.reason or self.hopeless(value, epoch)
        trainer.should_stop = trainer.should_stop or bool(self.outcome.reason)


def settings_of(arguments: Arguments, values: dict[str, Any], seed: int | None = None) -> dict[str, Any]:
    """The config of a trial as plain values.

    Args:
        arguments: The words of the search; groups and keys that it does not sample.
        values: The sampled values by key; a name of a group chooses its option.
        seed: Seed of the run, in place of the config's own.

    Raises:
        UsageError: The config does not know a key.
    """
    groups = tuple(f"{key}={value}" for key, value in values.items() if key in GROUPS)
    composed = _composed(tuple(arguments.words), groups, arguments.config_dir, arguments.config_path, arguments.config_name)
    whole = OmegaConf.create(composed)
    for key, value in values.items():
        if key not in GROUPS:
            OmegaConf.update(whole, key, value, merge=False)
    plain = OmegaConf.to_container(whole, resolve=True)
    assert isinstance(plain, dict)
    return {**{str(k): v for k, v in plain.items()}, **({} if seed is None else {"seed": seed})}


@cache
def _composed(words: tuple[str, ...], groups: tuple[str, ...], config_dir: str, config_path: str, config_name: str) -> Any:
    """Composing takes a tenth of a second, more than some trials: once per choice of groups."""
    arguments = Arguments(command="tune", config_dir=config_dir, config_path=config_path, config_name=config_name)
    overrides = normalise([*words, *groups], config_dir)
    return OmegaConf.to_container(config(arguments, "tune", overrides).config, resolve=False)


def run(settings: dict[str, Any], folder: Path, metric: str, hopeless: Callable[[float, int], str], *, stop_on_findings: bool) -> Outcome:
    """Train once; nothing is written but what a logger of the config writes.

    Args:
        settings: From `settings_of`.
        folder: Where loggers write.
        metric: The metric that is optimised.
        hopeless: See `Watch`.
        stop_on_findings: Whether an error that the doctor finds ends the training.

    Raises:
        UsageError: The settings do not make a run.
    """
    start = time.perf_counter()
    setup.prepare(settings)
    data = setup.data(settings)
    averaging.check(settings, data)
    module = setup.module(settings, data)
    watch = Watch(metric, hopeless)
    rules = chosen_rules(settings.get("rules") or {})
    doctor = Doctor(record=Record(), rules=rules, on_error="stop", probes=False) if stop_on_findings else None
    wanted = {name: node for name, node in (settings.get("callbacks") or {}).items() if name != "checkpoint"}
    own = setup.callbacks({**settings, "callbacks": wanted}, folder, module)
    trainer_settings = {**settings, "trainer": {**settings["trainer"], "enable_checkpointing": False}}
    trainer = setup.trainer(trainer_settings, folder, [watch, *own, *([doctor] if doctor else [])], module)
    trainer.fit(module, datamodule=data)
    outcome = watch.outcome
    if doctor is not None and not outcome.reason:
        outcome.reason = fault(doctor.diagnosis)
    outcome.seconds = time.perf_counter() - start
    return outcome


def fault(diagnosis: Diagnosis) -> str:
    """The first error of a diagnosis in a line, or nothing."""
    errors = diagnosis.at_or_above("error")
    return line(errors[0]).partition(" Fix: ")[0] if errors else ""
