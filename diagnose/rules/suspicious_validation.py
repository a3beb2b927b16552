"""Rule T321."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, require
from diagnose.rules.evidence import counted_padding, last_phase, refuse_games, tail
from diagnose.rules.skill import skill
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SuspiciousValidation(Rule):
    """Validation is far better than it can be: better than training, or read off a single column.

    ## What it measures
    Over the last third of at least `validations` validations: the validation loss against the training loss of the same batches. Below
    `ratio`, and with a validation accuracy that is higher by `gap` where accuracies are known, the finding is made. Both losses are those
    of the same loss call, not sums of several, nor one that training weighs down by half or more, and targets of values spread alike in
    both, within a factor of `unit`.

    And, in a table of at least `features` columns, whether one column tells the target alone: `alone` of its variance lies between the
    classes (`copied` of its variance is that of a target of values), or whether its values in two classes are `apart` of its standard
    deviation or more from each other, which is more than values in one class are; while the next column reaches at most `second`, and the
    model gains `skill` of what there is over a constant prediction. And whether all of at least `validations` validations are without one
    wrong answer, while the shares of their classes change from one to the next and training answers `erring` or more of its rows wrongly:
    such targets are made of the predictions.

    And whether a column holds means of the target per group, taken over training and validation rows together: over the rows of a group
    such a column leaves nothing over, so what is left over in training and in validation cancels. A correlation below -`cancel` over at
    least `values` of its values says so (823 honest columns gave -0.37 at the least, 332 such means -0.83 at the most).

    And whether a column tells more of the target in validation than in training, by `lead` of its rank correlation and `errors` standard
    errors, in both halves of the validation rows, while the other columns tell as much in both: it was made with their labels. Healthy
    tables gave 0.2 and 1.8 errors at the most, means of the target over few validation rows each 0.4 and 6.

    And whether validation scores places that training ignores: one value of an input (the padding token, a zero of an attention mask) of at
    least `places` training places has a target at none of them, all but one in a thousand are ignored, and at such places stands `padded`
    or more of what validation scores.

    And whether what the validation loss counts is padding by `filled` or more, in at least `places` places at the ends of sequences, which
    training counts less often: the words are at most `words` of the share that they have in training. Once the padding is learned, the
    loss is smaller by that factor for the same words. Where training counts as much padding, class-imbalance says it.

    And whether a logged validation loss is that of the loss calls divided once more by the size of a batch, `batch` or more, within
    `exact` in each of at least `validations` validations, and below `ratio` of the training loss, while no loss of training is logged so:
    the means of batches were summed up and divided by the number of samples.

    ## Why it matters
    Held-out data cannot be easier by so much: it is a part of the training data, it carries the answer, or the two losses do not
    measure the same.

    ## When it is wrong
    Dropout, augmentation, label smoothing and mixup make training harder than validation, hence the low `ratio`. The first epoch's
    training loss is an average over its beginning, so only later ones count. A label that is a threshold on one normal column leaves 64 %
    of that column's variance between the classes, far from `alone`; a table made with one input that matters and no noise is reported
    wrongly, and so is a validation that is drawn anew each time and is without error from the first epoch on while training is held back.
    Larger batches are padded somewhat longer, hence `words`: 0.25 and less where validation pads to one length, 0.99 where both pad alike.
    A class that really stands at the ends of sequences is no padding, as long as its input occurs between others or is not always the same.

    ## What to try
    Look at how the split was made; compare both losses in the same mode, without augmentation; look for dropout at
    the output. Ask of the named column when its value is known: before or after what is to be predicted.

    ## References
    UMLAUT (2021): validation accuracy above training accuracy. S. Kaufman et al. (2012), leakage in data mining.
    """

    code = "T321"
    name = "suspicious-validation"
    severity = Severity.WARNING
    needs = ("val/loss", "train/loss")
    instead = ("data.encoding", "data.own_labels", "data.padding", "data.filled")

    ratio: float = 0.1
    gap: float = 0.15
    validations: int = 5
    features: int = 4
    alone: float = 0.95
    copied: float = 0.9999
    apart: float = 0.1
    second: float = 0.5
    skill: float = 0.95
    erring: float = 0.1
    unit: float = 2.0
    batch: int = 8
    exact: float = 0.03
    cancel: float = 0.65
    values: int = 30
    lead: float = 0.25
    errors: float = 4.0
    padded: float = 0.1
    places: int = 100
    filled: float = 0.5
    words: float = 0.7

    def judge(self, record: Record) -> Iterator[Finding]:
        before = self._encoded(record) or self._own_labels(record) or self._padded(record) or self._filled(record)
        if before is not None:
            yield before
            return
        require(record, *self.needs)
        refuse_games(record)
        leak = self._column(record)
        if leak is not None:
            yield leak
            return
        found = [*self._answered_by_itself(record), *self._divided_twice(record)]
        if found:
            yield from found
            return
        if last_phase(record):
            raise NotRun("the loss became another function during training, and validation may speak of the former")
        if logged := record.facts.get("validation", {}).get("logged"):
            raise NotRun(f"the validation loss is {logged!r} as the module logs it, which may have another scale than the training loss")
        kinds = record.facts.get("task", {}).get("loss"), record.facts.get("validation", {}).get("loss")
        if None not in kinds and kinds[0] != kinds[1]:
            raise NotRun(f"training and validation are not measured by the same loss: {kinds[0]} and {kinds[1]}")
        mine, theirs = tail(record, "target/std"), tail(record, "val/target_std")
        if len(mine) and len(theirs) and not 1 / self.unit <= median(theirs) / max(median(mine), 1e-30) <= self.unit:
            raise NotRun("the targets of validation have another scale than those of training, and so have the losses")
        series = record.series("val/loss")
        if len(series) < self.validations:
            raise NotRun(f"too short: {len(series)} validations, at least {self.validations} are needed")
        held = tail(record, "val/loss")
        loss = record.series("train/watched_loss" if "train/watched_loss" in record else "train/loss")
        first = series.batch[-len(held)]
        same = finite(loss.value[(loss.batch >= first - (series.batch[1] - series.batch[0])) & (loss.batch <= series.batch[-1])])
        if not len(held) or not len(same):
            raise NotRun("the losses are not finite")
        if "train/watched_loss" not in record and record.facts.get("task", {}).get("written"):
            raise NotRun("the training loss is weighted or made of several parts, and what of it validation measures is not known")
        given = finite(record.series("train/loss").value)
        if median(same) > 0 and abs(median(given[-len(given) // 5 :])) < 0.5 * median(same):
            raise NotRun("the loss that is compared is but a small part of what training_step returns")
        ratio = median(held) / median(same) if median(same) > 0 and median(held) >= 0 else 1.0
        right, trained = tail(record, "val/accuracy"), tail(record, "train/accuracy")
        gap = float(right.mean() - trained.mean()) if len(right) and len(trained) else self.gap
        if ratio < self.ratio and gap >= self.gap:
            yield self.finding(
                f"the validation loss is {median(held):.3g}, {ratio:.2g} times the training loss ({median(same):.3g})"
                + (f", and its accuracy is higher by {gap:.0%}" if len(right) else ""),
                where="val_dataloader",
                fix="look at how the split was made, and compare both losses in the same mode",
                ratio=ratio,
                limit=self.ratio,
                accuracy_gap=gap,
            )

    def _answered_by_itself(self, record: Record) -> Iterator[Finding]:
        trained = tail(record, "train/accuracy")
        if "val/accuracy" not in record or "val/target_top_share" not in record or not len(trained):
            return
        right, shares = record.series("val/accuracy").value, record.series("val/target_top_share").value
        wrong = 1 - float(trained.mean())
        if len(right) >= self.validations and right.min() >= 1 and np.ptp(shares) > 1e-6 and wrong >= self.erring:
            yield self.finding(
                f"all of {len(right)} validations are without one wrong answer, though {wrong:.0%} of the training batches' are wrong, and "
                f"the largest class has {shares.min():.1%} to {shares.max():.1%} of the targets: they follow the predictions",
                where=record.source("validation_step") or "validation_step",
                fix="score the outputs against the targets of the batch",
                validations=len(right),
                wrong_in_training=wrong,
                limit=self.erring,
            )

    def _divided_twice(self, record: Record) -> Iterator[Finding]:
        loader = record.facts.get("data", {}).get("val/0", {})
        size, total = loader.get("batch_size"), loader.get("total")
        if "val/loss" not in record or not size or size < self.batch:
            return
        per_sample = [1 / size, *([math.ceil(total / size) / total] if total else [])]
        held, trained = record.series("val/loss"), median(tail(record, "train/loss"))
        losses = [name for name in record.names() if name.startswith("metric/") and "loss" in name.lower()]
        if any("val" not in name.lower() and median(tail(record, name)) < self.ratio * trained for name in losses):
            return  # training logs it so as well
        for name in (name for name in losses if "val" in name.lower()):
            series = record.series(name)
            logged = dict(zip(series.step.tolist(), series.value.tolist(), strict=True))
            shares = np.array([logged[s] / v for s, v in zip(held.step.tolist(), held.value.tolist(), strict=True) if s in logged and v])
            same = any(np.abs(shares / share - 1).max(initial=0.0) <= self.exact for share in per_sample)
            if len(shares) >= self.validations and same and (last := median(tail(record, name))) < self.ratio * trained:
                shown, call = name.removeprefix("metric/"), median(tail(record, "val/loss"))
                yield self.finding(
                    f"{shown!r} is logged as {last:.3g}, 1/{1 / median(shares):.3g} of what the loss calls of validation give "
                    f"({call:.3g}), and batches have {size} samples: means of batches are divided by the number of samples",
                    where=record.source("on_validation_epoch_end") or shown,
                    fix="divide by the number of batches, or log the loss in validation_step and let Lightning average it",
                    logged=last,
                    watched=call,
                    batch_size=size,
                    validations=len(shares),
                )
                return

    def _encoded(self, record: Record) -> Finding | None:
        seen = record.facts.get("data.encoding")
        if seen is None or seen["values"] < self.values or seen["correlation"] > -self.cancel:
            return None
        return self.finding(
            f"column {seen['column']} of {seen['path']} holds means of the target that were taken over training and validation rows "
            f"together: over {seen['values']} of its values, what is left over in both cancels (correlation {seen['correlation']:.2f})",
            where=f"train, {seen['path']}[:, {seen['column']}]",
            fix="split first, and take the means of the training rows alone (out of fold for these themselves)",
            correlation=seen["correlation"],
            limit=-self.cancel,
            values=seen["values"],
            told=seen["told"],
        )

    def _own_labels(self, record: Record) -> Finding | None:
        seen = record.facts.get("data.own_labels")
        if seen is None or seen["lead"] < self.lead or seen["errors"] < self.errors:
            return None
        return self.finding(
            f"column {seen['column']} of {seen['path']} tells far more of the target in validation than in training (rank correlation "
            f"{seen['held']:.2f} and {seen['told']:.2f}), the other columns do not: it was made with the labels of validation",
            where=f"val_dataloader, {seen['path']}[:, {seen['column']}]",
            fix="make the column of validation rows from training labels alone",
            lead=seen["lead"],
            limit=self.lead,
            errors=seen["errors"],
        )

    def _padded(self, record: Record) -> Finding | None:
        seen = record.facts.get("data.padding")
        if seen is None or seen["places"] < self.places or seen["share"] < self.padded:
            return None
        return self.finding(
            f"{seen['share']:.0%} of what validation scores stands where {seen['path']} is {seen['value']:g}, {seen['agree']:.0%} of it "
            f"with the target {seen['label']}; training ignores its {seen['places']} places of that value",
            where="val_dataloader",
            fix="give the padding of validation the target that the loss ignores, as that of training has",
            share=seen["share"],
            limit=self.padded,
            places=seen["places"],
        )

    def _filled(self, record: Record) -> Finding | None:
        seen, mine = record.facts.get("data.filled"), counted_padding(record)
        if seen is None or seen["places"] < self.places or seen["share"] < self.filled:
            return None
        trained = mine["share"] if mine else 0.0
        words = (1 - seen["share"]) / (1 - trained) if trained < self.filled else 1.0  # else padding is what training counts as well
        if words > self.words:
            return None
        beside = f", {trained:.0%} of those of training" if trained else ""
        return self.finding(
            f"{seen['share']:.0%} of the targets that the validation loss counts are padding{beside} (class {seen['label']}, at the end of "
            f"sequences, where {seen['path']} is {seen['value']:g}): it and an accuracy over these places are mostly those of the padding",
            where=record.source("validation_step") or "val_dataloader",
            fix="pad the targets with ignore_index (-100), or mask these places in the loss and in the metrics, for both loaders",
            share=seen["share"],
            limit=self.filled,
            trained=trained,
            words=words,
            places=seen["places"],
        )

    def _column(self, record: Record) -> Finding | None:
        seen, learned = record.facts.get("data.telling"), skill(record)
        if seen is None or learned is None or learned < self.skill or seen["features"] < self.features:
            return None
        limit, gap = self.alone if seen["kind"] == "class" else self.copied, seen.get("apart")
        if seen["share"] >= limit and seen["second"] <= self.second:
            known = {"share": seen["share"], "limit": limit, "second": seen["second"]}
            said = f"{seen['share']:.1%} of its variance is the target's"
        elif gap is not None and gap["gap"] >= self.apart and gap["second"] <= self.second:
            seen, known = seen | gap, {"gap": gap["gap"], "limit": self.apart, "second": gap["second"]}
            said = f"its values in the two classes are {gap['gap']:.2g} standard deviations or more apart"
        else:
            return None
        return self.finding(
            f"column {seen['column']} of {seen['path']} tells the target alone: {said}, of the next of {seen['features']} columns "
            f"{seen['second']:.1%} of the variance, and the model gets {learned:.0%} of what there is to gain",
            where=f"train, {seen['path']}[:, {seen['column']}]",
            fix="leave the column out, unless its value is known before what is to be predicted",
            skill=learned,
            **known,
        )
