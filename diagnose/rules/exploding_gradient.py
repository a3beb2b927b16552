"""Rule T303."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import climbing, losses, refuse_games
from diagnose.rules.in_time import ALONG, LEAP, RATE, broken_in_time
from diagnose.rules.objective import negated
from diagnose.statistics import finite, median, progress, trend
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class ExplodingGradient(Rule):
    """The gradient norm grows without bound.

    ## What it measures
    The norm of all gradients before clipping. Either the last fifth of at least `records` measured steps has a median `growth` times
    that of the first ten, above `size`, with a significant upward trend; or the norm grew `blowup`-fold within the finite steps before
    NaN; or its median in the first ten steps is above `huge` while the predictions spread `wide` times as far as the targets. In the first
    two cases the loss must not be falling towards a bound: it ends above its start, or far below zero.

    Or a training broke on a loop (its loss became NaN or ended above twice its start) under a rate that is ordinary: all the steps that a
    gradient of norm one gets by it, with momentum, move the weights by less than `rate` of their size. The gradient of a recurrent layer,
    or of one that ran ten times or more, grew `along`-fold on its way back in time before training; or, where the optimizer does not divide
    by the scale of the gradient and it reaches back through 20 steps or more, a measured norm was `leap` times the median of those before
    it while the loss had not risen yet.

    ## Why it matters
    Each step is then larger than the last: training ends in NaN, or in a loss that runs off to minus infinity.

    ## When it is wrong
    A network that leaves a plateau has growing gradients for a while, and a falling loss: that is not reported. A rise from tiny to
    ordinary gradients stays below `size`. Without a loop, or under a rate that is large for any gradient, learning-rate-too-high speaks.

    ## What to try
    A lower learning rate, clipping of the gradient norm, normalisation, a smaller initialisation of recurrent weights, scaled targets;
    for a loss that falls without bound, check that its targets are in the range it expects.

    ## References
    R. Pascanu et al. (2013), on the difficulty of training recurrent networks; AUTOTRAINER (norm above 70); TheDeepChecker (twofold
    over five steps).
    """

    code = "T303"
    name = "exploding-gradient"
    severity = Severity.WARNING
    needs = ("grad_norm/total", "train/loss")
    explains = ("non-finite", "diverging-loss")

    growth: float = 100.0
    size: float = 70.0
    blowup: float = 1e3
    huge: float = 1e4
    wide: float = 100.0
    records: int = 20
    along: float = ALONG
    leap: float = LEAP
    rate: float = RATE

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        loop = broken_in_time(record, self.along, self.leap, self.rate)
        if loop is not None:
            yield self.finding(
                f"the gradient of {loop.name} {loop.shown}; the loss "
                + (f"went from {loop.start:.3g} to {loop.end:.3g}" if np.isfinite(loop.end) else "became NaN or infinite"),
                where=loop.name,
                fix="clip the gradient norm, to 1 first; make what a step of the loop adds smaller (a step size), or take fewer steps",
                override=record.override("gradient_clip_val", 1.0),
                growth=loop.growth,
                steps=loop.steps,
                along=self.along,
                leap=self.leap,
            )
            return
        if negated(record) is not None or climbing(record):
            raise NotRun("the loss is maximised, of which diverging-loss speaks")
        norms = record.series("grad_norm/total").value
        loss = record.series("train/loss").value
        broken = ~np.isfinite(loss)
        outputs, targets = (finite(record.series(n).value) if n in record else np.ones(1) for n in ("prediction/std", "target/std"))
        early = median(finite(norms)[:10]) if np.isfinite(norms).any() else 0.0
        if (
            len(outputs)
            and len(targets)
            and early > self.huge
            and outputs[:3].max() > self.wide * targets[:3].max()
            and norms[0] > self.huge
        ):
            yield self.finding(
                f"the gradient norm is {early:.3g} in the first steps, and the predictions spread by {outputs[:3].max():.3g} where the "
                f"targets spread by {targets[:3].max():.3g}",
                where="all parameters",
                fix="initialise recurrent and last layers with smaller weights, scale the inputs, or normalise between the layers",
                override=record.override("gradient_clip_val", 1.0),
                norm=early,
                limit=self.huge,
            )
            return
        before = norms[: int(np.argmin(np.isfinite(norms)))] if not np.isfinite(norms).all() else norms
        if broken.any() and len(before) >= 3 and before[-1] > self.blowup * before[0] and before[-1] > self.size:
            grew, first, last = before[-1] / before[0], before[0], before[-1]
        else:
            if len(finite(norms)) < self.records:
                raise NotRun(f"too short: {len(finite(norms))} measured steps, at least {self.records} are needed")
            come = progress(losses(record, self.records))
            known = finite(norms)
            first, last = median(known[:10]), median(known[-max(4, len(known) // 5) :])
            grew = last / max(first, 1e-12)
            runaway = come.end > come.start or come.end < min(0.0, come.start) - abs(come.start)
            if grew < self.growth or last < self.size or trend(known).z < 3 or not runaway:
                return
        yield self.finding(
            f"the gradient norm grew from {first:.3g} to {last:.3g}, {grew:.3g} times",
            where="all parameters",
            fix="lower the learning rate or clip the gradient norm; check the scale of inputs and targets",
            override=record.override("gradient_clip_val", 1.0),
            first=first,
            last=last,
            growth=grew,
            limit=self.growth,
        )
