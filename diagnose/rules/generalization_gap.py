"""Rule E406."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class GeneralizationGap(Rule):
    """The model is much better on training data than on new data, both measured in evaluation mode.

    ## What it measures
    Accuracy (R² for values) on training data in evaluation mode (fact ``evaluation.train``, or the evaluated loader named ``train``) minus
    that of each other loader, against `gap`; their 95 % intervals must not overlap.

    ## Why it matters
    The difference is what better regularisation, or more data, could win at most.

    ## When it is wrong
    Models that memorise may still be the best on new data; the number to choose by is that on new data.

    ## What to try
    More data or augmentation, weight decay, dropout, earlier stopping, a smaller model. Check that both sets come from one source.

    ## References
    deepchecks, check Train Test Performance: 0.1.
    """

    code = "E406"
    name = "generalization-gap"
    severity = Severity.INFO
    needs = ("evaluation",)

    gap: float = 0.1

    def judge(self, record: Record) -> Iterator[Finding]:
        entries = record.facts["evaluation"]
        train = entries.get("train") or record.facts.get("evaluation.train")
        if train is None or not entries.keys() - {"train"}:
            raise NotRun("training and other data were not both evaluated: pass loaders named train and test")
        metric, name = ("r2", "R²") if train["task"] == "regression" else ("accuracy", "accuracy")
        for loader, entry in entries.items():
            if loader == "train" or entry.get(metric) is None:
                continue
            difference = train[metric] - entry[metric]
            low, high = (train.get("intervals") or {}).get(metric), (entry.get("intervals") or {}).get(metric)
            apart = low is None or high is None or low[0] > high[1]
            if difference > self.gap and apart:
                yield self.finding(
                    f"{name} is {train[metric]:.3g} on the training data and {entry[metric]:.3g} on {loader}",
                    where=loader,
                    fix="more data or augmentation, weight decay, dropout or earlier stopping",
                    train=train[metric],
                    other=entry[metric],
                    threshold=self.gap,
                )
