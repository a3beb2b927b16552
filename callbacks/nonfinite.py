"""The first NaN or infinity of a run, where it came in, and a file that runs that step again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diagnose.callbacks.instrument import Instrument
from diagnose.callbacks.monitor import log
from diagnose.namespace import LightningModule, Trainer


class NonFinite(Instrument):
    """The fact ``nonfinite``, once per run.

    On a CPU every loss is looked at before it is differentiated; of a batch that is passed by the weights are kept then, until the batch is
    at hand. On other devices that would wait for the device, so losses are looked at when they are transferred, unless ``eager``. Steps
    that a gradient scaler skips are no incident. The random state is kept while steps draw random numbers; whether they do is seen when a
    forward pass is watched.

    Args:
        folder: Where to save the batch, the weights and the random state of the step; ``None`` saves nothing.
        eager: Look at every loss before it is differentiated, whatever that costs.
    """

    writes = ("nonfinite",)
    always = ("before_batch", "before_backward", "after_batch")

    def __init__(self, folder: Path | None = None, eager: bool = False) -> None:
        self.folder, self.eager = folder, eager
        self.batch: Any = None
        self.random_state: Tensor | None = None
        self.draws = True
        self.index = 0
        self.weights: dict[str, Tensor] | None = None
        self.waits = False
        self.seen = False
        self.scaled = False

    @property
    def patient(self) -> bool:  # type: ignore[override]
        return self.seen or not (self.eager or self.draws or self.scaled)

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.scaled = getattr(trainer.precision_plugin, "scaler", None) is not None

    def before_batch(self, module: LightningModule, batch: Any, index: int) -> None:
        if not self.seen:
            self.batch, self.index = batch, index
            if self.draws or self.notes.seldom:
                self.random_state = torch.get_rng_state()

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        if self.seen or self.scaled or (self.notes.loss is not None and math.isfinite(self.notes.loss)):
            return
        if (self.eager or loss.is_cpu) and loss.numel() == 1 and not math.isfinite(loss.item()):
            if self.notes.open:
                self._investigate(module)
            else:
                self.weights = {name: v.detach().clone() for name, v in module.state_dict().items() if isinstance(v, Tensor)}
                self.waits = self.notes.wake = True

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        if not self.seen:
            if self.waits:
                self.batch, self.index = batch, index
                self._investigate(module)
            elif self.notes.loss is not None and not math.isfinite(self.notes.loss):
                self._investigate(module)
            elif self.notes.nonfinite is not None and not self.scaled:
                step, epoch, at = self.notes.nonfinite
                what = self.notes.nonfinite_series
                self._add(None, {"what": what, "module": "", "operation": "", "direction": ""}, step=step, epoch=epoch, batch=at)
        if self.random_state is not None and self.notes.seldom:
            self.draws = not torch.equal(self.random_state, torch.get_rng_state())
        self.batch = self.random_state = None

    def _investigate(self, module: LightningModule) -> None:
        """Run the step again on a copy, and save it."""
        from diagnose.experiments.nonfinite import locate

        self.seen = True
        found: dict[str, Any] = {"what": "loss", "module": "", "operation": "", "direction": "forward"}
        precision = str(module.trainer.precision)
        try:
            state = self.random_state
            again = locate(module, self.batch, self.index, random_state=state, precision=precision, weights=self.weights)
            found = again if again["what"] else {**found, "reason": "the step is finite when it is run again"}
        except Exception as error:
            found["reason"] = f"the step could not be run again ({type(error).__name__}: {error})"
        step, epoch, batch = self.notes.place
        if found["what"] == "weight":  # the step before wrote it
            found |= {"what": "gradient", "reason": "the weights were not finite when this batch began"}
            step, batch = step - 1, batch - 1
        self._add(None if found["what"] == "gradient" else module, found, step=step, epoch=epoch, batch=batch)

    def _add(self, module: LightningModule | None, found: dict[str, Any], *, step: int, epoch: int, batch: int) -> None:
        self.seen = True
        fact: dict[str, Any] = {**found, "step": step, "epoch": epoch, "batch": batch, "index": self.index, "file": ""}
        fact["file"] = self._save(module, fact)
        self.notes.record.add("nonfinite", fact)

    def _save(self, module: LightningModule | None, fact: dict[str, Any]) -> str:
        if self.folder is None or module is None or self.batch is None:
            return ""
        from diagnose.experiments.replay import save_reproduction

        file = self.folder / f"nonfinite-batch-{fact['batch']}.pt"
        precision = str(module.trainer.precision)
        try:
            save_reproduction(
                file,
                module,
                self.batch,
                index=self.index,
                random_state=self.random_state,
                precision=precision,
                found=fact,
                weights=self.weights,
            )
        except (OSError, TypeError) as error:
            log.warning("the step that is not finite could not be saved: %s", error)
            return ""
        return str(file)

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        if self.waits and not self.seen:
            step, epoch, batch = self.notes.place
            found = {"what": "loss", "module": "", "operation": "", "direction": "forward"}
            self._add(None, {**found, "reason": "training broke off in this step"}, step=step, epoch=epoch, batch=batch)

    def release(self) -> None:
        self.batch = self.random_state = self.weights = None
