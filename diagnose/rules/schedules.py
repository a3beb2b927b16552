"""How often a learning rate schedule is stepped in a run, beside what its length may count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules.evidence import planned_steps, run
from diagnose.statistics import Values

APART = 1.25  # times as often as planned is another count


@dataclass(frozen=True, slots=True)
class Stepping:
    """How a schedule is stepped.

    Attributes:
        times: How often in the whole run.
        others: How often it would be at the other moments that its length may count.
        said: At which moment, in words.
        fix: What to change.
    """

    times: float
    others: tuple[float, ...]
    said: str
    fix: str

    def swapped(self, length: float) -> bool:
        """Whether a length is that of another count than the one at which the schedule is stepped."""
        theirs = any(abs(length - other) <= 0.05 * other + 1 for other in self.others)
        return theirs and not 0.8 < length / max(1, self.times) < APART


def stepping(record: Record, scheduler: Mapping[str, Any]) -> Stepping | None:
    """How a schedule is stepped in a run: as it was set up, or by hand, which is known when a run is over; else ``None``."""
    facts, by_step = run(record), scheduler["interval"] == "step"
    steps, epochs = planned_steps(record), facts.get("max_epochs")
    stepped = scheduler.get("stepped") if facts.get("finished") else None
    by_hand = "step it by hand where that is done which its length counts: a step of its optimizer, a batch or an epoch"
    if not facts.get("automatic_optimization", True):
        if stepped is None or facts.get("stopped") or facts.get("interrupted"):
            return None
        counts = (updates(record, scheduler), facts.get("epochs_done"), planned_batches(record))
        return Stepping(stepped, tuple(count for count in counts if count), "by hand", by_hand)
    planned, other = (steps, epochs) if by_step else (epochs, steps)
    if planned is None:
        return None
    times = planned / max(1, scheduler.get("frequency") or 1)
    if stepped is not None and stepped > APART * times:
        said = f"once per {scheduler['interval']} and by hand"
        return Stepping(stepped, tuple(float(n) for n in (times, other) if n is not None), said, "step it by hand no more: Lightning does")
    fix = f"give it the interval 'step' or 'epoch' that its length counts (now '{scheduler['interval']}')"
    return Stepping(times, () if other is None else (other,), f"once per {scheduler['interval']}", fix)


def updates(record: Record, scheduler: Mapping[str, Any]) -> int | None:
    """How often the optimizer of a schedule stepped in a run that is over; ``None`` where that is not known."""
    steps = scheduler.get("updates")
    if steps is None:
        steps = next((turn["steps"] for turn in record.facts.get("turns", ()) if turn["name"] == scheduler.get("of")), None)
    return int(steps) if steps else None


def hasty(record: Record) -> tuple[str, int, int, float] | None:
    """The schedule that is stepped most often for each step of its optimizer: its name, both counts and their ratio."""
    known = [(s["name"], s.get("stepped"), updates(record, s)) for s in run(record).get("schedulers", ())]
    ratios = [(name, int(stepped), done, stepped / done) for name, stepped, done in known if stepped and done]
    return max(ratios, key=lambda entry: entry[3], default=None)


def planned_batches(record: Record) -> int | None:
    """Training batches of the whole run, where epochs limit it."""
    facts = run(record)
    known = facts.get("max_epochs") and facts.get("batches_per_epoch") and not facts.get("max_steps")
    return int(facts["max_epochs"]) * int(facts["batches_per_epoch"]) if known else None


def clock(record: Record, name: str) -> tuple[Values, float, str]:
    """Where in the run the rows of a series are, its planned length, and what both count.

    Optimizer steps; under manual optimisation batches, of which a step may take many, or one make many steps.
    """
    series, length = record.series(name), planned_batches(record)
    if not run(record).get("automatic_optimization", True) and length is not None:
        return series.batch.astype(float), float(length), "batch"
    return series.step.astype(float), float(planned_steps(record) or series.step[-1] + 1), "step"
