"""Modules that stand in the wrong mode, and what a validation step does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from diagnose.experiments.dependence import evaluating
from diagnose.experiments.functional_dropout import WatchDropout
from diagnose.experiments.loss_arguments import asked_of
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.batch_norm import difference
from diagnose.measure.losses import primary
from diagnose.measure.watched_losses import watch_losses
from diagnose.namespace import is_overridden
from diagnose.record import Record

MODAL = (_BatchNorm, nn.modules.dropout._DropoutNd)


def wrong_mode(module: nn.Module, ran: Sequence[str]) -> list[str]:
    """Modules that ran in eval mode while training, although they behave differently then and nobody keeps them so on purpose.

    On purpose is: all their own weights or all their parent's are frozen, or the module's own ``train()`` leaves them in eval mode.
    Batch norms that keep no running averages do the same in both modes.
    """
    named = dict(module.named_modules())
    suspects = [n for n in ran if n in named and isinstance(named[n], MODAL) and not named[n].training]
    suspects = [n for n in suspects if getattr(named[n], "p", 1.0) > 0]
    suspects = [n for n in suspects if not isinstance(named[n], _BatchNorm) or named[n].running_mean is not None]
    if not suspects:
        return []
    modes = {m: m.training for m in named.values()}
    try:
        module.train()
        stays = {n for n in suspects if not named[n].training}
    finally:
        for m, mode in modes.items():
            m.training = mode
    result = []
    for name in suspects:
        owners = named[name], named[name.rpartition(".")[0]]
        frozen = [all(not p.requires_grad for p in weights) for weights in (list(owner.parameters()) for owner in owners) if weights]
        if name not in stays and not any(frozen):
            result.append(name)
    return result


def held_apart(module: nn.Module, x: Tensor | None) -> float | None:
    """How far a batch norm's output in eval mode is from that in train mode, see `difference`; ``None`` where it runs in train mode."""
    if not isinstance(module, _BatchNorm) or module.training or x is None or x.dim() < 2 or not len(x):
        return None
    if module.running_mean is None or module.running_var is None:
        return None
    return difference(x, module.running_mean, module.running_var, eps=module.eps).found


def validate(sandbox: Sandbox, record: Record) -> dict[str, Any] | None:
    """Run one validation step as Lightning does, to see its modes; the sandbox keeps what it logs.

    Writes ``probe.validation`` (``calls``: how many loss functions were given targets), also where the step raises. Completes
    ``probe.modes`` (``validation``: modules that ran in train mode; ``dropping``: dropout called as a function that drops in
    validation although no module ran in train mode).

    Returns:
        What its loss takes for targets, see `asked_of`; of several losses the one to judge by.
    """
    call = None
    if sandbox.held_out:
        module = sandbox.module
        modes = {m: m.training for m in module.modules()}
        with evaluating(module), torch.no_grad(), watch_losses() as losses, WatchDropout() as dropout, _running(module) as modal:
            if is_overridden("on_validation_model_eval", module):  # else Lightning calls eval()
                for m, mode in modes.items():
                    m.training = mode
                module.on_validation_model_eval()
            for hook in ("on_validation_start", "on_validation_epoch_start"):
                getattr(module, hook)()
            try:
                sandbox.validation_step(sandbox.move(sandbox.held_out[0]))
            finally:
                record.add("probe.validation", {"calls": sum(c.target is not None for c in losses.calls)})
        if "probe.modes" in record:
            wrong = [name for name, meant in modal.items() if not meant]
            record.add("probe.modes", {**record.facts["probe.modes"], "validation": wrong, "dropping": [] if modal else dropout.found})
        call = primary(losses.calls)
    return asked_of(sandbox.held_out[0], call) if call is not None else None


@contextmanager
def _running(module: nn.Module) -> Iterator[dict[str, bool]]:
    """Batch norms and dropouts that run in train mode; true for Monte-Carlo dropout, whose parent stands in eval mode."""
    named = dict(module.named_modules())
    found: dict[str, bool] = {}

    def watch(name: str, child: nn.Module) -> RemovableHandle:
        parent = named[name.rpartition(".")[0]]

        def look(m: nn.Module, args: Any) -> None:
            if m.training and getattr(m, "p", 1.0) > 0:
                found[name] = not isinstance(m, _BatchNorm) and not parent.training

        return child.register_forward_pre_hook(look)

    handles = [watch(name, child) for name, child in named.items() if isinstance(child, MODAL)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
