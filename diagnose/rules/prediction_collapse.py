"""Rule T315."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.class_weights import rising_weights
from diagnose.rules.evidence import left_of_both, losses, refuse_early, refuse_games, tail
from diagnose.rules.objective import spread
from diagnose.rules.skill import informed
from diagnose.statistics import Values, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class PredictionCollapse(Rule):
    """Nearly all predictions are one class or one value while the targets vary.

    ## What it measures
    For classes, the share of the most frequent prediction in the last third of the measured batches, and in the last validation: above
    `share`, while no class has more than `majority` of the targets. For regression and several labels, the spread of the predictions over
    that of the targets, below `spread`, or in validation below half of that where what is left in training, below `noise`, is noise that
    the model draws; or both of them below `vanished` of what they were in the first batches. Where the loss weighs
    classes the more the more frequent they are, it is a warning as soon as all classes but the most frequent get less than `starved` of
    their share of the predictions. It needs `rows` batches and, while training goes on, `done` of the run.

    ## Why it matters
    The model ignores its input; accuracy looks like the share of the largest class.

    ## When it is wrong
    Where nothing in the input predicts the target, a constant is the best answer. Heavily imbalanced targets are left to the metrics per
    class, and so are rare events that hardly ever get likelier than not: a loss below that of the classes' shares (by 5 %, in training or
    in validation) takes answers that go with the input. Weights that rise with the frequency may be meant (false alarms that cost more
    than misses), which is why they alone are no fault: in healthy programs the other classes got 0.65 of their share or more, where
    weights were upside down 0.18 or less.

    ## What to try
    The other findings usually name the cause: dead or saturated units, a rate that is too high, a wrong activation, too much weight
    decay. Class weights are to fall with the frequency: `len(y) / (classes * counts)`.

    ## References
    Recurrent questions about models that predict one class; TheDeepChecker (constant output); G. King and L. Zeng (2001), weights for rare
    events.
    """

    code = "T315"
    name = "prediction-collapse"
    severity = Severity.ERROR
    needs = ("train/loss",)
    role = "symptom"
    explains = ("underfitting", "below-baseline", "unpredicted-class")

    share: float = 0.98
    majority: float = 0.9
    spread: float = 0.02
    noise: float = 0.3
    vanished: float = 0.05
    starved: float = 0.25
    rows: int = 60
    done: float = 0.3

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        refuse_early(record, self.done)
        losses(record, self.rows)
        top, base = tail(record, "prediction/top_share"), tail(record, "target/top_share")
        if len(top) and len(base):
            held, held_base = tail(record, "val/top_share", 0.2), tail(record, "val/target_top_share", 0.2)
            common = float(base.mean())
            upside_down = self._starved(record, median(top), common, held, held_base)
            if upside_down is not None:
                yield upside_down
                return
            if common > self.majority:
                raise NotRun(f"{common:.0%} of the targets are one class")
            if informed(record):
                raise NotRun(
                    "the loss is below that of the classes' shares, so the answers go with the input, whichever class is the largest"
                )
            everywhere = not len(held) or held_base[-1] > self.majority or held[-1] >= self.share
            if median(top) >= self.share and everywhere:
                yield self.finding(
                    f"{median(top):.0%} of the predictions are one class, while no class has more than {common:.0%} of the targets",
                    where="predictions",
                    fix="look at what reaches the last layer: the model ignores its input",
                    share=median(top),
                    limit=self.share,
                    target_share=common,
                )
            return
        width, target = tail(record, "prediction/std"), tail(record, "target/std")
        if not len(width) or not len(target) or target.mean() <= 0:
            raise NotRun(record.missing.get("prediction/std", "no predictions could be read from the loss, or the targets do not vary"))
        left = left_of_both(record)
        if left < self.vanished:
            yield self.finding(
                f"both sides of the loss have shrunk to {left:.1%} of the spread that they had at first: the targets come of the model, "
                "and it makes them equal by making them constant",
                where="predictions and targets",
                fix="give the loss something that keeps them apart: negative pairs, a margin, or a stopped gradient with a predictor",
                spread=left,
                limit=self.vanished,
            )
            return
        ratio = float(median(width) / target.mean())
        still = spread(record, held_out=True)
        if ratio >= self.spread and ratio < self.noise and still is not None and still < self.spread / 2:
            yield self.finding(
                f"the predictions in validation spread by {still:.2g} of what the targets do, those in training by {ratio:.2g}, "
                "which is noise that the model draws",
                where="predictions",
                fix="look at what crowds the data out of the loss (the divergence of an autoencoder), and what reaches the last layer",
                spread=still,
                limit=self.spread / 2,
            )
        if ratio < self.spread:
            yield self.finding(
                f"the predictions spread by {median(width):.2g}, the targets by {target.mean():.3g}",
                where="predictions",
                fix="look at what reaches the last layer: the model ignores its input",
                spread=ratio,
                limit=self.spread,
            )

    def _starved(self, record: Record, top: float, common: float, held: Values, held_base: Values) -> Finding | None:
        """Weights that rise with the frequency of the classes, and all but the most frequent class hardly predicted."""
        classes = rising_weights(record)
        alike = not len(held) or 1 - held[-1] <= self.starved * (1 - held_base[-1])
        if classes is None or common >= 1 or 1 - top > self.starved * (1 - common) or not alike:
            return None
        given = record.facts["probe.step"]["class_weights"]
        share = [n / sum(given["count"]) for n in given["count"]]
        (most, weight), (least, other) = ((i, given["weight"][i]) for i in classes)
        return self.finding(
            f"the loss weighs class {most}, {share[most]:.0%} of the targets, with {weight:.3g} and class {least}, {share[least]:.2g} of "
            f"them, with {other:.3g}, and {top:.0%} of the predictions are one class",
            where="class weights of the loss",
            fix="turn the weights round: rare classes need the larger ones, len(y) / (classes * counts)",
            severity=Severity.WARNING,
            share=top,
            target_share=common,
            weight=weight,
            rare_weight=other,
            limit=self.starved,
        )
