"""Rule M215."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.evidence import run, tail
from diagnose.rules.skill import like_training
from diagnose.statistics import median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class BatchnormSmallBatch(Rule):
    """A batch norm has too few values to take its mean and variance from, or takes too little of them into its running averages.

    ## What it measures
    How many values per channel each batch norm sees in a training step: samples times positions.

    And whether running averages that begin at mean 0 and variance 1 come to anything: with a momentum of 0 they never do; with a small one
    `left` of them or more may still be the start after a whole run of `batches` at least, while the validation loss ends at `behind` times
    the training loss or above.

    ## Why it matters
    The variance of n values has a relative error of about sqrt(2 / (n - 1)): 53 % at n = 8. Training then runs on noise that the running
    statistics of validation do not have, so that the two disagree.

    ## When it is wrong
    In PyTorch momentum is the weight of the new batch, 1 minus that of Keras: a momentum of 0.001 wants thousands of batches. Noise may be
    wanted as a regulariser. Convolutional layers have many positions per sample and seldom fall below `values`.

    ## What to try
    A larger batch, or group norm or layer norm, which do not look at the batch. A momentum of 0.1, or a longer run.

    ## References
    Wu and He, "Group Normalization" (2018), figure 1; torch-audit (batch below 8).
    """

    code = "M215"
    name = "batchnorm-small-batch"
    severity = Severity.WARNING
    needs = ("probe.norms",)
    explains = ("oscillating-loss", "overfitting", "noisy-gradient", "suspicious-validation", "exploding-gradient", "generalization-gap")

    values: int = 8
    left: float = 0.3
    batches: int = 100
    behind: float = 2.0

    def judge(self, record: Record) -> Iterator[Finding]:
        yield from self._stale(record)
        small = [n for n in record.facts["probe.norms"] if n["batch_norm"] and n["values"] < self.values]
        if small:
            least = min(small, key=lambda n: int(n["values"]))
            yield self.finding(
                f"{len(small)} batch norms take mean and variance from {least['values']} values per channel, fewer than {self.values}",
                where=f"self.{least['name']}",
                fix="raise the batch size, or use nn.GroupNorm or nn.LayerNorm",
                override=record.override("batch_size", 4 * self.values),
                values=least["values"],
                limit=self.values,
            )

    def _stale(self, record: Record) -> Iterator[Finding]:
        """The batch norm of which validation uses what running averages start with."""
        fresh = [n for n in record.facts["probe.norms"] if n.get("momentum") is not None]
        if not fresh:
            return
        slowest = min(fresh, key=lambda n: float(n["momentum"]))
        name, momentum = slowest["name"], float(slowest["momentum"])
        seen = len(record.series("train/loss")) if "train/loss" in record else 0
        kept = (1.0 - momentum) ** seen
        enough = kept >= self.left and seen >= self.batches and run(record).get("finished", True) and like_training(record)
        trained, held = median(tail(record, "train/loss", 0.1)), tail(record, "val/loss", 0.0)
        said = ""
        if momentum == 0:
            said = f"the running averages of {name} never move: its momentum is 0, and evaluation takes mean 0 and variance 1"
        elif enough and len(held) and held[-1] >= self.behind * trained > 0:
            said = (
                f"{kept:.0%} of the running averages of {name} is what they started with after {seen} batches with a momentum of "
                f"{momentum:g}; by them the validation loss is {held[-1]:.4g}, the training loss {trained:.4g}"
            )
        if said:
            yield self.finding(
                said,
                where=f"self.{name}",
                fix="give it momentum=0.1: in PyTorch that is the weight of the new batch",
                momentum=momentum,
                left=kept if seen else 1.0,
                limit=self.left,
            )
