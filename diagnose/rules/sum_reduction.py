"""Rule M204."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.evidence import run
from diagnose.rules.objective import crowding, scale_free
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SumReduction(Rule):
    """The loss grows with the batch: it is a sum over the samples where a mean is meant.

    ## What it measures
    The loss of one batch, and of the same batch given twice over, in eval mode. A mean stays equal; a sum doubles. A ratio within
    `tolerance` of two is a sum. Where a step adds something to the loss that it calls, both parts are looked at: one that doubles beside
    one that stays is a sum added to a mean.

    ## Why it matters
    The gradient is as many times longer as the batch has samples, so a learning rate that is right for a mean is far too high, and it
    has to be found again whenever the batch size changes. With plain SGD the run diverges. A sum added to a mean weighs as many times
    more than was meant: the divergence of an autoencoder leaves nothing of the error, and every reconstruction is the mean.

    ## When it is wrong
    Optimizers of the Adam family divide by the gradient's own scale, so that a sum trains as well as a mean (many published VAEs do
    so); the finding is then `info`. So it is where the learning rate of all optimizers makes up for the sum: a sum over n samples under the
    rate r steps as a mean does under r * n, and up to `rate` that is an ordinary rate for SGD. A sum beside a mean is a warning where its
    gradient is `term` times as long in the first step and the model ends with less than `skill` of what there is to gain over a constant.

    ## What to try
    Use reduction="mean", or divide the sum by the number of samples.

    ## References
    Ben Braiek and Khomh, TheDeepChecker (TOSEM 2023): the loss of a replicated batch.
    """

    code = "M204"
    name = "sum-reduction"
    severity = Severity.WARNING
    needs = ("probe.reduction",)
    explains = (
        "learning-rate-too-high",
        "exploding-gradient",
        "diverging-loss",
        "non-finite",
        "initial-loss",
        "clipping-dominates",
        "dead-units",
        "saturated-units",
        "weight-decay-dominates",
    )

    tolerance: float = 0.1
    rate: float = 0.05
    term: float = 10.0
    skill: float = 0.05

    def judge(self, record: Record) -> Iterator[Finding]:
        seen = record.facts["probe.reduction"]
        if seen["samples"] < 2:
            return
        force = crowding(record, self.term, self.skill)
        if force is not None and self._grows(seen, "added") and not self._grows(seen, "watched"):
            yield self.finding(
                f"what training_step adds to its loss is a sum over the batch: it grows by {seen['added']:.3g} when each of the "
                f"{seen['samples']} samples is given twice, the loss by {seen['watched']:.3g}; it pulls {force:.3g} times as hard",
                where=record.source("training_step") or "training_step",
                fix="take the mean over the samples of both, then sum them",
                ratio=seen["added"],
                samples=seen["samples"],
                tolerance=self.tolerance,
                force=force,
                limit=self.term,
            )
            return
        if not self._grows(seen, "ratio"):
            return
        harmless = scale_free(record)
        rates = [float(o.get("lr", 0.0)) for o in run(record).get("optimizers", ())]
        harmless = harmless or (bool(rates) and 0 < max(rates) * seen["samples"] <= self.rate)
        yield self.finding(
            f"the loss is a sum over the batch: {seen['single']:.4g} for {seen['samples']} samples, {seen['double']:.4g} when "
            "each is given twice",
            where=record.source("training_step") or "training_step",
            fix='use reduction="mean" in the loss, or divide the loss by the number of samples',
            severity=Severity.INFO if harmless else self.severity,
            ratio=seen["ratio"],
            samples=seen["samples"],
            tolerance=self.tolerance,
        )

    def _grows(self, seen: dict[str, Any], part: str) -> bool:
        return abs(float(seen.get(part, 1.0)) - 2.0) <= self.tolerance
