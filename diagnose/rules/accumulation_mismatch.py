"""Rule T325."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import refuse_games
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class AccumulationMismatch(Rule):
    """Gradients are accumulated over several batches without being averaged.

    ## What it measures
    Under manual optimisation: the number of backward passes per optimizer step, and what was differentiated over the value of the loss
    call in the same batch. With at least `passes` passes per step in the median of at least `steps` steps, a share that is nearer to 1
    than to 1 / passes (within `tolerance`) means that the sum is used where the mean is meant.

    ## Why it matters
    The step is as many times too large as batches are accumulated, and changes with their number.

    ## When it is wrong
    A sum may be meant, with a learning rate chosen for it. Losses of several terms are not judged: their share is neither. Nor are
    gradients that are divided or clipped by hand before the step: in the median less than `left` of what they were before the last pass.

    ## What to try
    Divide the loss by the number of accumulated batches before manual_backward.

    ## References
    PulseML (loss_not_averaged); torch-preflight TG014.
    """

    code = "T325"
    name = "accumulation-mismatch"
    severity = Severity.WARNING
    needs = ("zero_grad/backwards", "backward/share")
    explains = (
        "learning-rate-too-high",
        "exploding-gradient",
        "non-finite",
        "diverging-loss",
        "oscillating-loss",
        "loss-not-decreasing",
        "dead-units",
    )

    passes: float = 2.0
    steps: int = 5
    tolerance: float = 0.05
    left: float = 0.8

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        if "zero_grad/carried" in record and finite(record.series("zero_grad/carried").value).mean() > 0.5:
            raise NotRun("gradients are not cleared between steps, which missing-zero-grad reports")
        passes = finite(record.series("zero_grad/backwards").value)
        shares = finite(record.series("backward/share").value)
        if min(len(passes), len(shares)) < self.steps:
            raise NotRun(f"too short: {min(len(passes), len(shares))} steps, at least {self.steps} are needed")
        left = finite(record.series("zero_grad/left").value) if "zero_grad/left" in record else np.empty(0)
        if len(left) and median(left) < self.left:
            raise NotRun(f"the gradients are made smaller by hand before the step, to {median(left):.2g} of what they were")
        typical, share = median(passes), median(shares)
        if typical >= self.passes and abs(share - 1) < self.tolerance:
            yield self.finding(
                f"{typical:.0f} backward passes make up a step, and each differentiates the whole loss (share {share:.2f}, expected "
                f"{1 / typical:.2f})",
                where=record.source("training_step") or "training_step",
                fix=f"divide the loss by {typical:.0f} before manual_backward",
                passes=typical,
                share=share,
                expected=1 / typical,
            )
