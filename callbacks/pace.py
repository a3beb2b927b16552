"""Learning rates, seconds per step and memory."""

from __future__ import annotations

import ctypes
import math
import resource
import sys
from time import perf_counter
from typing import Any

import torch

from diagnose.callbacks.instrument import Instrument
from diagnose.callbacks.notes import SELDOM
from diagnose.namespace import LightningModule, Trainer

STATM = "/proc/self/statm"


def resident_memory() -> float:
    """Memory that the process holds, in bytes; where the system does not tell, the most it has held."""
    try:
        with open(STATM, "rb", buffering=0) as file:
            return float(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library can: a run that reuses it would hide that it grows."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # not glibc
        return


class Pace(Instrument):
    """``lr``, ``time/step``, ``time/data`` and ``memory/rss`` of measured steps, and on a GPU ``memory/device``.

    Times are means over the batches since the last record that were timed: those that were measured are left out, as measuring takes time
    itself, and of those that are passed by a sixteenth is timed.
    """

    writes = ("lr", "time/step", "time/data", "memory/rss")
    always = ("before_batch", "after_batch")
    patient = True

    def __init__(self) -> None:
        self.optimizers: list[Any] = []
        self.groups: list[str] = []
        self.device: torch.device | None = None
        self.began = self.ended = 0.0
        self.busy = self.waited = 0.0
        self.count = 0

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        give_back()
        device = trainer.strategy.root_device
        self.device = device if device.type == "cuda" else None
        self.optimizers = list(trainer.optimizers)
        self.groups = []

    def before_batch(self, module: LightningModule, batch: Any, index: int) -> None:
        self.began = perf_counter()
        if self.ended and index and not self.notes.due:
            self.waited += self.began - self.ended
        if self.notes.fresh:
            self._put()
        if self.notes.seldom and self.notes.step >= SELDOM.dense:  # reading it takes long
            self.notes.put("memory/rss", resident_memory())
            if self.device is not None:  # a count that the allocator keeps on the host: nothing is waited for
                self.notes.put("memory/device", float(torch.cuda.memory_allocated(self.device)))

    def _put(self) -> None:
        rates = {
            f"{type(o).__name__} {i}, group {g}": float(group["lr"])
            for i, o in enumerate(self.optimizers)
            for g, group in enumerate(o.param_groups)
        }
        if len(rates) > len(self.groups):  # also in the midst of training, where frozen layers become a group as they thaw
            self.groups = list(dict.fromkeys([*self.groups, *rates]))
            self.notes.record.label("lr", self.groups)
        self.notes.put("lr", [rates.get(name, math.nan) for name in self.groups])
        if self.count:
            self.notes.put("time/step", (self.busy + self.waited) / self.count)
            self.notes.put("time/data", self.waited / self.count)
            self.busy, self.waited, self.count = 0.0, 0.0, 0

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        self.ended = 0.0
        if not self.notes.due:
            self.ended = perf_counter()
            if self.began:  # it was not passed by
                self.busy += self.ended - self.began
                self.count += 1
        self.began = 0.0

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        if self.optimizers:
            self._put()

    def release(self) -> None:
        self.ended = 0.0
