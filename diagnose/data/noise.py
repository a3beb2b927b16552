"""Gaussian noise on the inputs of training batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def noisy(x: Tensor, deviation: Tensor, place: tuple[int, ...]) -> Tensor:
    """Inputs with Gaussian noise; the same place gives the same noise, whatever else has drawn random numbers.

    Args:
        x: Shape ``(n, ...)``, on any device.
        deviation: Standard deviation of the noise of each feature, in a shape that broadcasts to that of ``x``.
        place: Seed, rank, and training batches seen so far: a run that is resumed goes on with the noise that it would have had.

    References:
        Bishop, Training with noise is equivalent to Tikhonov regularization, Neural Computation 7 (1995).
    """
    state = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1)
    drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(state), dtype=torch.float32)
    return x + (drawn * deviation).to(x.device, x.dtype)
