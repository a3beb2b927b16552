"""How a run is set up, as plain values: its length, optimizers and schedules, and who waits for which logged name."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from diagnose.experiments.sandbox import Sandbox
from diagnose.identity import commit
from diagnose.namespace import LightningModule, Trainer, home, is_overridden
from diagnose.record import Record

KNOWN = ("lightning", "pytorch_lightning", "diagnose", "callbacks")
LOGGING = (
    *("on_train_epoch_start", "on_train_epoch_end", "on_train_batch_end", "on_before_backward", "on_after_backward"),
    *("on_before_optimizer_step", "on_before_zero_grad", "optimizer_step", "lr_scheduler_step"),
    *("on_validation_epoch_start", "on_validation_epoch_end", "on_validation_batch_end"),
)


def monitors(trainer: Trainer) -> Iterator[dict[str, Any]]:
    """Callbacks and schedulers that wait for a logged name, and whether they want it ``min`` or ``max``."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = getattr(callback, "monitor", None)
        if isinstance(name, str):
            when = "train" if getattr(callback, "_check_on_train_epoch_end", False) else "validation"
            fact = {"who": type(callback).__name__, "monitor": name, "strict": bool(getattr(callback, "strict", True)), "when": when}
            fact |= {"mode": str(getattr(callback, "mode", "")), "patience": getattr(callback, "patience", None)}
            yield {**fact, "min_delta": abs(float(getattr(callback, "min_delta", None) or 0.0))}
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and config.monitor:
            fact = {"who": type(config.scheduler).__name__, "monitor": config.monitor, "strict": config.strict, "when": config.interval}
            yield {**fact, "mode": str(getattr(config.scheduler, "mode", "")), "patience": getattr(config.scheduler, "patience", None)}


def describe_run(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """The settings of a run as plain values; ``None`` where there is no limit."""
    batches = trainer.num_training_batches
    return {
        **describe_limits(trainer),
        "batches_per_epoch": int(batches) if batches != float("inf") else None,
        "validates": bool(trainer.num_val_batches and any(trainer.num_val_batches)),
        "automatic_optimization": module.automatic_optimization,
        "epochs_done": trainer.current_epoch,
        "stopped": "",
        "interrupted": "",
        "finished": False,
        "world_size": trainer.world_size,
        "git": commit(str(Path.cwd())),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "lightning": home(trainer).__version__},
        "optimizers": [describe_optimizer(o) for o in trainer.optimizers if o.param_groups],  # without any, Lightning puts an empty one
        "schedulers": [describe_scheduler(c) for c in trainer.lr_scheduler_configs],
    }


def describe_optimizer(optimizer: Any) -> dict[str, Any]:
    """Name and settings of an optimizer's first group, its largest weight decay, and how many weights it holds."""
    groups = optimizer.param_groups
    first = groups[0] if groups else {}
    betas = first.get("betas")
    return {
        "name": type(optimizer).__name__,
        "lr": float(first.get("lr", 0.0)),
        "initial_lr": max((float(g.get("initial_lr", g.get("lr", 0.0))) for g in groups), default=0.0),
        "weight_decay": max((float(g.get("weight_decay", 0.0)) for g in groups), default=0.0),
        "decoupled": bool(first.get("decoupled_weight_decay", type(optimizer).__name__ == "AdamW")),
        "momentum": float(first.get("momentum", 0.0)),
        "dampening": float(first.get("dampening", 0.0)),
        "betas": [float(b) for b in betas] if betas is not None else None,
        "maximize": any(g.get("maximize", False) for g in groups),
        "weights": sum(p.numel() for g in groups for p in g["params"] if not is_lazy(p)),
        "groups": len(groups),
    }


def describe_scheduler(config: Any) -> dict[str, Any]:
    """Class, the name that its owner gave it, interval and planned length of a learning-rate scheduler."""
    scheduler = config.scheduler
    lengths = {name: getattr(scheduler, name, None) for name in ("total_steps", "T_max", "total_iters", "T_0", "step_size")}
    return {
        "name": type(scheduler).__name__,
        "called": config.name or "",
        "interval": config.interval,
        "frequency": config.frequency,
        **{name: int(value) for name, value in lengths.items() if isinstance(value, (int, float))},
    }


def taken(trainer: Trainer) -> list[int | None]:
    """How often each scheduler was stepped so far; ``None`` of one that does not count it."""
    counts = [getattr(config.scheduler, "last_epoch", None) for config in trainer.lr_scheduler_configs]
    return [count if isinstance(count, int) else None for count in counts]


def describe_plan(sandbox: Sandbox, trainer: Trainer | None, record: Record) -> None:
    """Write what is known of a run before it begins.

    Without a Trainer the length of the run is not known, and only schedulers are known to wait for a name. Writes ``run`` and ``monitors``,
    unless a training has written them, and ``probe.logged``: ``names`` that the steps log, with their stage, and ``elsewhere``, the hooks
    and callbacks that did not run here and may log more.
    """
    elsewhere = [hook for hook in LOGGING if is_overridden(hook, sandbox.module)]
    elsewhere += [step for step in ("step", "validation") if f"probe.{step}" in record.missing]
    if trainer is not None:
        kinds = [type(c) for c in trainer.callbacks]  # type: ignore[attr-defined]
        elsewhere += [kind.__qualname__ for kind in kinds if kind.__module__.partition(".")[0] not in KNOWN]
    record.add("probe.logged", {"names": dict(sandbox.logged), "elsewhere": elsewhere})
    if "run" in record:
        return
    facts = describe_run(sandbox.trainer, sandbox.module)
    facts |= {"max_epochs": None, "max_steps": None, "validates": bool(sandbox.held_out)}
    waiting = list(monitors(sandbox.trainer))
    if trainer is not None:
        facts |= describe_limits(trainer)
        waiting += [fact for fact in monitors(trainer) if fact not in waiting]
    record.add("run", facts)
    record.add("monitors", waiting)


def describe_limits(trainer: Trainer) -> dict[str, Any]:
    """What the arguments of a Trainer say about a run, whether it has begun or not; ``None`` where there is no limit."""
    clip = trainer.gradient_clip_val
    return {
        "max_epochs": trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs >= 0 else None,
        "max_steps": trainer.max_steps if trainer.max_steps >= 0 else None,
        "accumulate": trainer.accumulate_grad_batches,
        "clip_val": clip,
        "clip_algorithm": str(getattr(trainer.gradient_clip_algorithm, "value", None) or "norm") if clip else None,
        "precision": str(trainer.precision),
        "reloads": bool(getattr(trainer, "reload_dataloaders_every_n_epochs", 0)),
    }
