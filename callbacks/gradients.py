"""Gradient norms before and after clipping."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.callbacks.monitor import Monitor
from diagnose.measure.gradients import combine, each_norm, is_sharded, owners, similarity
from diagnose.measure.updates import sample
from diagnose.namespace import LightningModule, Trainer, is_overridden

COMPARED, SAMPLED = 20, 2048
Measured = tuple[list[nn.Parameter], list[int], Sequence[Tensor], float]


@runtime_checkable
class Clipping(Protocol):
    """A callback that clips, and knows the norm that it left in the gradients of each optimizer."""

    after: dict[int, Tensor]

    def describe(self) -> dict[str, Any]: ...


class Gradients(Instrument):
    """``grad_norm/total``, ``grad_norm/layers``, ``grad_norm/clipped``, ``clip/ratio``: of every optimizer that steps in a batch.

    Steps that a gradient scaler skips have none: their gradients overflowed, and are not used.
    """

    writes = ("gradient/similarity", "grad_norm/total", "grad_norm/layers", "grad_norm/clipped", "clip/ratio", "clipping")

    def __init__(self) -> None:
        self.groups: dict[int, int] = {}
        self.names: list[str] = []
        self.pending: dict[int, Measured] = {}
        self.clips = False
        self.clipping: Any = None
        self.compares = True
        self.scaled = False
        self.previous: tuple[int, Tensor] | None = None

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        own = any(is_overridden(hook, module) for hook in ("configure_gradient_clipping", "on_before_optimizer_step"))
        self.clips = module.automatic_optimization and (bool(trainer.gradient_clip_val) or own)  # by hand it is over when a step is seen
        self.clipping = next((c for c in trainer.callbacks if isinstance(c, Clipping)), None)  # type: ignore[attr-defined]
        self.compares = len(trainer.optimizers) == 1
        self.scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        self._label(module)

    def _label(self, module: LightningModule) -> None:
        groups = owners(module)
        if is_sharded(p for parameters in groups.values() for p in parameters):
            raise NotMonitored("the parameters are sharded, and the norm of a shard is not the norm of the gradient")
        new = [name for name in groups if name not in self.names]
        self.names += new
        place = {name: index for index, name in enumerate(self.names)}
        self.groups = {id(p): place[name] for name, parameters in groups.items() for p in parameters}
        if new or not self.names:
            self.notes.record.label("grad_norm/layers", self.names)

    def before_step(self, module: LightningModule, optimizer: Any) -> None:
        stepped = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        group = [self.groups.get(id(p), -1) for p in stepped]
        if -1 in group:
            self._label(module)  # layers that had no shape, or were frozen, before
            stepped = [p for p in stepped if id(p) in self.groups]
            group = [self.groups[id(p)] for p in stepped]
        if stepped:
            gradients = [p.grad for p in stepped]
            self.pending[id(optimizer)] = (stepped, group, each_norm(gradients), scale(module, optimizer) if self.scaled else 1.0)
            if self.compares and self.notes.step < COMPARED:
                self._compare([g for g in gradients if not g.is_sparse])

    def _compare(self, gradients: list[Tensor]) -> None:
        """The direction of this step's gradient against that of the step before, on a sample of its entries, while steps are dense."""
        step = self.notes.step
        if not gradients:
            return
        entries = torch.cat([view.reshape(-1).to(gradients[0].device, torch.float32) for view in sample(gradients, SAMPLED)])
        if self.previous is not None and self.previous[0] == step - 1 and len(self.previous[1]) == len(entries):
            self.notes.put_raw([similarity(self.previous[1], entries)], self._alike)
        self.previous = (step, entries)

    def _alike(self, numbers: list[float]) -> dict[str, float | list[float]]:
        return {"gradient/similarity": numbers[0]} if math.isfinite(numbers[0]) or not self.scaled else {}

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        if not self.pending:
            return
        after = [self.clipping.after[key] for key in self.pending if key in self.clipping.after] if self.clipping is not None else []
        pending, self.pending = list(self.pending.values()), {}
        group = [g for _, groups, _, _ in pending for g in groups]
        factors = [factor for _, groups, _, factor in pending for _ in groups]
        values = [norm for _, _, each, _ in pending for norm in each]
        left = [p.grad for stepped, _, _, _ in pending for p in stepped if p.grad is not None] if self.clips else []
        if after:
            values += [norm.reshape(()) for norm in after]
        elif left and len(left) == len(group):
            values += each_norm(left)
        self.notes.put_raw(values, partial(self._finish, group, factors))

    def _finish(self, group: list[int], factors: list[float], numbers: list[float]) -> dict[str, float | list[float]]:
        each, clipped = [norm / factor for norm, factor in zip(numbers, factors, strict=False)], numbers[len(group) :]
        total = math.hypot(*each)
        if self.scaled and not math.isfinite(total):
            return {}  # the scaler skips this step, and counts it
        row: dict[str, float | list[float]] = {"grad_norm/layers": combine(each, group, len(self.names)), "grad_norm/total": total}
        if clipped:
            after = math.hypot(*clipped)
            row |= {"grad_norm/clipped": after, "clip/ratio": after / total if total else math.nan}
        return row

    def finish(self, trainer: Trainer, module: LightningModule) -> None:
        if self.clipping is not None:
            self.notes.record.add("clipping", self.clipping.describe())

    def release(self) -> None:
        self.pending, self.previous = {}, None


def scale(module: LightningModule, optimizer: Any) -> float:
    """What the gradients are still multiplied by: fused optimizers unscale them inside of their step."""
    scaler = getattr(module.trainer.precision_plugin, "scaler", None)
    fused = getattr(getattr(optimizer, "optimizer", optimizer), "_step_supports_amp_scaling", False)
    return float(scaler.get_scale()) if scaler is not None and fused else 1.0


class GradientMonitor(Monitor):
    """Records the norm of the gradients, in total and per layer, before and after clipping.

    Measured just before the optimizer steps: unscaled, once per optimizer step also under accumulation, reduced in float32. With several
    optimizers the norms of those that step in a batch stand in one row. Under DDP gradients are averaged already, so every rank records
    the same numbers and nothing is communicated; sharded parameters are not monitored. Cost: one ``_foreach_norm`` over the gradients per
    record, two with clipping, and one transfer.

    Args:
        record: The record to write to, or a folder for it; by default it is kept in memory, as ``monitor.record``.
        every_n_steps: Measure at every n-th optimizer step; by default each of the first 12, then ever fewer, then every
            ``log_every_n_steps`` of the Trainer.
        logged: The most scalars of one record that go to the Trainer's loggers; 0 sends none.
        strict: Raise what fails in measuring, where it would otherwise be logged once and measuring switched off.
    """

    def make(self) -> Iterator[Instrument]:
        yield Gradients()
