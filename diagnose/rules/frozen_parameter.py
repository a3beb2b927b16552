"""Rule T313."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import refuse_games
from diagnose.statistics import finite
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class FrozenParameter(Rule):
    """A layer that has an optimizer and a gradient never changes.

    ## What it measures
    Layers whose trainable weights moved by exactly nothing in each of at least `records` measured steps, although a gradient was there
    (possibly zero) and other layers moved.

    ## Why it matters
    The layer is trained in the configuration and not in fact: a zero learning rate, a gradient that is always zero, weights that are
    overwritten after each step.

    ## When it is wrong
    Layers without any gradient are left to no-gradient and count as unused here. Very small rates in half precision round to no change,
    which is reported rightly.

    ## What to try
    Look at the learning rate of this layer's parameter group, and at what lies between the layer and the loss.

    ## References
    SageMaker Debugger (weights unchanged over three steps, rtol 1e-5).
    """

    code = "T313"
    name = "frozen-parameter"
    severity = Severity.WARNING
    needs = ("update_ratio/layers", "grad_norm/layers")

    records: int = 5

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        updates, gradients = record.series("update_ratio/layers"), record.series("grad_norm/layers")
        if len(updates) < self.records:
            raise NotRun(f"too short: {len(updates)} measured steps, at least {self.records} are needed")
        moved = np.nanmax(np.nan_to_num(updates.value, nan=0.0, posinf=1.0), axis=0)
        if not moved.any():
            raise NotRun("no layer moved in a measured step: the optimizer may step elsewhere")
        for place, name in enumerate(updates.labels):
            column = updates.value[:, place]
            known = int(np.isfinite(column).sum())
            if moved[place] > 0 or known < self.records or name not in gradients.labels:
                continue
            norms = finite(gradients.column(name))
            if len(norms) >= self.records:
                why = "its gradient is zero" if norms.max() == 0 else f"its gradient has a norm of {np.median(norms):.2g}"
                yield self.finding(
                    f"{name} did not change in any of {known} measured steps; {why}",
                    where=name,
                    fix="look at the learning rate of its parameter group and at what stands between it and the loss",
                    steps=known,
                    gradient=float(np.median(norms)),
                )
