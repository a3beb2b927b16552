"""Rule T306."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import (
    begins_anew,
    epoch_means,
    losses,
    moving_targets,
    refuse_adversary,
    refuse_early,
    refuse_games,
    refuse_unknown,
)
from diagnose.rules.skill import beats_constant, come_nowhere
from diagnose.statistics import finite, mann_kendall
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class LossNotDecreasing(Rule):
    """The training loss shows no downward trend worth the name.

    ## What it measures
    The level of the first tenth of all batches against that of the last fifth, with standard errors that know about autocorrelation. It
    needs `rows` batches, `epochs` epochs (or ten times the rows) and, while training goes on, `done` of the run. The drop must be below
    `drop` of the start, or below `sure` of it and within two standard errors without a significant trend, also of the means of epochs,
    which see the same samples; and the model must be no better than a constant prediction where that is known (`skill`).

    Or the loss begins anew with each epoch: in `again` of at least `restarts` later epochs of eight batches or more its first two batches
    have `high` of the very first loss or more, and the last quarter of the epoch `low` of it or less. Of shuffled batches it is enough
    that the loss falls by `fall` of the very first within the epochs, and by `clear` standard errors of that.

    ## Why it matters
    Nothing is learned. Whatever the cause, training on will not help.

    ## When it is wrong
    Where little can be learned at all (returns), the last three validations say so: nothing is reported if they lie one per cent below what
    any constant has there, known of squared errors and of two classes. A model that starts at its floor (fine-tuning, resumed runs) has
    nothing to gain: losses below 0.7 of chance, and models with some skill, are not reported. Losses of adversarial games have no trend:
    with several optimizers the rule does not run, nor where one loss holds both players (a reversed gradient; ones asked for by one term
    and zeros by another). A loss of one's own may have a floor close below its start (a likelihood up to a constant): it is left alone
    where it fell by `beyond` standard errors, or the means of `seen` epochs or validations did, and a likelihood below zero in any case. So
    are targets whose spread changes by half as training goes on (values that an agent learns), and of a training in phases only the last
    one is judged.

    ## What to try
    The other findings usually name the cause. Without any: overfit one batch (python -m diagnose check), then try learning rates ten
    times higher and lower.

    ## References
    H. B. Mann (1945), P. K. Sen (1968) for trends under noise; AUTOTRAINER and gradsnitch for the symptom.
    """

    code = "T306"
    name = "loss-not-decreasing"
    severity = Severity.ERROR
    needs = ("train/loss",)
    role = "symptom"
    explains = ("below-baseline", "unpredicted-class")

    rows: int = 100
    epochs: int = 3
    done: float = 0.3
    drop: float = 0.02
    sure: float = 0.05
    skill: float = 0.15
    restarts: int = 3
    again: float = 0.8
    high: float = 0.9
    low: float = 0.75
    fall: float = 0.1
    clear: float = 4.0
    beyond: float = 4.0
    seen: int = 8

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        refuse_adversary(record)
        refuse_early(record, self.done)
        values = losses(record, self.rows, self.epochs)
        refuse_unknown(record, values)
        if not np.isfinite(record.series("train/loss").value[-self.rows // 4 :]).all():
            raise NotRun("the loss is not finite at the end")
        anew = self._anew(record)
        if anew is not None:
            yield anew
            return
        if moving_targets(record):
            raise NotRun("the targets spread more or less as training goes on, and a loss that does not fall may be that of a harder task")
        if values.min() < 0:
            raise NotRun("the loss is below zero (a likelihood up to a constant), so its fall cannot be held against its level")
        come = come_nowhere(record, values, self.drop, self.sure, self.skill)
        own = not record.facts.get("task", {}).get("loss")
        if come is not None and own and (come.drop > self.beyond * come.error or self._fell(record)):
            raise NotRun(f"a loss of one's own fell by {come.relative:.1%}, little but surely; its floor is not known")
        if come is not None and beats_constant(record):
            raise NotRun("validation is better than any constant prediction there, little but surely")
        if come is not None:
            yield self.finding(
                f"the loss was {come.start:.4g} in the first tenth of {len(values)} batches and {come.end:.4g} in the last fifth "
                f"(drop {come.relative:.1%}, standard error {come.error / max(abs(come.start), 1e-12):.1%})",
                where="train/loss",
                fix="overfit one batch first, then try learning rates ten times higher and lower",
                start=come.start,
                end=come.end,
                drop=come.relative,
                limit=self.drop,
                error=come.error,
            )

    def _fell(self, record: Record) -> bool:
        """Whether the means of the epochs, in which the samples are the same, or the validation losses, fell beyond doubt."""
        held = finite(record.series("val/loss").value) if "val/loss" in record else np.empty(0)
        return any(len(v) >= self.seen and mann_kendall(v) < -self.beyond for v in (epoch_means(record), held))

    def _anew(self, record: Record) -> Finding | None:
        """What an epoch learns is gone when the next begins."""
        found = begins_anew(record, self.high, self.low, self.restarts, self.fall, self.clear)
        if found is None or not found[2] >= self.again:
            return None
        start, end, share = found
        return self.finding(
            f"{share:.0%} of the later epochs begin with a loss near the very first, {start:.4g}, and end at {end:.4g}: what an epoch "
            "learns is gone when the next begins",
            where="train/loss",
            fix="look for what puts the weights back between epochs: reset_parameters, a state loaded again, a copy in the wrong direction",
            start=start,
            end=end,
            again=share,
            limit=self.again,
        )
