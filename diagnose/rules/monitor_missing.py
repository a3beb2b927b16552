"""Rule T322."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class MonitorMissing(Rule):
    """A callback or scheduler waits for a metric that is never logged.

    ## What it measures
    The names that EarlyStopping, ModelCheckpoint and schedulers on a plateau monitor, against all names that were logged. A name is
    missing where Lightning itself stopped for it, where an epoch and, if there is a validation loader, a validation have been completed
    without it, or, before training, where the sanity check logged a name that differs only in its punctuation. With strict=False it is
    a warning.

    ## Why it matters
    Lightning stops the run at its first validation, or never stops it early and keeps the wrong checkpoint.

    ## When it is wrong
    Metrics that are logged only in some epochs: with strict=False they are judged at the end of the run only.

    ## What to try
    Use the name that is logged; it is given where one is `similar` enough (0 to 1). With several validation loaders names end in
    /dataloader_idx_0.

    ## References
    Lightning #11534, #12095, #18259.
    """

    code = "T322"
    name = "monitor-missing"
    severity = Severity.ERROR
    needs = ("monitors", "run")

    similar: float = 0.6

    def judge(self, record: Record) -> Iterator[Finding]:
        facts = record.facts["run"]
        logged = set(record.facts.get("logged", ()))
        broken = str(facts.get("interrupted") or "")
        validated = facts.get("validations_done", 0) > 0 or not facts.get("validates")
        complete = validated and facts.get("epochs_done", 0) > 0
        for waiting in record.facts["monitors"]:
            name, strict = waiting["monitor"], waiting.get("strict", True)
            if name in logged:
                continue
            same = [n for n in sorted(logged) if plain(n) == plain(name)]
            near = same or get_close_matches(name, sorted(logged), n=3, cutoff=self.similar)
            over = facts.get("finished", False)
            if not (name in broken or (over and facts.get("steps_done", 0) > 0) or (strict and (complete or (same and logged)))):
                continue
            if not complete and name not in broken and not same and facts.get("interrupted"):
                continue
            never = "no validation was run" if not validated else f"logged are {', '.join(sorted(logged)[:8]) or 'none'}"
            hint = f"monitor {near[0]!r}" if near else f"log {name!r} with self.log"
            yield self.finding(
                f"{waiting['who']} monitors {name!r}, which is not logged; {never}",
                where=f"{waiting['who']}(monitor={name!r})",
                fix=hint,
                override=record.override("monitor", near[0]) if near else "",
                severity=Severity.ERROR if strict else Severity.WARNING,
                logged=len(logged),
            )


def plain(name: str) -> str:
    """A metric's name without punctuation and case: ``val_loss`` and ``Val/Loss`` are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
