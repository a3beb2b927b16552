"""What rests in the first phase of a training, and is trained in a later one."""

from __future__ import annotations

from contextlib import suppress

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.sandbox import Sandbox

EPOCHS = (4, 16, 64, 1000)


def reached_later(sandbox: Sandbox, silent: set[int]) -> set[int]:
    """Those of some parameters, by ``id``, that get a gradient where the module is told that it stands in a later epoch."""
    found: set[int] = set()
    progress = sandbox.trainer.fit_loop.epoch_progress.current
    first = progress.completed

    def note(parameter: Tensor) -> None:
        found.add(id(parameter))

    watched = [p for p in sandbox.module.parameters() if id(p) in silent and _leaf(p)]
    handles = [p.register_post_accumulate_grad_hook(note) for p in watched]  # type: ignore[no-untyped-call]
    try:
        for progress.completed in EPOCHS:
            with suppress(Exception):  # training may never come to that epoch
                loss, _ = sandbox.training_step(sandbox.move(sandbox.batches[0]), 0)
                if loss is not None and loss.requires_grad:
                    loss.backward()  # type: ignore[no-untyped-call]
            if len(found) == len(watched):
                break
    finally:
        progress.completed = first
        for handle in handles:
            handle.remove()
    return found


def _leaf(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad and parameter.is_leaf and not isinstance(parameter, UninitializedParameter)
