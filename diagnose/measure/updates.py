"""How far one optimizer step moves the weights, relative to their size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diagnose.measure.gradients import combine, norms

SAMPLED = 16_384


def sample(tensors: Sequence[Tensor], limit: int = SAMPLED) -> list[Tensor]:
    """Views of evenly spaced entries of each tensor, at most ``limit`` of them, without copying.

    The spacing is odd, so that it does not stay in a few columns of a matrix.

    >>> [len(t) for t in sample([torch.zeros(10), torch.zeros(10, 10)], limit=20)]
    [10, 20]
    """
    views = []
    for tensor in tensors:
        flat = tensor.detach()
        flat = flat.view(-1) if flat.is_contiguous() else flat.reshape(-1)
        views.append(flat[:: -(-flat.numel() // limit) | 1] if flat.numel() > limit else flat)
    return views


def snapshot(tensors: Sequence[Tensor], limit: int = SAMPLED) -> list[Tensor]:
    """Copies of the sampled entries."""
    return [view.clone() for view in sample(tensors, limit)]


def moves(before: Sequence[Tensor], tensors: Sequence[Tensor]) -> Tensor:
    """Norm of what the sampled entries of each tensor were moved by, shape ``(n,)``, since a `snapshot`, which is used up.

    >>> moves([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 4.5])])
    tensor([0.5000])
    """
    torch._foreach_sub_(list(before), sample(tensors))
    return norms(before)


def expansion(tensor: Tensor, limit: int = SAMPLED) -> float:
    """Norm of a tensor over that of its sampled entries, if these are like the others: the root of the ratio of their numbers.

    >>> expansion(torch.zeros(100), limit=34)
    1.7149858514250884
    """
    size = tensor.numel()
    return math.sqrt(size / len(range(0, size, -(-size // limit) | 1))) if size > limit else 1.0


def update_ratios(moved: Sequence[float], size: Sequence[float], group: Sequence[int], count: int) -> list[float]:
    """How far groups of tensors were moved, relative to their size; NaN for groups that are empty or were all zero.

    Args:
        moved: ‖after - before‖ of each tensor.
        size: ‖before‖ of each tensor.
        group: Index of the group of each tensor.
        count: Number of groups.

    >>> update_ratios([0.3, 0.4], [3.0, 4.0], [0, 0], 2)
    [0.1, nan]
    """
    pairs = zip(combine(moved, group, count), combine(size, group, count), strict=True)
    return [a / b if b > 0 else math.nan for a, b in pairs]
