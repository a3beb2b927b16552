"""Transformer layers of torch take a fused path in evaluation, unless somebody watches; it rounds otherwise, so it is left alone."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import nn

FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


class Unwatched:
    """Stands in for the ``forward`` of a layer: function modes do not see what a layer that trains nothing does inside."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self.module
        if torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters()):
            return type(module).forward(module, *args, **kwargs)
        with torch._C.DisableTorchFunction():
            return type(module).forward(module, *args, **kwargs)


class FastPaths:
    """A context in which function modes leave the fused paths of a module's layers as they are; it can be entered many times.

    The modes have to be entered and left inside of it. Layers in train mode have no such path, and are seen.
    """

    def __init__(self, module: nn.Module) -> None:
        self.modules = [m for m in module.modules() if isinstance(m, FUSED)]
        self.held: list[nn.Module] = []

    def __enter__(self) -> FastPaths:
        self.held = [m for m in self.modules if not m.training and "forward" not in vars(m)]
        for module in self.held:
            vars(module)["forward"] = Unwatched(module)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for module in self.held:
            vars(module).pop("forward", None)
        self.held = []
