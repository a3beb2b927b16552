"""Rule D104."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class ClassImbalance(Rule):
    """The largest class of the training labels is many times as frequent as the smallest.

    ## What it measures
    The training labels read, per class: the ratio of the largest to the smallest that occurs, against `ratio`.

    ## Why it matters
    Accuracy then says little (always answering with the largest class looks good), and rare classes may never be predicted.

    ## When it is wrong
    Imbalance is a property of many problems, not a fault; well separated rare classes are learned without any measure. Hence `info`.

    ## What to try
    Judge by recall per class, balanced accuracy or the area under the precision-recall curve; weight the loss (weight=, pos_weight=) or
    draw with a WeightedRandomSampler if the rare class matters more.

    ## References
    Amazon SageMaker Debugger, rule ClassImbalance: ratio 10.
    """

    code = "D104"
    name = "class-imbalance"
    severity = Severity.INFO
    needs = ("data",)

    ratio: float = 10.0

    def judge(self, record: Record) -> Iterator[Finding]:
        facts = record.facts["data"]["train"]
        target = facts["fields"][facts["target"]]["target"] if facts["target"] else None
        if target is None or target["kind"] != "class" or not target["counts"]:
            raise NotRun("the training batches have no field with one class label per row")
        counts = target["counts"]
        most, least = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
        ratio = counts[most] / counts[least]
        if ratio > self.ratio:
            yield self.finding(
                f"class {most} has {counts[most]} of the training rows read, class {least} has {counts[least]}: {ratio:.3g} to 1",
                where=f"{facts['target']}, class {least}",
                fix="judge by recall per class; weight the loss or the sampling if the rare class matters",
                ratio=ratio,
                largest=counts[most],
                smallest=counts[least],
                threshold=self.ratio,
            )
