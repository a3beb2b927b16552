"""Rule D106."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from diagnose import rules
from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.evidence import open_set, run
from diagnose.rules.unpredicted_class import UnpredictedClass
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SplitShift(Rule):
    """The validation inputs or labels are distributed unlike those of training.

    ## What it measures
    For each float input the distance between the quantiles of training and validation values, in standard deviations of the training
    values, by feature. It is a finding when one feature (or the regression target) is further than `feature` apart, or half as far where it
    is the only one and spreads wider by a factor of `stretch`, as under another transform; when at least half of several features are
    further apart than 1 or spread differently by a factor of 3; or when the values of an image are, taken together, further apart than
    `image` or spread differently by a factor of 2.5. Four times the distance that the number of validation rows alone may cause is added to
    each limit. For labels: classes that make up at least `missing` of training, each expected at least 10 times, and that do not occur in
    validation; classes that make up `unseen` of validation and do not occur in training (where only a part of it was read, in `sampled`
    rows at least, and `per_class` for each class, and not where batches and quarters of the epoch are `sorted` by class); and the distance
    of the class shares (total variation), a finding above `labels`, and worth an `info` above half of it.

    And whether what tells the targets apart among training rows does so in validation: a model of no training (the five nearest rows, or
    naive Bayes of words), made of three quarters of the training rows, gains at least `learn` of what there is to gain in mean recall
    over a guess on the others, and less than `lost` of that in validation, whose rows (of a table) lie at most `near` times as far from
    their neighbours. Where it gains `again` of it once the classes of validation are given other numbers, they are numbered otherwise. So
    are two or more classes alone, of which `asked` rows or more were looked at, that are recognised as seldom as that by their own number,
    and as often by the other.

    And whether a weighted sampler draws the rarest class `widened` times more rarely than it is, in a data set whose largest class has more
    than `unequal` times as many rows: its weights were the counts, and not their inverse. Once training shows that a class is never
    predicted, unpredicted-class says it in its place.

    ## Why it matters
    A transform that only one of the splits gets, another unit, or a split by position makes the validation loss speak of something else
    than what the network learned: it rises while training goes well, and early stopping picks the wrong weights.

    ## When it is wrong
    A split by time lets trends drift: up to three standard deviations in some features, or in all columns of overlapping windows of one
    series, stay silent. Where training or validation is balanced over the classes on purpose, other class shares are only `info`, and so is
    every further validation loader, and one whose classes are all strange to training and are given to no loss there, as where a search
    among new classes is tested. A curriculum brings later what its first epoch, the one that is read, lacks: where somebody's own sampler
    takes less than `drawn` of its data set in it, the Trainer reloads its loaders, a hook of the module or of a callback reaches into the
    training data, its steps write to what the data set holds (a replay buffer), or the data set changes its length or a number of its own
    as it is read, or the collate function does (a vocabulary that grows), all but a class that validation lacks is `info`. A stream that
    changes by itself is reported wrongly. A regression target that is but guessed, as no loss is seen to get it, is not compared. Where
    training holds several rows of each person and validation other persons, neighbours tell less there; of 61 healthy programs none lost
    0.4 of what its neighbours or words told.

    ## What to try
    Apply the same normalisation, with the statistics of the training rows, to all splits; shuffle before splitting by position, or split
    stratified by class; compare a few raw rows of both.

    ## References
    deepchecks: feature drift 0.2 and label drift 0.15. Villani, Optimal Transport (2009): the Wasserstein distance.
    """

    code = "D106"
    name = "split-shift"
    severity = Severity.WARNING
    needs = ("data.shift",)
    instead = ("data.sampling",)
    explains = ("overfitting", "suspicious-validation", "generalization-gap")

    feature: float = 3.0
    stretch: float = 2.5
    image: float = 0.5
    missing: float = 0.1
    unseen: float = 0.05
    labels: float = 0.3
    sampled: int = 500
    per_class: int = 7
    drawn: float = 0.9
    sorted: float = 0.5
    learn: float = 0.5
    lost: float = 0.2
    again: float = 0.6
    asked: int = 10
    near: float = 1.5
    unequal: float = 2.0
    widened: float = 2.0

    def judge(self, record: Record) -> Iterator[Finding]:
        widened = self._widened(record)
        if widened is not None:
            if not any(f.severity >= Severity.WARNING for f in rules.run(UnpredictedClass(), record).findings):
                yield widened
            return
        rules.require(record, *self.needs)
        train = record.facts.get("data", {}).get("train", {})
        weighted, whole = train.get("order") == "weighted", train.get("coverage", 1.0) == 1.0
        share = train.get("drawn")
        order = record.facts.get("data.order", {})
        part = not whole and order.get("ratio", 1.0) <= self.sorted and order.get("along", 1.0) >= self.sorted  # later ones differ
        changing = "data.changed_by" in record or bool(run(record).get("reloads")) or (share is not None and share < self.drawn)
        for number, (name, facts) in enumerate(record.facts["data.shift"].items()):
            findings = [f for path, field in facts["inputs"].items() for f in self._input(name, path, field)]
            findings += [
                *(self._values(name, facts["values"]) if "target" not in train.get("guessed", ()) else ()),
                *(() if part else self._labels(name, facts["labels"], weighted, whole, open_set(record, name))),
                *(self._relation(name, record.facts.get("data.transfer")) if number == 0 else ()),
            ]
            for finding in sorted(findings, key=lambda f: -f.severity.rank)[:1]:
                later = changing and "missing" not in finding.evidence
                yield replace(finding, severity=Severity.INFO) if number or later else finding

    def _widened(self, record: Record) -> Finding | None:
        """A sampler that draws rare classes more rarely than they are."""
        known = record.facts.get("data.sampling")
        if not known:
            return None
        most, least = max(known, key=lambda c: known[c]["share"]), min(known, key=lambda c: known[c]["share"])
        rare, common = known[least], known[most]
        if common["share"] <= self.unequal * rare["share"] or rare["drawn"] * self.widened >= rare["share"]:
            return None
        return self.finding(
            f"the sampler draws class {least}, {rare['share']:.2g} of the data set, for {rare['drawn']:.2g} of the rows, and class "
            f"{most}, {common['share']:.2g} of it, for {common['drawn']:.2g}: its weights rise with the frequency of the classes, and "
            "training sees other shares than the data have",
            where="sampler of the training loader",
            fix="weigh the rows by the inverse of their class's count: 1 / counts[y]",
            share=rare["share"],
            drawn=rare["drawn"],
            limit=rare["share"] / self.widened,
        )

    def _input(self, name: str, path: str, field: Mapping[str, Any]) -> Iterator[Finding]:
        if min(field["rows"]) < 8:
            return
        allowance, worst, image = 4 * field["noise"], field["worst"], field["image"]
        place = f"{field['axis']} {worst['column']} of {path}"
        sole = field["features"] == 1 or bool(field.get("windows"))
        if sole or image is not None:
            place = path
        half = not sole and field["shifted"] >= max(2, field["features"] / 2) and worst["distance"] > 0.5 and min(field["rows"]) >= 20
        wider = sole and worst["ratio"] >= self.stretch and min(field["rows"]) >= 20
        limit = self.feature / 2 if wider else self.feature
        if worst["distance"] > limit + allowance:
            shown, text = worst, place
        elif image is not None and (image["distance"] > self.image + allowance or not 0.4 < image["ratio"] < 2.5):
            shown, limit, text = image, self.image, path
        elif half:
            shown, limit = worst, 1.0
            text = (
                f"{field['shifted']} of {field['features']} features of {path} differ, most of all {field['axis']} {worst['column']}, which"
            )
        else:
            return
        yield self._finding(name, text, shown, limit, "apply the same transform and units, with the training statistics, to both splits")

    def _values(self, name: str, values: Mapping[str, Any] | None) -> Iterator[Finding]:
        if values is not None and values["distance"] > self.feature + 1:
            yield self._finding(name, "the target", values, self.feature, "scale the targets of both splits alike, or split at random")

    def _finding(self, name: str, what: str, seen: Mapping[str, Any], limit: float, fix: str) -> Finding:
        return self.finding(
            f"{what} has mean {seen['train_mean']:.3g} and standard deviation {seen['train_std']:.3g} in training, "
            f"{seen['val_mean']:.3g} and {seen['val_std']:.3g} in validation: {seen['distance']:.3g} training standard deviations apart",
            where=name,
            fix=fix,
            distance=seen["distance"],
            threshold=limit,
            train_mean=seen["train_mean"],
            train_std=seen["train_std"],
            val_mean=seen["val_mean"],
            val_std=seen["val_std"],
        )

    def _relation(self, name: str, seen: Mapping[str, Any] | None) -> Iterator[Finding]:
        """Validation rows that look like training rows and have targets that go with other inputs."""
        if seen is None or seen["inside"] < self.learn or seen["apart"] > self.near:
            return
        swapped = self._swapped(seen)
        if seen["held"] > self.lost * seen["inside"] and not swapped:
            return
        model = "the five nearest training rows" if seen["model"] == "nearest" else "naive Bayes of the training rows' words"
        said = (
            f"{model} give {seen['inside']:.0%} of what there is to gain on other training rows, {max(seen['held'], 0):.0%} in validation"
        )
        evidence = {"inside": seen["inside"], "held": seen["held"], "limit": self.lost * seen["inside"]}
        if seen.get("renumbered", 0.0) >= self.again * seen["inside"] and (numbers := swapped or seen["numbers"]):
            pairs = ", ".join(f"{a} is {b} there" for a, b in numbers[:3])
            yield self.finding(
                f"the classes of validation are numbered otherwise than those of training ({pairs}): {said}, and "
                f"{seen['renumbered']:.0%} with these numbers",
                where=name,
                fix="number the classes once, from the training data, and use that for every split",
                **evidence,
                renumbered=seen["renumbered"],
            )
        elif seen["table"]:  # pictures may be changed in training only
            yield self.finding(
                f"what goes with the targets in training does not in validation: {said}",
                where=name,
                fix="build vocabulary, encoders and order of columns from the training data alone, for every split; look whether inputs "
                "and targets of validation are paired rightly",
                **evidence,
            )

    def _swapped(self, seen: Mapping[str, Any]) -> list[list[int]]:
        """The classes that are hardly ever recognised in validation, and mostly as others, if there are two or more."""
        low, high = self.lost * seen["inside"], self.again * seen["inside"]
        moved = zip(seen.get("numbers", ()), seen.get("moved", ()), strict=False)
        sure = [pair for pair, (rows, own, other) in moved if rows >= self.asked and own <= low and other >= high]
        return sure if len(sure) > 1 else []

    def _labels(self, name: str, seen: Mapping[str, Any] | None, weighted: bool, whole: bool, strangers: bool) -> Iterator[Finding]:
        if seen is None:
            return
        rows = sum(seen["train"].values()), sum(seen["val"].values())
        missing = [m for m in seen["missing"] if m["expected"] >= 10]
        share = sum(m["expected"] for m in missing) / rows[1]
        unseen = [u for u in seen["unseen"] if u["found"] >= 3]
        strange = sum(u["found"] for u in unseen) / rows[1]
        fix = "shuffle before splitting by position, or split stratified by class"
        enough = 100 if whole else max(self.sampled, self.per_class * len(seen["train"]))  # a rare class may be left out by chance
        if unseen and strange >= self.unseen and rows[0] >= enough:
            yield self.finding(
                f"class {_classes(unseen)} makes up {strange:.0%} of validation and does not occur among {rows[0]} training rows",
                where=name,
                fix="nothing, where validation is to be of new classes; else split stratified by class" if strangers else fix,
                severity=Severity.INFO if strangers else self.severity,
                share=strange,
                threshold=self.unseen,
            )
        elif missing and share >= self.missing:
            yield self.finding(
                f"class {_classes(missing)} makes up {share:.0%} of training and does not occur among {rows[1]} validation rows",
                where=name,
                fix=fix,
                missing=share,
                threshold=self.missing,
            )
        elif (distance := seen["distance"] - 3 * seen["noise"]) > self.labels / 2:
            on_purpose = weighted or max(seen["train_evenness"], seen["val_evenness"]) > 0.98
            yield self.finding(
                f"the class shares of training and validation differ by {seen['distance']:.0%} (total variation)",
                where=name,
                fix=fix,
                severity=self.severity if distance > self.labels and not on_purpose else Severity.INFO,
                distance=seen["distance"],
                noise=seen["noise"],
                threshold=self.labels,
            )


def _classes(rows: list[dict[str, Any]]) -> str:
    return ", ".join(str(row["class"]) for row in rows[:5]) + (" …" if len(rows) > 5 else "")
