"""Rule M204."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.evidence import run
from diagnose.rules.objective import crowding, scale_free, spread
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SumReduction(Rule):
    """The loss grows with the batch: it is a sum over the samples where a mean is meant.

    ## What it measures
    The loss of one batch, and of the same batch given twice over, in eval mode. A mean stays equal; a sum doubles. A ratio within
    `tolerance` of two is a sum. Where a step adds something to the loss that it calls, both parts are looked at: one that doubles beside
    one that stays is a sum added to a mean. Where doubling changes the loss by less, the batch is given four times, too: a part of the
    loss that grows along a straight line, within `linear`, and makes up at least `part` of it, is a sum beside a mean. That is a warning
    where a run has ended and its predictions (those of validation, where there is one) spread over the samples by less than `flat` of what
    the targets do.

    ## Why it matters
    The gradient is as many times longer as the batch has samples, so a learning rate that is right for a mean is far too high, and it
    has to be found again whenever the batch size changes. With plain SGD the run diverges. A sum added to a mean weighs as many times
    more than was meant: the divergence of an autoencoder leaves nothing of the error, and every reconstruction is the mean.

    ## When it is wrong
    Optimizers of the Adam family divide by the gradient's own scale, so that a sum trains as well as a mean (many published VAEs do
    so); the finding is then `info`. So it is where the learning rate of all optimizers makes up for the sum: a sum over n samples under the
    rate r steps as a mean does under r * n, and up to `rate` that is an ordinary rate for SGD. A sum beside a mean is a warning where its
    gradient is `term` times as long in the first step and the model ends with less than `skill` of what there is to gain over a constant.
    A gradient that is longer is enough where the sum comes down to `left` of its start by then, or where copies trained by `check` gain
    `cost` of it on unseen batches by the mean alone and less than `skill` by both.
    Nothing is said of a sum whose gradients a manual loop has divided by the number of samples or more, within `tolerance`, when its
    optimizer steps. Losses over pairs of samples grow otherwise (their logarithms or their squares) and are left alone.

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
    cost: float = 0.25
    left: float = 0.02
    part: float = 0.05
    linear: float = 0.2
    flat: float = 0.1

    def judge(self, record: Record) -> Iterator[Finding]:
        seen = record.facts["probe.reduction"]
        if seen["samples"] < 2:
            return
        crowded = crowding(record, self.term, self.skill, self.cost, self.left)
        if crowded is not None and self._grows(seen, "added") and not self._grows(seen, "watched"):
            yield self.finding(
                f"what training_step adds to its loss is a sum over the batch: it grows by {seen['added']:.3g} when each of the "
                f"{seen['samples']} samples is given twice, the loss by {seen['watched']:.3g}; it pulls {crowded.force:.3g} times as hard",
                where=record.source("training_step") or "training_step",
                fix="take the mean over the samples of both, then sum them",
                ratio=seen["added"],
                samples=seen["samples"],
                tolerance=self.tolerance,
                force=crowded.force,
                limit=crowded.limit,
            )
            return
        if not self._grows(seen, "ratio"):
            yield from self._in_part(record, seen)
            return
        left = seen.get("left")
        if left is not None and left * seen["samples"] <= 1 + self.tolerance:
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

    def _in_part(self, record: Record, seen: dict[str, Any]) -> Iterator[Finding]:
        one, two, four = (seen.get(name) for name in ("single", "double", "quadruple"))
        facts = run(record)
        if one is None or two is None or four is None or not facts.get("finished") or len(facts.get("optimizers", ())) > 1:
            return
        share = (two - one) / abs(one) if one else 0.0
        straight = two > one and abs((four - two) / (two - one) - 2) <= self.linear
        known = spread(record, held_out=True)
        if self.part <= share < 1 - self.tolerance and straight and known is not None and known < self.flat:
            yield self.finding(
                f"a part of the loss is a sum over the batch, the rest is a mean: {one:.4g} for {seen['samples']} samples, {two:.4g} and "
                f"{four:.4g} when each is given two and four times; the predictions vary {known:.0%} as much as the targets",
                where=record.source("training_step") or "training_step",
                fix="take the mean over the samples of all parts, then sum them",
                share=share,
                part=self.part,
                samples=seen["samples"],
                spread=known,
                flat=self.flat,
            )

    def _grows(self, seen: dict[str, Any], part: str) -> bool:
        return abs(float(seen.get(part, 1.0)) - 2.0) <= self.tolerance
