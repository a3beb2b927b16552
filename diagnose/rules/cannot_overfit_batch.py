"""Rule M212."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class CannotOverfitBatch(Rule):
    """The loss on one fixed batch does not come near its floor.

    ## What it measures
    A copy of the module is trained on one batch with Adam (learning rates 3e-3 and 3e-2, for regression 0.3 too, up to 150 steps each,
    dropout off; where the step draws what is to be predicted, as in flow matching, always the same draw). The progress is 0 at the loss of
    the best constant prediction and 1 at the floor, which is not zero under label smoothing, for probability targets, and where equal
    inputs have different targets. Below `progress` the finding is made. Where more than twice `units` classes have to pass a layer of
    `units` units or less, it is named.

    ## Why it matters
    A network with more weights than the batch has targets can learn a batch by heart. One that cannot has a fault in the model, the
    loss or the data; the learning rate is not the reason, since the user's own is not used.

    ## When it is wrong
    Small models cannot memorise: with fewer than `weights_per_target` weights per target the rule does not run. The first tokens of a
    language model set a floor of their own, hence the generous bar. Where the labels number the rows, as in contrastive losses, scores
    over a temperature keep the loss far above zero however well the rows are told apart: the rule does not run.

    ## What to try
    The other findings usually name the cause. Without any: print what reaches the loss for one sample, before and after the training.

    ## References
    A. Karpathy, "A Recipe for Training Neural Networks" (2019), "overfit one batch"; TheDeepChecker (2023); torchtest2 (200 steps, 10 %
    of the initial loss).
    """

    code = "M212"
    name = "cannot-overfit-batch"
    severity = Severity.ERROR
    needs = ("probe.overfit",)
    role = "symptom"

    progress: float = 0.4
    weights_per_target: float = 5.0
    units: int = 2

    def judge(self, record: Record) -> Iterator[Finding]:
        run = record.facts["probe.overfit"]
        if not run["sole"]:
            raise NotRun("the loss of the step has further terms, so its floor is not known")
        if run.get("numbered"):
            raise NotRun("the labels number the rows of the batch: what their scores against each other can reach is not known")
        if run["chance"] - run["floor"] < 1e-3 * max(1.0, abs(run["chance"])):
            raise NotRun("the targets of the batch are all equal, or its inputs tell nothing of them")
        if run["weights"] < self.weights_per_target * run["targets"]:
            raise NotRun(f"too few weights to learn a batch by heart: {run['weights']} for {run['targets']} targets")
        if run["progress"] < self.progress:
            narrow = self._narrowest(record)
            fix = "the model, the loss or the targets are wrong, not the learning rate: follow one sample from the batch to the loss"
            if narrow is not None:
                fix = f"widen {narrow['name']}, if all that the classes are told apart by has to pass it"
            yield self.finding(
                f"after {run['steps']} steps on one batch of {run['batch_size']} the loss is {run['final']:.3g}; a constant "
                "prediction gives "
                f"{run['chance']:.3g}, the floor is {run['floor']:.3g}"
                + (f"; {narrow['name']} passes on {narrow['fan_out']} of {narrow['fan_in']} numbers" if narrow is not None else ""),
                where=narrow["name"] if narrow is not None else record.source("training_step") or "training_step",
                fix=fix,
                final=run["final"],
                floor=run["floor"],
                chance=run["chance"],
                progress=run["progress"],
                limit=self.progress,
                steps=run["steps"],
            )

    def _narrowest(self, record: Record) -> dict[str, Any] | None:
        """A layer of fewer units than it takes to tell the classes apart linearly, whose output alone feeds the next layer."""
        layers = [e for e in record.facts.get("probe.initialization", ()) if e.get("kind", "weighted") == "weighted"]
        classes = record.facts.get("probe.step", {}).get("classes") or 0
        passed = [a for a, b in pairwise(layers) if a["fan_out"] == b["fan_in"] < a["fan_in"] and a["fan_out"] <= self.units]
        return min(passed, key=lambda e: int(e["fan_out"])) if passed and classes > 2 * self.units else None
