"""Rule M219."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class WrongSoftmaxAxis(Rule):
    """The softmax before the loss runs over an axis that is not the class axis.

    ## What it measures
    The axis of the softmax or log-softmax next to the loss, and whether what the loss gets sums to one over the classes. It is reported
    when it does not, or when the axis is the batch.

    ## Why it matters
    Over the batch axis the probabilities of one sample depend on all the others, and the classes of a sample no longer compete. Trained
    and validated in the same batch size the numbers can look fair; for a single sample they are constant.

    ## When it is wrong
    A softmax inside the network, such as an attention over time, is not looked at: only the one next to the loss is.

    ## What to try
    `dim=1` for (N, C) and (N, C, ...), `dim=-1` for (N, T, C).

    ## References
    perone/euclidesdb issue 2 (Softmax(dim=0) on batches); the documentation of `torch.nn.functional.softmax`, whose implicit axis is
    deprecated.
    """

    code = "M219"
    name = "wrong-softmax-axis"
    severity = Severity.ERROR
    needs = ("probe.step",)
    explains = (
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
