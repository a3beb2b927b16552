"""What the user logs, who waits for it, and how the run is set up."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diagnose.callbacks.instrument import Instrument
from diagnose.experiments.loaders import rows
from diagnose.experiments.run_facts import describe_run, monitors, taken
from diagnose.namespace import LightningModule, Trainer


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


class Setup(Instrument):
    """The fact ``run``: how the run is set up, how far it came and why it ended; ``data.changed_by`` where its data set grows."""

    writes = ("run",)

    def __init__(self) -> None:
        self.validations = 0
        self.known: dict[str, Any] = {}
        self.rows: int | None = None
        self.taken: list[int | None] = []
        self.steps = 0

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.rows = rows(trainer.train_dataloader)
        self.taken, self.steps = taken(trainer), trainer.global_step
        self.known = {**self.notes.record.facts.get("run", {}), **describe_run(trainer, module)}
        self._write(trainer)

    def after_validation(self, trainer: Trainer, module: LightningModule) -> None:
        self.validations += not trainer.sanity_checking

    def after_epoch(self, trainer: Trainer, module: LightningModule) -> None:
        self.known["epochs_done"] = trainer.current_epoch + 1
        self.known["steps_done"] = trainer.global_step
        if "data.changed_by" not in self.notes.record and rows(trainer.train_dataloader) != self.rows:
            self.notes.record.add("data.changed_by", f"the length of the data set: {self.rows} at first")

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        if not self.known:
            self.known = {**self.notes.record.facts.get("run", {}), **describe_run(trainer, module)}
        stopped = next((reason for c in trainer.callbacks if (reason := stopping_reason(c))), "")  # type: ignore[attr-defined]
        checkpoint = str(getattr(trainer.checkpoint_callback, "best_model_path", "") or "")
        self.known |= {"stopped": stopped, "checkpoint": checkpoint, "finished": True}
        self._count(trainer)
        self._write(trainer)

    def _count(self, trainer: Trainer) -> None:
        """How often each schedule was stepped in this fit, and its optimizer, or which that is: `Turns` counts the steps of several."""
        places = {id(optimizer): f"{type(optimizer).__name__} {i}" for i, optimizer in enumerate(trainer.optimizers)}
        counted = []
        for config, fact, before, now in zip(
            trainer.lr_scheduler_configs, self.known.get("schedulers", ()), self.taken, taken(trainer), strict=False
        ):
            own = places.get(id(getattr(config.scheduler, "optimizer", None)))
            whose = {"updates": trainer.global_step - self.steps} if len(places) == 1 else {"of": own}
            counted.append({**fact, "stepped": now - before, **whose} if before is not None and now is not None else fact)
        if counted:
            self.known["schedulers"] = counted

    def interrupt(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Training was broken off."""
        text = str(exception).strip().splitlines()
        name = type(exception).__name__
        self.known["interrupted"] = f"{name}: {text[0]}" if text else name

    def _write(self, trainer: Trainer) -> None:
        self.known |= {"validations_done": self.validations, "steps_done": trainer.global_step}
        self.notes.record.add("run", dict(self.known))


def stopping_reason(callback: Any) -> str:
    """Why an early-stopping callback ended the run, or ``""``."""
    if not getattr(callback, "stopped_epoch", 0) or not hasattr(callback, "wait_count"):
        return ""
    message = str(getattr(callback, "stopping_reason_message", "") or "")
    return message or f"{type(callback).__name__} on {callback.monitor}: no improvement for {callback.wait_count} checks"
