"""Rule T309."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import losses, refuse_games, run
from diagnose.rules.simple_models import behind
from diagnose.rules.skill import beats_constant, entropy_of_two, near_chance, skill
from diagnose.statistics import progress, spread, trend
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class Underfitting(Rule):
    """The training loss settles far above what the model can reach.

    ## What it measures
    The level of the last fifth of the losses, once they no longer fall (less than `still` over the last third), between the loss of a
    constant prediction (0) and the floor that the same model came near on one batch (1). Less than `gained` of the way is reported, in runs
    of `rows` batches and `epochs` epochs; where no accuracy and no explained variance confirms it, less by what batches differ from each
    other, since the constant is that of one batch. One batch must have been learned by heart to `capable` of the way: by `diagnose.check`
    before the fit, or by the Doctor itself where the run has at least 9000 batches.

    Or a model that needs no training does better: the five nearest training rows, a ridge regression on 1024 of them, or, of texts, the
    counts of their words or which word stands where. By validation rows it is ahead of the accuracy in the last third, on training or
    validation data (the better one, two validations at least), by `ahead` of the way from the largest class to 1, while the loss falls by
    less than `falling` over the last third; or, once the run has come to its planned end after at least `epochs` epochs, by `unfinished` of
    it, however the loss falls. Where the largest class has more than 1.4 times its even share, or the loss weighs the classes, accuracy may
    be given up on purpose and is not judged. For squared errors it is the share of the targets' variance, by `explained`, once the run has
    ended. Less than four standard errors prove nothing.

    Or the scores can hardly differ: the model is right in `right` of what there is to gain in accuracy, and yet no loss of a validation and
    not the level of training came below `chance` times that of a constant prediction.

    ## Why it matters
    The model can learn these targets, and does not: something holds it back.

    ## When it is wrong
    Noisy labels set a floor that one batch, learned by heart, does not show; so only losses that stay very near to chance are reported, and
    not where the last three validations lie one per cent below what any constant has there: the little that is learned holds. Where
    validation rows belong to the same things as training rows do, their neighbours know more than a model can learn. Five epochs that were
    but a trial leave a model behind, too.

    ## What to try
    A higher learning rate, less regularisation and dropout, features that carry the target; check that inputs and labels belong
    together.

    ## References
    A. Karpathy, A Recipe for Training Neural Networks (2019).
    """

    code = "T309"
    name = "underfitting"
    severity = Severity.WARNING
    needs = ("train/loss",)
    role = "symptom"
    explains = ("below-baseline", "unpredicted-class")

    gained: float = 0.1
    still: float = 0.02
    capable: float = 0.8
    rows: int = 200
    epochs: int = 5
    ahead: float = 0.25
    falling: float = 0.1
    explained: float = 0.4
    unfinished: float = 0.6
    right: float = 0.6
    chance: float = 0.95

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        behind = self._behind(record, ended=True) if self._over(record) else None
        if behind is not None:
            yield behind
            return
        values = losses(record, self.rows, self.epochs)
        last = values[-len(values) // 3 :]
        third = trend(last)
        come = progress(values)
        settled = abs(third.change) < self.still * max(abs(come.end), 1e-12)
        finding = self._behind(record) if third.change >= -self.falling * max(abs(come.end), 1e-12) else None
        if finding is None:
            finding = self._flat(record, come.end)
        if finding is not None:
            yield finding
            return
        one = record.facts.get("probe.overfit")
        if one is None:
            raise NotRun("what the model can reach is not known: no batch was learned by heart before")
        if not one.get("sole", True) or one["progress"] < self.capable:
            raise NotRun("the model did not learn one batch by heart, so what it can reach is not known")
        chance = max(one["chance"], entropy_of_two(record, "target/top_share") or -math.inf)  # one batch may hold fewer of a rare class
        way = max(chance - one["floor"], 1e-12)
        gained, learned = (chance - come.end) / way, skill(record)
        known = learned < self.gained if learned is not None else gained + spread(last) / way < self.gained
        if settled and come.drop > 0 and gained < self.gained and known and not beats_constant(record):
            yield self.finding(
                f"the loss settles at {come.end:.4g}, {gained:.0%} of the way from chance ({chance:.4g}) to the floor ({one['floor']:.3g})",
                where="train/loss",
                fix="raise the learning rate and take regularisation away; check that inputs and labels belong together",
                end=come.end,
                chance=chance,
                gained=gained,
                limit=self.gained,
            )

    def _flat(self, record: Record, end: float) -> Finding | None:
        """The finding that the model orders the classes rightly and gives all of them nearly the same probability."""
        learned, held = skill(record), near_chance(record, self.chance)
        if held is None or learned is None or learned < self.right or "train/accuracy" not in record:
            return None
        chance = record.facts["probe.initial_loss"]["chance"]
        if end <= self.chance * chance:
            return None
        return self.finding(
            f"the model gets {learned:.0%} of what there is to gain in accuracy, and its loss of {end:.4g} hardly differs from that of a "
            f"constant prediction ({chance:.4g}): its scores are nearly equal for all classes",
            where="train/loss",
            fix="look at what bounds the scores: a high temperature, normalised vectors without a scale, strong label smoothing",
            gained=learned,
            end=end,
            chance=chance,
            limit=self.chance,
        )

    def _over(self, record: Record) -> bool:
        """Whether the run came to its planned end, and was more than a trial of a few epochs."""
        facts = run(record)
        return bool(facts.get("finished")) and not facts.get("interrupted") and facts.get("epochs_done", 0) >= self.epochs

    def _behind(self, record: Record, ended: bool = False) -> Finding | None:
        """The finding that a model of no training tells more about validation rows than the model does."""
        found = behind(record)
        limit = self.unfinished if ended else self.ahead if found is not None and found.where == "val/accuracy" else self.explained
        if found is None or found.gap < limit:
            return None
        return self.finding(
            found.said,
            where=found.where,
            fix="give the model more units or layers, more steps or a higher learning rate, and take away what bounds it",
            own=found.own,
            simple=found.simple,
            gap=found.gap,
            limit=limit,
        )
