"""Weights that come to be trained only while training goes on, and whether an optimizer holds them then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedParameter

from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.measure.asked import asked, awaited
from diagnose.measure.gradients import clean, each_norm, is_sharded
from diagnose.measure.updates import Weights
from diagnose.namespace import LightningModule, Trainer


@dataclass(eq=False)
class Late:
    """A parameter that wants a gradient now, did not when training began, and is in no optimizer.

    Attributes:
        name: Its name in the module.
        parameter: Itself.
        left: Norm of the gradient that it had when it was first seen, which nobody may have cleared.
        norm: Whether it scales or shifts what a batch norm gives.
        pulled: Whether it got another one in a measured step since.
        epochs: At the end of how many epochs it stood where it had stood before, though it was pulled.
    """

    name: str
    parameter: nn.Parameter
    left: float
    norm: bool = False
    pulled: bool = False
    epochs: int = 0


class Thawing(Instrument):
    """The fact ``thawed``: weights thawed or added since training began that get a gradient, are in no optimizer, and do not move.

    They are looked for once per epoch, at its end. Only those that are found are looked at in the measured steps. The facts ``asked`` and
    ``awaited`` are those of `diagnose.measure.asked`, as long as there is any.
    """

    writes = ("thawed", "asked", "awaited")

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.late: dict[int, Late] = {}
        self.weights = Weights([])
        self.before: Tensor | None = None

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        if is_sharded(module.parameters()):
            raise NotMonitored("the parameters are sharded, and what holds them is not known")
        self.known = {id(p) for p in module.parameters() if p.requires_grad}
        self._ask(trainer, module)

    def _ask(self, trainer: Trainer, module: LightningModule) -> None:
        found = asked(module)
        if found or "asked" in self.notes.record:
            self.notes.record.add("asked", [{**entry, "name": clean(entry["name"])} for entry in found])
        named = type(module).__name__
        owners = [(type(c).__name__, vars(c)) for c in trainer.callbacks]  # type: ignore[attr-defined]
        waiting = awaited([*owners, (named, vars(module)), (named, vars(module).get("_hparams") or {})], module)
        if waiting or "awaited" in self.notes.record:
            self.notes.record.add("awaited", waiting | {"frozen": [clean(name) for name in waiting["frozen"]]} if waiting else {})

    def before_step(self, module: LightningModule, optimizer: Any) -> None:
        waiting = [late for late in self.late.values() if not late.pulled and late.parameter.grad is not None]
        for late, norm in zip(waiting, _pulls([late.parameter for late in waiting]), strict=True):
            late.pulled = norm not in (0.0, late.left)

    def after_epoch(self, trainer: Trainer, module: LightningModule) -> None:
        self._follow()
        self._ask(trainer, module)
        found = {id(p): (name, p) for name, p in module.named_parameters() if p.requires_grad and id(p) not in self.known}
        taken = 0
        if found:
            held = {id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
            taken = sum(p.numel() for i, (_, p) in found.items() if i in held)
            found = {i: pair for i, pair in found.items() if i not in held and not isinstance(pair[1], UninitializedParameter)}
        norms = {id(p) for m in module.modules() if isinstance(m, _BatchNorm) for p in m.parameters(recurse=False)} if found else ()
        self.late = {i: self.late.get(i) or Late(clean(name), p, _pulls([p])[0], i in norms) for i, (name, p) in found.items()}
        self._copy()
        told = [{"name": o.name, "size": o.parameter.numel(), "epochs": o.epochs, "norm": o.norm} for o in self.late.values() if o.epochs]
        if told or "thawed" in self.notes.record:
            trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
            self.notes.record.add("thawed", {"parameters": told, "taken": taken, "trainable": trainable})

    def _follow(self) -> None:
        """Count the epochs of those that stood still; those that moved are somebody's, and known from now on."""
        if self.before is None:
            return
        for (key, late), moved in zip(self.late.items(), self.weights.moved(self.before), strict=True):
            if float(moved) != 0:
                self.known.add(key)
            late.epochs += late.pulled

    def _copy(self) -> None:
        self.weights = Weights([late.parameter for late in self.late.values()])
        self.before = self.weights.copy() if self.late else None

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        self.late = {}
        self._copy()


def _pulls(parameters: list[nn.Parameter]) -> list[float]:
    """Norms of the gradients, 0 where there is none."""
    return [float(each_norm([p.grad])[0]) if p.grad is not None else 0.0 for p in parameters]
