"""Rule M214."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.wording import listed
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class RedundantBias(Rule):
    """A bias directly before a batch or instance norm is cancelled by it.

    ## What it measures
    Which linear or convolution layer with a bias gives its output straight to a batch or instance norm.

    ## Why it matters
    The norm subtracts the mean of each channel, and the bias with it: the bias gets no gradient but noise and costs memory. Nothing is
    wrong with the result.

    ## When it is wrong
    Layer norm subtracts the mean over all units, not per unit; a bias before it is not cancelled and not reported.

    ## What to try
    Build the layer with `bias=False`.

    ## References
    Ioffe and Szegedy (2015), section 3.2; Nikanjam et al., NeuraLint (TOSEM 2021).
    """

    code = "M214"
    name = "redundant-bias"
    severity = Severity.INFO
    needs = ("probe.norms",)

    def judge(self, record: Record) -> Iterator[Finding]:
        names = sorted({n["bias_before"] for n in record.facts["probe.norms"] if n["bias_before"]})
        if names:
            yield self.finding(
                f"the bias of {listed(names)} is cancelled by the norm that follows",
                where=f"self.{names[0]}",
                fix="build the layer with bias=False",
                layers=len(names),
            )
