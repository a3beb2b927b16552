"""Rule D109."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import open_set
from diagnose.values import Finding, Severity

INDEXED = ("cross_entropy", "nll_loss", "multi_margin_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
SIGNED = ("soft_margin_loss", "hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss")


@dataclass(frozen=True, kw_only=True)
class InvalidTarget(Rule):
    """The targets do not fit the loss that they are given to.

    ## What it measures
    The target field of each loader against the loss call that was seen:

    - cross-entropy and NLL: whole numbers from 0 to C-1 (or `ignore_index`) of type int64, or, for cross-entropy, probabilities of the
      shape of the output that sum to one within `tolerance`;
    - binary cross-entropy: floats between 0 and 1;
    - losses of signed labels and of pairs (soft margin, hinge embedding, cosine embedding, margin ranking): -1 and 1; of counts: no
      negative number;
    - any of them but those of pairs: that the prediction is what needs a gradient, and not the target alone: else they were exchanged;
    - any classification loss: more than one class among the training labels, if at least `rows` of them were read.

    ## Why it matters
    An index outside the classes ends the run with "Target 3 is out of bounds" (on a GPU with a device-side assert that points elsewhere).
    Binary cross-entropy with -1 or 255 has no lower bound: the loss falls below zero and the weights grow without end. Losses of pairs
    take a 0 for neither: pairs that should be told apart cost nothing, and all embeddings may become the same.

    ## When it is wrong
    All rows read are judged where a field is the loss's target as it stands; targets that the step changes first, or makes itself, are
    known from one batch only. Classes of a validation loader that are all strange to training, and that no loss is given there, are what a
    search among new classes is tested with.
    Only 1 is right where each pair is alike, or is ranked from high to low; 0 stands for a tie where -1 occurs as well.
    Soft labels (distillation, mixup, label smoothing by hand) are right. Probabilities that do not sum to one are a warning, as is a single
    class.

    ## What to try
    Subtract the smallest label; map the labels through a table of the classes; divide masks by 255; use (y + 1) / 2 for labels of -1 and 1;
    use cross_entropy with one unit per class in place of a binary loss; set ignore_index where a label stands for "unknown".

    ## References
    The documentation of `torch.nn.CrossEntropyLoss` and `torch.nn.BCEWithLogitsLoss`. Wardat et al., DeepDiagnosis (ICSE 2022): out of
    range.
    """

    code = "D109"
    name = "invalid-target"
    severity = Severity.ERROR
    needs = ("data",)
    explains = (
        "initial-loss",
        "exploding-gradient",
        "diverging-loss",
        "non-finite",
        "cannot-overfit-batch",
        "learning-rate-too-high",
        "output-range-mismatch",
        "misaligned-labels",
        "prediction-collapse",
        "saturated-units",
        "underfitting",
        "activation-loss-mismatch",
        "split-shift",
    )

    tolerance: float = 0.01
    rows: int = 100

    def judge(self, record: Record) -> Iterator[Finding]:
        step = record.facts.get("probe.step", {})
        if step.get("exchanged") and step["kind"] in (*BINARY, "cross_entropy", "poisson_nll_loss"):
            yield self.finding(
                f"{step['kind']} was given the data as its first argument and what the network computes as its second: it takes the "
                "prediction first, then the target",
                where=record.source("training_step") or "training_step",
                fix=f"{step['kind']}(prediction, target)",
            )
            return
        loaders = record.facts["data"]
        train = loaders["train"]
        loss = train["loss"]
        if loss is None or train["target"] is None or "target" in train["guessed"]:
            yield from self._judge_call(record)
            return
        for name, facts in loaders.items():
            field = facts["fields"].get(train["target"])
            if field is None or "min" not in field or "target" not in field:
                continue
            if name != "train" and open_set(record, name):
                continue
            finding = self._judge(name, train["target"], field, loss)
            if finding is None and name == "train":
                finding = self._one_class(facts, field["target"], loss)
            if finding is not None:
                yield finding
                return

    def _judge_call(self, record: Record) -> Iterator[Finding]:
        """Judge what one loss call was given, where no field of the batch is known to be its target."""
        step = record.facts.get("probe.step", {})
        if not step.get("kind") or "min" not in step.get("target", {}):
            raise NotRun("no loss call was seen, so what the targets should be is not known")
        seen = step["labels"] if step["kind"] in INDEXED and step.get("labels", {}).get("count") else step["target"]
        if not (math.isfinite(seen["min"]) and math.isfinite(seen["max"])):
            return
        field = {"min": seen["min"], "max": seen["max"], "dtype": step["target_dtype"], "binary": False}
        field |= {"integers": seen["min"] == round(seen["min"]) and seen["max"] == round(seen["max"])}
        field["target"] = {"kind": "unknown", "counts": None, "rows_sum": None, "outside": None}
        finding = self._judge("", "the target", field, {"ignore_index": -100, **step})
        if finding is not None:
            yield replace(finding, where=record.source("training_step") or "training_step")

    def _judge(self, name: str, path: str, field: Mapping[str, Any], loss: Mapping[str, Any]) -> Finding | None:
        where = f"{name}, {path}"
        if loss["kind"] in INDEXED:
            return self._index_type(where, field, loss) or self._indices(where, field, loss)
        low, high = field["min"], field["max"]
        if loss["kind"] in BINARY:
            if low < 0 or high > 1:
                return self._outside(where, field, loss)
            if str(loss["target_dtype"]).startswith(("int", "uint", "bool")):
                return self.finding(
                    f"{loss['kind']} wants float targets, {path} is {field['dtype']}", where=where, fix="pass y.float() to the loss"
                )
        if loss["kind"] == "poisson_nll_loss" and low < 0:
            return self.finding(
                f"{loss['kind']} wants counts, the smallest target is {low:.4g}", where=where, fix="pass counts, not scaled values"
            )
        if loss["kind"] in SIGNED and field["integers"] and low >= 0 and not low == high == 1:
            return self.finding(
                f"{loss['kind']} wants targets of -1 and 1, {path} holds values from {low:.4g} to {high:.4g}",
                where=where,
                fix="pass 2 * y - 1 to the loss" if (low, high) == (0, 1) else "map the labels to -1 and 1",
                min=low,
                max=high,
            )
        return None

    def _outside(self, where: str, field: Mapping[str, Any], loss: Mapping[str, Any]) -> Finding:
        low, high, counts = field["min"], field["max"], field["target"]["counts"] or {}
        if low == -1 and high == 1:
            fix = "pass (y + 1) / 2 to the loss, or use soft_margin_loss for labels of -1 and 1"
        elif low >= 0 and high == 255:
            fix = "divide the masks by 255"
        elif low == 1 and high == 2:
            fix = "pass y - 1 to the loss"
        elif low >= 0 and field["integers"] and (len(counts) > 2 or high < 50):
            fix = f"the labels know {len(counts) or 'more than two'} classes: use cross_entropy with one unit per class"
        else:
            fix = "scale the targets to [0, 1], or use a regression loss"
        return self.finding(
            f"{loss['kind']} wants targets between 0 and 1, they lie between {low:.4g} and {high:.4g}, so that the loss has no lower bound",
            where=where,
            fix=fix,
            min=low,
            max=high,
            outside=field["target"]["outside"] or 0.0,
        )

    def _index_type(self, where: str, field: Mapping[str, Any], loss: Mapping[str, Any]) -> Finding | None:
        """Whether the targets have the type and shape that indices, or probabilities, need."""
        shape, scores = list(loss["target_shape"]), list(loss["input_shape"])
        floating = str(loss["target_dtype"]).startswith(("float", "bfloat"))
        if floating and shape == scores and loss["kind"] == "cross_entropy":
            return self._probabilities(where, field)
        if floating or str(loss["target_dtype"]) in ("int32", "int16", "int8", "bool"):
            return self.finding(
                f"{loss['kind']} wants class indices of type int64, the targets are {loss['target_dtype']} of shape {shape}",
                where=where,
                fix="pass y.long() to the loss" if len(shape) < len(scores) else "pass y.argmax(1) to the loss",
            )
        if len(scores) > 1 and len(shape) == len(scores):
            one_hot = shape == scores
            return self.finding(
                f"{loss['kind']} wants class indices of shape {[scores[0], *scores[2:]]}, the targets have shape {shape}"
                f"{', one-hot' if one_hot and field['binary'] else ''}",
                where=where,
                fix="pass y.argmax(1) to the loss" if one_hot else "pass y.squeeze(1) to the loss",
            )
        return None

    def _probabilities(self, where: str, field: Mapping[str, Any]) -> Finding | None:
        sums = field["target"]["rows_sum"]
        if field["min"] < 0:
            return self.finding(
                f"cross_entropy takes float targets of this shape for probabilities, the smallest is {field['min']:.4g}",
                where=where,
                fix="pass class indices or probabilities; for regression use mse_loss",
                min=field["min"],
            )
        if sums is None or (sums[0] >= 1 - self.tolerance and sums[1] <= 1 + self.tolerance):
            return None
        several = field["binary"] and sums[1] > 1
        return self.finding(
            f"cross_entropy takes float targets of this shape for probabilities, but the rows sum to {sums[0]:.3g} … {sums[1]:.3g}",
            where=where,
            fix="use binary_cross_entropy_with_logits, one label per class" if several else "divide each row by its sum",
            severity=Severity.WARNING,
            lowest=sums[0],
            highest=sums[1],
            tolerance=self.tolerance,
        )

    def _indices(self, where: str, field: Mapping[str, Any], loss: Mapping[str, Any]) -> Finding | None:
        """Whether all indices are classes."""
        classes, ignored = loss["classes"], loss.get("ignore_index", -100)
        if classes is None or not field["dtype"].startswith(("int", "uint")):
            return None
        counts = field["target"]["counts"] or {str(int(field[end])): 1 for end in ("min", "max")}
        used = sorted(int(c) for c in counts if int(c) != ignored)
        if not used or (used[0] >= 0 and used[-1] < classes):
            return None
        outside = [c for c in used if not 0 <= c < classes]
        if used[0] >= 1 and used[-1] == classes:
            what, fix = f"they run from {used[0]} to {used[-1]}: they count from 1", "subtract 1 from the labels"
        elif outside == [255] or outside == [-1]:
            what, fix = f"{outside[0]} occurs, which often stands for unlabelled", f"give the loss ignore_index={outside[0]}"
        else:
            what, fix = f"they run from {used[0]} to {used[-1]}", "map the labels to 0 … C-1, or give the output one unit per class"
        return self.finding(
            f"with {classes} outputs the class indices must lie between 0 and {classes - 1}; {what}",
            where=where,
            fix=fix,
            min=used[0],
            max=used[-1],
            classes=classes,
        )

    def _one_class(self, facts: Mapping[str, Any], target: Mapping[str, Any], loss: Mapping[str, Any]) -> Finding | None:
        counts = target["counts"]
        if loss["kind"] not in (*INDEXED, *BINARY) or counts is None or len(counts) != 1 or facts["samples"] < self.rows:
            return None
        if loss["kind"] in INDEXED and not loss.get("fixed", True):  # scores of candidates, of which the right one has that place
            return None
        return self.finding(
            f"all {facts['samples']} training rows read are of class {next(iter(counts))}: there is nothing to tell apart",
            where=f"train, {facts['target']}",
            fix="look at how the labels are read, and at how the rows of the training split are chosen",
            severity=Severity.WARNING,
            rows=facts["samples"],
        )
