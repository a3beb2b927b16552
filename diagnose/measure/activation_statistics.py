"""Numbers of what one activation puts out: scale, dead and saturated units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BOUNDS = {"sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hardtanh": (-1.0, 1.0)}
MARGIN = 0.01
NEARLY_ALL = 0.95
ENOUGH = 8
ZERO = 1e-6
LIMIT = 16_384
POSITIVE = ("relu", "relu6")
SCALED = ("softmax", "attention", "logsigmoid")  # of these scale and spread tell something, zeros do not


@dataclass(slots=True, eq=False)
class Statistics:
    """Numbers of one activation, on its device; as sums, which the host divides.

    Attributes:
        entries: How many entries were measured.
        total: Their sum.
        deviation: 2-norm of their distances from the mean.
        units: How many units there are.
        flagged: How many of them are saturated, if ``bounded``, else dead; ``None`` where that cannot be said.
        bounded: Whether the activation has bounds.
        pushed: Of a bounded activation, twice the smaller of the numbers of entries at its lower and at its upper bound.
    """

    entries: int
    total: Tensor
    deviation: Tensor
    units: int = 1
    flagged: Tensor | None = None
    bounded: bool = False
    pushed: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Mean of the entries."""
        return self.total / self.entries

    @property
    def std(self) -> Tensor:
        """Standard deviation of the entries."""
        return self.deviation / math.sqrt(self.entries)

    @property
    def dead(self) -> Tensor | None:
        """Share of units that give zero for every sample; ``None`` for bounded activations, softmax and attention."""
        return None if self.bounded or self.flagged is None else self.flagged / self.units

    @property
    def saturated(self) -> Tensor | None:
        """Share of units that lie within 0.01 of a bound for 95 % of the samples; ``None`` for unbounded activations."""
        return self.flagged / self.units if self.bounded and self.flagged is not None else None


def statistics(output: Tensor, kind: str, channels_first: bool = False) -> Statistics:
    """Scale, dead and saturated units of one activation.

    A unit is an entry of the last axis (of axis 1 for convolutions); its samples are all other axes. With fewer than eight samples no unit
    is called dead or saturated, and of one number per sample (a distance, a hinge of the loss) nothing is called dead. All but the dead
    units are measured on evenly spaced rows of the first axis, about 16,384 entries of them.

    >>> statistics(torch.eye(10) * torch.tensor([0.0, 0, 1, 1, 1, 1, 1, 1, 1, 1]), "relu").dead
    tensor(0.2000)
    """
    output = output.detach()
    rows = part(output)
    entries, total = rows.numel(), rows.sum()
    found = Statistics(entries, total, torch.linalg.vector_norm(torch.sub(rows, total, alpha=1 / entries)))
    if kind in SCALED or (output.dim() < 2 and kind not in BOUNDS):
        return found
    bounds = BOUNDS.get(kind)
    whole = output if bounds is None else rows
    dims, size = whole.dim(), whole.numel()
    if dims < 2:
        whole = whole.reshape(-1, 1)
    elif channels_first and dims > 2:
        whole = whole.flatten(2)
    else:
        whole = whole.flatten(0, -2) if dims > 2 else whole
    found.units = units = whole.shape[1]
    if size < ENOUGH * units:
        return found
    if bounds is None:
        whole = whole if kind in POSITIVE else whole.abs()
        largest = whole.amax(0) if whole.dim() == 2 else whole.amax(2).amax(0)  # along the memory first
        found.flagged = (largest <= ZERO).sum(dtype=torch.float32)
        return found
    low, high = bounds
    above, below = whole > high - MARGIN, whole < low + MARGIN
    found.pushed = 2 * torch.minimum(above.sum(dtype=torch.float32), below.sum(dtype=torch.float32))
    at_bound = above | below
    found.flagged = (at_bound.float().mean((0, 2) if at_bound.dim() > 2 else 0) >= NEARLY_ALL).sum(dtype=torch.float32)
    found.bounded = True
    return found


def part(output: Tensor) -> Tensor:
    """Evenly spaced rows of the first axis, at least 16 of them, with about 16,384 entries; in single precision where it was half."""
    rows = output
    if output.numel() > LIMIT and output.dim() > 1:
        keep = max(16, LIMIT * len(output) // output.numel())
        rows = output[:: max(1, len(output) // keep)]
    return rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
