"""Rule T322."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.direction import HIGHER, LOWER, base, other_way
from diagnose.statistics import finite
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class MonitorMissing(Rule):
    """A callback or scheduler waits for a metric that is never logged, or in the wrong direction.

    ## What it measures
    The names that EarlyStopping, ModelCheckpoint and schedulers on a plateau monitor, against all names that were logged. A name is missing
    where Lightning itself stopped for it, where an epoch and, if there is a validation loader, a validation have been completed without it,
    or, before training, where the sanity check logged a name that differs only in its punctuation, or where one step of training and one of
    validation did not log it and no hook or callback of the user's could do so later. With strict=False it is a warning. An accuracy or the
    like (`higher`) with the mode "min", or a loss or error (`lower`) with "max", is a warning, by its name; of a schedule on a plateau
    scheduler-mismatch says so. A patience as long as the run, or no longer than that of a schedule on a plateau, is an info. Early stopping
    that ended the run while the metric got better in each of the checks that it waited for, by more than `gained` of it in all, but by less
    than its min_delta each time, is a warning.

    ## Why it matters
    Lightning stops the run at its first validation, or never stops it early and keeps the wrong checkpoint. In the wrong direction the
    worst checkpoint is kept, and early stopping ends a run that gets better.

    ## When it is wrong
    Metrics that are logged only in some epochs: with strict=False they are judged at the end of the run only. Before training, a step that
    logs only later in the run. A metric whose name says the opposite of what it is.

    ## What to try
    Use the name that is logged; it is given where one is `similar` enough (0 to 1). With several validation loaders names end in
    /dataloader_idx_0. Give EarlyStopping and ModelCheckpoint the mode "max" for accuracies.

    ## References
    Lightning #11534, #12095, #18259.
    """

    code = "T322"
    name = "monitor-missing"
    severity = Severity.ERROR
    needs = ("monitors", "run")

    similar: float = 0.6
    gained: float = 0.05
    higher: tuple[str, ...] = HIGHER
    lower: tuple[str, ...] = LOWER

    def judge(self, record: Record) -> Iterator[Finding]:
        facts, probe = record.facts["run"], record.facts.get("probe.logged", {})
        logged = set(record.facts.get("logged", ()))
        broken = str(facts.get("interrupted") or "")
        validated = facts.get("validations_done", 0) > 0 or not facts.get("validates")
        complete = validated and facts.get("epochs_done", 0) > 0
        begun = complete or facts.get("finished", False)
        logged |= set() if begun else set(probe.get("names", ()))
        known = bool(probe) and not probe["elsewhere"] and facts.get("validates", False)
        for waiting in record.facts["monitors"]:
            name, strict = waiting["monitor"], waiting.get("strict", True)
            if name in logged or (not begun and base(name) in logged):
                yield from self._direction(waiting)
                yield from self._patience(waiting, record)
                yield from self._delta(waiting, record)
                continue
            same = [n for n in sorted(logged) if plain(n) == plain(name)]
            near = same or get_close_matches(name, sorted(logged), n=3, cutoff=self.similar)
            over = facts.get("finished", False)
            if not (name in broken or (over and facts.get("steps_done", 0) > 0) or (strict and (complete or known or (same and logged)))):
                continue
            if not complete and name not in broken and not same and facts.get("interrupted"):
                continue
            never = "no validation was run" if begun and not validated else f"logged are {', '.join(sorted(logged)[:8]) or 'none'}"
            hint = f"monitor {near[0]!r}" if near else f"log {name!r} with self.log"
            yield self.finding(
                f"{waiting['who']} monitors {name!r}, which is not logged; {never}",
                where=f"{waiting['who']}(monitor={name!r})",
                fix=hint,
                override=record.override("monitor", near[0]) if near else "",
                severity=Severity.ERROR if strict else Severity.WARNING,
                logged=len(logged),
            )

    def _direction(self, waiting: Mapping[str, Any]) -> Iterator[Finding]:
        wants = other_way(waiting, self.higher, self.lower)
        if wants and "Plateau" not in waiting["who"]:  # of which scheduler-mismatch speaks
            better = "lower" if wants == "min" else "higher"
            yield self.finding(
                f"{waiting['who']} monitors {waiting['monitor']!r} with mode={waiting['mode']!r}, although {better} is better by its name",
                where=f"{waiting['who']}(monitor={waiting['monitor']!r}, mode={waiting['mode']!r})",
                fix=f"give it mode={wants!r}",
                severity=Severity.WARNING,
            )

    def _patience(self, waiting: Mapping[str, Any], record: Record) -> Iterator[Finding]:
        if waiting["who"] != "EarlyStopping" or waiting.get("patience") is None:
            return
        patience, epochs = waiting["patience"], record.facts["run"].get("max_epochs")
        plateaus = [m["patience"] for m in record.facts["monitors"] if "Plateau" in m["who"] and m.get("patience") is not None]
        if epochs is not None and patience >= epochs:
            message = f"EarlyStopping waits for {patience} checks in a run of {epochs} epochs, so it never stops it"
        elif plateaus and patience <= min(plateaus):
            message = f"EarlyStopping ends the run after {patience} checks, before the schedule lowers the rate after {min(plateaus)}"
        else:
            return
        yield self.finding(
            message,
            where=f"EarlyStopping(monitor={waiting['monitor']!r}, patience={patience})",
            fix="choose patience longer than that of the schedule, and shorter than the run",
            severity=Severity.INFO,
            patience=patience,
        )

    def _delta(self, waiting: Mapping[str, Any], record: Record) -> Iterator[Finding]:
        """Early stopping that takes what gets better for no better."""
        least, patience, series = waiting.get("min_delta") or 0.0, waiting.get("patience") or 0, f"metric/{waiting['monitor']}"
        if waiting["who"] != "EarlyStopping" or not least or not record.facts["run"].get("stopped") or series not in record:
            return
        last = finite(record.series(series).value)[-patience - 1 :] * (-1 if waiting["mode"] == "max" else 1)
        gained = (last[0] - last[-1]) / max(abs(last[0]), 1e-12) if len(last) > 1 else 0.0
        if gained > self.gained and (np.diff(last) < 0).all():
            yield self.finding(
                f"EarlyStopping ended the run though {waiting['monitor']!r} got better in each of its last {len(last) - 1} checks, by "
                f"{gained:.0%} in all: it counts only steps of min_delta={least:g} or more",
                where=f"EarlyStopping(monitor={waiting['monitor']!r}, min_delta={least:g})",
                fix="leave min_delta at 0, or make it small against the metric",
                severity=Severity.WARNING,
                gained=gained,
                limit=self.gained,
                min_delta=least,
            )


def plain(name: str) -> str:
    """A metric's name without punctuation and case: ``val_loss`` and ``Val/Loss`` are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
