"""Rule T316."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.objective import scale_free
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class ClippingDominates(Rule):
    """Gradient clipping shortens nearly every step to a small part.

    ## What it measures
    The norm of the gradients after clipping over that before: below one in `share` of at least `records` measured steps, and below
    `ratio` in the median.

    ## Why it matters
    The threshold, not the gradient, sets the length of the steps: plain SGD then trains with a rate that nobody chose.

    ## When it is wrong
    Clipping every step a little is common with transformers: hence the low `ratio`. Optimizers of the Adam family divide by the gradient's
    own scale, so that its length does not matter: the finding is then `info`, unless clipping leaves less than `nothing` of a gradient per
    weight, which what they add to that scale swamps.

    ## What to try
    Raise the threshold to about the median of the recorded norms, or lower the learning rate and clip only the peaks.

    ## References
    R. Pascanu et al. (2013): a threshold of half to ten times the average norm.
    """

    code = "T316"
    name = "clipping-dominates"
    severity = Severity.WARNING
    needs = ("clip/ratio",)
    explains = ("learning-rate-too-low",)

    ratio: float = 0.05
    nothing: float = 1e-7
    share: float = 0.95
    records: int = 20

    def judge(self, record: Record) -> Iterator[Finding]:
        ratios = finite(record.series("clip/ratio").value)
        if len(ratios) < self.records:
            raise NotRun(f"too short: {len(ratios)} measured steps, at least {self.records} are needed")
        often, typical = float(np.mean(ratios < 0.999)), median(ratios)
        if often >= self.share and typical < self.ratio:
            norm = median(finite(record.series("grad_norm/total").value))
            weights = sum(e["size"] for e in record.facts.get("probe.parameters", {}).get("registered", ()))
            harmless = scale_free(record) and norm * typical > self.nothing * math.sqrt(max(weights, 1))
            yield self.finding(
                f"clipping is active in {often:.0%} of {len(ratios)} measured steps and leaves {typical:.1%} of a gradient with a "
                f"norm of {norm:.3g}",
                where="gradient clipping",
                fix=f"raise the threshold to about {norm:.2g}, or clip less",
                override=record.override("gradient_clip_val", norm),
                severity=Severity.INFO if harmless else self.severity,
                share=often,
                ratio=typical,
                limit=self.ratio,
                norm=norm,
            )
