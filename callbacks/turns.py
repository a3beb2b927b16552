"""Which optimizer steps on which loss, where there are several."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.callbacks.losses import loss_scale
from diagnose.measure.gradients import owners
from diagnose.measure.plain import plain
from diagnose.namespace import LightningModule, Trainer

PROBED = 8


class Turns(Instrument):
    """``loss/optimizers``: for each of several optimizers that step in a batch the loss that was differentiated last before it stepped.

    And the fact ``turns`` when training is over: what each holds, whether any of it was to be trained at the start, how often it stepped,
    and how many backward passes left it gradients before its first step.
    """

    writes = ("loss/optimizers", "turns")
    always = ("before_backward", "before_step")

    def __init__(self) -> None:
        self.index: dict[int, int] = {}
        self.names: list[str] = []
        self.parameters: list[list[Tensor]] = []
        self.trainable: list[bool] = []
        self.steps: list[int] = []
        self.waiting: list[int] = []
        self.loss: Tensor | None = None
        self.row: dict[int, Tensor] = {}

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        if len(trainer.optimizers) < 2:
            raise NotMonitored("there is one optimizer, or none")
        self.index = {id(optimizer): i for i, optimizer in enumerate(trainer.optimizers)}
        self.names = [f"{type(optimizer).__name__} {i}" for i, optimizer in enumerate(trainer.optimizers)]
        self.parameters = [[p for group in o.param_groups for p in group["params"]] for o in trainer.optimizers]
        self.trainable = [any(p.requires_grad for p in parameters) for parameters in self.parameters]
        self.steps, self.waiting = [0] * len(self.index), [0] * len(self.index)
        self.notes.record.label("loss/optimizers", self.names)

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        if self.notes.due:
            self.loss = plain(loss).detach()
        for i, parameters in enumerate(self.parameters):
            if not self.steps[i] and any(p.grad is not None for p in parameters[-PROBED:]):
                self.waiting[i] += 1

    def before_step(self, module: LightningModule, optimizer: Any) -> None:
        i = self.index.get(id(getattr(optimizer, "optimizer", optimizer)))
        if i is None:
            return
        self.steps[i] += 1
        if self.notes.due and self.loss is not None and self.loss.numel() == 1:
            self.row[i] = self.loss.reshape(()) / loss_scale(module)

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        if self.row:
            device = next(iter(self.row.values())).device
            none = torch.tensor(float("nan"), device=device)
            self.notes.put("loss/optimizers", torch.stack([self.row.get(i, none).to(device) for i in range(len(self.index))]))
        self.release()

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        layers = {name: {id(p) for p in parameters} for name, parameters in owners(module).items()}
        facts = []
        known = zip(self.names, self.parameters, self.trainable, self.steps, self.waiting, strict=True)
        for name, parameters, trainable, steps, waiting in known:
            own = {id(p) for p in parameters}
            held = [layer for layer, group in layers.items() if group & own]
            weights = sum(p.numel() for p in parameters)
            facts.append({"name": name, "layers": held, "weights": weights, "trainable": trainable, "steps": steps, "waiting": waiting})
        self.notes.record.add("turns", facts)

    def release(self) -> None:
        self.loss, self.row = None, {}
