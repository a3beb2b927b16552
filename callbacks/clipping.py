"""Gradient clipping that counts, and that can find its own threshold."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from diagnose.callbacks.gradients import scale
from diagnose.callbacks.monitor import Monitor
from diagnose.measure.gradients import is_sharded, norms
from diagnose.namespace import Callback, LightningModule, Trainer, own_state

SMALL = 1e-6  # added to the norm, as by torch.nn.utils.clip_grad_norm_


@dataclass(eq=False)
class Tally:
    """What a callback and its copies have clipped."""

    threshold: float
    steps: int = 0
    clipped: Tensor | int = 0


class GradientClipping(Callback):
    """Clips gradients before each optimizer step, by norm, by value, or by a percentile of the norms so far.

    It clips what the optimizer is about to use, unscaled once under a scaler, under automatic and manual optimisation (each optimizer on
    its own), with fused optimizers too. Gradients that are not finite are left as they are, for a scaler or a monitor to see. Under a
    percentile nobody has to guess a threshold: it is that percentile of the norms of the last steps of the same optimizer, the present
    one among them. Monitors measure before it, wherever they stand in the list, and record ``grad_norm/clipped`` and ``clip/ratio``.
    Where several processes train, all clip alike, as gradients are averaged before. Cost: a norm of the gradients per step; by percentile
    one transfer to the host.

    ``callback.share`` is the share of steps that were clipped, ``callback.threshold`` the latest threshold.

    Args:
        norm: The largest norm of all gradients of an optimizer.
        value: The largest absolute value of an entry.
        percentile: From 0 to 100, of the norms so far; without any of the three it is 10, as in the paper.
        window: How many of the last norms of an optimizer are looked at; only with ``percentile``.

    Raises:
        ValueError: More than one of the three is given, or the Trainer clips already (``gradient_clip_val``).

    References:
        Seetharaman, Wichern, Pardo and Le Roux, AutoClip: adaptive gradient clipping for source separation networks, MLSP (2020), eq. 3.
    """

    def __init__(
        self, *, norm: float | None = None, value: float | None = None, percentile: float | None = None, window: int = 10_000
    ) -> None:
        given = {k: v for k, v in (("norm", norm), ("value", value), ("percentile", percentile)) if v is not None}
        if len(given) > 1:
            raise ValueError(f"expected one of norm, value and percentile, got {given!r}")
        percentile = percentile if given else 10.0
        if percentile is not None and not 0 <= percentile <= 100:
            raise ValueError(f"percentile must be from 0 to 100, got {percentile!r}")
        if percentile is None and not next(iter(given.values())) > 0:
            raise ValueError(f"{next(iter(given))} must be a positive number, got {next(iter(given.values()))!r}")
        if window < 1:
            raise ValueError(f"window must be a positive number of steps, got {window!r}")
        self.norm, self.value, self.percentile, self.window = norm, value, percentile, window
        self.after: dict[int, Tensor] = {}
        self._tally = Tally(norm or value or math.nan)
        self._norms: dict[int, deque[float]] = {}  # by the optimizer's place in the Trainer
        self._sorted: dict[int, list[float]] = {}

    @property
    def state_key(self) -> str:
        return self._generate_state_key(norm=self.norm, value=self.value, percentile=self.percentile)

    def state_dict(self) -> dict[str, Any]:
        norms = {place: torch.tensor(list(history), dtype=torch.float64) for place, history in self._norms.items()}
        return {"norms": norms, "steps": self.steps, "clipped": int(self._tally.clipped)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._norms = {place: deque(history.tolist(), maxlen=self.window) for place, history in state_dict["norms"].items()}
        self._sorted = {place: sorted(history) for place, history in self._norms.items()}
        self._tally.steps, self._tally.clipped = state_dict["steps"], state_dict["clipped"]

    def __getstate__(self) -> dict[str, Any]:
        return {**own_state(self), "after": {}}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with a history of its own that counts in the original too: hosts run copies, and users look into the original."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update({k: v if k == "_tally" else deepcopy(v, memo) for k, v in self.__getstate__().items()})
        return twin

    @property
    def threshold(self) -> float:
        """What was clipped at in the latest step."""
        return self._tally.threshold

    @property
    def steps(self) -> int:
        """Optimizer steps that were looked at."""
        return self._tally.steps

    @property
    def share(self) -> float:
        """Share of the optimizer steps in which gradients were clipped; NaN before the first."""
        return float(self._tally.clipped) / self.steps if self.steps else math.nan

    def describe(self) -> dict[str, float | str | None]:
        """The fact ``clipping``."""
        by = "norm" if self.norm else "value" if self.value else "percentile"
        threshold = self.threshold if math.isfinite(self.threshold) else None
        return {"by": by, "threshold": threshold, "percentile": self.percentile, "steps": self.steps, "share": self.share}

    def check(self, trainer: Trainer) -> None:
        """Whether this can clip in that Trainer.

        Raises:
            ValueError: The Trainer clips already.
        """
        if trainer.gradient_clip_val:
            raise ValueError(
                f"GradientClipping and gradient_clip_val={trainer.gradient_clip_val!r} of the Trainer would both clip: "
                "set gradient_clip_val=None, or leave the callback out"
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self.check(trainer)
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        last = max((i for i, c in enumerate(callbacks) if isinstance(c, Monitor)), default=-1)
        if last > callbacks.index(self):  # monitors measure first; a new list, since Lightning is walking through the old one
            trainer.callbacks = [*(c for c in callbacks[: last + 1] if c is not self), self, *callbacks[last + 1 :]]  # type: ignore[attr-defined]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if is_sharded(parameters):
            raise RuntimeError("GradientClipping does not work on sharded parameters; use gradient_clip_val of the Trainer")
        if not parameters:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        factor = scale(pl_module, optimizer)
        before = torch.linalg.vector_norm(norms(gradients)) / factor
        self._tally.steps += 1
        if self.value is not None:
            self.after[id(optimizer)] = self._by_value(parameters, before, self.value * factor) / factor
            return
        if self.percentile is not None:
            self._learn(next((i for i, own in enumerate(trainer.optimizers) if own is optimizer), 0), before.item())
        coefficient = torch.where(before.isfinite(), (self.threshold / (before + SMALL)).clamp(max=1.0), 1.0)
        for gradient in gradients:
            gradient.detach().mul_(coefficient.to(gradient.device))
        self._count((before > self.threshold) & before.isfinite())
        self.after[id(optimizer)] = before * coefficient

    def _by_value(self, parameters: list[Tensor], before: Tensor, largest: float) -> Tensor:
        limit = torch.where(before.isfinite(), largest, math.inf)
        over = torch.zeros((), dtype=torch.bool, device=before.device)
        left = []
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()  # entries of the same row add up
            if parameter.grad is not None and parameter.grad.numel():
                gradient = (parameter.grad._values() if parameter.grad.is_sparse else parameter.grad).detach()
                own = limit.to(gradient.device, gradient.dtype)
                over = over | (gradient.abs() > own).any().to(over.device)
                left.append(gradient.clamp_(-own, own))
        self._count(over)
        after: Tensor = torch.linalg.vector_norm(norms(left))
        return after

    def _learn(self, place: int, norm: float) -> None:
        """Take a norm into an optimizer's history; the threshold is its percentile, between two entries as by `numpy.percentile`."""
        history, ordered = self._norms.setdefault(place, deque(maxlen=self.window)), self._sorted.setdefault(place, [])
        if math.isfinite(norm):
            if len(history) == self.window:
                del ordered[bisect_left(ordered, history[0])]
            history.append(norm)
            insort(ordered, norm)
        if ordered and self.percentile is not None:
            at = self.percentile / 100 * (len(ordered) - 1)
            low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
            self._tally.threshold = low + (high - low) * (at - math.floor(at))

    def _count(self, clipped: Tensor) -> None:
        self._tally.clipped = clipped.long() + self._tally.clipped
