"""Rule E401."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.validated import evaluated, useless
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

    ## Why it matters
    Such a model has learned nothing that it can use on new data, whatever its training loss says.

    ## When it is wrong
    A target that cannot be predicted from the input; a test set from elsewhere. A model that gives up accuracy for the recall of rare
    classes is not meant: its kappa and its area lie above chance.

    ## What to try
    Look at the findings about data, model and training first, as this is what they lead to. Evaluate on the training data: if the model
    is good there it overfits, if not it does not train. Check that inputs are prepared, and classes numbered, as in training.

    ## References
    deepchecks, check Simple Model Comparison. Cohen, A coefficient of agreement for nominal scales, 1960.
    """

    code = "E401"
    name = "below-baseline"
    severity = Severity.ERROR
    needs = ("evaluation",)
    instead = ("val/predicted",)
    role = "symptom"
    explains = ("unpredicted-class",)

    kappa: float = 0.15
    area: float = 0.6
    r2: float = 0.05
    samples: int = 20
    others: int = 10
    validations: int = 3

    def judge(self, record: Record) -> Iterator[Finding]:
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
