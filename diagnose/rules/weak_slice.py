"""Rule E407."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class WeakSlice(Rule):
    """A class is recognised far less often than the others.

    ## What it measures
    Recall of each class with at least `support` samples against accuracy on all other samples: lower by more than `gap`, and the upper
    end of its 95 % interval (Wilson) lower as well.

    ## Why it matters
    The headline number hides it; whoever depends on that class sees a much worse model.

    ## When it is wrong
    A class can be hard by nature, or small where accuracy is what counts.

    ## What to try
    Look at its samples and at what they are taken for; add data of this class, weight it, or check its labels.

    ## References
    deepchecks, check Weak Segments Performance. E. B. Wilson, JASA 22 (1927).
    """

    code = "E407"
    name = "weak-slice"
    severity = Severity.INFO
    needs = ("evaluation",)

    gap: float = 0.2
    support: int = 20

    def judge(self, record: Record) -> Iterator[Finding]:
        entries = {k: e for k, e in record.facts["evaluation"].items() if e.get("per_class") and e["task"] != "multilabel"}
        if not entries:
            raise NotRun("no evaluated loader has classes")
        for loader, entry in entries.items():
            hits = entry["accuracy"] * entry["n"]
            for row in entry["per_class"]:
                if row["support"] < self.support or row["support"] >= entry["n"] or row["recall"] is None:
                    continue
                share, n = row["recall"], row["support"]
                rest = (hits - share * n) / (entry["n"] - n)
                z = 1.96
                spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
                high = (share + z * z / (2 * n) + spread) / (1 + z * z / n)
                if rest - share > self.gap and high < rest:
                    yield self.finding(
                        f"{share:.0%} of the {n} samples of class {row['name']} are recognised, {rest:.0%} of the others",
                        where=f"{loader}, class {row['name']}",
                        fix="look at what its samples are taken for; add data of this class, weight it, or check its labels",
                        recall=share,
                        rest=rest,
                        support=n,
                        threshold=self.gap,
                    )
