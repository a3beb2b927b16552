"""How far batch norm's output with the running averages is from its output with those of the batch, and how far chance explains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Root mean squares over channels and values, in standard deviations of the normalised values (before weight and bias).

    Attributes:
        found: Of the output in training mode minus the output in evaluation mode, for the same input.
        expected: What it is on average where the running averages are those of batches like this one.
    """

    found: float
    expected: float


def memory(momentum: float | None, updates: int) -> tuple[float, float]:
    """What running averages are made of after so many updates.

    Args:
        momentum: Weight of the newest batch; ``None`` for the plain mean of all batches.
        updates: Batches seen.

    Returns:
        The share that is still the start value (0 and 1), and the sum of the squared weights of the batches: the variance of the
        running mean in units of that of one batch.

    >>> memory(1.0, 5), memory(None, 4), [round(v, 4) for v in memory(0.1, 7)]
    ((0.0, 1.0), (0.0, 0.25), [0.4783, 0.0406])
    """
    if not updates:
        return 1.0, 0.0
    if momentum is None:
        return 0.0, 1 / updates
    left = (1 - momentum) ** updates
    return left, momentum / (2 - momentum) * (1 - left**2) if momentum > 0 else 0.0


def difference(x: Tensor, mean: Tensor, variance: Tensor, *, eps: float = 1e-5, carried: float = 0.0) -> Difference:
    """Compare both modes of a batch norm on one batch.

    With the mean :math:`m` and deviation :math:`s` of the batch and :math:`m', s'` of the running averages, the normalised values
    :math:`u` and :math:`u'` differ by :math:`u (1 - s / s') - (m - m') / s'`. Chance moves the mean by a standard error, the relative
    deviation by half that of the variance. Values of one sample (pixels) are not independent, so that errors are taken over samples.

    Args:
        x: Input, shape ``(n, channels, ...)``.
        mean: Running mean, shape ``(channels,)``.
        variance: Running variance, shape ``(channels,)``.
        eps: Of the layer.
        carried: The chance of the running averages, as `memory` gives it: they too come from batches.

    References:
        Ioffe and Szegedy, Batch normalization, ICML (2015), algorithms 1 and 2.
    """
    values = x.detach().double().flatten(2) if x.dim() > 2 else x.detach().double()[:, :, None]
    mean, variance = mean.double(), variance.double()
    centre = values.mean((0, 2))
    own = (values - centre[:, None]).square().mean((0, 2))
    scale, deviation = (variance + eps).sqrt(), (own + eps).sqrt()
    found = own / (own + eps) * (1 - deviation / scale).square() + ((centre - mean) / scale).square()
    first = values.mean(2)
    second = (values - centre[:, None]).square().mean(2)
    spread = own + eps
    chance = first.var(0) / spread + second.var(0) / spread.square() / 4
    expected = (1 + carried) * chance / len(values)
    return Difference(found=math.sqrt(float(found.mean())), expected=math.sqrt(float(torch.nan_to_num(expected).mean())))
