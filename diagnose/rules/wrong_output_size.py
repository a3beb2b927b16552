"""Rule M216."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class WrongOutputSize(Rule):
    """The output has another number of units than the targets need.

    ## What it measures
    The number of classes that cross-entropy or NLL gets, against the classes that occur among the training labels: one unit (also where the
    targets are no indices), too few units, or far too many (`excess` times and more). The latter also where the targets are columns of
    zeros and ones, one per unit, and no more than the first of them are ever one, as where one-hot targets are made as wide as the output.
    And a layer of one unit whose predictions an elementwise loss (MSE, L1, Huber) broadcasts over several columns of targets.

    ## Why it matters
    Cross-entropy over one unit is zero whatever the output. With too few units the first sample of a missing class ends the run, or, on
    some devices, corrupts it. The best that one number can learn of several targets is their mean. Units for classes that do not exist
    cost capacity and let the network predict nonsense.

    ## When it is wrong
    Classes that are too rare to be among the labels that were read make the output look too large, hence the factor; outputs over a
    vocabulary are not judged. Nor are they where the labels hold one value alone, or each value at most twice: contrastive losses ask which
    of many candidates is the right one, by labels that are all zero, or count the rows. The same where no weight has an axis as long as the
    output: such columns come of the data.

    ## What to try
    Give the last layer one unit per class or column, or one unit and binary_cross_entropy_with_logits for two classes.

    ## References
    The documentation of `torch.nn.CrossEntropyLoss`; StackOverflow 31880720 (one unit with softmax).
    """

    code = "M216"
    name = "wrong-output-size"
    severity = Severity.ERROR
    needs = ("probe.step",)
    explains = (
        "initial-loss",
        "input-independent",
        "no-gradient",
        "frozen-parameter",
        "vanishing-gradient",
        "invalid-target",
        "misaligned-labels",
        "loss-broadcast",
    )

    excess: float = 10.0

    def judge(self, record: Record) -> Iterator[Finding]:
        step = record.facts["probe.step"]
        where = record.source("training_step") or "training_step"
        if (columns := _columns(step)) is not None:
            yield self.finding(
                f"the output has one unit, which {step['kind']} compares with {columns} columns of targets",
                where=where,
                fix=f"give the last layer {columns} units, or take the one column of the targets that is meant",
                units=1,
                needed=columns,
            )
            return
        if columns := step.get("set"):
            yield from self._too_many(columns["units"], columns, bool(columns["fixed"]), where)
            return
        known = step["kind"] in ("cross_entropy", "nll_loss")
        indexed = known and step["target_dtype"].startswith("int")
        if not known or (step["classes"] != 1 and not indexed):
            raise NotRun(f"only class indices tell the number of classes; the loss is {step['kind'] or 'not known'}")
        units, labels = step["classes"], step["labels"]
        if indexed and labels["count"] == 0:
            raise NotRun("no class label was read")
        if units == 1:
            yield self.finding(
                f"{step['kind']} gets one unit, so the loss is zero whatever the output",
                where=where,
                fix="give the last layer one unit per class, or use binary_cross_entropy_with_logits",
                units=1,
            )
        elif labels["max"] >= units and (labels["min"] == 0 or labels["max"] > units):
            yield self.finding(
                f"the labels go up to {labels['max']}, so {labels['max'] + 1} classes need as many units; the output has {units}",
                where=where,
                fix=f"give the last layer {labels['max'] + 1} units",
                units=units,
                needed=labels["max"] + 1,
            )
        elif len(step["target_shape"]) == 1:
            yield from self._too_many(units, labels, step.get("fixed", True), where)

    def _too_many(self, units: int, labels: dict[str, Any], fixed: bool, where: str) -> Iterator[Finding]:
        if units < self.excess * labels["distinct"] or labels["max"] + 1 > units / self.excess:
            return
        if labels["distinct"] < 2 or labels["count"] <= 2 * labels["distinct"]:
            raise NotRun("the labels hold one value, or each value once or twice: they may be places among candidates, not classes")
        if not fixed:
            raise NotRun("no weight has an axis as long as the output, so its columns may be candidates, not classes")
        yield self.finding(
            f"the output has {units} units, but the labels know {labels['distinct']} classes",
            where=where,
            fix=f"give the last layer {labels['max'] + 1} units",
            severity=Severity.WARNING if labels["count"] >= 20 * labels["distinct"] else Severity.INFO,
            units=units,
            classes=labels["distinct"],
        )


def _columns(step: dict[str, Any]) -> int | None:
    """The columns of the targets that predictions of a layer of one unit are broadcast over.

    As many columns as rows are no columns: they come out of a broadcast before the loss.
    """
    if not step["broadcast"] or step.get("units") != 1:
        return None
    (*rows, one), (*others, columns) = step["broadcast"]
    return columns if rows and rows == others and one == 1 < columns not in rows else None
