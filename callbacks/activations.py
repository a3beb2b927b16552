"""Statistics of activations, as modules and as functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.callbacks.monitor import Monitor
from diagnose.measure.activations import FunctionSites, Sites, activation_modules, compiled, hooks, weight_names
from diagnose.namespace import LightningModule, Trainer

SERIES = ("activation/mean", "activation/std", "activation/dead", "activation/saturated", "activation/pushed")


class Activations(Instrument):
    """``activation/*``: hooks and a function mode that are there only while a measured batch runs."""

    writes = SERIES
    thorough = True

    def __init__(self) -> None:
        self.sites = Sites()
        self.labels: dict[str, int] = {}

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        held = compiled(module)
        if held:
            raise NotMonitored(f"torch.compile holds {', '.join(held[:3])}")
        modules = {label: m for label, m in activation_modules(module).items() if not isinstance(m[0], torch.jit.ScriptModule)}
        self.hooks = hooks(modules, self.sites)
        self.functions = FunctionSites(self.sites, weight_names(module)).seen()

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        found, failed = self.sites.found, self.sites.error
        self.sites.begin()
        if failed is not None:
            raise failed
        if not found:
            return
        new = [label for label in found if label not in self.labels]
        if new:
            self.labels |= {label: len(self.labels) + n for n, label in enumerate(new)}
            for name in SERIES:
                self.notes.record.label(name, list(self.labels))
        numbers: list[Tensor] = []
        for s in found.values():
            numbers += [number for number in (s.total, s.deviation, s.flagged, s.pushed) if number is not None]
        order = [(self.labels[label], s.entries, s.units if s.flagged is not None else 0, s.bounded) for label, s in found.items()]
        self.notes.put_raw(numbers, partial(self._finish, order))

    def _finish(self, order: list[tuple[int, int, int, bool]], numbers: list[float]) -> dict[str, list[float]]:
        mean, std, dead, saturated, pushed = rows = [[math.nan] * len(self.labels) for _ in SERIES]
        each = iter(numbers)
        for column, entries, units, bounded in order:
            mean[column] = next(each) / entries
            std[column] = next(each) / math.sqrt(entries)
            if units:
                (saturated if bounded else dead)[column] = next(each) / units
                if bounded:
                    pushed[column] = next(each) / entries
        return dict(zip(SERIES, rows, strict=True))

    def release(self) -> None:
        self.sites.begin()


class ActivationMonitor(Monitor):
    """Records mean, spread, and the shares of dead and of saturated units of every activation.

    Activation modules are seen by hooks, functions such as ``torch.relu`` and attention by a function mode; both are there only while a
    measured batch runs. An activation module that runs behind several layers is measured behind each; what runs in a loop or is computed
    again by checkpointing counts once. Attention gives scale and spread alone, and those of its weights where they are asked for. What
    ``torch.compile`` holds is not monitored. Statistics are taken on the spot, so in-place operations do no harm, and nothing but numbers
    is kept. Every rank records its own batch and nothing is communicated. Cost: a few reductions per activation and record.

    Args:
        record: The record to write to, or a folder for it; by default it is kept in memory, as ``monitor.record``.
        every_n_steps: Measure at every n-th optimizer step; by default each of the first 12, then ever fewer, then every
            ``log_every_n_steps`` of the Trainer.
        logged: The most scalars of one record that go to the Trainer's loggers; 0 sends none.
        strict: Raise what fails in measuring, where it would otherwise be logged once and measuring switched off.
    """

    def make(self) -> Iterator[Instrument]:
        yield Activations()
