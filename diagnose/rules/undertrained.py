"""Rule T320."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import losses, refuse_games
from diagnose.statistics import finite, trend
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class Undertrained(Rule):
    """Training ended while both losses were still falling clearly.

    ## What it measures
    The last third of the validation losses (at least `validations` in all) and of the training losses: both must fall by more than
    `fall` of their level, with the best validation among the last two. Runs that were stopped early, broken off, or whose learning rate
    had decayed are not judged.

    ## Why it matters
    More epochs would have given a better model.

    ## When it is wrong
    The last gains may not be worth their time.

    ## What to try
    Train longer, or raise the learning rate.

    ## References
    Lightning users' most common reply to a rising curve.
    """

    code = "T320"
    name = "undertrained"
    severity = Severity.INFO
    needs = ("train/loss", "val/loss", "run")

    fall: float = 0.1
    validations: int = 5

    def judge(self, record: Record) -> Iterator[Finding]:
        facts = record.facts["run"]
        if not facts.get("finished") or facts.get("stopped") or facts.get("interrupted"):
            raise NotRun("the run did not come to its planned end")
        refuse_games(record)
        held = finite(record.series("val/loss").value)
        values = losses(record, 100)
        if len(held) < self.validations:
            raise NotRun(f"too short: {len(held)} validations, at least {self.validations} are needed")
        rates = np.nanmax(record.series("lr").value, axis=1) if "lr" in record else np.ones(1)
        if rates[-1] < 0.1 * rates.max():
            return
        part = held[-max(3, len(held) // 3) :]
        third = trend(values[-len(values) // 3 :])
        fell = float(part[0] - part[-1]) / max(abs(float(part[0])), 1e-12)
        start, end = (float(np.mean(v)) for v in np.array_split(values[-len(values) // 3 :], 4)[::3])
        fell_train = (start - end) / max(abs(start), 1e-12)
        if fell > self.fall and fell_train > self.fall and third.z < -3 and int(np.argmin(held)) >= len(held) - 2:
            yield self.finding(
                f"in the last third of training the validation loss fell by {fell:.0%} and the training loss by {fell_train:.0%}",
                where=f"epoch {facts.get('epochs_done', '?')}",
                fix="train longer, or raise the learning rate",
                override=record.override("max_epochs", 2 * facts["max_epochs"]) if facts.get("max_epochs") else "",
                validation_fall=fell,
                training_fall=fell_train,
                limit=self.fall,
            )
