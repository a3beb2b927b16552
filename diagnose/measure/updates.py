"""How far one optimizer step moves the weights, relative to their size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diagnose.measure.gradients import combine, norms


def sample(tensors: Sequence[Tensor], limit: int = 65_536) -> list[Tensor]:
    """Views of evenly spaced entries of each tensor, at most about ``limit`` of them, without copying.

    >>> [len(t) for t in sample([torch.zeros(10), torch.zeros(10, 10)], limit=20)]
    [10, 20]
    """
    views = []
    for tensor in tensors:
        flat = tensor.detach()
        flat = flat.view(-1) if flat.is_contiguous() else flat.reshape(-1)
        views.append(flat[:: -(-flat.numel() // limit)] if flat.numel() > limit else flat)
    return views


def snapshot(tensors: Sequence[Tensor], limit: int = 65_536) -> list[Tensor]:
    """Copies of the sampled entries."""
    return [view.clone() for view in sample(tensors, limit)]


def update_ratios(before: Sequence[Tensor], after: Sequence[Tensor], group: Sequence[int], count: int) -> Tensor:
    """‖after - before‖ / ‖before‖ per group of tensors, shape ``(count,)``; NaN for groups that are empty or were all zero.

    >>> update_ratios([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 4.5])], [0], 1)
    tensor([0.1000])
    """
    moved = combine(norms(torch._foreach_sub(list(after), list(before))), group, count)
    size = combine(norms(before), group, count)
    return torch.where(size > 0, moved / size, torch.nan)
