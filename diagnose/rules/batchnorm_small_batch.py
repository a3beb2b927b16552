"""Rule M215."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class BatchnormSmallBatch(Rule):
    """A batch norm has too few values to take its mean and variance from.

    ## What it measures
    How many values per channel each batch norm sees in a training step: samples times positions.

    ## Why it matters
    The variance of n values has a relative error of about sqrt(2 / (n - 1)): 53 % at n = 8. Training then runs on noise that the
    running statistics of validation do not have, so that the two disagree.

    ## When it is wrong
    Noise may be wanted as a regulariser. Convolutional layers have many positions per sample and seldom fall below `values`.

    ## What to try
    A larger batch, or group norm or layer norm, which do not look at the batch.

    ## References
    Wu and He, "Group Normalization" (2018), figure 1; torch-audit (batch below 8).
    """

    code = "M215"
    name = "batchnorm-small-batch"
    severity = Severity.WARNING
    needs = ("probe.norms",)
    explains = ("oscillating-loss", "overfitting", "noisy-gradient", "suspicious-validation", "exploding-gradient")

    values: int = 8

    def judge(self, record: Record) -> Iterator[Finding]:
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
