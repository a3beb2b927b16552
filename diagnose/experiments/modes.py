"""Modules that stand in the wrong mode, and what a validation step does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from diagnose.experiments.dependence import evaluating
from diagnose.experiments.functional_dropout import WatchDropout
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

MODAL = (_BatchNorm, nn.modules.dropout._DropoutNd)


def wrong_mode(module: nn.Module, ran: Sequence[str]) -> list[str]:
    """Modules that ran in eval mode while training, although they behave differently then and nobody keeps them so on purpose.

    On purpose is: all their parent's weights are frozen, or the module's own ``train()`` leaves them in eval mode.
    """
    named = dict(module.named_modules())
    suspects = [n for n in ran if n in named and isinstance(named[n], MODAL) and not named[n].training]
    suspects = [n for n in suspects if getattr(named[n], "p", 1.0) > 0]
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
        parent = named[name.rpartition(".")[0]]
        weights = list(parent.parameters())
        if name not in stays and (not weights or any(p.requires_grad for p in weights)):
            result.append(name)
    return result


def validate(sandbox: Sandbox, record: Record) -> None:
    """Run one validation step as Lightning does, to see its modes; the sandbox keeps what it logs.

    Writes ``probe.validation`` (``calls``: how many loss functions were given targets), also where the step raises. Completes
    ``probe.modes`` (``validation``: modules that stood in train mode; ``dropping``: dropout called as a function that drops in
    validation although no module stands in train mode).
    """
    if sandbox.held_out:
        with evaluating(sandbox.module), torch.no_grad(), watch_losses() as losses, WatchDropout() as dropout:
            for hook in ("on_validation_start", "on_validation_epoch_start"):
                getattr(sandbox.module, hook)()
            try:
                sandbox.validation_step(sandbox.move(sandbox.held_out[0]))
            finally:
                record.add("probe.validation", {"calls": sum(c.target is not None for c in losses.calls)})
            modal = [n for n, m in sandbox.module.named_modules() if m.training and _modal(m)]
        if "probe.modes" in record:
            dropping = [] if modal else dropout.found
            record.add("probe.modes", {**record.facts["probe.modes"], "validation": modal, "dropping": dropping})


def _modal(module: torch.nn.Module) -> bool:
    return isinstance(module, MODAL) and getattr(module, "p", 1.0) > 0
