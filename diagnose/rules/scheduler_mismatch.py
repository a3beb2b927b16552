"""Rule T317."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.direction import other_way
from diagnose.rules.schedules import clock, hasty, stepping
from diagnose.rules.skill import skill
from diagnose.statistics import finite
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SchedulerMismatch(Rule):
    """The learning rate schedule does not fit the length of the run.

    ## What it measures
    Two things. The length that a scheduler was planned for (total_steps, T_max, total_iters) against the number of times it will be stepped
    in the whole run: a one-cycle schedule `factor` times too long never leaves its warm-up; a cosine whose length is the number of batches
    but is stepped per epoch, or the reverse; a linear ramp that ends after the run. Of a schedule that the module steps by hand both are
    known when the run is over: how often it was stepped, and how often its optimizer was. And the recorded rate: below `floor` of its peak
    for more than `idle` of the planned run, or below `lowered` of it for as long where the schedule was stepped more than `factor` times as
    often as its optimizer, or down to `lowered` of it for more than `most` while less than `learned` of what there is to gain over a
    constant prediction is gained, rising from beginning to end, or never above `reached` of the rate that the optimizer was given, as where
    a function returns the rate itself and it is multiplied by it (a given rate of 1 leaves it to the function). The rate needs `rows`
    records. A schedule on a plateau that waits for its metric in the wrong direction, by the metric's name, takes each improvement
    for none: it is reported before training. So is one that brought the rate down to `lowered` of its peak, or less, and began after checks
    of which each was better than the one before by more than `gained`: its threshold is too large for the metric to count.

    ## Why it matters
    A rate of nearly zero trains nothing; a rate that stays in warm-up trains slowly; a cosine that is stepped too often goes up and
    down.

    ## When it is wrong
    Schedules that wait for a plateau may rightly end low. Runs that stop early do not use their schedule up, which is not reported. A
    linear probe of learning rates rises by design.

    ## What to try
    Return {'scheduler': …, 'interval': 'step'} or 'epoch' from configure_optimizers, as the schedule counts; take its length from
    trainer.estimated_stepping_batches for steps.

    ## References
    Lightning #6948, PyTorch #65417 (OneCycleLR per epoch); gradsnitch (1 % of the peak before 80 % of the run).
    """

    code = "T317"
    name = "scheduler-mismatch"
    severity = Severity.WARNING
    needs = ("run",)
    explains = ("learning-rate-too-low", "learning-rate-too-high", "undertrained", "underfitting", "frozen-parameter")

    factor: float = 2.0
    floor: float = 1e-3
    idle: float = 0.4
    reached: float = 0.05
    rows: int = 20
    lowered: float = 0.01
    most: float = 0.8
    gained: float = 0.05
    learned: float = 0.8

    def judge(self, record: Record) -> Iterator[Finding]:
        facts = record.facts["run"]
        reported = False
        for scheduler in facts.get("schedulers", ()):
            length = next((scheduler[k] for k in ("total_steps", "T_max", "total_iters") if k in scheduler), None)
            how = stepping(record, scheduler) if length is not None else None
            if length is None or how is None:
                continue
            warms = scheduler["name"] in ("OneCycleLR", "LinearLR")
            if (warms and length > self.factor * how.times) or (scheduler["name"] == "CosineAnnealingLR" and how.swapped(length)):
                reported = True
                yield self.finding(
                    f"{scheduler['name']} is laid out for {length} steps and is stepped {how.times:.0f} times in this run, {how.said}",
                    where=record.source("configure_optimizers") or scheduler["name"],
                    fix=how.fix,
                    length=length,
                    stepped=how.times,
                    factor=length / max(1.0, how.times),
                    limit=self.factor,
                )
        wrong = next((m for m in record.facts.get("monitors", ()) if "Plateau" in m["who"] and other_way(m)), None)
        if wrong is not None:
            yield self._other_way(record, wrong)
            return
        if not reported and "lr" not in record:
            raise NotRun(record.missing.get("lr", "the learning rate was not recorded"))
        if any("Plateau" in s["name"] for s in facts.get("schedulers", ())):
            yield from self._plateau(record)
            return
        if reported:
            return
        series = record.series("lr")
        if len(series) < self.rows:
            raise NotRun(f"too short: {len(series)} recorded rates, at least {self.rows} are needed")
        rates = np.nanmax(series.value, axis=1)
        at, total, unit = clock(record, "lr")
        learned, quick = skill(record), hasty(record)
        strict = ((1.01 * self.lowered, self.most),) if learned is not None and learned < self.learned else ()
        quick = quick if quick is not None and quick[3] > self.factor else None
        strict = (*(((1.01 * self.lowered, self.idle),) if quick is not None else ()), *strict)
        for floor, longest in ((self.floor, self.idle), *strict):
            low = rates < floor * rates.max()
            since = at[int(np.flatnonzero(~low)[-1]) + 1] if low[-1] and (~low).any() else at[-1]
            idle = (at[-1] - since) / total
            if idle > longest:
                rest = rates[low].max() / rates.max()
                said = f"the learning rate is {rest:.2g} of its peak or less since {unit} {since:.0f} of {total:.0f}"
                more = f": {quick[0]} is stepped {quick[1]} times, its optimizer {quick[2]} times" if quick is not None else ""
                fix = "step the schedule where its optimizer steps, or lay it out for all batches" if quick is not None else ""
                yield self._found(record, said + more, idle, longest, fix)
                break
        given = max((float(o.get("initial_lr", 0.0)) for o in facts.get("optimizers", ())), default=0.0)
        if facts.get("finished") and facts.get("schedulers") and given < 1 and 0 < rates.max() < self.reached * given:
            yield self._found(
                record,
                f"the learning rate never rises above {rates.max():.2g}, {rates.max() / given:.2g} of the {given:g} that the optimizer was "
                "given",
                rates.max() / given,
                self.reached,
                "let the function of a LambdaLR return a factor of the rate, not the rate: it is multiplied",
            )
            return
        rising = bool(np.all(np.diff(rates) >= 0)) and rates[-1] > 1.15 * rates[at <= 0.7 * total][-1] and rates[0] < 0.5 * rates[-1]
        if rising and facts.get("finished") and not facts.get("stopped") and not facts.get("interrupted") and total >= 50:
            yield self._found(
                record, f"the learning rate rises from {rates[0]:.2g} to {rates[-1]:.2g} until the end of the run", 1.0, self.idle
            )

    def _plateau(self, record: Record) -> Iterator[Finding]:
        """A schedule on a plateau that lowered the rate before there was any: it does not count what its metric gains."""
        rates = np.nanmax(record.series("lr").value, axis=1)
        others = any("Plateau" not in scheduler["name"] for scheduler in record.facts["run"]["schedulers"])
        if others or rates[-1] > self.lowered * rates.max():
            return
        lowered = record.series("lr").step[int(np.argmax(rates < rates[0]))]
        for waiting in record.facts.get("monitors", ()):
            name = f"metric/{waiting['monitor']}"
            if "Plateau" not in waiting["who"] or name not in record or waiting.get("mode") not in ("min", "max"):
                continue
            checks = record.series(name)
            sign = -1.0 if waiting["mode"] == "max" else 1.0
            seen = finite(checks.value[checks.step <= lowered]) * sign
            steps = -np.diff(seen) / np.maximum(np.abs(seen[:-1]), 1e-12)
            if len(steps) and steps.min() > self.gained:
                yield self._found(
                    record,
                    f"{waiting['who']} lowered the learning rate by step {lowered} though {waiting['monitor']!r} had got better at each of "
                    f"the {len(seen)} checks until then, by {steps[-1]:.0%} at the last, and has brought it from {rates.max():.2g} down to "
                    f"{rates[-1]:.2g}",
                    steps.min(),
                    self.gained,
                    "leave its threshold at 1e-4, the share by which a check has to be better to count",
                )

    def _other_way(self, record: Record, waiting: Mapping[str, Any]) -> Finding:
        """A schedule on a plateau that lowers the rate as its metric gets better."""
        rates = np.nanmax(record.series("lr").value, axis=1) if "lr" in record else np.ones(1)
        lowered = rates[-1] <= self.lowered * rates.max()
        done = f" and has brought the learning rate down from {rates.max():.2g} to {rates[-1]:.2g}" if lowered else ", by its name"
        return self._found(
            record,
            f"{waiting['who']} takes a {'higher' if waiting['mode'] == 'max' else 'lower'} {waiting['monitor']!r} for better{done}",
            rates[-1] / rates.max(),
            self.lowered,
            f"give it mode={other_way(waiting)!r}",
        )

    def _found(self, record: Record, message: str, share: float, limit: float, fix: str = "") -> Finding:
        return self.finding(
            message,
            where=record.source("configure_optimizers") or "learning rate scheduler",
            fix=fix or "lay the schedule out for the whole run, and step it per batch or per epoch as its length counts",
            share=share,
            limit=limit,
        )
