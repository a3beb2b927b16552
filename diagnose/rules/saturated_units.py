"""Rule T305."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record, Series
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import losses
from diagnose.rules.skill import skill
from diagnose.statistics import finite, median, progress
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SaturatedUnits(Rule):
    """Most units of a bounded activation sit at their bounds.

    ## What it measures
    The share of sigmoid or tanh units that lie within 0.01 of a bound for nearly every sample: at least `share` of the units of one
    activation, in `persistence` of at least `records` measured steps. It is a warning where the loss has lost less than `progress` of its
    start, where the model is hardly better than a constant prediction, or where `extreme` of the units of a hidden layer are saturated,
    which no training needs; else it is worth knowing only. Where `extreme` of the units of a hidden sigmoid or tanh come to their bounds
    later, and stay there for `stay` of the run and in `records` measured steps at least, it is a warning if next to nothing was learned by
    those first two signs; gates are left out. Units that are thrown from one bound to the other, so that none sits at one of them for
    nearly every sample, count where this is so from the start: `share` of all entries of a hidden activation in the first `records`
    measured steps, and in `persistence` of all, as many at the one bound as at the other; those are a warning already where the model gains
    less than `content` of what there is. The gates of LSTM and GRU layers are judged together, and the states of plain recurrent layers.

    ## Why it matters
    At its bounds the slope of the activation is almost zero, so nothing before it learns.

    ## When it is wrong
    Gates may rightly stand open, which is one bound alone, and codes of zeros and ones are learned, not there from the start. A classifier
    whose last sigmoid is sure of itself is not at fault: activations that feed a binary cross-entropy as the last of the network are left
    out.

    ## What to try
    Standardise the inputs, initialise with smaller weights, normalise before the activation; for the output of a regression, remove the
    activation.

    ## References
    X. Glorot and Y. Bengio (2010); TheDeepChecker (2023), saturation above 0.85 in more than half of the units.
    """

    code = "T305"
    name = "saturated-units"
    severity = Severity.WARNING
    needs = ("activation/saturated", "train/loss")
    explains = ("vanishing-gradient", "underfitting", "frozen-parameter")

    share: float = 0.5
    persistence: float = 0.8
    extreme: float = 0.9
    progress: float = 0.2
    content: float = 0.7
    stay: float = 0.5
    records: int = 5

    def judge(self, record: Record) -> Iterator[Finding]:
        series = record.series("activation/saturated")
        binary = record.facts.get("task", {}).get("loss", "") == "binary_cross_entropy"
        columns = [place for place in range(len(series.labels)) if len(finite(series.value[:, place])) >= self.records]
        if not columns:
            raise NotRun(f"too short, or no bounded activation: fewer than {self.records} measured steps")
        come = progress(losses(record, 20))
        learned = skill(record)
        pushed = record.series("activation/pushed") if "activation/pushed" in record else None
        stuck = come.relative < self.progress or (learned is not None and learned < self.progress)
        poor = learned is not None and learned < self.content
        for place in columns:
            values = finite(series.value[:, place])
            often = float(np.mean(values >= self.share))
            if often >= self.persistence and not (binary and place == len(series.labels) - 1):
                name, hidden = series.labels[place], self._hidden(record, series.labels, place)
                yield self.finding(
                    f"{median(values):.0%} of the units of {name} sit at their bounds for nearly every sample, in {often:.0%} of "
                    "the measured steps",
                    where=name,
                    fix="standardise what reaches this activation: scale the inputs, or initialise with smaller weights",
                    severity=Severity.WARNING if stuck or (hidden and median(values) >= self.extreme) else Severity.INFO,
                    share=median(values),
                    limit=self.share,
                    persistence=often,
                    progress=come.relative,
                )
            elif stuck and self._hidden(record, series.labels, place) and (late := self._come_later(series, place)) is not None:
                name = series.labels[place]
                yield self.finding(
                    f"{late:.0%} of the units of {name} came to their bounds for nearly every sample, and stayed there to the end",
                    where=name,
                    fix="keep what reaches this activation small: a factor before it that grows more slowly, a lower learning rate, or a "
                    "normalisation",
                    share=late,
                    limit=self.extreme,
                    progress=come.relative,
                )
            elif pushed is not None and self._hidden(record, series.labels, place):
                entries = finite(pushed.column(series.labels[place]))
                wide = float(np.mean(entries >= self.share)) if len(entries) >= self.records else 0.0
                if wide >= self.persistence and median(entries[: self.records]) >= self.share:
                    name = series.labels[place]
                    yield self.finding(
                        f"{median(entries):.0%} of what {name} gives lies at one or the other of its bounds, from the start and in "
                        f"{wide:.0%} of the measured steps",
                        where=name,
                        fix="bring what reaches this activation down: standardise the inputs, or initialise with smaller weights",
                        severity=Severity.WARNING if stuck or poor else Severity.INFO,
                        share=median(entries),
                        limit=self.share,
                        persistence=wide,
                        progress=come.relative,
                    )

    def _come_later(self, series: Series, place: int) -> float | None:
        """The share of saturated units of an activation, no gate, that came to `extreme` and stayed there to the end; else ``None``."""
        known = np.isfinite(series.value[:, place])
        values, steps = series.value[known, place], series.step[known]
        away = np.flatnonzero(values < self.extreme)
        since = int(away[-1]) + 1 if len(away) else 0
        if len(values) - since < self.records or steps[-1] - steps[since] < self.stay * steps[-1]:
            return None
        return None if series.labels[place].endswith(" → gates") else median(values[since:])

    def _hidden(self, record: Record, labels: Sequence[str], place: int) -> bool:
        """Whether an activation is none of the output: it is not the last, or the loss is known to be given something else."""
        inner = "probe.step" in record and not record.facts["probe.step"].get("head", True)
        return place < len(labels) - 1 or inner or labels[place].endswith((" → gates", " → states"))
