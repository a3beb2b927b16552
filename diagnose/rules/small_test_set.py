"""Rule E409."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SmallTestSet(Rule):
    """The evaluated samples are too few for the headline number to be trusted to its first digits.

    ## What it measures
    The width of the 95 % interval of accuracy (R² for values) per evaluated loader, against `width`.

    ## Why it matters
    Two models whose numbers differ by less than the interval cannot be told apart; a difference may be luck.

    ## When it is wrong
    A paired comparison of two models on the same samples can be sure although each interval is wide.

    ## What to try
    Evaluate on more samples (the width shrinks with their root), or by cross-validation, and report the interval.

    ## References
    Dietterich, Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms, Neural Computation 10 (1998).
    """

    code = "E409"
    name = "small-test-set"
    severity = Severity.INFO
    needs = ("evaluation",)

    width: float = 0.1

    def judge(self, record: Record) -> Iterator[Finding]:
        judged = 0
        for loader, entry in record.facts["evaluation"].items():
            metric, name = ("r2", "R²") if entry["task"] == "regression" else ("accuracy", "accuracy")
            low, high = (entry.get("intervals") or {}).get(metric) or (None, None)
            if low is None or high is None:
                continue
            judged += 1
            if high - low > self.width:
                yield self.finding(
                    f"{name} on {loader} is {entry[metric]:.3g}, 95 % interval {low:.3g} to {high:.3g}, from {entry['n']} samples",
                    where=loader,
                    fix=f"evaluate on about {math.ceil(entry['n'] * ((high - low) / self.width) ** 2)} samples",
                    width=high - low,
                    samples=entry["n"],
                    threshold=self.width,
                )
        if not judged:
            raise NotRun("no evaluated loader has an interval of its headline number")
