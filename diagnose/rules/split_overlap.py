"""Rule D105."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SplitOverlap(Rule):
    """The same samples stand in the training and in the validation data.

    ## What it measures
    Validation rows whose inputs are equal, bit by bit, to those of a training row: how many, and their share of the validation rows (over
    the share of the training rows that was read). At least `rows` different ones and a share of `share` are a finding, if chance does not
    explain them: either some column holds real numbers so fine that two draws are hardly ever equal, or the entropy of the columns, cut
    to a third since columns depend on each other, makes fewer than `chance` equal pairs per row likely and validation rows have clearly
    more twins in training than training rows have among themselves (the entropy counts in full where they have `twins` times as many); or
    equal training rows come in groups of so even a size that rows drawn one by one have such with a probability below `even`: each text
    stands there once per annotator, say, and the split was made over rows.
    Rows that two `Subset` s take from one data set are counted as well.

    And windows of a series (rows of eight steps or more, of real numbers that fine): the share of the validation windows whose first, last
    and half of all stretches of a few steps stand in training windows, at any place of theirs. Above `windows` it is a finding.

    ## Why it matters
    Validation then measures memory. Early stopping, tuning and the reported number all rest on samples that the network was trained on.

    ## When it is wrong
    Short discrete rows (a few categories, short sentences) repeat by nature, and equal inputs with different targets (a fixed grid,
    measured anew) are not the same sample: less than half of equal targets is no finding, nor are training rows of which half or more have
    an input that occurs there with other targets (what a viewer watched, beside what is known of the viewer). A validation loader that is
    the training data on purpose, beside one that is clean, is `info`; further loaders are `info`. Near copies (crops, paraphrases, the same
    patient) are not seen. Where a series is split by time, windows across the border share one end with training; that stays silent.

    ## What to try
    Split first, and oversample or augment only the training part afterwards; split by group (patient, document, scene) where rows belong
    together; remove duplicates before the split.

    ## References
    Kapoor and Narayanan, Leakage and the reproducibility crisis (Patterns 2023): duplicates across splits. deepchecks: train-test samples
    mix.
    """

    code = "D105"
    name = "split-overlap"
    severity = Severity.ERROR
    needs = ("data.overlap",)
    explains = ("suspicious-validation", "overfitting", "generalization-gap")

    rows: int = 3
    share: float = 0.02
    chance: float = 1e-3
    windows: float = 0.25
    twins: float = 10.0
    even: float = 1e-3

    def judge(self, record: Record) -> Iterator[Finding]:
        loaders = record.facts["data.overlap"]
        groups = record.facts.get("data.conflicts", {})
        tells = groups.get("share", 0.0) < 0.5  # an input, which sample it is
        copied = chance_of_even_groups(groups) < self.even
        leaking = {name: facts for name, facts in loaders.items() if self._leaks(facts, tells, copied)}
        for number, (name, facts) in enumerate(loaders.items()):
            if name not in leaking:
                if facts.get("windows", 0.0) - facts["share"] > self.windows:  # equal rows are no windows at another place
                    yield self._windows(name, facts["windows"], number)
                continue
            on_purpose = facts["estimate"] >= 0.9 and len(leaking) < len(loaders)
            share = max(facts["estimate"], facts["index_share"] or 0.0)
            yield self.finding(
                f"{share:.0%} of the rows of validation loader {name.removeprefix('val/')} stand in the training data as well "
                f"({facts['shared']} of {facts['val_rows']} rows read have an equal one among {facts['train_rows']} training rows)",
                where=name,
                fix="split before rows are copied, oversampled or augmented, and take the validation rows out of the training data",
                severity=Severity.INFO if number or on_purpose else self.severity,
                share=share,
                shared=facts["shared"],
                val_rows=facts["val_rows"],
                train_rows=facts["train_rows"],
                threshold=self.share,
            )

    def _windows(self, name: str, share: float, number: int) -> Finding:
        return self.finding(
            f"{share:.0%} of the windows of validation loader {name.removeprefix('val/')} hold values that stand in training windows, at "
            "another place: both are cut from the same stretches",
            where=name,
            fix="split the series before cutting windows, by time or by recording, with a gap of one window between the parts",
            severity=Severity.INFO if number else self.severity,
            share=share,
            threshold=self.windows,
        )

    def _leaks(self, facts: Mapping[str, Any], tells: bool, copied: bool) -> bool:
        if (facts["index_share"] or 0.0) >= self.share and facts["index_share"] * facts["val_rows"] >= self.rows:
            return True
        if not tells or facts["distinct"] < self.rows or facts["estimate"] < self.share:
            return False
        if facts["same_target"] is not None and facts["same_target"] < 0.5:
            return False
        far_more = facts["share"] > self.twins * (facts["twins"] + self.share)  # rows that repeat by nature do so within training too
        expected = facts["train_rows"] * 2.0 ** (-facts["bits"] / (1 if far_more else 3))
        more = facts["share"] > 2 * facts["twins"] + self.share or expected < 1e-9 or copied
        return bool(facts["continuous"] or (expected < self.chance and more))


def chance_of_even_groups(conflicts: Mapping[str, Any]) -> float:
    """How likely the largest group of equal rows is no larger than it is, if rows are drawn one by one.

    The sizes of the groups follow a Poisson distribution without its zero then, at least: some rows are likelier than others.

    >>> chance_of_even_groups({"rows": 2000, "distinct": 800, "largest": 3 / 2000}) < 1e-9
    True
    >>> chance_of_even_groups({"rows": 2000, "distinct": 1900, "largest": 3 / 2000}) > 0.9
    True
    """
    rows, distinct, largest = (conflicts.get(name, 0) for name in ("rows", "distinct", "largest"))
    if not distinct or not largest or rows <= distinct:
        return 1.0
    rate = rows / distinct
    for _ in range(100):  # the mean of the truncated distribution is rate / (1 - exp(-rate))
        rate = rows / distinct * -math.expm1(-rate)
    if rate < 1e-6:
        return 1.0
    sizes = range(1, round(largest * rows) + 1)
    within = sum(math.exp(k * math.log(rate) - math.lgamma(k + 1) - rate) for k in sizes) / -math.expm1(-rate)
    return float(min(1.0, within) ** distinct)
