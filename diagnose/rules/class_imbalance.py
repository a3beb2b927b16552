"""Rule D104."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.class_weights import rising_weights
from diagnose.rules.evidence import counted_padding
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class ClassImbalance(Rule):
    """The largest class of the training labels is many times as frequent as the smallest.

    ## What it measures
    The training labels read, per class: the ratio of the largest to the smallest that occurs, against `ratio`; not where somebody's own
    sampler takes but a part of its data set in an epoch, as one that draws episodes: then chance gave the counts. And whether the class
    weights of the loss rise with the frequency of the classes, which widens any imbalance.

    It is a warning where sequences are padded and the loss counts the padding, of `padding` or more of all that it counts: as if that were
    one large class, which is learned first and hides the others in the loss and in any accuracy. What comes of other imbalances is said
    by unpredicted-class.

    ## Why it matters
    Accuracy then says little (always answering with the largest class looks good), and rare classes may never be predicted.

    ## When it is wrong
    Imbalance is a property of many problems, not a fault; well separated rare classes are learned without any measure. Hence `info`.
    Padding that is to be predicted as well (where a sequence ends) needs one such place per sequence, not all of them.

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

    padding: float = 0.5
    ratio: float = 10.0

    def judge(self, record: Record) -> Iterator[Finding]:
        padded = list(self._padded(record))
        if padded:
            yield from padded
            return
        facts = record.facts["data"]["train"]
        target = facts["fields"][facts["target"]]["target"] if facts["target"] else None
        if target is None or target["kind"] != "class" or not target["counts"]:
            raise NotRun("the training batches have no field with one class label per row")
        counts = target["counts"]
        most, least = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
        ratio = counts[most] / counts[least]
        if ratio > self.ratio and (facts.get("drawn") or 1.0) == 1.0:
            yield self.finding(
                f"class {most} has {counts[most]} of the training rows read, class {least} has {counts[least]}: {ratio:.3g} to 1",
                where=f"{facts['target']}, class {least}",
                fix="judge by recall per class; weight the loss or the sampling if the rare class matters",
                ratio=ratio,
                largest=counts[most],
                smallest=counts[least],
                threshold=self.ratio,
            )
        classes = rising_weights(record)
        if classes is not None:
            weights = record.facts["probe.step"]["class_weights"]["weight"]
            most, least = classes
            yield self.finding(
                f"the loss weighs the most frequent class {most} with {weights[most]:.3g} and the rarest, {least}, with "
                f"{weights[least]:.3g}",
                where="class weights of the loss",
                fix="if this is not meant, turn the weights round: len(y) / (classes * counts)",
                weight=weights[most],
                rare_weight=weights[least],
            )

    def _padded(self, record: Record) -> Iterator[Finding]:
        """Padding that the loss counts."""
        known = counted_padding(record)
        if known is None or known["share"] < self.padding:
            return
        yield self.finding(
            f"{known['share']:.0%} of the targets that the loss counts are padding: class {known['label']}, at the end of sequences, where "
            f"{known['path']} is {known['value']:g}",
            where=record.source("training_step") or known["path"],
            fix="pad the targets with ignore_index (-100), or mask these places in the loss and in the metrics",
            severity=Severity.WARNING,
            share=known["share"],
            limit=self.padding,
            places=known["places"],
        )
