"""Rule M211."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, run
from diagnose.rules.vanishing_gradient import VanishingGradient
from diagnose.rules.wording import listed
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class InputIndependent(Rule):
    """The output does not depend on the input, or not on one of its fields.

    ## What it measures
    Samples of a batch are replaced by others, and the change in their own outputs is taken, in units of the outputs' standard deviation. Up
    to `tolerance` counts as none. The question is then asked again after five training steps, since a last layer that starts at zero is
    common and harmless; under manual optimisation it stays open. A change that is tiny and not nothing is left to vanishing-gradient once
    that is found, and so is one that gets lost little by little: deep sigmoid layers lose the input as they lose the gradient. Modules that
    run without a gradient and whose weights can be drawn anew with no change in the outputs are named: what they compute is thrown away.

    The same is asked of one field of the batch at a time, where it differs in at least `samples` samples. Where its rows end or begin with
    padding, the padding stays as it is, and what it leaves over is exchanged: so a mask that keeps the padding and hides the content is
    seen. A field is named where neither a prediction nor a target nor the loss changes, now, after five training steps, in later epochs and
    with other random numbers, although a layer of the network reads it: one with trained weights that stands before the prediction. A field
    that no such layer reads (a name, a weight, a length) is left alone, and so is one that goes through a layer that serves something else,
    or, without padding, through the very last one.

    Before that the data are asked, where the target is a class or a number: the inputs of at least `rows` training samples hold one and the
    same number, all of them, or the ragged ones of whole numbers (words) where beside them there is one whole number per sample (an offset,
    a length).

    ## Why it matters
    Whatever such a network learns, it is a constant: the share of the classes or the mean of the targets.

    ## When it is wrong
    When the samples of the batch are all equal; then the probe does not run. A field that is switched on by a callback, or that the network
    rightly ignores, as an attention over one element ignores its query.

    ## What to try
    Look for units that are dead from the start, a mask that covers everything, an input that is overwritten, and an index that picks
    the same element always. Of a padding mask look up what `True` means: torch's attention leaves such places out, other libraries keep
    them.

    ## References
    A. Karpathy, "A Recipe for Training Neural Networks" (2019), "input-independent baseline"; TheDeepChecker (2023).
    """

    code = "M211"
    name = "input-independent"
    severity = Severity.ERROR
    needs = ("probe.step",)
    instead = ("data",)
    explains = (
        "misaligned-labels",
        "below-baseline",
        "frozen-parameter",
        "vanishing-gradient",
        "constant-feature",
        "cannot-overfit-batch",
    )

    tolerance: float = 1e-6
    samples: int = 4
    rows: int = 50

    def judge(self, record: Record) -> Iterator[Finding]:
        facts = record.facts.get("data", {}).get("train")
        constant = [] if facts is None or facts["samples"] < self.rows else list(same(facts))
        if constant:
            value = facts["fields"][constant[0]]["min"]
            yield self.finding(
                f"{listed(constant)} holds nothing but {value:g} in {facts['samples']} training samples: all of them are alike",
                where=constant[0],
                fix="look at how the inputs are read: words that the vocabulary lacks (upper and lower case), files that are not found",
                samples=facts["samples"],
                least=self.rows,
            )
            return
        fields = record.facts.get("probe.fields", ())
        unread = [f for f in fields if f["change"] <= self.tolerance and f["samples"] >= self.samples and f.get("read_by")]
        seen = record.facts.get("probe.dependence")
        if seen is None and not unread:
            raise NotRun(record.missing.get("probe.dependence", "probe.dependence was not recorded"))
        if seen is not None and seen["swapped"] <= self.tolerance and self._vanishes(record, seen["swapped"]):
            raise NotRun("what the input changes is lost on its way, of which vanishing-gradient speaks")
        if seen is not None and seen["swapped"] <= self.tolerance:
            unheard = sorted({name.rpartition(".")[0] or name for name in seen.get("unheard", ())})
            names = listed(unheard)
            yield self.finding(
                "the outputs stay the same when the samples are replaced by others"
                + (f", and nothing that {names} computes reaches them" if unheard else ""),
                where=record.source("forward") or "forward",
                fix=f"use in forward what self.{unheard[0]} returns"
                if unheard
                else "follow one sample through forward and find where its values become constant: dead units, a mask, a lost input",
                change=seen["swapped"],
                limit=self.tolerance,
            )
            return
        for field in unread:
            yield self._field(record, field)

    def _vanishes(self, record: Record, change: float) -> bool:
        vanishing = VanishingGradient()
        return vanishing.blurs(record) is not None or (change > 0 and bool(run(vanishing, record).findings))

    def _field(self, record: Record, field: Mapping[str, Any]) -> Finding:
        kept = f"what padding leaves over of {field['path']}" if field["padded"] else field["path"]
        reader = f"self.{field['until']}" if field["until"] != "forward" else "it"
        return self.finding(
            f"the outputs stay the same when {kept} is replaced by that of other samples ({field['samples']} of them), although "
            f"{field['read_by']} reads it",
            where=record.source("forward") or "forward",
            fix=f"look at what follows {reader}: "
            + (
                "a mask the wrong way round, or an index or a length, that picks the padding in place of the content"
                if field["padded"]
                else "a mask, a softmax over an axis of one, or a factor of zero that takes its values away"
            ),
            change=field["change"],
            limit=self.tolerance,
            samples=field["samples"],
            least=self.samples,
        )


def same(facts: Mapping[str, Any]) -> Iterator[str]:
    """The inputs that hold one and the same number, where nothing beside them tells the samples apart: not what is to be rebuilt either."""
    if facts["target"] is None or facts["fields"][facts["target"]]["target"]["kind"] not in ("class", "value", "multilabel"):
        return
    fields = {path: facts["fields"][path] for path in facts["inputs"]}
    constant = {path: field for path, field in fields.items() if "min" in field and field["min"] == field["max"]}
    beside = [field for path, field in fields.items() if path not in constant]
    words = [path for path, field in constant.items() if field["shape"] is None and field["dtype"].startswith("int")]
    if not beside:
        yield from constant
    elif all(field.get("integers") and field["shape"] == [] for field in beside):
        yield from words
