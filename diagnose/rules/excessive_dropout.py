"""Rule M218."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.simple_models import behind
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class ExcessiveDropout(Rule):
    """Dropout is so strong that it blocks learning, or it stands on the output.

    ## What it measures
    The probability of each dropout that runs in a training step, and whether the tensor that reaches the loss comes out of one. And whether
    less than `kept` of what a unit holds gets through one that is called again and again, as on the state of a recurrent layer, in a
    training at whose end a model that needs none is ahead by `behind` of what there is to gain (see underfitting).

    ## Why it matters
    With p = 0.8 four of five units are silent in every step, and the rest are scaled by five. Dropout on the output sets logits or
    predictions to zero at random: the loss has a floor that no weight can lower.

    ## When it is wrong
    Wide layers stand strong dropout: the variance that it adds, relative to the signal, is p / (1 - p) over the number of units. Hence a
    warning only from `p` on, and where this, summed over all dropouts from `high` on, is more than `noise`; else an `info`. A dropout that
    is called as a function (`F.dropout`) is seen where it drops computed values: what masks the input may be a task of its own. So is one
    that is written by hand, by its share of zeros: a mask that is drawn in the step with fixed probabilities, tells units apart (and not
    only samples, tokens or places), and is put over what a layer gave and another layer takes. A mask whose counterpart is put over
    something as well mixes two things, as zoneout does, and is left alone.

    ## What to try
    p between 0.1 and 0.5 on hidden layers, none on the output.

    ## References
    Srivastava et al. (2014), section A.4 (0.5 to 0.8 of the units kept); UMLAUT (CHI 2021), p > 0.5.
    """

    code = "M218"
    name = "excessive-dropout"
    severity = Severity.WARNING
    needs = ("probe.dropout", "probe.step")
    explains = ("underfitting", "suspicious-validation", "learning-rate-too-low", "cannot-overfit-batch")

    p: float = 0.75
    high: float = 0.6
    noise: float = 0.05
    kept: float = 0.05
    behind: float = 0.25

    def judge(self, record: Record) -> Iterator[Finding]:
        on_output = record.facts["probe.step"].get("dropout_on_output", 0.0)
        if on_output > 0:
            yield self.finding(
                f"dropout with p = {on_output:g} stands on the output, so predictions are set to zero at random",
                where=record.source("forward") or "forward",
                fix="remove the dropout after the last layer",
                p=on_output,
            )
            return
        far, worn = behind(record), self._worn(record)
        if worn is not None and far is not None and far.gap >= self.behind:
            name, p, calls = worn
            yield self.finding(
                f"dropout with p = {p:g} acts {calls} times in one pass, so that {(1 - p) ** calls:.1g} of what a unit holds gets through, "
                f"and {far.said}",
                where=f"self.{name}",
                fix="draw one mask for all steps of a sequence, or leave the state alone and drop what goes into and out of the loop",
                p=p,
                calls=calls,
                kept=(1 - p) ** calls,
                limit=self.kept,
            )
            return
        strong = [d for d in record.facts["probe.dropout"] if d["p"] >= self.high]
        if strong:
            worst = max(strong, key=lambda d: float(d["p"]))
            noise = sum(d["p"] / max((1 - d["p"]) * d.get("units", 0), 1e-9) for d in strong)
            yield self.finding(
                f"{'a random mask' if worst.get('written') else 'dropout'} sets {worst['p']:.0%} of the units to zero in every step",
                where=f"self.{worst['name']}" if worst["name"] else record.source("forward") or "F.dropout",
                fix="lower p to between 0.1 and 0.5",
                override=record.override("dropout", 0.2),
                severity=self.severity if worst["p"] >= self.p and noise > self.noise else Severity.INFO,
                p=worst["p"],
                limit=self.p,
                noise=noise,
            )

    def _worn(self, record: Record) -> tuple[str, float, int] | None:
        """Name, probability and calls of the dropout that lets the least through, where that is next to nothing."""
        calls = Counter((d["name"], float(d["p"])) for d in record.facts["probe.dropout"] if d["name"])
        (name, p), times = min(calls.items(), key=lambda item: (1 - item[0][1]) ** item[1], default=(("", 0.0), 0))
        return (name, p, times) if times > 1 and (1 - p) ** times < self.kept else None
