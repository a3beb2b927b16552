"""Rule E401."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, require
from diagnose.rules.class_weights import outweighed
from diagnose.rules.direction import FROM_ZERO, words
from diagnose.rules.evidence import losses, refuse_adversary, refuse_games, run, tail
from diagnose.rules.validated import evaluated, own_metrics, useless
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class BelowBaseline(Rule):
    """The model is no better than a guess that never looks at the input.

    ## What it measures
    Per evaluated loader. Classes: Cohen's kappa, the agreement beyond chance, with its 95 % interval and, where there are probabilities,
    the area under the ROC curve. It fires when the interval of kappa does not lie above 0 and ends below `kappa` (a useful agreement is
    ruled out) and the area is at most `area`. Values: it fires when the 95 % interval of R² does not lie above 0, the R² of answering
    with the mean, and ends below `r2`. At least `samples` samples are needed, and for classes `others` outside of the largest. Answers at
    random and answers that are always the same give kappa 0 whatever the shares of the classes; accuracy alone would pass about half of
    the models that answer at random. Of a training of classes that nobody evaluated, the middle one of its last third of at least
    `validations` validations is judged.

    Where a training calls no loss function that is known, so that its predictions are not: what the module itself logs in validation and is
    the better the larger it is, if an accuracy, an overlap (IoU, Jaccard, Dice) or an F1 is among it. It fires when a finished run of
    `rows` batches or more has brought the loss down by `fallen` of its size in the first five, and no loss of its last fifth lies half as
    high; when the loss of validation, where it is known, fell as well; and when yet none of these metrics came to `low` in the last third
    of at least `validations` validations.

    Where the loss weighs its classes: it is a warning where the accuracy in validation ends below the share of the most frequent class, by
    three standard errors, and a class that is predicted more often than it occurs counts `over` times as much in the loss, by weight and
    number, as one that has the share `common` of the targets or more.

    ## Why it matters
    Such a model has learned nothing that it can use on new data, whatever its training loss says.

    ## When it is wrong
    A target that cannot be predicted from the input; a test set from elsewhere. A model that gives up accuracy for the recall of rare
    classes is not meant: its kappa and its area lie above chance, and weights that make up for the frequencies are left alone. Where hardly
    anything is positive, a loss that is written by hand falls far, too, as nothing is marked at first; longer training or weights may come
    round from there.

    ## What to try
    Look at the findings about data, model and training first, as this is what they lead to. Evaluate on the training data: if the model
    is good there it overfits, if not it does not train. Check that inputs are prepared, and classes numbered, as in training. Where the
    loss falls and a metric stays at nothing, the step may minimise what should be maximised, as a Dice coefficient without `1 -`.

    ## References
    deepchecks, check Simple Model Comparison. Cohen, A coefficient of agreement for nominal scales, 1960.
    """

    code = "E401"
    name = "below-baseline"
    severity = Severity.ERROR
    needs = ("evaluation",)
    instead = ("val/predicted", "logged")
    role = "symptom"
    explains = ("unpredicted-class",)

    kappa: float = 0.15
    area: float = 0.6
    r2: float = 0.05
    samples: int = 20
    others: int = 10
    validations: int = 3
    fallen: float = 0.95
    rows: int = 50
    low: float = 0.02
    over: float = 3.0
    common: float = 0.1

    def judge(self, record: Record) -> Iterator[Finding]:
        finding = self._apart(record)
        if finding is not None:
            yield finding
            return
        finding = self._outweighed(record)
        if finding is not None:
            yield finding
            return
        if "val/predicted" not in record:
            require(record, *self.needs)
        yield from self._by_answers(record)

    def _apart(self, record: Record) -> Finding | None:
        """The finding that the loss falls and the module's own metrics stay at their least: what is minimised is not what is wanted."""
        if any(name in record for name in ("evaluation", "val/accuracy")) or record.facts.get("probe.step", {}).get("calls", 1):
            return None
        own = {name: v for name, v in own_metrics(record).items() if len(v) >= self.validations}
        rated = [name for name in own if words(name) & set(FROM_ZERO)]
        if not rated or "train/loss" not in record or not run(record).get("finished"):
            return None
        refuse_games(record)
        refuse_adversary(record)
        values, held = losses(record, self.rows), tail(record, "val/loss")
        last = values[-len(values) // 5 :]
        start, end = median(values[:5]), median(last)
        highest = max(float(v[-max(self.validations, round(len(v) / 3)) :].max()) for v in own.values())
        fell = start - end >= self.fallen * abs(start) and last.max() < (start + end) / 2
        if highest >= self.low or not fell or (len(held) and median(held) >= finite(record.series("val/loss").value)[0]):
            return None
        name = rated[0]
        return self.finding(
            f"the loss falls from {start:.3g} to {end:.3g}, and {name}, of which more is better, goes from {own[name][0]:.2g} to "
            f"{own[name][-1]:.2g}: what is minimised does not make the model better",
            where=record.source("training_step") or name,
            fix="take 1 - the coefficient, or the minus, if the step minimises what should grow; else check what the metric is given, and "
            "whether rare positives need weights",
            first=float(own[name][0]),
            last=float(own[name][-1]),
            highest=highest,
            limit=self.low,
            start=start,
            end=end,
        )

    def _outweighed(self, record: Record) -> Finding | None:
        """The finding that weights of the loss cost more than they make up for."""
        unequal = outweighed(record, self.over, self.common)
        right, base = tail(record, "val/accuracy"), tail(record, "val/target_top_share")
        if unequal is None or len(right) < self.validations or not run(record).get("finished") or "val/actual" not in record:
            return None
        (high, low), given = unequal, record.facts["probe.step"]["class_weights"]
        actual, predicted = (record.series(f"val/{name}").value[-1] for name in ("actual", "predicted"))
        most, n = float(base[-1]), float(actual.sum())
        if high >= len(actual) or predicted[high] <= actual[high] or median(right) >= most - 3 * math.sqrt(most * (1 - most) / n):
            return None
        mass = [w * c for w, c in zip(given["weight"], given["count"], strict=True)]
        return self.finding(
            f"accuracy on validation is {median(right):.3g}, always answering with the most frequent class gives {most:.3g}: class {high} "
            f"counts {mass[high] / mass[low]:.3g} times as much in the loss as class {low}, and {predicted[high] / n:.0%} of the answers "
            f"are class {high}, {actual[high] / n:.0%} of the targets",
            where="class weights of the loss",
            fix="take weights that make up for the frequencies: len(y) / (classes * counts), for pos_weight negatives / positives",
            severity=Severity.WARNING,
            accuracy=median(right),
            baseline=most,
            times=mass[high] / mass[low],
            limit=self.over,
        )

    def _by_answers(self, record: Record) -> Iterator[Finding]:
        """What the evaluation, or the last validations, say of the answers of the model."""
        judged = 0
        for loader, entry in evaluated(record, self.validations).items():
            if entry["n"] < self.samples or entry["task"] == "multilabel":
                continue
            intervals, baseline = entry.get("intervals") or {}, entry.get("baseline") or {}
            if entry["task"] == "regression":
                low, high = intervals.get("r2") or (None, None)
                if low is None or high is None:
                    continue
                judged += 1
                if low <= 0 and high <= self.r2:
                    yield self.finding(
                        f"R² on {loader} is {entry['r2']:.3g} (95 % interval up to {high:.3g}): the mean of the targets is as good",
                        where=loader,
                        fix="look at the other findings first; then evaluate on the training data to tell overfitting from not learning",
                        r2=entry["r2"],
                        high=high,
                        threshold=self.r2,
                    )
                continue
            low, high = intervals.get("kappa") or (None, None)
            most = baseline.get("accuracy", baseline.get("majority"))
            if low is None or high is None or most is None or (1 - most) * entry["n"] < self.others - 0.5:
                continue
            judged += 1
            area = entry.get("roc_auc")
            if useless(entry, self.kappa) and (area is None or area <= self.area):
                yield self.finding(
                    f"accuracy on {loader} is {entry['accuracy']:.3g}, always answering with the most frequent class gives {most:.3g}",
                    where=loader,
                    fix="look at the other findings first; then evaluate on the training data to tell overfitting from not learning",
                    accuracy=entry["accuracy"],
                    baseline=most,
                    kappa=entry["kappa"],
                    kappa_high=high,
                    threshold=self.kappa,
                )
        if not judged:
            raise NotRun(
                f"no evaluated loader has {self.samples} samples, {self.others} of them outside of the largest class, or values that differ"
            )
