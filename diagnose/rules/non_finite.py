"""Rule T301."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity

FIXES = {
    "input": "clean the data: impute or drop what is missing",
    "activation": "keep the arguments of logarithms, roots, exponentials and divisions in their range; otherwise lower the learning rate",
    "gradient": "look for a square root, norm or power at zero in the backward pass; otherwise lower the learning rate or clip gradients",
    "loss": "look at this batch and at what the loss is given; otherwise lower the learning rate or clip gradients",
}


@dataclass(frozen=True, kw_only=True)
class NonFinite(Rule):
    """A loss, activation, gradient or weight becomes NaN or infinite.

    ## What it measures
    The loss of every batch (on a CPU before it is differentiated), and the norm of the gradients at measured steps. At the first number
    that is not finite the step is run again on a copy, which names the input, weight, module or operation where it came in. Steps that
    a gradient scaler skips are no incident.

    ## Why it matters
    From one such step on every weight is NaN, and all later checkpoints are worthless.

    ## When it is wrong
    A loss that is infinite by design for some batches and masked later. Where the step could not be run again, only the batch is known.

    ## What to try
    Look at the batch that is named. An input: clean the data. A logarithm, square root or division: keep its argument away from zero. A
    loss that grew for some steps before: lower the learning rate, clip the gradients. Half precision: use bfloat16.

    ## References
    PyTorch #160016 (a better anomaly detection); users of Lightning ask for the first bad layer and batch (#8313, #20708).
    """

    code = "T301"
    name = "non-finite"
    severity = Severity.ERROR
    needs = ("train/loss",)
    explains = ("diverging-loss", "loss-not-decreasing", "prediction-collapse", "frozen-parameter", "dead-units")

    def judge(self, record: Record) -> Iterator[Finding]:
        found = record.facts.get("nonfinite")
        if found is None:
            if "nonfinite" in record.missing:
                raise NotRun(record.missing["nonfinite"])
            if not np.isfinite(record.series("train/loss").value).all():
                found = {"what": "loss", "batch": int(np.argmin(np.isfinite(record.series("train/loss").value)))}
            else:
                return
        place = f" of {found['module']}" if found.get("module") else ""
        operation = f" ({found['operation']})" if found.get("operation") else ""
        when = f"batch {found['batch']}" + (f" (epoch {found['epoch']}, step {found['step']})" if "epoch" in found else "")
        saved = f"; run it again with: python -m diagnose replay {found['file']}" if found.get("file") else ""
        yield self.finding(
            f"the {found['what']}{place}{operation} is NaN or infinite in {when}{saved}",
            where=found.get("module") or when,
            fix=FIXES.get(found["what"], FIXES["loss"]),
            batch=found["batch"],
            epoch=found.get("epoch", 0),
            step=found.get("step", found["batch"]),
        )
