"""What a regression comes to where the scale of its targets does not stand in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.experiments.baselines import chance
from diagnose.experiments.dependence import output
from diagnose.experiments.learning import split
from diagnose.experiments.overfit import RATES, STEPS, train
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import LossCall
from diagnose.record import Record

KINDS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
LARGE = 30.0  # root mean square of targets that a first output does not come near to
RAW = 300.0  # the same in standard deviations of the first predictions


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation of the targets, of each column where they are a table."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, targets: Sequence[Tensor]) -> Scale:
        """That of these targets, which have as many columns."""
        together = torch.cat(list(targets))
        return cls(together.mean(0), together.std(0, correction=0).clamp_min(1e-12))

    def standardised(self, call: LossCall) -> Tensor | None:
        """The squared error of the prediction against the standardised targets."""
        if call.target is None or call.input.shape != call.target.shape:
            return None
        target = (_table(call.target) - self.mean) / self.deviation
        return F.mse_loss(call.input.float().reshape(target.shape), target)

    def value(self, call: LossCall) -> float:
        """The loss of the prediction brought back to the unit of the targets."""
        assert call.target is not None
        target = _table(call.target)
        raw = call.input.detach().float().reshape(target.shape) * self.deviation + self.mean
        options = {k: call.options[k] for k in ("delta", "beta") if k in call.options}
        return call.in_its_unit(float(getattr(F, call.kind)(raw, target, **options)))


def _table(target: Tensor) -> Tensor:
    """Targets by rows and columns; what is no table has one column."""
    return target.detach().float().reshape(-1, target.shape[1] if target.dim() == 2 else 1)


def standardised_targets(sandbox: Sandbox, record: Record) -> None:
    """Train copies on some batches by standardised targets, and look at the loss of what they predict for others, brought back.

    Writes ``probe.rescaled`` where the targets of a regression are large, and far larger than the first predictions vary: ``held_out``,
    the mean of the loss on batches not trained on, in eval mode, at the better of two learning rates; ``chance``, that of a constant
    prediction; ``steps``.
    """
    first, (seen, unseen) = record.facts.get("probe.initial_loss", {}), split(sandbox.batches)
    size = first.get("target_rms") or 0.0
    if first.get("kind") not in KINDS or size < LARGE or size < RAW * first["prediction_std"] or not sandbox.module.automatic_optimization:
        record.skip("probe.rescaled", "the targets are not far larger than what the network predicts at first")
        return
    calls = (output(sandbox, batch)[0] for batch in seen)
    targets = [_table(call.target) for call in calls if call is not None and call.target is not None]
    if not unseen or len({target.shape[1] for target in targets}) != 1:
        record.skip("probe.rescaled", f"too little data: {len(sandbox.batches)} batches")
        return
    scale, fact = Scale.of(targets), dict[str, float]()
    for rate in RATES[:-1]:
        sandbox.reset()
        torch.manual_seed(0)
        steps = len(train(sandbox, seen, STEPS, rate, by=scale.standardised))
        found = _held_out(sandbox, unseen, scale)
        if steps == STEPS and found is not None and found[0] < fact.get("held_out", np.inf):
            fact = {"held_out": found[0], "chance": found[1], "steps": steps}
    sandbox.reset()
    if fact:
        record.add("probe.rescaled", fact)
    else:
        record.skip("probe.rescaled", "the predictions have another shape than their targets, or did not stay finite")


def _held_out(sandbox: Sandbox, batches: Sequence[Any], scale: Scale) -> tuple[float, float] | None:
    """The mean of the loss, and that of a constant prediction."""
    calls = (output(sandbox, batch)[0] for batch in batches)
    known = [
        (scale.value(call), constant)
        for call in calls
        if call is not None and call.target is not None and call.target.shape == call.input.shape and (constant := chance(call)) is not None
    ]
    if len(known) < len(batches):
        return None
    value, constant = np.mean(known, axis=0)
    return (float(value), float(constant)) if np.isfinite(value) else None
