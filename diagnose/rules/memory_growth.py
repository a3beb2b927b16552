"""Rule T319."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from diagnose.record import Record, Series
from diagnose.rules import NotRun, Rule
from diagnose.statistics import mann_kendall, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class MemoryGrowth(Rule):
    """The memory of the process, or of its GPU, grows steadily, step by step.

    ## What it measures
    Resident memory, and what tensors hold on the GPU, at the measured steps of the last two thirds of the run: it must grow by `bytes` in
    all and by `share` of its size, in each of four quarters, with a significant trend. With fewer than `records` records (at least `few`)
    it must grow in proportion to the steps over the last four fifths: a correlation with them above `straight`. Before memory shows it: at
    the end at least `held` of the `graphs` or more measured steps of earlier epochs have an autograd graph that something still refers to.

    ## Why it matters
    Something keeps what belongs to a single step (a loss with its graph, outputs in a list): the run ends when memory does.

    ## When it is wrong
    Caches that fill once grow at first, which is why the first third is left out. Growth into memory of the process that was freed before
    is not seen; what was freed before the fit is given back to the system at its start, where the C library is glibc. Outputs that are
    kept until their epoch ends are no fault; a long buffer of losses in a short run looks like one.

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
    few: int = 6
    graphs: int = 8
    held: float = 0.9
    straight: float = 0.99

    def judge(self, record: Record) -> Iterator[Finding]:
        if "memory/graphs" in record:
            held, seen = (float(number) for number in record.series("memory/graphs").value[-1])
            if seen >= self.graphs and held >= self.held * seen:
                yield self.finding(
                    f"the graphs of {held:.0f} of {seen:.0f} measured steps of earlier epochs are still held, so each step adds one",
                    where=record.source("training_step") or "the process",
                    fix="keep numbers in place of tensors that belong to a step: loss.item(), output.detach()",
                    held=held / seen,
                    limit=self.held,
                    steps=seen,
                )
                return
        for name, place in (("memory/device", "the GPU"), ("memory/rss", "the process")):
            if name in record:
                grown = self._grown(record.series(name))
                if grown is not None:
                    start, end, part = grown
                    yield self.finding(
                        f"the memory of {place} grew from {start / 1e6:.0f} to {end / 1e6:.0f} MB in the {part} of the run, in every part "
                        "of it",
                        where=record.source("training_step") or place,
                        fix="keep numbers in place of tensors that belong to a step: loss.item(), output.detach()",
                        grown=end - start,
                        limit=self.bytes,
                        share=(end - start) / start,
                    )
                    return

    def _grown(self, series: Series) -> tuple[float, float, str] | None:
        """Memory at the beginning and end of the part of the run that is judged, if it grew steadily there.

        Raises:
            NotRun: There are too few records.
        """
        known = np.isfinite(series.value)
        values, steps = series.value[known], series.step[known]
        if len(values) >= self.records:
            late = values[len(values) // 3 :]
            corners = [median(part) for part in np.array_split(late, 5)]
            grown, part = corners[-1] - corners[0], "last two thirds"
            steady = all(b - a > 0.1 * grown / 4 for a, b in pairwise(corners)) and mann_kendall(late) > 4
        else:
            after = steps >= steps[0] + 0.2 * (steps[-1] - steps[0]) if len(steps) else known[:0]
            values, steps = values[after], steps[after]
            if len(values) < self.few:
                raise NotRun(f"too short: {len(values)} records in the last four fifths, at least {self.few} are needed")
            corners = [float(values[0]), float(values[-1])]
            grown, part = corners[-1] - corners[0], "last four fifths"
            steady = grown > 0 and float(np.corrcoef(steps, values)[0, 1]) > self.straight
        large = grown > self.bytes and grown > self.share * corners[0]
        return (corners[0], corners[-1], part) if steady and large else None
