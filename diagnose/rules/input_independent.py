"""Rule M211."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.wording import listed
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class InputIndependent(Rule):
    """The output does not depend on the input.

    ## What it measures
    Samples of a batch are replaced by others, and the change in their own outputs is taken, in units of the outputs' standard deviation. Up
    to `tolerance` counts as none. The question is then asked again after five training steps, since a last layer that starts at zero is
    common and harmless; under manual optimisation it stays open. Modules that run without a gradient and whose weights can be drawn anew
    with no change in the outputs are named: what they compute is thrown away.

    ## Why it matters
    Whatever such a network learns, it is a constant: the share of the classes or the mean of the targets.

    ## When it is wrong
    When the samples of the batch are all equal; then the probe does not run.

    ## What to try
    Look for units that are dead from the start, a mask that covers everything, an input that is overwritten, and an index that picks
    the same element always.

    ## References
    A. Karpathy, "A Recipe for Training Neural Networks" (2019), "input-independent baseline"; TheDeepChecker (2023).
    """

    code = "M211"
    name = "input-independent"
    severity = Severity.ERROR
    needs = ("probe.dependence",)
    explains = ("misaligned-labels", "below-baseline", "frozen-parameter", "vanishing-gradient")

    tolerance: float = 1e-6

    def judge(self, record: Record) -> Iterator[Finding]:
        seen = record.facts["probe.dependence"]
        if seen["swapped"] <= self.tolerance:
            unheard = sorted({name.rpartition(".")[0] or name for name in seen.get("unheard", ())})
            names = listed(unheard)
            yield self.finding(
                "the outputs stay the same when the samples are replaced by others"
                + (f", and nothing that {names} computes reaches them" if unheard else ""),
                where=record.source("forward") or "forward",
                fix=f"use in forward what self.{unheard[0]} returns"
                if unheard
                else "follow one sample through forward and find where its values become constant: dead units, a mask, a lost input",
                change=seen["swapped"],
                limit=self.tolerance,
            )
