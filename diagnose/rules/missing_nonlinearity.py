"""Rule M217."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class MissingNonlinearity(Rule):
    """Layers with weights follow each other with no nonlinearity between them, so that they collapse into one.

    ## What it measures
    The longest run of layers with weights in the graph of a training step between which only linear operations stand (reshaping, sums,
    scaling, average pooling, batch norm). A layer whose result is also needed elsewhere, as beside the branch of a residual block or under
    a gate, is no part of such a run.

    ## Why it matters
    A chain of linear maps is one linear map, whatever its width and depth: it cannot separate rings or learn XOR.

    ## When it is wrong
    A narrow layer between wider ones (an autoencoder's code, a low-rank factorisation) and grouped convolutions are not counted, since
    they restrict the map on purpose. A pair inside an otherwise nonlinear network is `info`; a warning takes a run of `run` layers, or
    all the layers that there are, or that nothing in the network is nonlinear, as where a trunk and its heads are.

    ## What to try
    Put an activation such as `nn.ReLU()` between the named layers.

    ## References
    Nikanjam et al., NeuraLint (TOSEM 2021); Humbatova et al., DeepCrime, operator ARM.
    """

    code = "M217"
    name = "missing-nonlinearity"
    severity = Severity.WARNING
    needs = ("probe.linearity",)
    explains = ("underfitting", "misaligned-labels", "learning-rate-too-low")

    run: int = 3

    def judge(self, record: Record) -> Iterator[Finding]:
        seen = record.facts["probe.linearity"]
        names = seen["longest"]
        if len(names) < 2:
            return
        whole = len(names) == seen["layers"]
        yield self.finding(
            f"{'all ' if whole else ''}{len(names)} layers {', '.join(names[:5])} follow each other without a nonlinearity, so "
            "they amount to one",
            where=f"self.{names[0]}",
            fix=f"put an activation such as nn.ReLU() after self.{names[0]}",
            severity=self.severity if whole or seen["nonlinear"] == 0 or len(names) >= self.run else Severity.INFO,
            layers=len(names),
            of=seen["layers"],
        )
