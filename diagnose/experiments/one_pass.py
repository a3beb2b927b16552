"""What a network learns of many batches that it sees once, where of a few it learned the samples by heart."""

from __future__ import annotations

from typing import Any

import torch

from diagnose.experiments.learning import association
from diagnose.experiments.loaders import first_batches
from diagnose.experiments.overfit import RATES, train
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record

MOST = 300  # batches
SECONDS = 5.0  # to read them
MORE = 2  # times as many as those that were learned by heart
HELD = 0.2  # of them, at the end


def learn_in_one_pass(sandbox: Sandbox, loaders: Any, record: Record) -> None:
    """Train a copy once over many batches, and look whether its predictions go with the targets of the last ones.

    A weak signal (clicks, returns) is lost in the noise of a few batches that are learned by heart, and stands out of many.

    Writes ``probe.once``: ``held_out`` (as in `learning.learn`), ``samples`` and ``steps``.
    """
    if record.facts.get("data", {}).get("train", {}).get("order") == "weighted":
        record.skip("probe.once", "the loader draws rows more than once, so batches it has not given yet may hold the same rows")
        return
    batches = first_batches(loaders, MOST, SECONDS)
    if len(batches) < MORE * len(sandbox.batches):
        record.skip("probe.once", f"too little data: {len(batches)} batches")
        return
    cut = int((1 - HELD) * len(batches))
    sandbox.reset()
    torch.manual_seed(0)
    steps = len(train(sandbox, batches[:cut], cut, RATES[0]))
    held_out, samples = association(sandbox, batches[cut:])
    sandbox.reset()
    record.add("probe.once", {"held_out": held_out, "samples": samples, "steps": steps})
