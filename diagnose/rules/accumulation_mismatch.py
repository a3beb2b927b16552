"""Rule T325."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import refuse_games
from diagnose.rules.objective import scale_free
from diagnose.rules.skill import skill
from diagnose.statistics import blocks, finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class AccumulationMismatch(Rule):
    """Gradients are accumulated over several backward passes without being averaged.

    ## What it measures
    Under manual optimisation: the number of backward passes per optimizer step, and what was differentiated over the value of the loss
    call in the same batch. With at least `passes` passes per step in the median of at least `steps` steps, a share that is nearer to 1
    than to 1 / passes (within `tolerance`) means that the sum is used where the mean is meant.

    Where the passes are those of one batch, each after a call of the same loss function (graphs or sequences that are run one by one), it
    takes `several` of them, an optimizer that does not divide by the scale of the gradient, and harm: the loss becomes NaN or infinite,
    or means of blocks of it come to `thrown` times its start, or the first ten measured steps move the largest layer by more than `update`
    of its size in the median and the model ends with less than `skill` of what there is to gain over a constant prediction.

    ## Why it matters
    The step is as many times too large as passes are accumulated, and changes with their number.

    ## When it is wrong
    A sum may be meant, with a learning rate chosen for it: within a batch it then does no harm and nothing is said. Losses of several terms
    are not judged: their share is neither. Nor are gradients that are divided or clipped by hand before the step: in the median less than
    `left` of what they were before the last pass.

    ## What to try
    Divide the loss by the number of accumulated batches, or of passes in a batch, before manual_backward.

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
    several: float = 4.0
    thrown: float = 5.0
    update: float = 0.1
    skill: float = 0.15

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
            inside = finite(record.series("backward/passes").value) if "backward/passes" in record else np.empty(0)
            within, harm = len(inside) > 0 and median(inside) > 1, ""
            if within:
                harm = self._harm(record) if typical >= self.several and not scale_free(record) else ""
                if not harm:
                    return
            yield self.finding(
                f"{typical:.0f} backward passes make up a step, and each differentiates the whole loss (share {share:.2f}, expected "
                f"{1 / typical:.2f}){harm}",
                where=record.source("training_step") or "training_step",
                fix=f"divide the loss by {typical:.0f} before manual_backward",
                passes=typical,
                share=share,
                expected=1 / typical,
            )

    def _harm(self, record: Record) -> str:
        """What steps of that size did to the training, as the end of a sentence, or ``""``."""
        loss = record.series("train/loss").value if "train/loss" in record else np.empty(0)
        if not len(loss):
            return ""
        if not np.isfinite(loss).all():
            return "; the loss becomes NaN or infinite"
        start, highest = abs(float(loss[:3].mean())), float(blocks(loss, 50).max())
        if highest > self.thrown * start:
            return f"; the loss, {start:.3g} at first, comes to {highest:.3g}"
        moved = record.series("update_ratio/layers").value if "update_ratio/layers" in record else np.empty((0, 1))
        moved = moved[np.isfinite(moved).any(axis=1)][:10]
        learned = skill(record)
        if len(moved) and learned is not None and learned < self.skill and (most := median(np.nanmax(moved, axis=1))) > self.update:
            return f"; first steps move a layer by {most:.2g} of its size, and the model ends no better than a constant prediction"
        return ""
