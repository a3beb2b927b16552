"""Rule E405."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class LabelErrors(Rule):
    """Samples whose label the model contradicts with high confidence.

    ## What it measures
    Per sample of the first evaluated loader: the predicted class has at least the probability that samples labelled with it have on
    average, and at least `confidence`; the label has at most `label`. At least `fewest` of them must be among the `surest` share of all
    samples: a model's own errors become rarer the surer it is, wrong labels do not. Judged only where the model's accuracy is at least
    `accuracy`, since a bad model contradicts good labels.

    ## Why it matters
    Wrong labels in a test set move the headline number, and may decide which of two models looks better.

    ## When it is wrong
    An overconfident model contradicts right labels of hard samples. The list is where to look first, not a verdict.

    ## What to try
    Look at the samples in the given order and correct or remove the wrong ones; if many are wrong, look at the training labels too.

    ## References
    Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70 (2021), equation 1.
    """

    code = "E405"
    name = "label-errors"
    severity = Severity.INFO
    needs = ("test/probability", "test/target")

    confidence: float = 0.95
    label: float = 0.02
    accuracy: float = 0.7
    surest: float = 0.5
    fewest: int = 2

    def judge(self, record: Record) -> Iterator[Finding]:
        probability, target = record.arrays["test/probability"], record.arrays["test/target"]
        if target.ndim != 1 or not np.issubdtype(target.dtype, np.integer) or probability.ndim != 2 or len(target) != len(probability):
            raise NotRun("the samples do not have one class each")
        guess = probability.argmax(1)
        if (right := float((guess == target).mean())) < self.accuracy:
            raise NotRun(f"an accuracy of {right:.2g} is too low to doubt labels, it needs {self.accuracy:g}")
        counts = np.bincount(target, minlength=probability.shape[1])
        own = probability[np.arange(len(target)), target]
        usual = np.bincount(target, weights=own, minlength=len(counts)) / np.maximum(counts, 1)
        top = probability.max(1)
        suspects = np.flatnonzero((guess != target) & (top >= np.maximum(usual[guess], self.confidence)) & (own <= self.label))
        among = int((top[suspects] >= np.quantile(top, 1 - self.surest)).sum())
        if among >= self.fewest:
            first = suspects[np.argsort(own[suspects], kind="stable")][:5]
            listed = ", ".join(map(str, first))
            yield self.finding(
                f"{len(suspects)} of {len(target)} test labels are contradicted with a probability of {self.confidence:g} or more, {among} "
                f"of them among the surest {self.surest:.0%} of all samples",
                where=f"samples {listed}{' ...' if len(suspects) > 5 else ''}",
                fix="look at these samples (numbered from 0 in the order of the loader) and correct labels that are wrong",
                samples=len(suspects),
                among_the_surest=among,
                share=len(suspects) / len(target),
                threshold=self.confidence,
            )
