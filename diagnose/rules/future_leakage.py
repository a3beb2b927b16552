"""Rule M210."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class FutureLeakage(Rule):
    """A model that is trained to predict the next step sees it.

    ## What it measures
    A next-step model is one whose targets are its own inputs, one to three steps later. The later half of the input is replaced, and
    the largest change in the outputs is taken whose targets come before it or begin it, in units of the outputs' standard deviation; it
    must be within `tolerance` (and ten times the change between two equal runs).

    ## Why it matters
    Without a causal mask position t sees token t + 1, which is its target, and copies it. The loss falls far below the entropy of the
    data, in validation as well, and generation produces nonsense.

    ## When it is wrong
    Models that fill in masked positions see both sides on purpose; their targets are not shifted, so they are not judged.

    ## What to try
    Give the attention a causal mask (`is_causal=True` and the mask), use a one-directional recurrent layer, pad convolutions on the
    left only.

    ## References
    Vaswani et al. (2017), section 3.2.3; A. Karpathy, "A Recipe for Training Neural Networks" (2019).
    """

    code = "M210"
    name = "future-leakage"
    severity = Severity.ERROR
    needs = ("probe.future",)
    explains = ("suspicious-validation",)

    tolerance: float = 1e-3

    def judge(self, record: Record) -> Iterator[Finding]:
        seen = record.facts["probe.future"]
        limit = max(self.tolerance, 10 * seen["noise"])
        if seen["changed"] > limit:
            yield self.finding(
                f"outputs for the first {seen['position'] - seen['shift'] + 1} steps change by {seen['changed']:.2g} standard deviations "
                f"when only later steps of {seen['field']} change (limit {limit:.0e})",
                where=record.source("forward") or "forward",
                fix="give the attention a causal mask, or make the recurrent layer one-directional",
                change=seen["changed"],
                limit=limit,
                shift=seen["shift"],
            )
