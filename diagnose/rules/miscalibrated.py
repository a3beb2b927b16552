"""Rule E403."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class Miscalibrated(Rule):
    """Probabilities are further from the observed shares than chance explains.

    ## What it measures
    The expected calibration error of the top probability, in bins of equal width, against `gap` and against `noise` times what a
    perfectly calibrated model with the same confidences would show on as many samples.

    ## Why it matters
    Thresholds, costs and refusals built on the probabilities are then wrong, even where the predicted class is right.

    ## When it is wrong
    The error depends on the bins; of models that are used for their top class only, calibration does not matter.

    ## What to try
    Fit one temperature on validation data and divide the logits by it. If confidence is too high, stop earlier or smooth the labels.

    ## References
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """

    code = "E403"
    name = "miscalibrated"
    severity = Severity.INFO
    needs = ("evaluation",)

    gap: float = 0.05
    noise: float = 2.0

    def judge(self, record: Record) -> Iterator[Finding]:
        entries = {k: e for k, e in record.facts["evaluation"].items() if e.get("reliability")}
        if not entries:
            raise NotRun("no evaluated loader has probabilities")
        for loader, entry in entries.items():
            bins = entry["reliability"]
            total = sum(bins["count"])
            pairs = list(zip(bins["confidence"], bins["accuracy"], bins["count"], strict=True))
            error = sum(count * abs(confidence - share) for confidence, share, count in pairs) / total
            chance = sum(math.sqrt(2 / math.pi * count * confidence * (1 - min(1.0, confidence))) for confidence, _, count in pairs) / total
            if error > max(self.gap, self.noise * chance):
                over = sum(count * (confidence - share) for confidence, share, count in pairs) > 0
                yield self.finding(
                    f"confidence and accuracy on {loader} are {error:.1%} apart on average, {chance:.1%} would be chance: the model is "
                    f"too {'sure' if over else 'unsure'}",
                    where=loader,
                    fix="divide the logits by a temperature that is fitted on validation data"
                    + (f"; on these samples it is {best:.2g}" if (best := entry.get("temperature")) else ""),
                    error=error,
                    chance=chance,
                    threshold=self.gap,
                )
