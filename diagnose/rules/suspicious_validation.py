"""Rule T321."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import refuse_games, tail
from diagnose.statistics import finite
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SuspiciousValidation(Rule):
    """Validation is far better than training.

    ## What it measures
    Over the last third of at least `validations` validations: the validation loss against the training loss of the same batches. Below
    `ratio`, and with a validation accuracy that is higher by `gap` where accuracies are known, the finding is made. Both losses are
    those of the same loss call, not sums of several.

    ## Why it matters
    Held-out data cannot be easier by so much: it is a part of the training data, it carries the answer, or the two losses do not
    measure the same.

    ## When it is wrong
    Dropout, augmentation, label smoothing and mixup make training harder than validation, hence the low `ratio`. The first epoch's
    training loss is an average over its beginning, so only later ones count.

    ## What to try
    Look at how the split was made; compare both losses in the same mode, without augmentation; look for dropout at
    the output.

    ## References
    UMLAUT (2021): validation accuracy above training accuracy.
    """

    code = "T321"
    name = "suspicious-validation"
    severity = Severity.WARNING
    needs = ("val/loss", "train/loss")

    ratio: float = 0.1
    gap: float = 0.15
    validations: int = 5

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        kinds = record.facts.get("task", {}).get("loss"), record.facts.get("validation", {}).get("loss")
        if None not in kinds and kinds[0] != kinds[1]:
            raise NotRun(f"training and validation are not measured by the same loss: {kinds[0]} and {kinds[1]}")
        series = record.series("val/loss")
        if len(series) < self.validations:
            raise NotRun(f"too short: {len(series)} validations, at least {self.validations} are needed")
        held = tail(record, "val/loss")
        loss = record.series("train/watched_loss" if "train/watched_loss" in record else "train/loss")
        first = series.batch[-len(held)]
        same = finite(loss.value[loss.batch >= first - (series.batch[1] - series.batch[0])])
        if not len(held) or not len(same):
            raise NotRun("the losses are not finite")
        ratio = float(np.median(held) / np.median(same)) if np.median(same) > 0 and np.median(held) >= 0 else 1.0
        right, trained = tail(record, "val/accuracy"), tail(record, "train/accuracy")
        gap = float(right.mean() - trained.mean()) if len(right) and len(trained) else self.gap
        if ratio < self.ratio and gap >= self.gap:
            yield self.finding(
                f"the validation loss is {np.median(held):.3g}, {ratio:.2g} times the training loss ({np.median(same):.3g})"
                + (f", and its accuracy is higher by {gap:.0%}" if len(right) else ""),
                where="val_dataloader",
                fix="look at how the split was made, and compare both losses in the same mode",
                ratio=ratio,
                limit=self.ratio,
                accuracy_gap=gap,
            )
