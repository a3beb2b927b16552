"""What becomes of gradients between the backward pass and the optimizer, where the user's own code may reach them."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from diagnose.callbacks.gradients import scale
from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.callbacks.monitor import Monitor
from diagnose.measure.gradients import each_norm, is_sharded
from diagnose.measure.limits import left_of
from diagnose.measure.updates import thinned
from diagnose.namespace import Callback, LightningModule, Trainer, is_overridden

REACH = ("on_after_backward", "on_before_optimizer_step", "configure_gradient_clipping", "optimizer_step")
ALIKE, SAMPLED = REACH[:2], 512
ROWS, HALF = 12, 0.5  # steps that all leave more of a gradient than this are enough


class ByHand(Instrument):
    """``clip/by_hand``, ``clip/left``, ``clip/bound``: what hooks of parameters and the user's own code leave of the gradients.

    Only where there are such hooks, where a hook of training that can reach gradients is overridden, and under manual optimisation. In
    the measured steps each parameter has a hook in front of all others that keeps some entries of its gradient, and what the optimizer
    gets of it is held against them. Entries that somebody has set to 0 count for nothing: to leave weights out is not to clip. Where the
    first twelve of these steps leave more than half of the gradient, the others are left alone.
    """

    writes = ("clip/by_hand", "clip/left", "clip/bound")

    def __init__(self) -> None:
        self.optimizers: list[Any] = []
        self.manual = self.reached = False
        self.scaler: Any = None
        self.scale: Tensor | None = None
        self.handles: list[Any] = []
        self.gathered: dict[int, Tensor] = {}
        self.given: dict[int, Tensor] = {}
        self.shrunk: dict[int, list[Tensor]] = {}
        self.stepped: dict[int, Any] = {}
        self.left: list[Tensor] = []
        self.seen = self.whole = 0

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size > 1 or is_sharded(module.parameters()):
            raise NotMonitored("gradients of several processes are averaged on their way to the optimizer")
        self.manual = not module.automatic_optimization
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        others = any(reaches(callback) for callback in callbacks)
        self.reached = self.manual or others or any(is_overridden(hook, module) for hook in REACH)
        self.optimizers = [o for o in trainer.optimizers if hasattr(o, "register_step_pre_hook")]
        self.scaler = getattr(trainer.precision_plugin, "scaler", None)

    def before_batch(self, module: LightningModule, batch: Any, index: int) -> None:
        self.release()
        if self.whole == self.seen >= ROWS:
            raise NotMonitored("nobody shortens gradients on their way to the optimizer")
        trained = [p for p in module.parameters() if p.requires_grad and p.is_leaf]
        hooked = [p for p in trained if p._backward_hooks]
        if not self.reached and not hooked and not any(p._post_accumulate_grad_hooks for p in trained):
            raise NotMonitored("nobody reaches gradients on their way to the optimizer")
        known = getattr(self.scaler, "_scale", None)
        self.scale = known.clone() if isinstance(known, Tensor) else None
        for p in hooked:
            before, after = self._watch(p)
            self.handles.append(first(p._backward_hooks, p.register_hook(before)))  # type: ignore[no-untyped-call]
            self.handles.append(p.register_hook(after))  # type: ignore[no-untyped-call]
        for p in trained:
            handle = p.register_post_accumulate_grad_hook(self._gather)  # type: ignore[no-untyped-call]
            self.handles.append(first(p._post_accumulate_grad_hooks, handle))
        if self.manual:
            self.handles += [o.register_step_pre_hook(lambda o, *_: self._close(module, o)) for o in self.optimizers]

    def _watch(self, parameter: nn.Parameter) -> tuple[Callable[[Tensor], None], Callable[[Tensor], None]]:
        """Hooks before and after all others of a parameter: how much the others leave of its gradient."""
        key = id(parameter)

        def before(gradient: Tensor) -> None:
            self.given[key] = kept(gradient)

        def after(gradient: Tensor) -> None:
            given, now = self.given.pop(key, None), kept(gradient)
            if given is not None and given.shape == now.shape:
                self.shrunk.setdefault(key, []).append(torch.stack([now.norm(), (given * (now != 0)).norm()]))

        return before, after

    def _gather(self, parameter: Tensor) -> None:
        if parameter.grad is not None and not parameter.grad.is_sparse:
            self.gathered[id(parameter)] = kept(parameter.grad)

    def before_step(self, module: LightningModule, optimizer: Any) -> None:
        if not self.manual:
            self.stepped[id(optimizer)] = optimizer

    def _close(self, module: LightningModule, optimizer: Any) -> None:
        """An optimizer steps: what it gets against what was gathered."""
        held = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None and id(p) in self.gathered]
        held = [p for p in held if not p.grad.is_sparse and p.device == held[0].device]
        if not held:
            return
        gradients = [p.grad for p in held]
        sizes = [p.numel() for p in held]
        shrunk = [torch.stack(self.shrunk[id(p)]).square().sum(0).sqrt() if id(p) in self.shrunk else None for p in held]
        factor = scale(module, optimizer) if self.scaler is not None else 1.0
        left = left_of([self.gathered[id(p)] for p in held], [kept(g) for g in gradients], sizes, shrunk)
        whole = torch.stack(list(each_norm(gradients))).float().norm() / factor
        before = left.before / self.scale if self.scale is not None else left.before
        self.left += [left.after / factor, before, left.bound, left.entries, whole]

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        for optimizer in self.stepped.values():
            self._close(module, optimizer)
        if self.left:
            self.notes.put_raw(self.left, self._finish)
        self.release()

    def _finish(self, numbers: list[float]) -> dict[str, float | list[float]]:
        after, before, bound, entries, whole = (numbers[i::5] for i in range(5))
        total, of = math.hypot(*before), sum(entries)
        if not math.isfinite(math.hypot(*after, total)) or not total or not of:
            return {}  # a step that a scaler skips, or gradients of zero
        ratio = math.hypot(*after) / total
        self.seen, self.whole = self.seen + 1, self.whole + (ratio > HALF)
        return {"clip/by_hand": ratio, "clip/left": math.hypot(*whole), "clip/bound": sum(bound) / of}

    def release(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles, self.gathered, self.given, self.shrunk, self.stepped, self.left = [], {}, {}, {}, {}, []


def reaches(callback: Any) -> bool:
    """Whether a callback of the user's has a hook in which gradients can be changed."""
    kind = type(callback)
    known = kind.__module__.partition(".")[0] in ("lightning", "pytorch_lightning", "diagnose")
    return not (known or isinstance(callback, Monitor)) and any(getattr(kind, hook, None) is not getattr(Callback, hook) for hook in ALIKE)


def kept(tensor: Tensor) -> Tensor:
    """A copy of some evenly spaced entries of a gradient."""
    flat = tensor.detach()
    flat = thinned(flat, SAMPLED) if flat.numel() > SAMPLED else flat.reshape(-1)
    return flat.to(torch.float32, copy=True)


def first(hooks: MutableMapping[int, Any] | None, handle: Any) -> Any:
    """Let a hook be the first: torch calls them as they were put in."""
    if hooks is not None:
        for key in [key for key in hooks if key != handle.id]:
            hooks[key] = hooks.pop(key)
    return handle
