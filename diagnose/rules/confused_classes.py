"""Rule E404."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class ConfusedClasses(Rule):
    """One pair of classes takes a large part of all errors.

    ## What it measures
    The errors between two classes, in both directions, as a share of all errors, against `share`; with at least `errors` errors in all
    and three classes, and only where the pair has `times` the share that it would have if errors fell evenly on all pairs.

    ## Why it matters
    Errors in one place have one reason, and are cheaper to mend than errors everywhere.

    ## When it is wrong
    The two classes may be alike by nature, or simply the two largest.

    ## What to try
    Look at the samples of the pair: labels that annotators mix up, two numbers for one class, a detail that preprocessing destroys. Then
    add data of the two, or join them.

    ## References
    Amazon SageMaker Debugger, rule Confusion.
    """

    code = "E404"
    name = "confused-classes"
    severity = Severity.INFO
    needs = ("evaluation",)

    share: float = 0.3
    errors: int = 20
    times: float = 3.0

    def judge(self, record: Record) -> Iterator[Finding]:
        entries = {k: e for k, e in record.facts["evaluation"].items() if e.get("confusion") and len(e["confusion"]) > 2}
        if not entries:
            raise NotRun("no evaluated loader has a confusion matrix of three or more classes")
        for loader, entry in entries.items():
            wrong = np.array(entry["confusion"], dtype=np.float64)
            np.fill_diagonal(wrong, 0.0)
            pairs = np.triu(wrong + wrong.T)
            total = float(pairs.sum())
            if total < self.errors:
                continue
            i, j = (int(v) for v in np.unravel_index(pairs.argmax(), pairs.shape))
            even = 2 / (len(wrong) * (len(wrong) - 1))
            taken = float(pairs[i, j]) / total
            if taken >= max(self.share, min(1.0, self.times * even)):
                names = [str(row["name"]) for row in entry["per_class"]]
                yield self.finding(
                    f"{pairs[i, j]:.0f} of {total:.0f} errors on {loader} are between {names[i]} and {names[j]} ({taken:.0%})",
                    where=f"{loader}, {names[i]} and {names[j]}",
                    fix="look at the samples of the two classes and at how they were labelled",
                    share=taken,
                    errors=total,
                    threshold=self.share,
                )
