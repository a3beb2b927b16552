"""Rule D104."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, run
from diagnose.rules.evidence import counted_padding, rising_weights, tail
from diagnose.rules.prediction_collapse import PredictionCollapse
from diagnose.values import Finding, Severity

COUNTS_RARE = re.compile(r"^metric/.*val.*(recall|sensitivity|f1|f_1|f-1|fscore)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ClassImbalance(Rule):
    """The largest class of the training labels is many times as frequent as the smallest.

    ## What it measures
    The training labels read, per class: the ratio of the largest to the smallest that occurs, against `ratio`; not where somebody's own
    sampler takes but a part of its data set in an epoch, as one that draws episodes: then chance gave the counts. And whether the class
    weights of the loss rise with the frequency of the classes, which widens any imbalance. That is a warning where the weights of three
    classes or more are a power of the frequencies, to `exact` of their size and what chance does to the counts: then they were computed
    from them, the wrong way round. Once training shows what comes of that, prediction-collapse says it in its place.

    It is a warning, too, where the module logs a recall or an F1 of its own in validation, all of these end below `low`, and the other
    classes get less than `starved` of their share of the predictions, though neither the loss nor the sampling weighs them.

    And where sequences are padded and the loss counts the padding, of `padding` or more of all that it counts: as if that were one large
    class, which is learned first and hides the others in the loss and in any accuracy.

    ## Why it matters
    Accuracy then says little (always answering with the largest class looks good), and rare classes may never be predicted.

    ## When it is wrong
    Imbalance is a property of many problems, not a fault; well separated rare classes are learned without any measure. Hence `info`.
    Padding that is to be predicted as well (where a sequence ends) needs one such place per sequence, not all of them.

    ## What to try
    Judge by recall per class, balanced accuracy or the area under the precision-recall curve; weight the loss (weight=, pos_weight=) or
    draw with a WeightedRandomSampler if the rare class matters more.

    ## References
    Amazon SageMaker Debugger, rule ClassImbalance: ratio 10.
    """

    code = "D104"
    name = "class-imbalance"
    severity = Severity.INFO
    needs = ("data",)

    padding: float = 0.5
    ratio: float = 10.0
    exact: float = 0.05
    starved: float = 0.25
    low: float = 0.1

    def judge(self, record: Record) -> Iterator[Finding]:
        padded = list(self._padded(record))
        if padded:
            yield from padded
            return
        facts = record.facts["data"]["train"]
        target = facts["fields"][facts["target"]]["target"] if facts["target"] else None
        if target is None or target["kind"] != "class" or not target["counts"]:
            raise NotRun("the training batches have no field with one class label per row")
        counts = target["counts"]
        most, least = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
        ratio = counts[most] / counts[least]
        if ratio > self.ratio and (facts.get("drawn") or 1.0) == 1.0:
            missed = self._missed(record)
            yield self.finding(
                f"class {most} has {counts[most]} of the training rows read, class {least} has {counts[least]}: {ratio:.3g} to 1{missed}",
                where=f"{facts['target']}, class {least}",
                fix="judge by recall per class; weight the loss or the sampling if the rare class matters"
                if not missed
                else "weight the loss (weight=, pos_weight=) or the sampling, or lower the threshold of the decision",
                severity=Severity.WARNING if missed else self.severity,
                ratio=ratio,
                largest=counts[most],
                smallest=counts[least],
                threshold=self.ratio,
            )
        classes = rising_weights(record)
        if classes is not None:
            weights = record.facts["probe.step"]["class_weights"]["weight"]
            most, least = classes
            computed = self._computed(record)
            yield self.finding(
                f"the loss weighs the most frequent class {most} with {weights[most]:.3g} and the rarest, {least}, with "
                f"{weights[least]:.3g}" + (": its weights follow the frequencies" if computed else ""),
                where="class weights of the loss",
                fix="if this is not meant, turn the weights round: len(y) / (classes * counts)",
                severity=Severity.WARNING if computed and not run(PredictionCollapse(), record).findings else Severity.INFO,
                weight=weights[most],
                rare_weight=weights[least],
            )

    def _padded(self, record: Record) -> Iterator[Finding]:
        """Padding that the loss counts."""
        known = counted_padding(record)
        if known is None or known["share"] < self.padding:
            return
        yield self.finding(
            f"{known['share']:.0%} of the targets that the loss counts are padding: class {known['label']}, at the end of sequences, where "
            f"{known['path']} is {known['value']:g}",
            where=record.source("training_step") or known["path"],
            fix="pad the targets with ignore_index (-100), or mask these places in the loss and in the metrics",
            severity=Severity.WARNING,
            share=known["share"],
            limit=self.padding,
            places=known["places"],
        )

    def _missed(self, record: Record) -> str:
        """What a metric of the module's own says of rare classes that are hardly ever predicted, or ``""``."""
        held, common = tail(record, "val/top_share"), tail(record, "val/target_top_share")
        weighed = record.facts.get("probe.step", {}).get("class_weights") or record.facts["data"]["train"].get("order") == "weighted"
        if weighed or not record.facts.get("run", {}).get("finished") or not len(held) or 1 - held[-1] > self.starved * (1 - common[-1]):
            return ""
        own = {name: tail(record, name) for name in record.names() if COUNTS_RARE.search(name)}
        low = {name: float(values[-1]) for name, values in own.items() if len(values) and values[-1] < self.low}
        name = min(low, key=lambda name: low[name], default="")
        told = f", {held[-1]:.1%} of the predictions are one class, and {name.removeprefix('metric/')} is {low[name]:.2g}" if low else ""
        return told if low and own.keys() == low.keys() else ""

    def _computed(self, record: Record) -> bool:
        """Whether the weights of the loss are a power of the frequencies of the classes: no one chooses such weights by hand."""
        given = record.facts["probe.step"]["class_weights"]
        known = np.array([(n, w) for w, n in zip(given["weight"], given["count"], strict=True) if n > 0 and w > 0])
        counts, logs = known[:, 0], np.log(known)
        if len(known) < 3 or len(set(np.round(logs[:, 1], 2))) < len(known):
            return False
        slope, start = np.polyfit(logs[:, 0], logs[:, 1], 1, w=np.sqrt(counts))
        off = np.abs(logs[:, 1] - slope * logs[:, 0] - start)
        return bool((off <= self.exact + 2 * slope / np.sqrt(counts)).all())
