"""Ways to ask one network several times: with its dropout on, and head by head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from diagnose.experiments.sandbox import random_state_kept

DROPOUTS = nn.modules.dropout._DropoutNd


def dropouts(module: nn.Module) -> list[nn.Module]:
    """The modules of dropout that drop something."""
    return [child for child in module.modules() if isinstance(child, DROPOUTS) and child.p > 0]


@contextmanager
def dropping(module: nn.Module, seed: int) -> Iterator[None]:
    """Within, dropout drops in evaluation mode too, with masks of this seed; batch norm and all else evaluate.

    References:
        Gal and Ghahramani, Dropout as a Bayesian approximation, ICML (2016), section 4.
    """

    def on(child: nn.Module, inputs: Any) -> None:
        child.training = True

    def off(child: nn.Module, inputs: Any, output: Any) -> None:
        child.training = False

    handles: list[Any] = []
    modes = [(child, child.training) for child in dropouts(module)]
    for child, _ in modes:
        handles += [child.register_forward_pre_hook(on), child.register_forward_hook(off)]
    with random_state_kept():
        torch.manual_seed(seed)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for child, mode in modes:
                child.training = mode


@contextmanager
def answering(heads: Any, which: int) -> Iterator[None]:
    """Within, one of `diagnose.models.heads.Heads` answers alone."""
    before, heads.chosen = heads.chosen, which
    try:
        yield
    finally:
        heads.chosen = before
