"""Rule M201."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity

RATES = ("Softplus", "Exp", "Relu", "Sigmoid")
SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid")


@dataclass(frozen=True, kw_only=True)
class ActivationLossMismatch(Rule):
    """What reaches the loss function has had the wrong activation.

    ## What it measures
    The activations between the last layer with weights and the loss, read from the graph of one training step, and the values that the loss
    was given (whether they sum to one over the classes, as they are or after `exp`). Each loss of `torch.nn.functional` wants one form:
    cross-entropy and BCE-with-logits want raw logits, NLL and KL want log-probabilities, BCE wants probabilities, the Poisson loss the
    logarithm of a rate, or the rate itself with `log_input=False`. A softmax before BCE is taken for one-hot targets; with more than
    `labels` labels in a row they cannot all be predicted.

    ## Why it matters
    Cross-entropy applies log-softmax itself. A softmax before it squeezes the logits into [0, 1], so that the loss of ten classes
    cannot fall below 1.46 and the gradient is a fraction of what it should be; the network still learns, slowly and never well, so that
    nothing looks broken. A softmax over a single unit is always 1 and passes no gradient at all.

    ## When it is wrong
    LogSoftmax before cross-entropy changes nothing and is passed over, and so is a softmax that is scaled afterwards (a temperature). Of
    losses written by hand the usual ones are seen, see `docs/architecture.md`.

    ## What to try
    Give the loss the output of the last linear layer, and apply softmax or sigmoid only where probabilities are shown or compared.

    ## References
    The documentation of `torch.nn.CrossEntropyLoss`, `NLLLoss`, `BCELoss`, `BCEWithLogitsLoss`, `PoissonNLLLoss`; pytorch issue 55902,
    which asks for such a warning.
    """

    code = "M201"
    name = "activation-loss-mismatch"
    severity = Severity.ERROR
    needs = ("probe.step",)
    explains = (
        "initial-loss",
        "input-independent",
        "no-gradient",
        "vanishing-gradient",
        "saturated-units",
        "frozen-parameter",
        "learning-rate-too-low",
        "poor-initialization",
        "wrong-output-size",
        "exploding-gradient",
        "diverging-loss",
        "non-finite",
        "misaligned-labels",
        "overfitting",
    )

    labels: float = 1.2

    def judge(self, record: Record) -> Iterator[Finding]:
        step = record.facts["probe.step"]
        kind, called = step["kind"], step.get("name", step["kind"])
        chain = [a for a in step["head"] if a["name"] != "Clamp"]
        where = record.source("training_step") or "training_step"
        first: dict[str, Any] = chain[0] if chain else {"name": "", "scaled": False, "axis": -1, "shape": []}
        name = first["name"]
        values = step.get("input", {})
        range_of = {"lowest": values.get("min", 0.0), "highest": values.get("max", 0.0)}
        single = [a for a in chain if a["name"] in ("Softmax", "LogSoftmax") and a["shape"] and a["shape"][a["axis"]] == 1]
        if single:
            yield self.finding(
                f"the {single[0]['name'].lower()} before {called} runs over an axis of length 1, so its result is the same for every input",
                where=where,
                fix="use one unit with binary_cross_entropy_with_logits and no activation, or one unit per class with cross_entropy",
                **range_of,
            )
        elif kind == "cross_entropy" and name in ("Softmax", "Sigmoid", "LogSigmoid") and not first["scaled"]:
            yield self.finding(
                f"{called} applies log-softmax itself, but gets the output of a {name.lower()}, in [{values['min']:.3g}, "
                f"{values['max']:.3g}]",
                where=where,
                fix=f"remove the {name.lower()} before the loss: cross_entropy wants raw logits",
                **range_of,
            )
        elif kind == "binary_cross_entropy_with_logits" and name in SQUASHING and not first["scaled"]:
            yield self.finding(
                f"{called} applies a sigmoid itself, but gets the output of a {name.lower()}, "
                f"in [{values['min']:.3g}, {values['max']:.3g}]",
                where=where,
                fix=f"remove the {name.lower()} before the loss, or use binary_cross_entropy with a sigmoid",
                **range_of,
            )
        elif kind in ("cross_entropy", "nll_loss") and (again := _squashed_before(chain)):
            yield self.finding(
                f"what {called} takes the log-softmax of is the output of a {again.lower()} already",
                where=where,
                fix=f"remove the {again.lower()}: log-softmax wants raw logits",
                **range_of,
            )
        elif kind in ("nll_loss", "kl_div") and not values.get("log_probabilities", True) and not _on_another_axis(chain):
            form = "probabilities" if values.get("probabilities") else "raw scores"
            yield self.finding(
                f"{called} wants log-probabilities, but gets {form}, in [{values['min']:.3g}, {values['max']:.3g}]",
                where=where,
                fix="apply log_softmax over the classes before the loss, or use cross_entropy on the raw logits",
                **range_of,
            )
        elif kind == "binary_cross_entropy" and name == "Softmax" and (labels := _labels_per_row(record, first)) > self.labels:
            yield self.finding(
                f"the softmax before {called} makes the {first['shape'][first['axis']]} outputs of a row add up to 1, but a row has "
                f"{labels:.2g} labels in the mean",
                where=where,
                fix="use a sigmoid per label: binary_cross_entropy_with_logits on the raw output",
                labels=labels,
                limit=self.labels,
                **range_of,
            )
        elif kind == "poisson_nll_loss" and step.get("log_input") and name in RATES and not first["scaled"]:
            yield self.finding(
                f"{called} takes what it gets for the logarithm of a rate (log_input=True), but gets that of {name.lower()}, "
                f"in [{values['min']:.3g}, {values['max']:.3g}], so that the rate is its exponential",
                where=where,
                fix=f"log_input=False, since this is a rate already, or remove the {name.lower()}",
                **range_of,
            )
        elif kind == "poisson_nll_loss" and step.get("log_input") is False and values.get("min", 0.0) < 0:
            yield self.finding(
                f"{called} wants a rate (log_input=False), but gets raw values in [{values['min']:.3g}, {values['max']:.3g}]",
                where=where,
                fix="leave log_input=True, or give it the softplus or the exponential of the output",
                **range_of,
            )
        elif kind == "binary_cross_entropy" and not any(a["name"] in ("Sigmoid", "Softmax", "Exp", "Hardsigmoid") for a in step["head"]):
            outside = values.get("min", 0.0) < 0 or values.get("max", 1.0) > 1
            if outside or (step["head"][:1] and step["head"][0]["name"] in ("Clamp", "Relu", "Hardtanh", "ClampMin", "Tanh")):
                yield self.finding(
                    f"{called} wants probabilities, but no sigmoid stands before it; it gets values in "
                    f"[{values['min']:.3g}, {values['max']:.3g}]",
                    where=where,
                    fix="use binary_cross_entropy_with_logits on the raw output",
                    **range_of,
                )


def _labels_per_row(record: Record, softmax: dict[str, Any]) -> float:
    """Mean sum of the targets over the axis of a softmax, 1 for one-hot targets; 0 where it is not known."""
    fields = record.facts.get("data", {}).get("train", {}).get("fields", {}).values()
    target = next((f for f in fields if "target" in f and f.get("mean") is not None), None)
    return float(target["mean"]) * softmax["shape"][softmax["axis"]] if target is not None and softmax["shape"] else 0.0


def _squashed_before(chain: list[dict[str, Any]]) -> str:
    """The activation under a log-softmax, or under a softmax and its logarithm."""
    names = [a["name"] for a in chain]
    below = chain[1:] if names[:1] == ["LogSoftmax"] else chain[2:] if names[:2] == ["Log", "Softmax"] else []
    return str(below[0]["name"]) if below and below[0]["name"] in ("Softmax", "Sigmoid") and not below[0]["scaled"] else ""


def _on_another_axis(chain: list[dict[str, Any]]) -> bool:
    return any(a["name"] in ("Softmax", "LogSoftmax") and a["axis"] == 0 for a in chain)
