"""How far one optimizer step moves the weights, relative to their size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diagnose.measure.gradients import each_norm

SAMPLED = 16_384


def sample(tensors: Sequence[Tensor], limit: int = SAMPLED) -> list[Tensor]:
    """Views of evenly spaced entries of each tensor with more than ``limit`` of them; the others whole. Nothing is copied.

    The spacing is odd, so that it does not stay in a few columns of a matrix.

    >>> [t.shape for t in sample([torch.zeros(4, 5), torch.zeros(10, 10)], limit=20)]
    [torch.Size([4, 5]), torch.Size([20])]
    """
    return [thinned(t.detach(), limit) if t.numel() > limit else t.detach() for t in tensors]


def thinned(tensor: Tensor, limit: int) -> Tensor:
    """About ``limit`` evenly spaced entries of a tensor."""
    flat = tensor.view(-1) if tensor.is_contiguous() else tensor.reshape(-1)
    return flat[:: -(-flat.numel() // limit) | 1]


class Weights:
    """Sampled entries of tensors, which can be copied side by side, again and again.

    Args:
        tensors: Whose entries; they are looked at where they are, and found again where their storage was replaced.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        self.places: list[int] = []
        self.views: list[Tensor] = []
        self.sizes: list[int] = []

    def copy(self) -> Tensor:
        """The sampled entries of all tensors in one vector, on the device of the first."""
        places = [t.data_ptr() for t in self.tensors]
        if places != self.places:
            home = self.tensors[0].device
            self.views = [view.reshape(-1) for view in sample(self.tensors)]
            self.sizes = [len(view) for view in self.views]
            self.places = places if all(t.device == home and t.is_contiguous() for t in self.tensors) else []
            self.views = [view.to(home) for view in self.views]
        return torch.cat(self.views)

    def moved(self, before: Tensor) -> Sequence[Tensor]:
        """Norm of what the sampled entries of each tensor were moved by since a copy, which is used up."""
        before -= self.copy()
        return each_norm(torch.split(before, self.sizes))


def expansion(tensor: Tensor, limit: int = SAMPLED) -> float:
    """Norm of a tensor over that of its sampled entries, if these are like the others: the root of the ratio of their numbers.

    >>> expansion(torch.zeros(100), limit=34)
    1.7149858514250884
    """
    size = tensor.numel()
    return math.sqrt(size / len(range(0, size, -(-size // limit) | 1))) if size > limit else 1.0


def update_ratios(moved: Sequence[float], size: Sequence[float]) -> list[float]:
    """How far weights were moved, relative to their size; NaN for those that are unknown or were all zero.

    Args:
        moved: ‖after - before‖ of each layer.
        size: ‖before‖ of each layer.

    >>> update_ratios([0.5, 1.0], [5.0, 0.0])
    [0.1, nan]
    """
    return [a / b if b > 0 else math.nan for a, b in zip(moved, size, strict=True)]
