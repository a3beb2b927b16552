"""Statistics of activations, as modules and as functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diagnose.callbacks.monitor import Instrument, Monitor
from diagnose.measure.activations import Sites, WatchActivations, activation_modules, attach, compiled, weight_names
from diagnose.measure.fast_paths import FastPaths
from diagnose.namespace import LightningModule, Trainer

SERIES = ("activation/mean", "activation/std", "activation/dead", "activation/saturated")


class Activations(Instrument):
    """``activation/*``: hooks and a function mode that are there only while a measured batch runs."""

    writes = SERIES

    def __init__(self) -> None:
        self.modules: dict[str, tuple[nn.Module, str]] = {}
        self.names: dict[int, str] = {}
        self.labels: dict[str, int] = {}
        self.sites: Sites | None = None
        self.stack = ExitStack()
        self.fast_paths: FastPaths
        self.off = ""

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.names = weight_names(module)
        self.fast_paths = FastPaths(module)
        held = compiled(module)
        self.off = f"not monitored: torch.compile holds {', '.join(held[:3])}" if held else ""
        modules = {} if held else activation_modules(module)
        self.modules = {label: m for label, m in modules.items() if not isinstance(m[0], torch.jit.ScriptModule)}
        if self.off:
            for name in SERIES:
                self.notes.record.skip(name, self.off)

    def before_batch(self, module: LightningModule, batch: Any, index: int) -> None:
        self.release()
        if self.notes.fresh and not self.off:
            self.sites = Sites()
            for handle in attach(self.modules, self.sites):
                self.stack.callback(handle.remove)
            self.stack.enter_context(self.fast_paths)
            self.stack.enter_context(WatchActivations(self.sites, self.names))

    def after_forward(self, module: LightningModule) -> None:
        self.stack.close()  # clearing calls many functions, which a mode would slow down

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        if module.automatic_optimization:
            self.stack.close()  # the forward pass is over

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        sites = self.sites
        if sites is None:
            return
        self.release()
        if sites.error is not None:
            raise sites.error
        new = [label for label in sites.found if label not in self.labels]
        if new:
            self.labels |= {label: len(self.labels) + n for n, label in enumerate(new)}
            for name in SERIES:
                self.notes.record.label(name, list(self.labels))
        tensors = [value for s in sites.found.values() for value in (s.mean, s.std, s.dead, s.saturated) if value is not None]
        if tensors:
            device = tensors[0].device
            order = [(self.labels[label], s.dead is not None, s.saturated is not None) for label, s in sites.found.items()]
            self.notes.put_raw(torch.stack([t.to(device, torch.float32) for t in tensors]), partial(self._finish, order))

    def _finish(self, order: list[tuple[int, bool, bool]], numbers: list[float]) -> dict[str, list[float]]:
        rows = {name: [math.nan] * len(self.labels) for name in SERIES}
        each = iter(numbers)
        for column, has_dead, has_saturated in order:
            for name, there in zip(SERIES, (True, True, has_dead, has_saturated), strict=True):
                if there:
                    rows[name][column] = next(each)
        return rows

    def release(self) -> None:
        self.stack.close()
        self.sites = None


class ActivationMonitor(Monitor):
    """Records mean, spread, and the shares of dead and of saturated units of every activation.

    Activation modules are seen by hooks, functions such as ``torch.relu`` by a function mode; both are there only while a measured batch
    runs. What ``torch.compile`` holds is not monitored. Statistics are taken on the spot, so in-place operations do no harm, and nothing
    but numbers is kept. Every rank records its own batch and nothing is communicated. Cost: a few reductions per activation and record.

    Args:
        record: The record to write to, or a folder for it; by default it is kept in memory, as ``monitor.record``.
        every_n_steps: Measure at every n-th optimizer step; by default each of the first 12, then ever fewer, then every
            ``log_every_n_steps`` of the Trainer.
        logged: The most scalars of one record that go to the Trainer's loggers; 0 sends none.
        strict: Raise what fails in measuring, where it would otherwise be logged once and measuring switched off.
    """

    def make(self) -> Iterator[Instrument]:
        yield Activations()
