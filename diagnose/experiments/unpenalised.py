"""What the further terms of a loss cost: the same training with them and without them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from diagnose.experiments.baselines import chance, floor
from diagnose.experiments.dependence import output
from diagnose.experiments.learning import split
from diagnose.experiments.overfit import RATES, STEPS, train
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record
from diagnose.rules.objective import penalty, pull

ALONE = attrgetter("value")
WORTH = 0.3  # of the data's pull: weaker penalties on the weights are not looked at
TERM = 1.0  # the same for terms that depend on the batch


def without_penalty(sandbox: Sandbox, record: Record) -> None:
    """Train copies on some batches by the whole loss of the step and by its loss call alone, and compare that call on other batches.

    Writes ``probe.unpenalised`` where the step adds to its loss what is the same for every batch, or what pulls harder than the data:
    ``whole`` and ``alone``, the mean of the loss call on batches not trained on, in eval mode, at the better of two learning rates each;
    ``chance``, that of a constant prediction; ``floor``, the least that there is; ``steps``.
    """
    seen, unseen = split(sandbox.batches)
    if not sandbox.module.automatic_optimization or (penalty(record) < WORTH and pull(record) < TERM):
        record.skip("probe.unpenalised", "the step adds nothing to its loss that pulls as hard as the data")
        return
    if not unseen:
        record.skip("probe.unpenalised", f"too little data: {len(sandbox.batches)} batches")
        return
    fact: dict[str, float] = {}
    for name in ("whole", "alone"):
        for rate in RATES[:-1]:
            sandbox.reset()
            torch.manual_seed(0)
            steps = len(train(sandbox, seen, STEPS, rate, by=ALONE if name == "alone" else None))
            known = _held_out(sandbox, unseen)
            if steps == STEPS and known is not None and known[0] < fact.get(name, np.inf):
                fact |= {name: known[0], "chance": known[1], "floor": known[2], "steps": steps}
    sandbox.reset()
    if "whole" in fact and "alone" in fact:
        record.add("probe.unpenalised", fact)
    else:
        record.skip("probe.unpenalised", "the loss call is no mean of a known kind, or did not stay finite")


def _held_out(sandbox: Sandbox, batches: Sequence[Any]) -> tuple[float, float, float] | None:
    """The mean of the loss call, that of a constant prediction, and the least that there is."""
    calls = [output(sandbox, batch)[0] for batch in batches]
    known = [
        (float(call.value), constant, floor(call) or 0.0)
        for call in calls
        if call is not None and call.value is not None and call.value.numel() == 1 and str(call.options.get("reduction", "mean")) == "mean"
        if (constant := chance(call)) is not None
    ]
    if len(known) < len(calls):
        return None
    value, constant, least = np.mean(known, axis=0)
    return float(value), float(constant), float(least)
