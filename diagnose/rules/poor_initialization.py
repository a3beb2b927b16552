"""Rule M206."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class PoorInitialization(Rule):
    """The initial weights make signals explode or collapse with depth, or make all units of a layer equal.

    ## What it measures
    For each linear and convolution layer: its gain (root mean square of the weights times the square root of the fan-in; He's is 1.41,
    torch's default 0.58), the root mean square of what goes in and comes out in a first forward pass, and whether all its units start with
    equal weights and get equal gradients in six steps on a copy; the same for the columns of embeddings, and of matrices that modules of
    the user's hold, where the data give them a gradient at all. Matrices that are zero and whose gradient is exactly zero in all of these
    steps are reported where drawing them at random gives them one: each is a factor of the other, as two embeddings are. Two layers or more
    with a gain above `gain`, each of which multiplies the signal by `growth` or more, are reported, as are two or more that multiply a
    signal above `faint` by twice `gain`, whatever their own gain (weights that are all positive add up instead of averaging out; below
    `faint` what comes out may be the bias), and two or more with a gain below `low_gain`, or below `soft_gain` where each of them makes the
    signal smaller by that and less than `faded` of what enters the first of them reaches the last layer. So is an embedding of more than
    one column with entries above `embedding` that no normalisation follows. And what reaches the layers, if it grows in four steps or more,
    none counted above `gain`, by `stream` in all, as along residual branches that are added at full size, and the first outputs are far too
    large: a loss of `loud` times that of chance, or predictions spread over ten times that many times the size of the targets. So is a
    layer that runs four times or more in one pass, as in a loop over time, and each time gives `growth` times what it gave before, with
    such outputs. A module with a matrix of its own counts as a layer of unknown gain; of several, each product with one of them counts as a
    layer, of known gain where the first outputs are that large; a square one that a larger module holds itself is reported above `gain`
    where the first outputs are that large.

    ## Why it matters
    With a gain of g a signal changes by about g per layer: with g = 8, as N(0, 1) gives at a fan-in of 64, four layers multiply it by
    thousands. Units with equal weights and equal gradients stay equal for ever: the layer has one unit, the table one column. Of a product
    of two zeros neither factor ever gets a gradient.

    ## When it is wrong
    A layer followed by a normalisation may have any gain. Zero weights are no fault where the gradient makes the units different within a
    few steps (LoRA, the last layer of a residual branch, also behind a last layer that starts at zero), so equal weights count only with
    gradients that stay equal while everything else moves. Columns of which only the sum counts stay equal too, at no cost. Pretrained
    weights are judged by the same numbers; their gains stay below `gain`. One layer alone is not judged: at least two must be out of range.
    In healthy programs 0.03 or more of the signal reaches the last layer. Of 154 of them 18 have embeddings that no normalisation follows,
    with entries of 3.1 or less (17 of them of 1.1 or less), and streams grow 7.9 times or less, that in four blocks that learned; faulty
    programs had entries of 15 and more, and streams that grew a thousandfold.

    ## What to try
    Use `nn.init.kaiming_normal_` (ReLU) or `xavier_uniform_` (tanh, sigmoid), or torch's default; embeddings with a standard deviation of
    1 or less; in residual networks a norm before each block, or branches that start small.

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
        "dead-units",
        "overfitting",
        "misaligned-labels",
        "frozen-parameter",
    )

    gain: float = 4.0
    low_gain: float = 0.05
    soft_gain: float = 0.3
    faded: float = 1e-3
    growth: float = 2.0
    faint: float = 0.2
    embedding: float = 10.0
    stream: float = 10.0
    loud: float = 3.0

    def judge(self, record: Record) -> Iterator[Finding]:
        every = record.facts["probe.initialization"]
        layers = [e for e in every if e.get("kind", "weighted") == "weighted"]
        signals = [e for e in every if e.get("kind", "weighted") != "embedding"]
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
        elif alike := [name.removesuffix(".weight") for name in record.facts.get("probe.alike", ())]:
            yield self.finding(
                f"all columns of {', '.join(alike)} start equal and get equal gradients, so they can never become different: the vector of "
                "each row is one number",
                where=alike[0],
                fix="draw them at random, such as from N(0, 0.1)",
                tables=len(alike),
            )
        elif stuck := [name.removesuffix(".weight") for name in record.facts.get("probe.stuck", ())]:
            start, them, their = ("start", "them", "their") if len(stuck) > 1 else ("starts", "it", "its")
            yield self.finding(
                f"{', '.join(stuck)} {start} at zero, and so does what multiplies {them}: {their} gradient is zero in every step",
                where=stuck[0],
                fix="draw them at random, such as from N(0, 0.1)",
                stuck=len(stuck),
            )
        free = [e for e in layers if not e["normalised"]]
        loud = self._too_large(record)  # of a product it is not known what follows: a norm, a division
        large = [e for e in signals if not e["normalised"] and self._enlarges(e) and (loud or e.get("kind") != "product")]
        if (loop := self._loop(record, signals) or self._square(record)) is not None:
            yield loop
        elif len(large) >= 2:
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
        elif (stream := self._stream(record, free)) is not None:
            yield stream
        for e in every:
            if e.get("kind") == "embedding" and e["fan_out"] > 1 and not e["normalised"] and e["gain"] > self.embedding:
                yield self.finding(
                    f"{e['name']} starts with entries of {e['gain']:.3g} in the root mean square, where 1 or less is usual, and no "
                    "normalisation follows",
                    where=e["name"],
                    fix="draw embeddings with a standard deviation of 1 or less, or normalise what they give",
                    gain=e["gain"],
                    limit=self.embedding,
                )
        shrinks = [e for e in signals if e.get("kind") in ("own", "product") and e["output_std"] < self.low_gain * e["input_std"]]
        small = [e for e in (*free, *shrinks) if not same and e["gain"] < self.low_gain and not e["zero"] and not e["last"]]
        small = max(small, self._fading(free), key=len)
        if len(small) >= 2:
            yield self.finding(
                f"signals shrink from {small[0]['input_std']:.3g} to {small[-1]['output_std']:.3g} through {len(small)} "
                "layers: their weights have "
                f"{small[0]['gain']:.2g} times the scale 1/sqrt(fan-in)",
                where=small[0]["name"],
                fix=fix,
                gain=small[0]["gain"],
                limit=self.low_gain if small[0]["gain"] < self.low_gain else self.soft_gain,
            )

    def _fading(self, layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Layers of small weights that together let nearly nothing through to the last one; empty where something comes through."""
        soft = [e for e in layers if e["gain"] < self.soft_gain and not e["zero"] and not e["last"] and not e["symmetric"]]
        soft = [e for e in soft if e["output_std"] < self.soft_gain * e["input_std"]]
        return soft if soft and layers[-1]["input_std"] < self.faded * soft[0]["input_std"] else []

    def _enlarges(self, layer: dict[str, Any]) -> bool:
        grown = layer["output_std"] / max(layer["input_std"], 1e-12)
        drawn = layer.get("kind") != "own" and layer["gain"] > self.gain  # that of an own matrix is the largest that it may be
        return bool(grown > self.growth and (drawn or (grown > 2 * self.gain and layer["input_std"] > self.faint)))

    def _too_large(self, record: Record) -> bool:
        """Whether the first outputs are far too large."""
        first = record.facts.get("probe.initial_loss", {})
        loud = first["ratio"] > self.loud if first.get("uniform") is not None else False
        return bool(loud or first.get("prediction_std", 0.0) > 10 * self.loud * max(first.get("target_rms", 0.0), 1e-12))

    def _loop(self, record: Record, layers: list[dict[str, Any]]) -> Finding | None:
        """A layer that runs again and again, as over time, and gives more each time."""
        for e in layers if self._too_large(record) else ():
            again = e.get("calls", 1) - 1
            if again >= 3 and e["last_std"] > e["output_std"] * self.growth**again > 0:
                each = (e["last_std"] / e["output_std"]) ** (1 / again)
                return self.finding(
                    f"what {e['name']} gives grows from {e['output_std']:.3g} to {e['last_std']:.3g} in {again + 1} calls of one pass, "
                    f"{each:.3g} times from each to the next",
                    where=e["name"],
                    fix="divide the weights that multiply its last result by the square root of their fan-in, or draw them orthogonal",
                    growth=each,
                    limit=self.growth,
                    calls=again + 1,
                )
        return None

    def _square(self, record: Record) -> Finding | None:
        """A square matrix of the user's own, such as that from state to state, drawn far too large."""
        worst = max(record.facts.get("probe.matrices", ()), key=lambda e: float(e["gain"]), default=None)
        if worst is None or worst["gain"] <= self.gain or not self._too_large(record):
            return None
        return self.finding(
            f"{worst['name']}, {worst['size']} by {worst['size']}, has {worst['gain']:.1f} times the scale 1/sqrt({worst['size']}), and "
            "the first outputs are far too large",
            where=worst["name"],
            fix=f"divide it by sqrt({worst['size']}), or draw it orthogonal",
            gain=worst["gain"],
            limit=self.gain,
        )

    def _stream(self, record: Record, layers: list[dict[str, Any]]) -> Finding | None:
        """What reaches the layers grows in many small steps, as along residual branches that are added at full size."""
        if len(layers) < 2 or not self._too_large(record):
            return None
        reached, grown, steps = max(layers[0]["output_std"], self.faint), 1.0, 0
        for e in layers[1:]:
            if e["input_std"] > 1.1 * reached:
                grown *= min(e["input_std"] / reached, self.gain)
                reached, steps = e["input_std"], steps + 1
        if steps < 4 or grown < self.stream:
            return None
        return self.finding(
            f"what reaches the layers grows from {layers[0]['output_std']:.3g} to {reached:.3g} in {steps} steps, so the first outputs are "
            "far too large",
            where=layers[-1]["name"],
            fix="normalise before each block, multiply its branch by 1/sqrt(blocks), or start its last layer at zero",
            growth=reached / max(layers[0]["output_std"], 1e-12),
            limit=self.stream,
            steps=steps,
        )
