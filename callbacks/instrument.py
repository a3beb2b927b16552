"""What measures one thing during a training; a `Monitor` calls it at the moments of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor

from diagnose.callbacks.notes import Notes
from diagnose.measure.activations import Hooks
from diagnose.measure.calls import See
from diagnose.namespace import LightningModule, Trainer


class NotMonitored(Exception):
    """Raised by an instrument that cannot work in this training: no failure, but the reason why its numbers are missing."""


class Instrument:
    """Measures one thing; each method is called at one moment of training, and does nothing unless it is overridden.

    ``writes`` names the series and facts it fills in, so that they are known to be missing where it fails or cannot work. The moments of
    a training batch pass by unless the batch is measured, except those in ``always``; one that is ``thorough`` is called in the steps in
    which all is measured. One that is ``patient`` can do, at present, with `before_backward` alone in batches that are not measured:
    ``notes.open`` is false in those, and ``notes.wake`` asks for their end. While the forward pass of a batch runs in which all is
    measured, the calls of ``functions`` are shown to those who look at them, and the modules of ``hooks`` have theirs; `start` sets both.
    """

    writes: ClassVar[tuple[str, ...]] = ()
    always: ClassVar[tuple[str, ...]] = ()
    thorough: ClassVar[bool] = False
    patient: bool = False
    notes: Notes
    functions: Mapping[Callable[..., Any], See] = MappingProxyType({})
    hooks: Hooks = ()

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        """Training begins: everything is on its device, optimizers exist."""

    def before_batch(self, module: LightningModule, batch: Any, index: int) -> None:
        """A training batch begins."""

    def after_forward(self, module: LightningModule) -> None:
        """The forward pass is over and gradients are about to be cleared; not under manual optimisation, nor while they accumulate."""

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        """A loss is about to be differentiated."""

    def before_step(self, module: LightningModule, optimizer: Any) -> None:
        """An optimizer is about to step; gradients are unscaled and not yet clipped."""

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        """A training batch is over; gradients are still there, clipped."""

    def before_validation_batch(self, module: LightningModule, loader: int) -> None:
        """A batch of a validation inside of training begins."""

    def after_validation_batch(self, module: LightningModule, outputs: Any, batch: Any, loader: int) -> None:
        """A batch of a validation inside of training is over."""

    def after_validation(self, trainer: Trainer, module: LightningModule) -> None:
        """A validation inside of training is over, the sanity check included."""

    def after_epoch(self, trainer: Trainer, module: LightningModule) -> None:
        """A training epoch is over."""

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        """Training is over, or was broken off."""

    def release(self) -> None:
        """Take hooks and modes away and let go of tensors; may be called at any moment, also twice."""


HOOKS = tuple(name for name, value in vars(Instrument).items() if name[0] != "_" and callable(value))
IN_BATCH = ("before_batch", "after_forward", "before_backward", "before_step", "after_batch")
