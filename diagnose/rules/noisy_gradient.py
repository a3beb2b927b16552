"""Rule T324."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.statistics import finite
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class NoisyGradient(Rule):
    """The gradients of successive batches have almost nothing in common.

    ## What it measures
    The cosine between a sample of the gradient's entries at successive steps, in the mean over at least `records` pairs: signal over
    signal plus noise. Below `cosine` in the first steps, where the signal is strongest, and within two standard errors below `sure`.

    ## Why it matters
    Most of a step is noise of the batch: larger batches or a lower rate would travel the same way in fewer steps.

    ## When it is wrong
    A small cosine is normal late in training and for very large models; it costs time, not correctness.

    ## What to try
    Larger batches or accumulation, momentum, gradient averaging.

    ## References
    S. McCandlish et al. (2018), gradient noise scale; torchmortem (signal to noise below 1).
    """

    code = "T324"
    name = "noisy-gradient"
    severity = Severity.INFO
    needs = ("gradient/similarity",)

    cosine: float = 0.02
    sure: float = 0.1
    records: int = 10

    def judge(self, record: Record) -> Iterator[Finding]:
        values = finite(record.series("gradient/similarity").value)
        if len(values) < self.records:
            raise NotRun(f"too short: {len(values)} pairs of successive steps, at least {self.records} are needed")
        mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
        if mean < self.cosine and mean + 2 * error < self.sure and mean > -self.sure:
            yield self.finding(
                f"successive gradients have a cosine of {mean:.3f} (standard error {error:.3f}) in the first {len(values)} steps",
                where="batch size",
                fix="use larger batches, or accumulate gradients",
                cosine=mean,
                limit=self.cosine,
                error=error,
            )
