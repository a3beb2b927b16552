"""Rule M210."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class FutureLeakage(Rule):
    """A model that is trained to predict the next steps sees them.

    ## What it measures
    A next-step model is one whose targets are its own inputs, one to three steps later. The later half of the input is replaced, and the
    largest change in the outputs is taken whose targets come before it or begin it, in units of the outputs' standard deviation; it must be
    within `tolerance` (and ten times the change between two equal runs). In the data: windows of which input and target taken together have
    the same mean and deviation (or range) in each row, to a thousandth, while the input alone, and the target alone, have another one in
    a tenth of the rows or more, were scaled after the target was joined to them.

    ## Why it matters
    Without a causal mask position t sees token t + 1, which is its target, and copies it. The loss falls far below the entropy of the
    data, in validation as well, and generation produces nonsense. A window that was scaled with its future tells that future's level:
    validation looks good, and no window can be scaled so where the future is not known.

    ## When it is wrong
    Models that fill in masked positions see both sides on purpose; their targets are not shifted, so they are not judged.

    ## What to try
    Give the attention a causal mask (`is_causal=True` and the mask), use a one-directional recurrent layer, pad convolutions on the
    left only. Scale a window by its past alone, and its target by the same numbers.

    ## References
    Vaswani et al. (2017), section 3.2.3; A. Karpathy, "A Recipe for Training Neural Networks" (2019).
    """

    code = "M210"
    name = "future-leakage"
    severity = Severity.ERROR
    needs = ("probe.future",)
    instead = ("data.scaling",)
    explains = ("suspicious-validation",)

    tolerance: float = 1e-3

    def judge(self, record: Record) -> Iterator[Finding]:
        joint = record.facts.get("data.scaling")
        if joint is not None:
            channel = "" if joint["channel"] is None else f", channel {joint['channel']}"
            yield self.finding(
                f"windows were scaled together with what is to be predicted: {joint['by']} of {joint['path']}{channel} and its target "
                f"are the same in all of {joint['rows']} rows, those of the input alone differ in {joint['apart']:.0%} of them",
                where=f"{joint['path']} in the training loader",
                fix="take the scale of a window from its past alone, and apply it to the target as well",
                rows=joint["rows"],
                apart=joint["apart"],
            )
            return
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
