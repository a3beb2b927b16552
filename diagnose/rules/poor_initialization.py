"""Rule M206."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class PoorInitialization(Rule):
    """The initial weights make signals explode or collapse with depth, or make all units of a layer equal.

    ## What it measures
    For each linear and convolution layer: its gain (root mean square of the weights times the square root of the fan-in; He's is 1.41,
    torch's default 0.58), the root mean square of what goes in and comes out in a first forward pass, and whether all its units have equal
    weights and equal gradients. Two layers or more with a gain above `gain`, each of which multiplies the signal by `growth` or more, are
    reported, as are two or more that multiply a signal above `faint` by twice `gain`, whatever their own gain (weights that are all
    positive add up instead of averaging out; below `faint` what comes out may be the bias), and two or more with a gain below `low_gain`.

    ## Why it matters
    With a gain of g a signal changes by about g per layer: with g = 8, as N(0, 1) gives at a fan-in of 64, four layers multiply it by
    thousands. Units with equal weights and equal gradients stay equal for ever: the layer has one unit.

    ## When it is wrong
    A layer followed by a normalisation may have any gain. Zero weights are no fault where the gradient makes the units different at the
    first step (the last layer of a residual branch, LoRA), so equal weights count only with equal gradients. Pretrained weights are
    judged by the same numbers; their gains stay below `gain`. One layer alone is not judged: at least two must be out of range.

    ## What to try
    Use `nn.init.kaiming_normal_` (ReLU) or `xavier_uniform_` (tanh, sigmoid), or torch's default.

    ## References
    Glorot and Bengio (2010), equation 12; He et al. (2015), equation 10; TheDeepChecker (2023).
    """

    code = "M206"
    name = "poor-initialization"
    severity = Severity.WARNING
    needs = ("probe.initialization",)
    explains = (
        "initial-loss",
        "exploding-gradient",
        "vanishing-gradient",
        "input-independent",
        "learning-rate-too-low",
        "learning-rate-too-high",
        "diverging-loss",
        "non-finite",
        "saturated-units",
        "overfitting",
        "misaligned-labels",
        "frozen-parameter",
    )

    gain: float = 4.0
    low_gain: float = 0.05
    growth: float = 2.0
    faint: float = 0.2

    def judge(self, record: Record) -> Iterator[Finding]:
        layers = record.facts["probe.initialization"]
        fix = "initialise with nn.init.kaiming_normal_ (ReLU) or nn.init.xavier_uniform_ (tanh, sigmoid), or keep torch's default"
        same = [e for e in layers if e["symmetric"] and not e["last"] and e["fan_out"] > 1]
        if same:
            kind = "zero" if all(e["zero"] for e in same) else "equal"
            yield self.finding(
                f"all units of {', '.join(e['name'] for e in same)} have {kind} weights and equal gradients, so they can never "
                "become different",
                where=same[0]["name"],
                fix=fix,
                layers=len(same),
            )
        free = [e for e in layers if not e["normalised"]]
        grown = {e["name"]: e["output_std"] / max(e["input_std"], 1e-12) for e in free}
        large = [
            e
            for e in free
            if (n := grown[e["name"]]) > self.growth and (e["gain"] > self.gain or (n > 2 * self.gain and e["input_std"] > self.faint))
        ]
        if len(large) >= 2:
            total = large[-1]["output_std"] / max(large[0]["input_std"], 1e-12)
            yield self.finding(
                f"signals grow from {large[0]['input_std']:.3g} to {large[-1]['output_std']:.3g} through {len(large)} layers: "
                "their weights have "
                f"{large[0]['gain']:.1f} times the scale 1/sqrt(fan-in), He's is 1.4",
                where=large[0]["name"],
                fix=fix,
                gain=large[0]["gain"],
                limit=self.gain,
                growth=total,
            )
        small = [e for e in free if not same and e["gain"] < self.low_gain and not e["zero"] and not e["last"]]
        if len(small) >= 2:
            yield self.finding(
                f"signals shrink from {small[0]['input_std']:.3g} to {small[-1]['output_std']:.3g} through {len(small)} "
                "layers: their weights have "
                f"{small[0]['gain']:.2g} times the scale 1/sqrt(fan-in)",
                where=small[0]["name"],
                fix=fix,
                gain=small[0]["gain"],
                limit=self.low_gain,
            )
