"""Loss and predictions of training and validation, found by watching the loss functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from diagnose.callbacks.instrument import Instrument
from diagnose.callbacks.monitor import Monitor
from diagnose.callbacks.passes import share
from diagnose.callbacks.ranks import Share, shares, summed
from diagnose.measure.activations import compiled
from diagnose.measure.fast_paths import FastPaths
from diagnose.measure.losses import LOSSES, LossCall, primary, task
from diagnose.measure.outputs import describe, mean_value, score
from diagnose.measure.plain import plain
from diagnose.measure.watched_losses import WatchLosses, with_written
from diagnose.measure.written_losses import WrittenLosses
from diagnose.namespace import LightningModule, Trainer

PREDICTED = {
    "accuracy": "train/accuracy",
    "top_share": "prediction/top_share",
    "std": "prediction/std",
    "target_top_share": "target/top_share",
    "target_std": "target/std",
}
STAGES = ("val", "valid", "validation", "eval", "dev")
CHANGES = 10  # more are losses that take turns, of which one more says nothing
CLASSES = 100  # of more the counts per class are not kept
LOSS_NAMES = ("loss", "nll", "mse", "bce", "ce")


def watchable(module: LightningModule) -> str:
    """Why the loss calls of a module should not be watched, or ``""``."""
    held = compiled(module)
    return f"not watched: torch.compile holds {', '.join(held[:3])}, and watching would make it compile again" if held else ""


class Losses(Instrument):
    """``train/loss`` of every batch; of measured batches ``train/watched_loss`` (that of the loss call) and what was predicted."""

    writes = (
        *("train/loss", "train/watched_loss", "backward/share", "backward/passes", "train/accuracy"),
        *("prediction/top_share", "prediction/std", "target/top_share", "target/std"),
    )
    always = ("before_backward", "after_batch")
    patient = True

    def __init__(self) -> None:
        self.calls: list[LossCall] = []
        self.written = WrittenLosses()
        self.backward: list[Tensor] = []
        self.before: list[int] = []  # loss calls before each of these
        self.manual = False
        self.kind = ""
        self.changes = 0

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.manual = not module.automatic_optimization
        why = watchable(module)
        if why:
            for name in self.writes[1:]:
                self.notes.record.skip(name, why)
        else:
            self.functions = {**dict.fromkeys(LOSSES, self._see), **self.written.functions()}

    def _see(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        self.calls.append(LossCall.of(func, args, kwargs, output))

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        if self.notes.watched and self.written.noted:
            self.calls = with_written(self.calls, self.written, loss)
            self.written.clear()
        if not self.notes.open:  # passed by: this is all that is seen of it
            self._note(self._loss(module, loss, []))
        if self.manual:
            self.backward.append(plain(loss).detach())
            self.before.append(len(self.calls))

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        calls, backward, before = self.calls, self.backward, self.before
        if calls or backward or self.notes.watched:
            self.release()
        loss = self._loss(module, outputs, backward)
        self._note(loss)
        call = primary(calls, loss if loss is not None and loss.is_cpu else None) if calls else None
        if call is not None:
            self.notes.chosen = place(call, calls)
            if len(calls) == 1:
                self._compare(call.kind)
            self._describe(call)
            watched = mean_value(call)
            if watched is not None:
                self.notes.put("train/watched_loss", watched)
                unreduced = call.options.get("reduction") == "none"
                self.notes.unreduced = (watched, loss.detach()) if unreduced and loss is not None else None
            part = share(backward, before, call, calls, loss_scale(module))
            if part is not None:
                self.notes.put("backward/share", part)
                self.notes.put("backward/passes", len(backward))

    def _note(self, loss: Tensor | None) -> None:
        if loss is not None:
            self.notes.loss = loss.item() if loss.is_cpu else None
            self.notes.put("train/loss", loss.reshape(()) if self.notes.loss is None else self.notes.loss)

    def _loss(self, module: LightningModule, outputs: Any, backward: list[Tensor]) -> Tensor | None:
        """The loss of the batch, not divided for accumulation; one number."""
        loss = outputs if isinstance(outputs, Tensor) or not isinstance(outputs, Mapping) else outputs.get("loss")
        if isinstance(loss, Tensor) and loss.numel() == 1:
            loss = plain(loss)
            return loss if self.manual or self.notes.accumulate == 1 else loss.detach() * self.notes.accumulate
        if not backward:
            return None
        total = backward[0] if len(backward) == 1 else torch.stack([b.reshape(()).to(backward[0].device) for b in backward]).sum()
        scale = loss_scale(module)
        return total if scale == 1.0 else total / scale

    def _compare(self, kind: str) -> None:
        if self.kind not in ("", kind) and self.changes < CHANGES:
            self.changes += 1
            self.notes.record.add("loss_changed", {"to": kind, "batch": self.notes.batch, "times": self.changes})
        self.kind = kind

    def _describe(self, call: LossCall) -> None:
        if "task" not in self.notes.record:
            kind, classes = task(call)
            fact = {"kind": kind, "loss": call.kind, "classes": classes, "class_names": None}
            found = call.name if call.written else "the loss call"
            self.notes.record.add("task", {**fact, "written": call.written, "name": call.name, "extracted_by": f"{found} in training_step"})
        for name, value in describe(call).items():
            self.notes.put(PREDICTED[name], value)

    def release(self) -> None:
        self.calls, self.backward, self.before = [], [], []
        self.written.clear()


def loss_scale(module: LightningModule) -> float:
    """What a scaler has multiplied the loss by when it is differentiated."""
    scaler = getattr(module.trainer.precision_plugin, "scaler", None)
    return float(scaler.get_scale()) if scaler is not None else 1.0


class Validation(Instrument):
    """``val/loss``, ``val/accuracy`` and what was predicted, of each validation of the first loader, weighted by samples.

    Where no loss of torch is called in validation, ``val/loss`` is what the module itself logs as such; so it is, where it
    logs one, if training weighs or masks what a call that is not reduced gives: its plain mean is nobody's loss then.
    """

    writes = (
        *("val/loss", "val/accuracy", "val/top_share", "val/target_top_share", "val/predicted", "val/actual"),
        *("val/std", "val/target_std"),
    )

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.fast_paths: FastPaths
        self.mode: WatchLosses | None = None
        self.sums: dict[str, Tensor] = {}
        self.share: Share | None = None
        self.began = self.weighed = False
        self.seen: dict[str, Any] = {}
        self.off = ""

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.fast_paths = FastPaths(module)
        self.off = watchable(module)

    def before_validation_batch(self, module: LightningModule, loader: int) -> None:
        self._leave()
        if not self.began:
            self.began, self.share = True, shares(module.trainer, module.trainer.val_dataloaders).get(0)
        if loader == 0 and not self.off:
            self.stack.enter_context(self.fast_paths)
            self.mode = self.stack.enter_context(WatchLosses(written=False))

    def after_validation_batch(self, module: LightningModule, outputs: Any, batch: Any, loader: int) -> None:
        calls = self.mode.calls if self.mode is not None else []
        self._leave()
        call = primary(calls) if calls else None
        if call is not None:
            like = [c for c in calls if place(c, calls) == self.notes.chosen and c.kind == call.kind and c.target is not None]
            call = like[0] if like else call  # of several losses the one that training is judged by
            self.seen = {"loss": call.kind, "calls": len(calls)}
            self.weighed = call.options.get("reduction") == "none" and self._weighed()
            for name, value in score(call if self.share is None else own_samples(call, self.share)).items():
                self.sums[name] = added(self.sums[name], value) if name in self.sums else value

    def after_validation(self, trainer: Trainer, module: LightningModule) -> None:
        sums, self.sums, self.began = self.sums, {}, False
        if trainer.sanity_checking:
            return
        sums = {} if self.off else {name: value for name, value in summed(trainer, sums).items() if value.numel()}
        logged = not sums or (self.weighed and logged_loss(trainer.callback_metrics) is not None)
        if logged:
            self._take_logged(trainer)
        elif "validation" not in self.notes.record:
            self.notes.record.add("validation", self.seen)
        if not sums:
            return
        n = sums["n"]
        if not bool(n):  # every target was ignored
            return
        if not logged:
            self.notes.put("val/loss", sums["loss"] / n)
        if "right" in sums:
            self.notes.put("val/accuracy", sums["right"] / n)
        if "predicted" in sums:
            self.notes.put("val/top_share", sums["predicted"].max() / n)
            self.notes.put("val/target_top_share", sums["actual"].max() / n)
            if len(sums["actual"]) <= CLASSES:
                self.notes.put("val/predicted", sums["predicted"])
                self.notes.put("val/actual", sums["actual"])
        if "s1" in sums:
            for name, first, second in (("val/std", "s1", "s2"), ("val/target_std", "t1", "t2")):
                variance = sums[second] / n - (sums[first] / n).square()
                self.notes.put(name, variance.clamp_min(0).mean().sqrt())

    def _weighed(self) -> bool:
        """Whether training makes another loss of a call that is not reduced than its mean."""
        known = self.notes.unreduced
        return known is not None and not torch.isclose(known[0].float(), known[1].float(), rtol=1e-3)

    def _take_logged(self, trainer: Trainer) -> None:
        name = logged_loss(trainer.callback_metrics)
        if name is None or self.notes.record.facts.get("validation", {}).get("logged", name) != name:
            return
        if "validation" not in self.notes.record:
            self.notes.record.add("validation", {"loss": "", "calls": 0, "logged": name})
        if "logged" in self.notes.record.facts["validation"]:
            self.notes.put("val/loss", trainer.callback_metrics[name].detach().reshape(()))

    def _leave(self) -> None:
        self.stack.close()
        self.mode = None

    def release(self) -> None:
        self._leave()
        self.sums = {}


def added(sums: Tensor, batch: Tensor) -> Tensor:
    """The sums and those of one more batch; empty where batches differ in their classes or outputs, as contrasts of pairs do.

    >>> added(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])), added(torch.tensor([1.0, 2.0]), torch.tensor([1.0]))
    (tensor([2., 2.]), tensor([]))
    """
    return sums + batch if sums.shape == batch.shape else sums.new_zeros(0)


def place(call: LossCall, calls: Sequence[LossCall]) -> tuple[int, int]:
    """Which of the loss calls of a step it is, and of how many."""
    return next(i for i, other in enumerate(calls) if other is call), len(calls)


def own_samples(call: LossCall, share: Share) -> LossCall:
    """A loss call without the samples at its end that a sampler repeats to give each process as many."""
    rows = len(call.target) if call.target is not None and call.target.dim() else 0
    own = share.own(rows)
    if call.target is None or own == rows:
        return call
    return LossCall(call.kind, call.input[:own], call.target[:own], call.value, {**call.options, "reduction": "none"})


def logged_loss(metrics: Mapping[str, Tensor]) -> str | None:
    """The name under which a module logs its validation loss, of the first loader, or ``None``.

    >>> logged_loss({"train_loss": torch.tensor(1.0), "valid/loss": torch.tensor(2.0), "val_acc": torch.tensor(0.5)})
    'valid/loss'
    """
    plain = {re.sub("[^a-z]", "", name.removesuffix("/dataloader_idx_0").lower()): name for name, v in metrics.items() if v.numel() == 1}
    known = (order for loss in LOSS_NAMES for stage in STAGES for order in (stage + loss, loss + stage, stage + loss + "epoch"))
    return next((plain[name] for name in known if name in plain), None)


class LossMonitor(Monitor):
    """Records the training loss of every batch, and loss, accuracy and spread of predictions of measured batches and of validations.

    The loss is what ``training_step`` returned, undivided under accumulation; under manual optimisation without a returned loss it is the
    sum of what was differentiated in a batch. Predictions and targets come from the calls of loss functions. In a distributed
    training the first process keeps those of its own batches, and validations are summed over all samples. Cost: a few microseconds per
    batch; on a GPU one transfer per record.

    Args:
        record: The record to write to, or a folder for it; by default it is kept in memory, as ``monitor.record``.
        every_n_steps: Look at the predictions at every n-th optimizer step; by default each of the first 12, then ever fewer, then every
            ``log_every_n_steps`` of the Trainer.
        logged: The most scalars of one record that go to the Trainer's loggers; 0 sends none.
        strict: Raise what fails in measuring, where it would otherwise be logged once and measuring switched off.
    """

    def make(self) -> Iterator[Instrument]:
        yield Losses()
        yield Validation()
