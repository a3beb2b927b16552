"""Rule E402."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.class_weights import outweighed, rising_weights
from diagnose.rules.evidence import tail
from diagnose.rules.skill import informed
from diagnose.rules.validated import evaluated, useless
from diagnose.values import Finding, Severity

COUNTS_RARE = re.compile(r"^metric/.*val.*(recall|sensitivity|f1|f_1|f-1|fscore)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class UnpredictedClass(Rule):
    """A class that the data hold is never predicted.

    ## What it measures
    Per evaluated loader, the classes with at least `support` samples and at least the share `share` of all samples that no sample was
    predicted as. It is a warning for classes with at least `usual` times the samples of an average class, and an info for rarer ones: a
    model whose probabilities are right seldom gives a rare class the largest. It is an info as well where the model is right on less than
    the share `accuracy` of the other samples and predicts most classes: of what is uncertain by nature, such as the next word, one class
    can always be second. Of a training that nobody evaluated, its last third of at least `validations` validations is judged: a warning
    takes `sure` of the other samples right there, or that half of the classes are missing and the loss is no lower than that of the
    classes' shares; rarer ones are a warning there too, where every sample was predicted as one class that at least the share `dominant` is
    of, and an agreement beyond chance (Cohen's kappa) of more than `kappa` is ruled out, and so is one that a weighted sampler draws for
    less than `drawn` of its share of the data set. Before training: a class that the loss ignores (`ignore_index`), since it pads the
    targets, and that is also `ignored` or more of the places of a sequence that are no padding; and class weights of the loss that were
    computed from the frequencies the wrong way round: those of three classes or more are a rising power of the frequencies, to `exact` of
    their size and what chance does to the counts. And a class that has the share `common` of the targets and counts `crushed` times less in
    the loss, by weight and number, than another one, as with a `pos_weight` that makes up for nothing.

    A rare class counts as never predicted, too, where the module logs a recall or an F1 of its own in validation, all of these end below
    `low`, and all classes but the most frequent get less than `starved` of their share of the predictions, though the largest is at least
    `ratio` times as frequent as the rarest and neither the loss nor the sampling weighs them.

    ## Why it matters
    Recall of such a class is zero, and accuracy hides it. Often all samples go to few classes because training has collapsed.

    ## When it is wrong
    A class that resembles a larger one can lose every single comparison although its probability is sensible; a lower threshold or weight
    then shows it. Where all samples are of one class nothing is said of it: contrastive losses number the right one of many
    candidates zero.

    ## What to try
    Check that labels are numbered alike in training and test and that the output has a unit per class. Weight the loss or the sampling
    for rare classes, or lower the threshold. If nearly all classes are missing, look at the findings about training.

    ## References
    Provost, Machine Learning from Imbalanced Data Sets 101, AAAI Workshop 2000.
    """

    code = "E402"
    name = "unpredicted-class"
    severity = Severity.WARNING
    needs = ("evaluation",)
    instead = ("val/predicted", "val/top_share", "data.ignored", "probe.step")
    role = "symptom"
    explains = ("below-baseline",)

    support: int = 5
    share: float = 0.01
    usual: float = 0.5
    accuracy: float = 0.5
    sure: float = 0.8
    validations: int = 3
    ignored: float = 0.05
    dominant: float = 0.8
    kappa: float = 0.15
    drawn: float = 0.5
    exact: float = 0.05
    starved: float = 0.25
    low: float = 0.1
    ratio: float = 10.0
    crushed: float = 100.0
    common: float = 0.1

    def judge(self, record: Record) -> Iterator[Finding]:
        known = [*self._never_learned(record), *self._hardly(record)]
        yield from known[:1] or self._never(record)

    def _never_learned(self, record: Record) -> Iterator[Finding]:
        """What the loss is told to leave unlearned."""
        hidden = record.facts.get("data.ignored")
        if hidden is not None and hidden["share"] >= self.ignored and hidden["ends"] >= self.support:
            yield self.finding(
                f"the loss ignores class {hidden['value']}, the padding of the targets, and {hidden['share']:.0%} of the places inside of "
                "sequences are of this class: it is never learned",
                where=record.source("training_step") or "ignore_index",
                fix="pad the targets with a number that is no class, such as -100, and let the loss ignore that",
                share=hidden["share"],
                limit=self.ignored,
                places=hidden["inside"],
            )
        classes = rising_weights(record)
        if classes is not None and self._computed(record):
            weights = record.facts["probe.step"]["class_weights"]["weight"]
            most, least = classes
            yield self.finding(
                f"the loss weighs the most frequent class {most} with {weights[most]:.3g} and the rarest, {least}, with "
                f"{weights[least]:.3g}: its weights follow the frequencies, so rare classes are hardly learned",
                where="class weights of the loss",
                fix="turn the weights round: rare classes need the larger ones, len(y) / (classes * counts)",
                weight=weights[most],
                rare_weight=weights[least],
            )

        unequal = outweighed(record, self.crushed, self.common)
        if unequal is not None:
            (high, low), given = unequal, record.facts["probe.step"]["class_weights"]
            yield self.finding(
                f"the loss weighs class {high} with {given['weight'][high]:.3g} and class {low} with {given['weight'][low]:.3g}, and "
                f"{given['count'][high]:.0f} and {given['count'][low]:.0f} of the targets looked at are of them: class {low} hardly counts",
                where="class weights of the loss",
                fix="take weights that make up for the frequencies: len(y) / (classes * counts), for pos_weight negatives / positives",
                times=given["weight"][high] * given["count"][high] / (given["weight"][low] * given["count"][low]),
                limit=self.crushed,
            )

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

    def _hardly(self, record: Record) -> Iterator[Finding]:
        """A rare class that a metric of the module's own says is hardly ever predicted."""
        facts = record.facts.get("data", {}).get("train", {})
        target = facts["fields"][facts["target"]]["target"] if facts.get("target") else None
        counts = (target or {}).get("counts")
        held, common = tail(record, "val/top_share"), tail(record, "val/target_top_share")
        if not counts or not len(held) or not record.facts.get("run", {}).get("finished"):
            return
        most, least = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
        sampled = facts.get("order") == "weighted" or (facts.get("drawn") or 1.0) != 1.0
        weighed = record.facts.get("probe.step", {}).get("class_weights")
        if counts[most] <= self.ratio * counts[least] or weighed or sampled:
            return
        own = {name: float(values[-1]) for name in record.names() if COUNTS_RARE.search(name) and len(values := tail(record, name))}
        if 1 - held[-1] <= self.starved * (1 - common[-1]) and own and max(own.values()) < self.low:
            name = min(own, key=lambda name: own[name])
            yield self.finding(
                f"class {least} has {counts[least]} of the training rows read, class {most} has {counts[most]}; {held[-1]:.1%} of the "
                f"predictions are one class, and {name.removeprefix('metric/')} is {own[name]:.2g}",
                where=f"{facts['target']}, class {least}",
                fix="weight the loss (weight=, pos_weight=) or the sampling, or lower the threshold of the decision",
                ratio=counts[most] / counts[least],
                smallest=counts[least],
                threshold=self.ratio,
            )

    def _never(self, record: Record) -> Iterator[Finding]:
        """Classes that the evaluation, or the validations of a run, know of and no sample was predicted as."""
        if "evaluation" not in record and "val/predicted" not in record:
            raise NotRun("no evaluation was recorded, nor the classes that a validation predicted")
        entries = {k: e for k, e in evaluated(record, self.validations).items() if e.get("per_class") and e["task"] != "multilabel"}
        entries = {k: e for k, e in entries.items() if sum(row["support"] > 0 for row in e["per_class"]) > 1}
        if not entries:
            raise NotRun("no evaluated loader has two classes or more")
        for loader, entry in entries.items():
            least = max(self.support, self.share * entry["n"])
            never = [row for row in entry["per_class"] if row["support"] >= least and not row["predicted"]]
            usual = self.usual * entry["n"] / len(entry["per_class"])
            missed = sum(row["support"] for row in never)
            least_right = self.sure if "evaluation" not in record else self.accuracy
            certain = entry["accuracy"] * entry["n"] >= least_right * (entry["n"] - missed)
            few = 2 * len(never) >= sum(row["support"] > 0 for row in entry["per_class"])
            few = few and ("evaluation" in record or not informed(record))
            only = max(row["support"] for row in entry["per_class"] if row["predicted"])
            alone = sum(row["predicted"] > 0 for row in entry["per_class"]) == 1 and only >= self.dominant * entry["n"]
            alone = alone and "evaluation" not in record and useless(entry, self.kappa)
            sampled = record.facts.get("data.sampling", {})
            starved = any(c["drawn"] < self.drawn * c["share"] for row in never if (c := sampled.get(str(row["name"]))) is not None)
            grave = never if alone or starved else [row for row in never if row["support"] >= usual] if certain or few else []
            never = grave or never
            if never:
                names = ", ".join(str(row["name"]) for row in never[:5]) + (" ..." if len(never) > 5 else "")
                samples = sum(row["support"] for row in never)
                several = len(never) > 1
                yield self.finding(
                    f"{f'classes {names} have' if several else f'class {names} has'} {samples} of {entry['n']} samples of {loader} and "
                    f"{'are' if several else 'is'} never predicted",
                    where=f"{loader}, {names}",
                    fix="check the numbering of the classes, then weight the loss or the sampling for the missing ones",
                    severity=None if grave else Severity.INFO,
                    classes=len(never),
                    samples=samples,
                    threshold=usual if grave and not (alone or starved) else least,
                )
