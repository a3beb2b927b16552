"""What the user logs, who waits for it, and how the run is set up."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from diagnose.callbacks.monitor import Instrument
from diagnose.namespace import LightningModule, Trainer, home


class Metrics(Instrument):
    """``metric/<name>`` of what the user logs, ``logged`` (all names) and ``monitors`` (who waits for which name)."""

    writes = ("logged", "monitors")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.done: set[str] = set()
        self.validations = 0

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.notes.record.add("monitors", list(monitors(trainer)))

    def after_validation(self, trainer: Trainer, module: LightningModule) -> None:
        self.validations += not trainer.sanity_checking
        self._take(trainer, rows=not trainer.sanity_checking)

    def after_epoch(self, trainer: Trainer, module: LightningModule) -> None:
        self._take(trainer)
        self.done.clear()

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size == 1:  # on several ranks reading can wait for ranks that are gone
            self._take(trainer, rows=False)
        self.notes.record.add("monitors", list(monitors(trainer)))

    def _take(self, trainer: Trainer, rows: bool = True) -> None:
        found = {name: v for name, v in trainer.callback_metrics.items() if isinstance(v, Tensor) and v.numel() == 1}
        if set(found) - self.names:
            self.names |= set(found)
            self.notes.record.add("logged", sorted(self.names))
        if rows:
            for name in found.keys() - self.done:
                self.notes.put(f"metric/{name}", found[name].detach().reshape(()))
            self.done |= set(found)


def monitors(trainer: Trainer) -> Iterator[dict[str, Any]]:
    """Callbacks and schedulers that wait for a logged name."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = getattr(callback, "monitor", None)
        if isinstance(name, str):
            when = "train" if getattr(callback, "_check_on_train_epoch_end", False) else "validation"
            yield {"who": type(callback).__name__, "monitor": name, "strict": bool(getattr(callback, "strict", True)), "when": when}
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and config.monitor:
            yield {"who": type(config.scheduler).__name__, "monitor": config.monitor, "strict": config.strict, "when": config.interval}


class Setup(Instrument):
    """The fact ``run``: how the run is set up, how far it came and why it ended."""

    writes = ("run",)

    def __init__(self) -> None:
        self.validations = 0
        self.known: dict[str, Any] = {}

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.known = {**self.notes.record.facts.get("run", {}), **describe_run(trainer, module)}
        self._write(trainer)

    def after_validation(self, trainer: Trainer, module: LightningModule) -> None:
        self.validations += not trainer.sanity_checking

    def after_epoch(self, trainer: Trainer, module: LightningModule) -> None:
        self.known["epochs_done"] = trainer.current_epoch + 1
        self.known["steps_done"] = trainer.global_step

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        if not self.known:
            self.known = {**self.notes.record.facts.get("run", {}), **describe_run(trainer, module)}
        stopped = next((reason for c in trainer.callbacks if (reason := stopping_reason(c))), "")  # type: ignore[attr-defined]
        checkpoint = str(getattr(trainer.checkpoint_callback, "best_model_path", "") or "")
        self.known |= {"stopped": stopped, "checkpoint": checkpoint, "finished": True}
        self._write(trainer)

    def interrupt(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Training was broken off."""
        text = str(exception).strip().splitlines()
        name = type(exception).__name__
        self.known["interrupted"] = f"{name}: {text[0]}" if text else name

    def _write(self, trainer: Trainer) -> None:
        self.known |= {"validations_done": self.validations, "steps_done": trainer.global_step}
        self.notes.record.add("run", dict(self.known))


def describe_run(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """The settings of a run as plain values; ``None`` where there is no limit."""
    batches = trainer.num_training_batches
    return {
        "max_epochs": trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs >= 0 else None,
        "max_steps": trainer.max_steps if trainer.max_steps >= 0 else None,
        "batches_per_epoch": int(batches) if batches != float("inf") else None,
        "validates": bool(trainer.num_val_batches and any(trainer.num_val_batches)),
        "accumulate": trainer.accumulate_grad_batches,
        "clip_val": trainer.gradient_clip_val,
        "clip_algorithm": str(getattr(trainer.gradient_clip_algorithm, "value", None) or "norm") if trainer.gradient_clip_val else None,
        "precision": str(trainer.precision),
        "automatic_optimization": module.automatic_optimization,
        "epochs_done": trainer.current_epoch,
        "stopped": "",
        "interrupted": "",
        "finished": False,
        "world_size": trainer.world_size,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "lightning": home(trainer).__version__},
        "optimizers": [describe_optimizer(o) for o in trainer.optimizers],
        "schedulers": [describe_scheduler(c) for c in trainer.lr_scheduler_configs],
    }


def describe_optimizer(optimizer: Any) -> dict[str, Any]:
    """Name and settings of an optimizer's first group, and its largest weight decay."""
    groups = optimizer.param_groups
    first = groups[0] if groups else {}
    betas = first.get("betas")
    return {
        "name": type(optimizer).__name__,
        "lr": float(first.get("lr", 0.0)),
        "weight_decay": max((float(g.get("weight_decay", 0.0)) for g in groups), default=0.0),
        "decoupled": bool(first.get("decoupled_weight_decay", type(optimizer).__name__ == "AdamW")),
        "momentum": float(first.get("momentum", 0.0)),
        "betas": [float(b) for b in betas] if betas is not None else None,
        "groups": len(groups),
    }


def describe_scheduler(config: Any) -> dict[str, Any]:
    """Name, interval and planned length of a learning-rate scheduler."""
    scheduler = config.scheduler
    lengths = {name: getattr(scheduler, name, None) for name in ("total_steps", "T_max", "total_iters", "T_0", "step_size")}
    return {
        "name": type(scheduler).__name__,
        "interval": config.interval,
        "frequency": config.frequency,
        **{name: int(value) for name, value in lengths.items() if isinstance(value, (int, float))},
    }


def stopping_reason(callback: Any) -> str:
    """Why an early-stopping callback ended the run, or ``""``."""
    if not getattr(callback, "stopped_epoch", 0) or not hasattr(callback, "wait_count"):
        return ""
    message = str(getattr(callback, "stopping_reason_message", "") or "")
    return message or f"{type(callback).__name__} on {callback.monitor}: no improvement for {callback.wait_count} checks"
