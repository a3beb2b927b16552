"""Rule M202."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity

RANGES = {
    **dict.fromkeys(("Sigmoid", "Softmax", "Hardsigmoid"), (0.0, 1.0)),
    **dict.fromkeys(("Relu", "Softplus", "Exp", "Abs"), (0.0, inf)),
    **dict.fromkeys(("LogSigmoid", "LogSoftmax"), (-inf, 0.0)),
    "Tanh": (-1.0, 1.0),
}
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


@dataclass(frozen=True, kw_only=True)
class OutputRangeMismatch(Rule):
    """The last activation cannot reach the targets.

    ## What it measures
    The activation next to a regression loss, read from the graph of a training step, and the share of target values outside the range that
    it can give: [0, 1] for a sigmoid, [-1, 1] for tanh and for the output of an LSTM or GRU, [0, inf) for ReLU. For classification, whether
    a ReLU stands between the last layer and a loss on logits.

    ## Why it matters
    A prediction that cannot reach its target stays at the bound, where the activation passes no gradient: the loss stops far above zero
    and each prediction becomes the same number. A ReLU on logits makes every negative logit zero and its unit dead for that sample.

    ## When it is wrong
    An activation whose result is scaled afterwards is passed over, since its range is not known. A few targets outside the range, up to
    `share`, are taken for outliers.

    ## What to try
    End a regression with a linear layer, or bring the targets into the range of the activation.

    ## References
    Wardat et al., DeepDiagnosis (ICSE 2022), "out of range"; Schoop et al., UMLAUT (CHI 2021).
    """

    code = "M202"
    name = "output-range-mismatch"
    severity = Severity.ERROR
    needs = ("probe.step",)
    explains = (
        "initial-loss",
        "saturated-units",
        "dead-units",
        "vanishing-gradient",
        "no-gradient",
        "input-independent",
        "frozen-parameter",
        "misaligned-labels",
        "learning-rate-too-low",
        "unnormalized-input",
        "below-baseline",
        "learning-rate-too-high",
    )

    share: float = 0.02

    def judge(self, record: Record) -> Iterator[Finding]:
        step = record.facts["probe.step"]
        chain, recurrent, kind = step["head"], step.get("recurrent"), step["kind"]
        if recurrent:
            name, what, fix = "Tanh", recurrent, "put a linear layer behind it"
        elif chain and not chain[0]["scaled"] and chain[0]["name"] in RANGES:
            name = chain[0]["name"]
            what, fix = f"the {name.lower()} at the output", f"remove the {name.lower()} after the last layer"
        else:
            return
        where = record.source("training_step") or "training_step"
        if kind in ("cross_entropy", "binary_cross_entropy_with_logits") and name in ("Relu", "Softplus", "Abs"):
            yield self.finding(
                f"a {name.lower()} stands on the logits that {step.get('name', kind)} gets, so no logit can be negative",
                where=where,
                fix=fix,
            )
        if kind not in REGRESSION:
            return
        low, high = RANGES[name]
        targets = step["target"]
        outside = targets["below"][name] + targets["above"][name]
        if outside > self.share:
            yield self.finding(
                f"{outside:.0%} of the targets lie outside [{low:g}, {high:g}], all that {what} can give; "
                f"they go from {targets['min']:.3g} to {targets['max']:.3g}",
                where=where,
                fix=f"{fix}, or scale the targets into its range",
                share_outside=outside,
                share=self.share,
                target_min=targets["min"],
                target_max=targets["max"],
            )
