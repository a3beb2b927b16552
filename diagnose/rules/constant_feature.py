"""Rule D103."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class ConstantFeature(Rule):
    """A feature of the training inputs never varies.

    ## What it measures
    The columns of each float input that hold one and the same value in all training rows read, if there are at least `rows` of them.

    ## Why it matters
    Nothing can be learned from a constant; the column is a bias at best. Often it shows that a column was filled by mistake, was cut off
    by a cast, or is known only outside the training period.

    ## When it is wrong
    It is only `info`, since a rare category may be missing among the rows read. Single empty columns of wide fields that are mostly zeros
    anyway (the corners of flattened images, counts of words) are not reported.

    ## What to try
    Drop the column, or look at how it is filled. Standardising it divides by zero.

    ## References
    Ben Braiek and Khomh, TheDeepChecker (TOSEM 2023): features of zero variance.
    """

    code = "D103"
    name = "constant-feature"
    severity = Severity.INFO
    needs = ("data",)

    rows: int = 50

    def judge(self, record: Record) -> Iterator[Finding]:
        facts = record.facts["data"]["train"]
        for path in facts["inputs"]:
            field = facts["fields"][path]
            columns = field["columns"]
            if columns is None or not columns["constant"] or columns["axis"] != "column" or facts["samples"] < self.rows:
                continue
            every = columns["constant"] == columns["count"]
            sparse = columns["count"] >= 16 and field["min"] >= 0 and field["zeros"] >= 0.2
            if not field["dtype"].startswith("float") or (sparse and not every):
                continue
            which = ", ".join(map(str, columns["constant_first"])) + (" …" if columns["constant"] > len(columns["constant_first"]) else "")
            if every:
                what, fix = f"{path} is the same in all", "look at how the inputs are read"
            else:
                what = f"{columns['constant']} of {columns['count']} columns of {path} (columns {which}) never vary in"
                fix = "drop these columns, or look at how they are filled"
            yield self.finding(
                f"{what} {facts['samples']} training rows read",
                where=path,
                fix=fix,
                constant=columns["constant"],
                columns=columns["count"],
                rows=facts["samples"],
            )
