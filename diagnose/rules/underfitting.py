"""Rule T309."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import losses, refuse_games, skill
from diagnose.statistics import progress, trend
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class Underfitting(Rule):
    """The training loss settles far above what the model can reach.

    ## What it measures
    The level of the last fifth of the losses, once they no longer fall (less than `still` over the last third), between the loss of a
    constant prediction (0) and the floor that the same model came near on one batch (1). Less than `gained` of the way is reported, in
    runs of `rows` batches and `epochs` epochs. One batch must have been learned by heart to `capable` of the way: by `diagnose.check`
    before the fit, or by the Doctor itself where the run has at least 9000 batches.

    ## Why it matters
    The model can learn these targets, and does not: something holds it back.

    ## When it is wrong
    Noisy labels set a floor that one batch, learned by heart, does not show; so only losses that stay very near to chance are reported.

    ## What to try
    A higher learning rate, less regularisation and dropout, features that carry the target; check that inputs and labels belong
    together.

    ## References
    A. Karpathy, A Recipe for Training Neural Networks (2019).
    """

    code = "T309"
    name = "underfitting"
    severity = Severity.WARNING
    needs = ("train/loss", "probe.overfit")
    role = "symptom"

    gained: float = 0.1
    still: float = 0.02
    capable: float = 0.8
    rows: int = 200
    epochs: int = 5

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        values = losses(record, self.rows, self.epochs)
        one = record.facts["probe.overfit"]
        if not one.get("sole", True) or one["progress"] < self.capable:
            raise NotRun("the model did not learn one batch by heart, so what it can reach is not known")
        come = progress(values)
        third = trend(values[-len(values) // 3 :])
        gained = (one["chance"] - come.end) / max(one["chance"] - one["floor"], 1e-12)
        learned = skill(record)
        settled = abs(third.change) < self.still * max(abs(come.end), 1e-12)
        if settled and come.drop > 0 and gained < self.gained and (learned is None or learned < self.gained):
            yield self.finding(
                f"the loss settles at {come.end:.4g}, {gained:.0%} of the way from chance ({one['chance']:.4g}) to the floor "
                f"({one['floor']:.3g})",
                where="train/loss",
                fix="raise the learning rate and take regularisation away; check that inputs and labels belong together",
                end=come.end,
                chance=one["chance"],
                gained=gained,
                limit=self.gained,
            )
