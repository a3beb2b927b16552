"""Rule M213."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.wording import listed
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class WrongMode(Rule):
    """Modules stand in eval mode while training, or in train mode while validating.

    ## What it measures
    The mode of each batch norm and dropout that runs in a training step, and in a validation step, as Lightning would call them, with
    the module's own `on_validation_model_eval`; and calls of `F.dropout` and `F.scaled_dot_product_attention` that drop something in a
    validation step. Of batch norms that train in eval mode also how far their output is from that in train mode, for the same input, in
    standard deviations; where only batch norms stand so, all of them have seen data and none is `apart` by more than 0.5, there is no
    harm yet, and the finding is `info`. In training also whether the module as a whole, which stood in train mode at first, stands in eval
    mode when losses are differentiated: in `share` of the steps measured since, and three at least.

    ## Why it matters
    In eval mode batch norm uses its stored statistics and never updates them, and dropout does nothing. Lightning has kept the modes as
    they are since 2.2, so a backbone that its loader function returned in eval mode is trained that way, without a word.

    ## When it is wrong
    Monte-Carlo dropout drops in validation on purpose: dropouts that were switched on one by one, in modules that stand in eval mode, are
    left alone, others are not. Silent are modules whose weights, or whose parent's, are all frozen, and those that the module's own
    `train()` keeps in eval mode: both are deliberate. A pretrained backbone that a callback will freeze is not known before training
    to be so: it is `info` while its stored statistics are those of the data, and an error where they are not.

    ## What to try
    Call `.train()` on the module after loading it; do not call `.eval()` or `.train()` inside a step. Pass
    `training=self.training` to `F.dropout`, and `dropout_p=self.p if self.training else 0.0` to attention.

    ## References
    Lightning issues 20105 and 20216.
    """

    code = "M213"
    name = "wrong-mode"
    severity = Severity.ERROR
    needs = ("probe.modes",)
    explains = (
        "overfitting",
        "suspicious-validation",
        "misaligned-labels",
        "learning-rate-too-low",
        "exploding-gradient",
        "split-shift",
        "vanishing-gradient",
        "initial-loss",
        "sample-leakage",
    )
    apart: float = 0.5
    share: float = 0.3

    def judge(self, record: Record) -> Iterator[Finding]:
        fallen = record.facts.get("fallen")
        if fallen and fallen["steps"] >= self.share * fallen["of"]:
            yield self._fallen(fallen)
        modes = record.facts["probe.modes"]
        for stage, wrong, fix in (
            ("training", "eval", "call .train() on the module after loading it, before the fit"),
            (
                "validation",
                "train",
                "remove .train() from the validation code; Lightning calls eval() before it, unless on_validation_model_eval is overridden",
            ),
        ):
            names = modes[stage]
            held = modes.get("apart", {}) if stage == "training" else {}
            if names and all(held.get(name, inf) <= self.apart for name in names):
                yield self._harmless(held)
            elif names:
                yield self.finding(
                    f"{len(names)} batch norm or dropout modules stand in {wrong} mode in {stage}: {listed(names)}",
                    where=f"self.{names[0]}",
                    fix=fix,
                    modules=len(names),
                )
        if dropping := modes.get("dropping"):
            yield self.finding(
                f"{', '.join(sorted(set(dropping)))} drops values in validation as well, {len(dropping)} "
                f"call{'' if len(dropping) == 1 else 's'} in a step: as a function it does not know the module's mode",
                where=record.source("forward") or record.source("validation_step"),
                fix="pass training=self.training, or use nn.Dropout; for attention dropout_p=self.p if self.training else 0.0",
                severity=Severity.WARNING,
                calls=len(dropping),
            )

    def _fallen(self, fallen: Mapping[str, Any]) -> Finding:
        """Something calls eval() in the midst of training."""
        names = fallen["modules"]
        return self.finding(
            f"the module falls into eval mode in training: from batch {fallen['batch']} on it stands so in {fallen['steps']} of "
            f"{fallen['of']} measured steps, with {len(names)} batch norm or dropout modules: {listed(names)}",
            where=f"batch {fallen['batch']}",
            fix="something calls eval() between batches or epochs (a preview, a metric): put train() behind it",
            steps=fallen["steps"],
            limit=self.share,
        )

    def _harmless(self, held: Mapping[str, float]) -> Finding:
        """Batch norms in eval mode whose stored statistics are those of the data."""
        worst = max(held, key=lambda name: held[name])
        return self.finding(
            f"{len(held)} batch norm modules stand in eval mode in training; their stored statistics fit the data so far: train mode "
            f"would change the output of {worst} by {held[worst]:.2g} standard deviations, of others by less",
            where=f"self.{worst}",
            fix="if that is meant, freeze their weights with requires_grad_(False), which says so; else call .train() before the fit",
            severity=Severity.INFO,
            modules=len(held),
            apart=held[worst],
            threshold=self.apart,
        )
