"""Norms of parameters and gradients, per tensor and per module, in few kernels and without a transfer to the host."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

HALF = {torch.float16, torch.bfloat16}


def clean(name: str) -> str:
    """A module's name without what wrappers (``torch.compile``, data parallel) put into it.

    >>> clean("net._orig_mod.0")
    'net.0'
    """
    return ".".join(part for part in name.split(".") if part not in ("_orig_mod", "_forward_module", "_fsdp_wrapped_module"))


def owners(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Trainable floating-point parameters by the name of the module that owns them; a shared parameter counts once, where it is first.

    Parameters of the root stand under its class name. Lazy parameters without a shape are left out.

    >>> {name: len(p) for name, p in owners(nn.Sequential(nn.Linear(2, 3), nn.ReLU())).items()}
    {'0': 2}
    """
    seen: set[int] = set()
    groups: dict[str, list[nn.Parameter]] = {}
    for name, child in module.named_modules():
        for parameter in child.parameters(recurse=False):
            usable = parameter.requires_grad and parameter.is_floating_point() and not isinstance(parameter, UninitializedParameter)
            if usable and id(parameter) not in seen:
                seen.add(id(parameter))
                groups.setdefault(clean(name) or type(module).__name__, []).append(parameter)
    return groups


def dense(tensor: Tensor) -> Tensor:
    """The stored values of a tensor; of a sparse gradient those of its coalesced entries."""
    tensor = tensor.detach()
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """2-norm of each tensor, reduced in float32 (float64 for float64), shape ``(n,)``, on the device of the first.

    >>> norms([torch.tensor([3.0, 4.0]), torch.zeros(2)])
    tensor([5., 0.])
    """
    if not tensors:
        return torch.zeros(0)
    each = each_norm(tensors)
    device = each[0].device
    return torch.stack([n.to(device, torch.float32) for n in each])


def each_norm(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """2-norm of each tensor as a number on its own device, reduced in float32 (float64 for float64).

    >>> each_norm([torch.tensor([3.0, 4.0])])
    (tensor(5.),)
    """
    with torch.no_grad():
        plain = [dense(t) if t.is_sparse else t for t in tensors]
        kinds = {t.dtype for t in plain}
        if not kinds & HALF:
            return torch._foreach_norm(plain, 2)
        if torch.float64 in kinds:
            plain = [t.float() if t.dtype is torch.float64 else t for t in plain]
        return torch._foreach_norm(plain, 2, dtype=torch.float32)


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of the angle between two vectors; the mean over independent batches is signal over signal plus noise, both squared.

    >>> similarity(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 2.0]))
    tensor(0.7071)
    """
    cosine: Tensor = (first * second).sum() / (torch.linalg.vector_norm(first) * torch.linalg.vector_norm(second))
    return cosine


def combine(each: Iterable[float], group: Iterable[int], count: int) -> list[float]:
    """2-norms of groups of tensors from the norms of the tensors; NaN for a group without a tensor.

    Args:
        each: Norm of each tensor.
        group: Index of the group of each tensor.
        count: Number of groups.

    >>> combine([3.0, 4.0, 1.0], [0, 0, 2], 3)
    [5.0, nan, 1.0]
    """
    squares = [-1.0] * count
    for index, norm in zip(group, each, strict=True):
        square = squares[index]
        squares[index] = norm * norm if square < 0 else square + norm * norm
    return [square**0.5 if square >= 0 else math.nan for square in squares]


def is_sharded(tensors: Iterable[Tensor]) -> bool:
    """Whether any of the tensors is a shard of a larger one (FSDP, tensor parallelism, DeepSpeed), whose norm is not the whole's."""
    marks = ("_local_tensor", "_fsdp_flattened", "ds_id")  # DTensor (FSDP2), FSDP1, ZeRO 3
    return any(hasattr(t, mark) for t in tensors for mark in marks)
