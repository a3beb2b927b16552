"""Rule M203."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class LossBroadcast(Rule):
    """The arguments of the loss have different shapes and are broadcast against each other.

    ## What it measures
    The shapes of predictions and targets in an elementwise loss (MSE, L1, Huber, BCE), and of predictions and targets that
    `training_step` subtracts itself. Such a difference counts where both sides have a row per sample on different axes, and where neither
    a layer nor an exponential (of a kernel or a density) stands between it and the loss: distances to centres are no loss. So does a
    product of losses and what the batch weighs them by.

    ## Why it matters
    (N, 1) against (N,) becomes (N, N): every prediction is compared with every target of the batch. The best that such a loss can teach
    is the mean of the targets, whatever the input.

    ## When it is wrong
    When every prediction is meant to be compared with every target. Then `expand` the arguments: equal shapes are never reported.

    ## What to try
    Squeeze the predictions, or unsqueeze the targets, so that both have the same shape.

    ## References
    pytorch issues 16045 and 19699, and the warning that `mse_loss` has given since.
    """

    code = "M203"
    name = "loss-broadcast"
    severity = Severity.ERROR
    needs = ("probe.step",)
    explains = (
        "invalid-target",
        "initial-loss",
        "misaligned-labels",
        "input-independent",
        "sample-leakage",
        "sum-reduction",
        "overfitting",
        "below-baseline",
    )

    def judge(self, record: Record) -> Iterator[Finding]:
        step = record.facts["probe.step"]
        shapes = step["broadcast"]
        if shapes:
            predicted, target = map(shape_of, shapes)
            yield self.finding(
                f"predictions of shape {predicted} are compared with targets of shape {target}: they are broadcast against each other",
                where=record.source("training_step") or "training_step",
                fix="give both the same shape: predictions.squeeze(-1) or targets.unsqueeze(-1)"
                if {len(shapes[0]), len(shapes[1])} == {1, 2}
                else "give both the same shape before the loss",
            )
        elif step.get("weighed"):
            values, weights = (shape_of(s) for s in step["weighed"])
            yield self.finding(
                f"losses of shape {values} are multiplied by weights of shape {weights}: each loss meets each sample's weight, so that "
                "the mean is weighed by the mean weight alone",
                where=record.source("training_step") or "training_step",
                fix="give both the same shape: weights.squeeze(-1)",
            )


def shape_of(shape: Sequence[int]) -> str:
    """A shape as Python writes it.

    >>> shape_of([3, 1]), shape_of([3])
    ('(3, 1)', '(3,)')
    """
    return str(tuple(shape))
