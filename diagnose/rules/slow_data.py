"""Rule T318."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SlowData(Rule):
    """Training waits for the data for most of the time.

    ## What it measures
    The time between batches over the time per batch, in the median over the records: above `share`, with steps that take at least
    `seconds`.

    ## Why it matters
    The device idles; more workers may be all that is needed for twice the speed.

    ## When it is wrong
    Callbacks that work between batches are counted as data. Very short steps are not judged: there the loop itself takes longer than
    the data.

    ## What to try
    More workers, persistent_workers=True, pin_memory=True, lighter transforms, data in memory.

    ## References
    Lightning #20580, #2369.
    """

    code = "T318"
    name = "slow-data"
    severity = Severity.INFO
    needs = ("time/data", "time/step")

    share: float = 0.6
    seconds: float = 0.005
    records: int = 10

    def judge(self, record: Record) -> Iterator[Finding]:
        waited, took = finite(record.series("time/data").value), finite(record.series("time/step").value)
        if min(len(waited), len(took)) < self.records:
            raise NotRun(f"too short: {min(len(waited), len(took))} records, at least {self.records} are needed")
        share, step = median(waited) / max(median(took), 1e-12), median(took)
        if share > self.share and step > self.seconds:
            yield self.finding(
                f"{share:.0%} of the {step:.3g} seconds per step are spent waiting for data",
                where="train_dataloader",
                fix="give the loader more workers, keep them alive between epochs, or make the transforms cheaper",
                override=record.override("num_workers", 4),
                share=share,
                limit=self.share,
                seconds=step,
            )
