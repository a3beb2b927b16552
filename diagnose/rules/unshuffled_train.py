"""Rule D107."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity

FIXES = {
    "stream": "shuffle the stream, for instance through a buffer",
    "custom": "if this order is not meant, draw the rows at random in your own sampler; a DataLoader refuses shuffle=True beside it",
}


@dataclass(frozen=True, kw_only=True)
class UnshuffledTrain(Rule):
    """The training loader gives its samples sorted by what is to be learned, so that each batch holds only a few classes.

    ## What it measures
    The mean entropy of the labels within a batch (for regression the mean variance), against the same batches filled at random: `share`
    of it or less, and at least `deviations` standard deviations below it, over at least `batches` batches, is a finding. Regression targets
    must also rise or fall along the epoch with a rank correlation of `trend`. Of somebody's own sampler the quarters of the epoch must
    also tell `along` of what they can tell of the target: else it only fills each batch with a few classes.

    ## Why it matters
    The network learns the class of the present batches and forgets the last one: the loss jumps where the class changes, and after the
    epoch it knows the last class only.

    ## When it is wrong
    The same order in every epoch is harmless where the rows are independent, and stays silent, and so do samplers of one's own that fill
    each batch with a few classes (metric learning, episodes). Those that sort the epoch are `info`, since a curriculum may be meant, unless
    their batches hold few classes (`few` of the entropy of mixed batches or less); so are series that are read in the order of time.

    ## What to try
    DataLoader(..., shuffle=True), which is refused beside a sampler of one's own: that has to mix its rows itself; a shuffle buffer, or
    shuffled shards, for an iterable data set.

    ## References
    Bottou, Stochastic Gradient Descent Tricks (2012), section 4: shuffle the examples. Bengio, Practical recommendations (2012).
    """

    code = "D107"
    name = "unshuffled-train"
    severity = Severity.WARNING
    needs = ("data.order",)
    explains = (
        "split-shift",
        "oscillating-loss",
        "diverging-loss",
        "dead-units",
        "prediction-collapse",
        "misaligned-labels",
        "initial-loss",
        "cannot-overfit-batch",
        "overfitting",
        "suspicious-validation",
        "learning-rate-too-high",
        "exploding-gradient",
        "noisy-gradient",
        "input-independent",
        "invalid-target",
    )

    share: float = 0.5
    deviations: float = 6.0
    batches: int = 3
    trend: float = 0.98
    along: float = 0.5
    few: float = 0.35

    def judge(self, record: Record) -> Iterator[Finding]:
        seen = record.facts["data.order"]
        if seen["batches"] < self.batches:
            raise NotRun(f"{seen['batches']} batches are too few to see an order in; {self.batches} are needed")
        if seen["order"] in ("random", "weighted") or seen["ratio"] > self.share or seen["z"] > -self.deviations:
            return
        own = seen["order"] == "custom"
        if own and seen.get("along", 1.0) < self.along:
            return
        classes = seen["kind"] == "class"
        if classes:
            what = f"the labels of a batch have an entropy of {seen['within']:.3g} nats where mixed batches have {seen['expected']:.3g}"
        else:
            what = f"the targets of a batch vary by {seen['ratio']:.2g} of what they vary by in mixed batches (trend {seen['trend']:.2f})"
        sorted_ = classes or abs(seen["trend"]) >= self.trend
        yield self.finding(
            f"the training loader gives its samples in order, not mixed: {what}",
            where="train",
            fix=FIXES.get(seen["order"], "DataLoader(..., shuffle=True)"),
            severity=self.severity if sorted_ and (not own or (classes and seen["ratio"] <= self.few)) else Severity.INFO,
            within=seen["within"],
            expected=seen["expected"],
            ratio=seen["ratio"],
            z=seen["z"],
            batches=seen["batches"],
            threshold=self.share,
        )
