"""Rule T304."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, run
from diagnose.rules.evidence import collapsed, later, left_of_both
from diagnose.rules.vanishing_gradient import VanishingGradient
from diagnose.statistics import Values, finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class DeadUnits(Rule):
    """Most units of an activation give the same value for every sample.

    ## What it measures
    The share of units whose output does not vary over the samples of a batch. At least `share` of the units of one activation must be dead
    in `persistence` of the steps measured after the first third of the run so far, of at least `records` in all. Bounded activations are
    judged by saturated-units. Where vanishing-gradient is found in `depth` layers or more, none of which takes more than `leap` of the fall
    of the gradient (in decades), and less than `alive` of the units of the first activation are dead, that rule speaks: deep in such a
    network units are constant because next to nothing of the input comes to them. Where predictions and targets have both shrunk below
    `shrunk` of their first spread, the model makes its own targets, and prediction-collapse speaks. Where the spread of an activation has
    fallen as far, and the loss with it below `fallen` of its start, that is what the loss asks for, and collapsed-embedding speaks.

    ## Why it matters
    A ReLU unit that is zero for every sample gets no gradient and cannot come back: the layer is narrower than it looks, or dead
    altogether.

    ## When it is wrong
    In sparse networks many units rest for any one small batch; hence the high `share`. Batches with fewer than eight values per unit
    are not judged. A layer that is meant to be constant (a gate that is switched on later) is reported wrongly.

    ## What to try
    A lower learning rate, biases that start at zero or slightly above, an initialisation made for ReLU, normalisation before the
    activation, LeakyReLU or GELU.

    ## References
    AUTOTRAINER (ICSE 2021), dying ReLU at 0.7; TheDeepChecker (2023), 95th percentile below 1e-5 in more than half of the units.
    """

    code = "T304"
    name = "dead-units"
    severity = Severity.WARNING
    needs = ("activation/dead",)
    explains = ("frozen-parameter", "vanishing-gradient", "underfitting", "learning-rate-too-low")

    share: float = 0.8
    persistence: float = 0.8
    records: int = 5
    shrunk: float = 0.05
    fallen: float = 0.01
    depth: int = 6
    leap: float = 0.34
    alive: float = 0.4

    def judge(self, record: Record) -> Iterator[Finding]:
        if left_of_both(record) < self.shrunk:
            raise NotRun("the targets come of the model and have shrunk with its predictions: units that end with them are no cause")
        if collapsed(record, self.shrunk, self.fallen, self.share) is not None:
            raise NotRun("the loss fell to next to nothing while the activations became constant, of which collapsed-embedding speaks")
        series = record.series("activation/dead")
        rows = later(series)
        found = []
        short = True
        for place, name in enumerate(series.labels):
            values, enough = finite(rows[:, place]), len(finite(series.value[:, place])) >= self.records
            short = short and not enough
            often = float(np.mean(values >= self.share)) if enough and len(values) else 0.0
            if often >= self.persistence:
                found.append((name, median(values), often))
        if short:
            raise NotRun(f"too short: fewer than {self.records} measured steps with at least eight samples per unit")
        if found and self._starved(record, finite(rows[:, 0])):
            raise NotRun(
                "units end deep in the network, since what the input changes gets lost on its way, of which vanishing-gradient speaks"
            )
        if found:
            name, dead, often = found[0]
            others = f", and most of {len(found) - 1} further activations" if len(found) > 1 else ""
            yield self.finding(
                f"{dead:.0%} of the units of {name} give the same value for every sample, in {often:.0%} of the measured steps{others}",
                where=name,
                fix="look at the biases and the scale of what reaches this activation; start biases at zero, lower the learning rate",
                share=dead,
                limit=self.share,
                persistence=often,
                activations=len(found),
            )

    def _starved(self, record: Record, first: Values) -> bool:
        """Whether the gradient fades little by little through many layers, of which the first is alive."""
        if not len(first) or median(first) >= self.alive:
            return False
        fading = [f.evidence for f in run(VanishingGradient(), record).findings]
        return any(e.get("layers", 0) >= self.depth and e.get("leap", 1.0) <= self.leap for e in fading)
