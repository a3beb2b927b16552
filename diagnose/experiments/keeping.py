"""Leave a module as it was, whatever its steps do to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from diagnose.namespace import LightningModule


class Attributes:
    """The plain attributes of a module, with the contents of its lists, sets, mappings and tensors; states of metrics among them."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.own = {k: v for k, v in vars(module).items() if not k.startswith("_") or isinstance(v, (int, float, str, Tensor, type(None)))}
        self.held = {k: copy(v) for k, v in self.own.items() if isinstance(v, (list, dict, set))}
        self.tensors = [(v, v._version, v.detach().clone()) for v in self.own.values() if isinstance(v, Tensor) and not v.is_inference()]

    def put_back(self) -> None:
        vars(self.module).update(self.own)
        for name, content in self.held.items():
            value = self.own[name]
            value.clear()
            if isinstance(value, list):
                value.extend(content)
            else:
                value.update(content)
        for tensor, version, before in self.tensors:
            if tensor._version != version:
                with torch.no_grad():
                    tensor.copy_(before)


@contextmanager
def left_as_it_was(module: LightningModule) -> Iterator[None]:
    """Put back modes, gradients, buffers, attributes (metrics, lists of outputs) and the Trainer of a module."""
    modes = {child: child.training for child in module.modules()}
    attributes = [Attributes(child) for child in module.modules()]
    gradients = {p: p.grad for p in module.parameters()}
    flags = {p: p.requires_grad for p in module.parameters()}
    kept = (b for b in module.buffers() if not isinstance(b, UninitializedBuffer) and not b.is_inference())
    buffers = [(b, b.detach().clone()) for b in kept]
    own = {name: module.__dict__.get(name) for name in ("_trainer", "_current_fx_name")}
    device = module.device
    try:
        yield
    finally:
        if module.device != device:
            module.to(device)
        module.__dict__.update(own)
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):  # batch norm does not count its writes in `_version`
                    buffer.copy_(value)
        for own_attributes in attributes:
            own_attributes.put_back()
        for child, mode in modes.items():
            child.training = mode
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
            parameter.requires_grad_(flags[parameter])
