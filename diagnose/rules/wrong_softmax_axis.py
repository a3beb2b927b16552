"""Rule M219."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class WrongSoftmaxAxis(Rule):
    """The softmax of the loss, or the one before it, runs over an axis that is not the class axis.

    ## What it measures
    The axis of the softmax or log-softmax next to the loss, and whether what the loss gets sums to one over the classes. It is reported
    when it does not, or when the axis is the batch.

    And whether the scores that cross-entropy gets, in shape (N, C, ...), are the results of a linear layer of C units in the order in which
    the layer gave them: then a `view` or `reshape`, where a transposition was needed, brought (N, ..., C) into that shape. And whether a
    `view` or `reshape` was seen to do so.

    And a softmax anywhere in the network over an axis that has one element, because the layer before it has one unit, as in a pooling that
    was to weigh the places of a sequence. One right before the loss is left to activation-loss-mismatch.

    ## Why it matters
    Over the batch axis the probabilities of one sample depend on all the others, and the classes of a sample no longer compete. Trained
    and validated in the same batch size the numbers can look fair; for a single sample they are constant. After a `view` the scores that
    compete for one position come from several others.

    ## When it is wrong
    Of a softmax inside the network, such as an attention over time, nothing can be said but that it has one element alone. Of a mixture of
    experts that is built with a single one, this is meant.

    ## What to try
    `dim=1` for (N, C) and (N, C, ...), `dim=-1` for (N, T, C); `transpose(1, 2)` or `movedim(-1, 1)` to bring (N, T, C) into (N, C, T).

    ## References
    The documentation of `torch.nn.CrossEntropyLoss`; A. Karpathy (2018), "you used view where you meant transpose".
    perone/euclidesdb issue 2 (Softmax(dim=0) on batches); the documentation of `torch.nn.functional.softmax`, whose implicit axis is
    deprecated.
    """

    code = "M219"
    name = "wrong-softmax-axis"
    severity = Severity.ERROR
    needs = ("probe.step",)
    explains = (
        "frozen-parameter",
        "no-gradient",
        "cannot-overfit-batch",
        "sample-leakage",
        "activation-loss-mismatch",
        "initial-loss",
        "sum-reduction",
        "underfitting",
        "misaligned-labels",
        "overfitting",
        "output-range-mismatch",
        "future-leakage",
    )

    def judge(self, record: Record) -> Iterator[Finding]:
        step = record.facts["probe.step"]
        view = next((v for v in record.facts.get("probe.views", ()) if v["scores"] and not v["samples"]), None)
        if view is not None and step["kind"] in ("cross_entropy", "nll_loss") and len(view["after"]) > 2:
            yield self.finding(
                f"the scores that {step['kind']} gets come from shape {tuple(view['before'])} into shape {tuple(view['after'])} by a view "
                "or reshape, which leaves the numbers in their order: the scores of one position come from several others",
                where=record.source("training_step") or "training_step",
                fix="use movedim(-1, 1) on the scores, or transpose(1, 2) for (N, T, C), instead of view or reshape",
            )
            return
        if _scrambled(step):
            shape = "(" + ", ".join(map(str, step["input_shape"])) + ")"
            yield self.finding(
                f"the scores of shape {shape} that {step['kind']} gets are those of a layer of {step['units']} units, which stand on the "
                "last axis, brought into that shape without moving this axis: the scores of one position come from several others",
                where=record.source("training_step") or "training_step",
                fix="use movedim(-1, 1) on the scores, or transpose(1, 2) for (N, T, C), instead of view or reshape",
                units=step["units"],
            )
            return
        lone = step.get("lone_softmax")
        if lone and not any(a["name"] in ("Softmax", "LogSoftmax") for a in step["head"]):
            yield self.finding(
                f"a softmax runs over an axis of one element of a tensor of shape ({', '.join(map(str, lone))}): it gives 1 whatever the "
                "score, and the layer before it gets no gradient",
                where=record.source("forward") or "forward",
                fix="set dim to the axis whose elements are to be weighed against each other: 1 for scores of shape (N, T, 1)",
                elements=1,
            )
            return
        found = [a for a in step["head"] if a["name"] in ("Softmax", "LogSoftmax") and a["shape"]]
        if not found or step["kind"] not in ("cross_entropy", "nll_loss", "kl_div", "mse_loss", "binary_cross_entropy"):
            return
        axis, shape = found[0]["axis"], found[0]["shape"]
        if len(shape) < 2 or shape[axis] == 1:
            return
        batch = axis == 0 and shape[0] == step["input_shape"][0]
        elsewhere = step["kind"] in ("cross_entropy", "nll_loss") and not _over_classes(step)
        if batch or elsewhere:
            size = "(" + ", ".join(map(str, shape)) + ")"
            yield self.finding(
                f"the {found[0]['name'].lower()} runs over axis {axis} of a tensor of shape "
                f"{size}{', the batch,' if batch else ','} instead of the classes",
                where=record.source("forward") or "forward",
                fix="set dim to the class axis: 1 for (N, C), -1 for (N, T, C)",
                axis=axis,
            )


def _over_classes(step: dict[str, object]) -> bool:
    values = step.get("input")
    return isinstance(values, dict) and bool(values.get("probabilities") or values.get("log_probabilities"))


def _scrambled(step: dict[str, Any]) -> bool:
    """Whether scores of shape (N, C, ...) lie in memory as a layer of C units gave them, so that the units are not on the second axis."""
    if step["kind"] not in ("cross_entropy", "nll_loss") or not step.get("units"):
        return False
    _, *rest = step["input_shape"]
    return len(rest) > 1 and len(step["target_shape"]) == len(rest) and rest[0] == step["units"] != rest[-1] and prod(rest[1:]) > 1
