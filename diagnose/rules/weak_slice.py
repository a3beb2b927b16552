"""Rule E407."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class WeakSlice(Rule):
    """A part of the samples (a class, a value of a metadata column, a cluster) does far worse than the rest.

    ## What it measures
    Accuracy of each slice of at least `support` samples against that of all other samples: lower by more than `gap`, beyond what as many
    looks give by chance (Holm, 5 %). For values the mean absolute error, `times` that of the others. Slices are the true classes, the
    values of metadata columns (numbers in quarters), and clusters of the last hidden layer. One weakness shows in several slices: the
    surest one is reported, and those that are not weak without its samples are counted with it.

    ## Why it matters
    The headline number hides it; whoever depends on these samples sees a much worse model.

    ## When it is wrong
    A part can be hard by nature, or small where accuracy is what counts.

    ## What to try
    Look at its samples and at what they are taken for; add data of this kind, weight it, or check its labels.

    ## References
    deepchecks, check Weak Segments Performance. S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
    Statistics 6 (1979).
    """

    code = "E407"
    name = "weak-slice"
    severity = Severity.INFO
    needs = ("evaluation",)

    gap: float = 0.2
    support: int = 20
    times: float = 1.5

    def judge(self, record: Record) -> Iterator[Finding]:
        entries = {k: e for k, e in record.facts["evaluation"].items() if (e.get("slices") or {}).get("tested")}
        if not entries:
            raise NotRun("no evaluated loader has classes, metadata or clusters with enough samples to compare")
        for loader, entry in entries.items():
            slices = entry["slices"]["slices"]
            for weak in slices:
                if weak.get("within") is None and weak["n"] >= self.support and self.far(entry, weak):
                    yield self.told(loader, entry, weak, sum(s.get("within") == called(weak) for s in slices))

    def far(self, entry: Mapping[str, Any], weak: Mapping[str, Any]) -> bool:
        """Whether the slice is worse by as much as to be worth a finding."""
        if entry["task"] == "regression":
            return float(weak["score"]) < self.times * float(weak["rest"])  # both are negative errors
        return float(weak["rest"]) - float(weak["score"]) > self.gap

    def told(self, loader: str, entry: Mapping[str, Any], weak: Mapping[str, Any], also: int) -> Finding:
        """The finding of one slice, with the number of those that are part of it."""
        n, score, rest = weak["n"], weak["score"], weak["rest"]
        place, threshold = called(weak), self.gap
        if entry["task"] == "regression":
            message = f"the mean error is {-score:.3g} on the {n} samples with {place}, {-rest:.3g} on the others"
            score, rest, threshold = -score, -rest, self.times
        elif weak["column"] == "true class":
            message = f"{score:.0%} of the {n} samples of class {weak['value']} are recognised, {rest:.0%} of the others"
        else:
            message = f"{score:.0%} of the {n} samples with {place} are right, {rest:.0%} of the others"
        message += f" (shown by {also} more {'slice' if also == 1 else 'slices'})" if also else ""
        fix = "look at what its samples are taken for; add data of this kind, weight it, or check its labels"
        return self.finding(message, where=f"{loader}, {place}", fix=fix, slice=score, rest=rest, samples=n, threshold=threshold)


def called(weak: Mapping[str, Any]) -> str:
    """A slice as the record and the page name it."""
    return f"{weak['column']} = {weak['value']}"
