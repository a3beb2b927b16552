"""Rule T314."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class MissingZeroGrad(Rule):
    """Gradients of earlier steps are still there when the next step is computed.

    ## What it measures
    Under manual optimisation, per optimizer: whether at any backward pass since its last step its gradients were empty or zero. A step
    for which they never were carries the gradients of the step before. At least `share` of at least `steps` steps must do so.
    Accumulation over several batches is healthy: there the gradients are empty at the first backward pass after a step. Of several
    optimizers also: whether a loss that another one had stepped for (that of a generator) has left its gradients where the next loss, one
    for this optimizer alone (that of the discriminator), adds to them: `foreign` or more of the largest entry, in that share of the steps.

    ## Why it matters
    Every step uses the sum of all gradients so far: training swings, and its direction is old.

    ## When it is wrong
    A module that clears gradients in a way that leaves small values behind. Backward passes that do not go through manual_backward are
    not seen, and then the rule does not run.

    ## What to try
    Call optimizer.zero_grad() once per step, before the backward pass or after the step.

    ## References
    StackOverflow 48001598; torch-preflight TG003 finds it in the source.
    """

    code = "T314"
    name = "missing-zero-grad"
    severity = Severity.ERROR
    needs = ("zero_grad/carried",)
    explains = (
        "oscillating-loss",
        "exploding-gradient",
        "diverging-loss",
        "learning-rate-too-high",
        "non-finite",
        "loss-not-decreasing",
        "dead-units",
    )

    share: float = 0.5
    steps: int = 6
    foreign: float = 0.05

    def judge(self, record: Record) -> Iterator[Finding]:
        series = record.series("zero_grad/carried")
        counted, carrying = False, set()
        for place, name in enumerate(series.labels):
            carried = finite(series.value[:, place])
            if len(carried) < self.steps:
                continue
            counted = True
            share = float(carried.mean())
            if share >= self.share:
                carrying.add(name)
                yield self.finding(
                    f"{share:.0%} of {len(carried)} steps of {name} used gradients that were not cleared since the step before",
                    where=record.source("training_step") or name,
                    fix="call optimizer.zero_grad() before each backward pass that begins a new step",
                    share=share,
                    limit=self.share,
                    steps=len(carried),
                )
        if "zero_grad/foreign" in record:
            yield from self._foreign(record, carrying)
        if not counted:
            raise NotRun(f"too short: fewer than {self.steps} steps were seen")

    def _foreign(self, record: Record, carrying: set[str]) -> Iterator[Finding]:
        series = record.series("zero_grad/foreign")
        for place, name in enumerate(series.labels):
            parts = finite(series.value[:, place])
            share = float((parts >= self.foreign).mean()) if len(parts) >= self.steps else 0.0
            if share >= self.share and name not in carrying:
                yield self.finding(
                    f"in {share:.0%} of {len(parts)} steps of {name} its gradients held what the loss of another optimizer had left there",
                    where=record.source("training_step") or name,
                    fix="call zero_grad() of each optimizer before its own backward pass, or toggle_optimizer() around it",
                    share=share,
                    limit=self.share,
                    left=median(parts),
                    steps=len(parts),
                )
