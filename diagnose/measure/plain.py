"""Tensors without what subclasses make of them."""

from __future__ import annotations

import torch
from torch import Tensor


def plain(tensor: Tensor) -> Tensor:
    """The same tensor as an ordinary one: subclasses with labels or units forbid or break what is done with numbers.

    >>> class Named(Tensor):
    ...     pass
    >>> type(plain(torch.ones(2).as_subclass(Named)))
    <class 'torch.Tensor'>
    """
    if type(tensor) is Tensor:
        return tensor
    with torch._C.DisableTorchFunctionSubclass():
        ordinary: Tensor = tensor.as_subclass(Tensor)
    return ordinary
