"""Whether gradients are cleared between optimizer steps, and how many backward passes make up a step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.callbacks.leftovers import Leftovers, largest
from diagnose.namespace import LightningModule, Trainer, is_overridden

PROBED, DENSE, SPARSE = 8, 32, 16
NAN = torch.tensor(math.nan)


class Zeroing(Instrument):
    """``zero_grad/*``: one column per optimizer, only where the user's code clears the gradients.

    A step has ``carried`` gradients over where at no backward pass since the optimizer's last step its gradients were empty. It has
    ``left``, of the largest entry of the gradient before its last of several backward passes: more than that, unless somebody scales the
    gradient by hand. It has ``foreign``, of the largest entry of its gradient: what a loss left there that another optimizer had stepped
    for, before a loss that reaches this optimizer alone. The first 32 steps of an optimizer are all looked at, later ones every sixteenth;
    for ``foreign`` the first 32 of any.
    """

    writes = ("zero_grad/carried", "zero_grad/backwards", "zero_grad/left", "zero_grad/foreign")
    always = ("before_backward", "before_step", "after_batch")

    def __init__(self) -> None:
        self.index: dict[int, int] = {}
        self.parameters: list[list[Tensor]] = []
        self.empty: list[bool] = []
        self.smallest: list[Tensor | None] = []
        self.latest: list[Tensor | None] = []
        self.backwards: list[int] = []
        self.steps: list[int] = []
        self.leftovers = Leftovers([])
        self.row: dict[int, tuple[float, Tensor, Tensor, Tensor]] = {}

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        if module.automatic_optimization and not is_overridden("optimizer_zero_grad", module):
            raise NotMonitored("Lightning clears the gradients itself under automatic optimisation")
        self.index = {id(optimizer): i for i, optimizer in enumerate(trainer.optimizers)}
        self.parameters = [[p for g in o.param_groups for p in g["params"]][-PROBED:] for o in trainer.optimizers]
        self.empty, self.steps = [False] * len(self.index), [0] * len(self.index)
        self.backwards = [0] * len(self.index)
        self.release()
        self.leftovers = Leftovers(self.parameters)
        for name in self.writes:
            self.notes.record.label(name, [f"{type(o).__name__} {i}" for i, o in enumerate(trainer.optimizers)])

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        if self._early():
            self.leftovers.backward()
        for i, parameters in enumerate(self.parameters):
            self.backwards[i] += 1
            if self._looked_at(i):
                self.latest[i] = now = largest(parameters)
                if now is None:
                    self.empty[i] = True
                elif not self.empty[i]:
                    before = self.smallest[i]
                    self.smallest[i] = now if before is None else torch.minimum(before, now)

    def before_step(self, module: LightningModule, optimizer: Any) -> None:
        i = self.index.get(id(getattr(optimizer, "optimizer", optimizer)))
        if i is None or not self.backwards[i]:  # stepped without a backward pass that was seen
            return
        foreign = self.leftovers.step(i) if self._early() else NAN
        if self.steps[i] and self._looked_at(i):  # an optimizer's first step carries nothing
            smallest, latest = self.smallest[i], self.latest[i]
            carried = torch.zeros(()) if self.empty[i] or smallest is None else (smallest > 0).float()
            left = NAN
            if self.backwards[i] > 1 and latest is not None and (now := largest(self.parameters[i])) is not None:
                left = (now / latest).float()
            self.row[i] = (float(self.backwards[i]), carried, left, foreign)
        self.steps[i] += 1
        self.empty[i], self.backwards[i], self.smallest[i], self.latest[i] = False, 0, None, None

    def _early(self) -> bool:
        return len(self.steps) > 1 and max(self.steps) < DENSE

    def _looked_at(self, i: int) -> bool:
        return self.steps[i] < DENSE or self.steps[i] % SPARSE == 0

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        if self.row:
            row, self.row = self.row, {}
            counts, *columns = zip(*(row.get(i, (math.nan, NAN, NAN, NAN)) for i in range(len(self.index))), strict=True)
            device = next(iter(row.values()))[1].device
            self.notes.put("zero_grad/backwards", list(counts))
            for name, column in zip(("carried", "left", "foreign"), columns, strict=True):
                self.notes.put(f"zero_grad/{name}", torch.stack([value.to(device) for value in column]))

    def release(self) -> None:
        self.smallest, self.latest, self.row = [None] * len(self.index), [None] * len(self.index), {}
