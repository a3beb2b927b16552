"""Size of the weights, and how far a step moves them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.callbacks.monitor import Monitor
from diagnose.measure.gradients import combine, each_norm, is_sharded, owners
from diagnose.measure.updates import Weights, expansion, update_ratios
from diagnose.namespace import LightningModule, Trainer


class Updates(Instrument):
    """``update_ratio/layers`` and ``weight_norm/layers``, of the batches in which an optimizer steps.

    And ``weights/moved``: how far the weights are from where training began, until they have moved at all.
    """

    writes = ("update_ratio/layers", "weight_norm/layers", "weights/moved")
    thorough = True

    def __init__(self) -> None:
        self.parameters: list[nn.Parameter] = []
        self.known: set[int] = set()
        self.group: list[int] = []
        self.names: list[str] = []
        self.expansion: list[float] = []
        self.weights = Weights([])
        self.before: Tensor | None = None
        self.size: Sequence[Tensor] = ()
        self.first: Tensor | None = None

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self._find(module)
        self.first = self.weights.copy() if self.parameters else None

    def _find(self, module: LightningModule) -> None:
        groups = owners(module)
        self.names += [name for name in groups if name not in self.names]
        self.parameters = [p for parameters in groups.values() for p in parameters]
        self.known = {id(p) for p in self.parameters}
        self.weights = Weights(self.parameters)
        self.group = [self.names.index(name) for name, parameters in groups.items() for _ in parameters]
        self.expansion = [expansion(p) for p in self.parameters]
        for series in self.writes[:2]:
            if self.notes.record.labels.get(series) != tuple(self.names):
                self.notes.record.label(series, self.names)
        if is_sharded(self.parameters):
            raise NotMonitored("the parameters are sharded, and the size of a shard is not that of the weight")

    def before_step(self, module: LightningModule, optimizer: Any) -> None:
        if self.before is None:
            if any(p.requires_grad and p.grad is not None and id(p) not in self.known for g in optimizer.param_groups for p in g["params"]):
                self._find(module)  # layers that had no shape, or were frozen, before
                self.first = self.weights.copy() if self.first is not None else None
            self.size = each_norm(self.parameters)
            self.before = self.weights.copy() if self.parameters else None

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        if self.before is not None:
            self.notes.put_raw([*self.size, *self.weights.moved(self.before)], self._finish)
        self._compare()
        self.release()

    def _compare(self) -> None:
        if self.first is not None:
            self.notes.put_raw(self.weights.moved(self.first.clone()), self._moved)

    def _moved(self, numbers: list[float]) -> dict[str, float]:
        distance = math.hypot(*numbers)
        if distance != 0:
            self.first = None
        return {"weights/moved": distance}

    def _finish(self, numbers: list[float]) -> dict[str, list[float]]:
        size, moved = numbers[: len(self.group)], numbers[len(self.group) :]
        moved = [m * factor for m, factor in zip(moved, self.expansion, strict=True)]
        whole = combine(size, self.group, len(self.names))
        return {"weight_norm/layers": whole, "update_ratio/layers": update_ratios(combine(moved, self.group, len(self.names)), whole)}

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        self._compare()
        self.weights, self.first = Weights([]), None

    def release(self) -> None:
        self.before, self.size = None, ()


class UpdateMonitor(Monitor):
    """Records the size of the weights per layer, and the size of one optimizer step relative to it.

    A healthy step moves the weights by about a thousandth. Of tensors with more than 16,384 entries an evenly spaced sample is compared,
    so the copy that is kept during a measured step stays small. Under DDP every rank records the same numbers; sharded parameters are not
    monitored. Until a weight has moved, how far they are from where they began is recorded too.

    Args:
        record: The record to write to, or a folder for it; by default it is kept in memory, as ``monitor.record``.
        every_n_steps: Measure at every n-th optimizer step; by default each of the first 12, then ever fewer, then every
            ``log_every_n_steps`` of the Trainer.
        logged: The most scalars of one record that go to the Trainer's loggers; 0 sends none.
        strict: Raise what fails in measuring, where it would otherwise be logged once and measuring switched off.
    """

    def make(self) -> Iterator[Instrument]:
        yield Updates()
