"""Watching what every module of a network gets and gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from diagnose.measure.calls import transformed


@contextmanager
def hooked(module: nn.Module, hook: Any) -> Iterator[None]:
    """Call ``hook(name, module, args, output)`` after the forward of every submodule; modules that refuse hooks are passed over.

    Inside of a transform of `torch.func` it is not called: tensors hold no numbers there.
    """
    handles: list[RemovableHandle] = []

    def bound(name: str) -> Any:
        return lambda m, args, output: None if transformed() else hook(name, m, args, output)

    try:
        for name, child in module.named_modules():
            try:
                handles.append(child.register_forward_hook(bound(name)))
            except RuntimeError:  # ScriptModules
                continue
        yield
    finally:
        for handle in handles:
            handle.remove()
