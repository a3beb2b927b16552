"""Steps that a gradient scaler skips."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.namespace import LightningModule, Trainer


class Scaling(Instrument):
    """``scaler/skipped`` and ``scaler/scale``: a scaler lowers its scale where it skips a step, and nowhere else.

    Every step is looked at, on the device; nothing is transferred but with a record.
    """

    writes = ("scaler/skipped", "scaler/scale")
    always = ("before_step", "after_batch")

    def __init__(self) -> None:
        self.scaler: Any = None
        self.latest: Tensor | None = None
        self.skipped: Tensor | float = 0.0

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.scaler = getattr(trainer.precision_plugin, "scaler", None)
        if self.scaler is None or not hasattr(self.scaler, "_scale"):
            raise NotMonitored("there is no gradient scaler")

    def _look(self) -> None:
        now: Tensor | None = self.scaler._scale  # `get_scale` would wait for the device
        if now is not None:
            if self.latest is not None:
                self.skipped = self.skipped + (now < self.latest).float()
            self.latest = now.clone()

    def before_step(self, module: LightningModule, optimizer: Any) -> None:
        self._look()

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        self._look()
        if self.notes.due:
            self._put()

    def _put(self) -> None:
        if isinstance(self.skipped, Tensor) and self.latest is not None:
            self.notes.put("scaler/skipped", self.skipped)
            self.notes.put("scaler/scale", self.latest)

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        if not self.notes.due:  # else the last batch has put them
            self._put()
