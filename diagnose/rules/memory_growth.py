"""Rule T319."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.statistics import finite, mann_kendall
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class MemoryGrowth(Rule):
    """The memory of the process grows steadily, step by step.

    ## What it measures
    Resident memory at the measured steps of the last two thirds of the run: it must grow by `bytes` in all and by `share` of its size,
    in each of four quarters, with a significant trend. It needs `records` records.

    ## Why it matters
    Something keeps what belongs to a single step (a loss with its graph, outputs in a list): the run ends when memory does.

    ## When it is wrong
    Caches that fill once grow at first, which is why the first third is left out. Memory on the device is not seen.

    ## What to try
    Keep loss.item() or loss.detach() in place of the loss; empty lists at the end of an epoch; look for tensors that hooks or
    attributes hold.

    ## References
    Lightning FAQ on memory leaks; torch-preflight (graph retention).
    """

    code = "T319"
    name = "memory-growth"
    severity = Severity.WARNING
    needs = ("memory/rss",)

    bytes: float = 100e6
    share: float = 0.1
    records: int = 30

    def judge(self, record: Record) -> Iterator[Finding]:
        values = finite(record.series("memory/rss").value)
        if len(values) < self.records:
            raise NotRun(f"too short: {len(values)} records, at least {self.records} are needed")
        late = values[len(values) // 3 :]
        corners = [float(np.median(part)) for part in np.array_split(late, 5)]
        grown = corners[-1] - corners[0]
        steady = all(b - a > 0.1 * grown / 4 for a, b in pairwise(corners))
        if grown > self.bytes and grown > self.share * corners[0] and steady and mann_kendall(late) > 4:
            yield self.finding(
                f"the process grew from {corners[0] / 1e6:.0f} to {corners[-1] / 1e6:.0f} MB in the last two thirds of the run, in "
                "every part of it",
                where=record.source("training_step") or "the process",
                fix="keep numbers in place of tensors that belong to a step: loss.item(), output.detach()",
                grown=grown,
                limit=self.bytes,
                share=grown / corners[0],
            )
