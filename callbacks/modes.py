"""Whether the module falls into eval mode in the midst of training."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diagnose.callbacks.instrument import Instrument
from diagnose.experiments.modes import MODAL
from diagnose.measure.gradients import clean
from diagnose.namespace import LightningModule, Trainer, is_overridden

FEW = 3  # steps


class Modes(Instrument):
    """The fact ``fallen``: that the module as a whole stands in eval mode when losses are differentiated, and did not when training began.

    A change at the beginning of training or between two epochs is left out where the module has a hook of its own there, which may mean it.
    """

    writes = ("fallen",)

    def __init__(self) -> None:
        self.trained: list[str] | None = None
        self.epoch = -1
        self.meant = False
        self.fact: dict[str, Any] = {}

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.meant = any(is_overridden(hook, module) for hook in ("on_train_start", "on_train_epoch_start", "train"))
        self.trained = standing(module, True) if module.training else None

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        if self.fact:
            self.fact["of"] += 1
        if module.training:
            self.trained = standing(module, True) if self.trained is None else self.trained
            self.epoch = self.notes.epoch
            return
        if not self.fact and self.trained and (self.epoch == self.notes.epoch or not self.meant):
            fallen = sorted({*self.trained} & {*standing(module, False)})
            self.fact = {"batch": self.notes.batch, "steps": 0, "of": 1, "modules": fallen}
        if self.fact:
            self.fact["steps"] += 1
            if self.fact["steps"] == FEW and self.fact["modules"]:
                self.notes.record.add("fallen", dict(self.fact))

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        if "fallen" in self.notes.record:
            self.notes.record.add("fallen", dict(self.fact))


def standing(module: LightningModule, training: bool) -> list[str]:
    """Names of the batch norms and dropouts that stand in this mode."""
    modal = ((name, m) for name, m in module.named_modules() if isinstance(m, MODAL) and getattr(m, "p", 1.0) > 0)
    return [clean(name) for name, m in modal if m.training is training]
