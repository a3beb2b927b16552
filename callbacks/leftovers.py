"""What the losses of some optimizers leave in the gradients of others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diagnose.measure.gradients import dense


class Leftovers:
    """Follows the gradients of several optimizers through backward passes and steps, by their largest entries, which stay on the device.

    Attributes:
        before: The largest entry of each optimizer's gradient before the latest backward pass; ``None`` where it had none.
        reached: Whether that pass reached it, 0 or 1.
        left: Whether it holds, since it was empty, what a pass brought for which another optimizer has stepped, 0 or 1.
    """

    def __init__(self, parameters: Sequence[Sequence[Tensor]]) -> None:
        self.parameters = parameters
        self.no = torch.zeros((), device=next((p.device for group in parameters for p in group), None))
        self.before: list[Tensor | None] = [None] * len(parameters)
        self.reached, self.left = [self.no] * len(parameters), [self.no] * len(parameters)
        self.passing = False

    def backward(self) -> None:
        """A loss is about to be differentiated."""
        self.before, self.passing = self._now(), True
        for i, now in enumerate(self.before):
            self.left[i] = self.no if now is None else self.left[i] * (now > 0)  # what was cleared is left no longer

    def step(self, i: int) -> Tensor:
        """An optimizer is about to step; the share of its largest entry that was left there, where the latest pass reached it alone."""
        now = self._now()
        if self.passing:
            self.passing = False
            self.reached = [self._changed(old, new) for old, new in zip(self.before, now, strict=True)]
        others = [j for j in range(len(now)) if j != i]
        share, old, new = self.no, self.before[i], now[i]
        if old is not None and new is not None:
            alone = self.reached[i] * torch.stack([1 - self.reached[j] for j in others]).prod()
            share = self.left[i] * alone * old / torch.maximum(old, new)
        for j in others:
            self.left[j] = torch.maximum(self.left[j], self.reached[i] * self.reached[j])
        self.left[i] = self.no
        return share

    def _changed(self, old: Tensor | None, new: Tensor | None) -> Tensor:
        if new is None:
            return self.no
        return self.no + 1 if old is None else (new != old).float()

    def _now(self) -> list[Tensor | None]:
        entries = [largest(parameters) for parameters in self.parameters]
        return [None if entry is None else entry.float().to(self.no.device) for entry in entries]


def largest(parameters: Sequence[Tensor]) -> Tensor | None:
    """The largest magnitude in the gradients of some parameters; ``None`` without any."""
    gradients = [dense(p.grad) for p in parameters if p.grad is not None]
    return torch.stack(list(torch._foreach_norm(gradients, float("inf")))).max() if gradients else None
