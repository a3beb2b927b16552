"""Rule M205."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.raw_targets import unreached, unspread
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class InitialLoss(Rule):
    """The loss before the first step is far above what a chance predictor gives.

    ## What it measures
    The mean loss over up to six batches before any step, over the loss of a predictor that knows only the shares of the classes (their
    entropy, at most ln C). For regression, the distance between the means of predictions and targets in standard deviations of the
    targets, held against `offset` (a warning) and `mild` (an info), and the standard deviation of the predictions over the root mean
    square of the targets, held against `spread`. Where two or more classes are so unequal that equal odds cost `ratio` times what their
    shares cost, a network that starts near equal odds gets an info.

    Once a regression has ended: targets that are `raw` times as large as the first predictions vary, and a loss that fell, by steps of
    `usual` of the size of the weights or more, and is still above `left` times that of a constant prediction. The mean of the targets then
    lies further than such steps can go. Or the loss is still above `narrow` times that of a constant prediction, and a copy that `check`
    has trained on standardised targets comes below `better` times the end of the run, on batches that it had not seen: the spread of the
    targets is what such steps do not come to.

    ## Why it matters
    A network that knows nothing should say that it knows nothing. A much higher loss means that its first outputs are confidently
    wrong: weights that are too large, inputs that are not scaled, or a wrong activation. The first steps then only undo this.

    ## When it is wrong
    For class weights and losses of several terms chance is not exact, and cosine scores over the usual temperature of 0.07, or an adapter
    on random frozen weights, start at 2.6 times chance and learn: hence the factor of `ratio`, where others use 2. Scores that are made
    with the labels, as with a margin, are not judged, nor is a last layer that is frozen: it is as sure as it was trained to be. A loss
    *below* chance is what a pretrained network shows and is not reported. Regression on targets far from zero starts high in any network,
    and a good learning rate makes up for it: only targets ten standard deviations away are a warning there.

    ## What to try
    Scale the inputs, initialise the last layer with small weights, remove an activation before the loss. Standardise the targets of a
    regression, and turn predictions back with the same numbers.

    ## References
    A. Karpathy, "A Recipe for Training Neural Networks" (2019), "verify loss @ init"; TheDeepChecker (2023); torchtest2 (1/2 to 2 times
    ln C).
    """

    code = "M205"
    name = "initial-loss"
    severity = Severity.WARNING
    needs = ("probe.initial_loss",)
    explains = ("exploding-gradient", "overfitting")

    ratio: float = 4.0
    spread: float = 10.0
    offset: float = 10.0
    mild: float = 3.0
    raw: float = 300.0
    left: float = 1.5
    usual: float = 3e-4
    narrow: float = 0.5
    better: float = 0.5

    def judge(self, record: Record) -> Iterator[Finding]:
        first = record.facts["probe.initial_loss"]
        if not isfinite(first["loss"]):
            raise NotRun("the initial loss is not finite")
        if first.get("frozen"):
            raise NotRun("the last layer is frozen, so what it says at first is what it has learned")
        late = unreached(record, self.raw, self.left, self.usual)
        narrow = unspread(record, self.raw, self.usual, self.narrow, self.better) if late is None else None
        if narrow is not None:
            come, copy = narrow
            steps = record.facts["probe.rescaled"]["steps"]
            yield self.finding(
                f"the targets have a size of {first['target_rms']:.3g} and the first predictions spread over {first['prediction_std']:.2g};"
                f" after {come.batches} batches the loss is {come.end:.3g}, and a constant prediction has {come.chance:.3g}; a copy trained"
                f" for {steps} steps on standardised targets comes to {copy:.3g} on batches that it had not seen",
                fix="standardise the targets, and turn predictions back with the same numbers",
                loss=come.end,
                chance=come.chance,
                limit=self.narrow,
                standardised=copy,
            )
        elif late is not None:
            yield self.finding(
                f"the targets are around {first['target_mean']:.3g} and the first predictions spread over {first['prediction_std']:.2g}; "
                f"after {late.batches} batches the loss has come from {late.start:.3g} to {late.end:.3g}, and a constant prediction has "
                f"{late.chance:.3g}: the outputs are still on their way to the targets",
                fix="standardise the targets, or start the bias of the last layer at their mean and scale its output by their deviation",
                loss=late.end,
                chance=late.chance,
                limit=self.left,
            )
        elif first["uniform"] is None:
            spread = first["prediction_std"] / max(first["target_rms"], 1e-12)
            if spread > self.spread:
                yield self.finding(
                    f"the first predictions spread over {first['prediction_std']:.3g}, {spread:.0f} times the size of the "
                    f"targets ({first['target_rms']:.3g})",
                    fix="scale the inputs, or initialise the last layer with smaller weights",
                    severity=Severity.INFO,
                    spread=spread,
                    limit=self.spread,
                )
            elif (shift := first.get("shift")) is not None and shift > self.mild:
                yield self.finding(
                    f"the first predictions lie around {first['prediction_mean']:.3g}, {shift:.3g} standard deviations of the targets away "
                    f"from their mean {first['target_mean']:.3g}; the loss is {first['loss']:.4g}, a constant prediction reaches "
                    f"{first['chance']:.3g}",
                    fix="standardise the targets, or start the bias of the last layer at their mean",
                    severity=Severity.WARNING if shift > self.offset else Severity.INFO,
                    loss=first["loss"],
                    chance=first["chance"],
                    shift=shift,
                    limit=self.offset,
                )
        elif first["loss"] > self.ratio * first["chance"]:
            yield self.finding(
                f"the loss before the first step is {first['loss']:.4g}, {first['ratio']:.3g} times that of chance ({first['chance']:.3g})",
                fix="look at the scale of the inputs and of the initial weights: the first outputs are confidently wrong",
                loss=first["loss"],
                chance=first["chance"],
                ratio=first["ratio"],
                limit=self.ratio,
            )
        elif first["uniform"] > self.ratio * first.get("prior", first["uniform"]) > 0 and first["loss"] > 0.5 * first["uniform"]:
            yield self.finding(
                f"the loss before the first step is {first['loss']:.4g}, near that of equal odds; a network that knows the shares of the "
                f"classes starts at {first['prior']:.3g}",
                fix="start the bias of the last layer at the log odds of the classes: the first steps then need not learn them",
                severity=Severity.INFO,
                loss=first["loss"],
                prior=first["prior"],
                uniform=first["uniform"],
            )
