"""Rule D108."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule, require
from diagnose.values import Finding, Severity

SIDE = 8  # pixels of a picture, at least


@dataclass(frozen=True, kw_only=True)
class ConflictingLabels(Rule):
    """Identical inputs carry different labels, which no network can tell apart.

    ## What it measures
    Training rows with equal inputs (all fields but the target, bit by bit) and different targets. At least `rows` of them and a share of
    `share` are worth an `info`; they are a warning where equal inputs cannot be chance (some column holds fine real numbers, or the entropy
    of the columns, cut to a third, makes fewer than `chance` equal rows likely), where all columns look standardised and then cast to
    integers (whole numbers of both signs, at least half of them zero, the mean within a tenth of the standard deviation from zero), or
    where a share of `alike` of the inputs is one and the same, or is, in sequences of whole numbers, the same as all of its length, or has
    equal ones with other targets and the floor to be expected of new rows is `nothing` of the labels' entropy or more, so that nothing can
    be learned; and the floor that they set is at least `floor` of that entropy (for regression half of the variance). A floor of `heavy` is
    a warning, too, where two labels of equal inputs differ more often than any labels that are drawn one by one can, `opposed` times as
    often and `certain` standard errors beyond: of two classes with the mean share m over the inputs that occur again, that is 2 m (1 - m)
    at most. Such labels were made as counterparts, as where a positive row stands once and negative rows are drawn that may be the same, or
    the inputs lack what tells the rows apart, as where the words that do are taken out of texts. Of several classes any two are looked at,
    unless hardly any row (a twentieth) stands twice with its label.

    And whether each batch numbers its classes anew: of `numbered` batches or more that lack a class, all hold the classes 0 to k - 1, which
    no more than `usual` of batches filled at random from the same rows do. A row has another label then in another batch.

    ## Why it matters
    The loss cannot fall below the entropy of the labels given the input, whatever the network and the training. The cause is mostly a
    fault: a crop or a transform that removes what tells the classes apart, a join on the wrong key, labels merged from two sources.

    ## When it is wrong
    A few categorical columns leave people with the same answers and other outcomes: that is noise of the problem, hence `info` where the
    inputs tell anything at all and are no pictures, or the field is but guessed to be the target (whole numbers of many values are not
    judged then: they may be names of things, users and items). So are repeated measurements on a grid, and several annotators' labels of
    one sample, though their floor is real. A log in which a row is tried again until it succeeds has opposed labels where most tries do:
    the number of the try is then an input that is missing.

    ## What to try
    Look at some of the pairs; view the inputs after the last transform; check the keys of the join. Where several labels are right, use
    their shares as soft targets.

    ## References
    deepchecks: conflicting labels. Northcutt et al., Confident Learning (JAIR 2021).
    """

    code = "D108"
    name = "conflicting-labels"
    severity = Severity.WARNING
    needs = ("data.conflicts",)
    instead = ("data.numbering",)
    explains = (
        "input-independent",
        "misaligned-labels",
        "cannot-overfit-batch",
        "underfitting",
        "split-overlap",
        "prediction-collapse",
        "overfitting",
        "no-gradient",
    )

    rows: int = 10
    share: float = 0.05
    chance: float = 1e-3
    floor: float = 0.05
    alike: float = 0.9
    nothing: float = 0.98
    opposed: float = 1.4
    certain: float = 4.0
    heavy: float = 0.2
    numbered: int = 10
    usual: float = 0.5

    def judge(self, record: Record) -> Iterator[Finding]:
        anew = record.facts.get("data.numbering")
        if anew and anew["batches"] >= self.numbered and anew["whole"] == 1 and anew["expected"] <= self.usual:
            yield self.finding(
                f"each batch numbers its classes anew: all of {anew['batches']} batches that lack some of {anew['classes']} classes hold "
                f"just the first ones, which {anew['expected']:.0%} of batches filled at random do",
                where="train",
                fix="number the classes once, for the whole data set, and not in the collate function",
                batches=anew["batches"],
                expected=anew["expected"],
                limit=self.usual,
            )
            return
        require(record, *self.needs)
        seen = record.facts["data.conflicts"]
        classes, most = seen["kind"] == "class", float(seen.get("largest", seen["distinct"] == 1))
        least = self.floor * seen["prior"] if classes else 0.5
        if seen["involved"] < self.rows or seen["share"] < self.share or seen["floor"] < self.floor * seen["prior"]:
            return
        cut = bool(seen.get("cut"))
        alike = seen["continuous"] or cut or seen["rows"] * 2.0 ** (-seen["bits"] / 3) < self.chance
        by_length = float(seen.get("by_length", 0.0)) >= self.alike
        alike = (
            alike
            or by_length
            or most >= self.alike
            or (seen["share"] >= self.alike and seen.get("expected", seen["floor"]) >= self.nothing * seen["prior"])
        )
        pairs = seen.get("opposed") if not alike and seen["floor"] >= self.heavy * seen["prior"] else None
        opposed = pairs if pairs and pairs["apart"] >= self.opposed * pairs["most"] and pairs["z"] >= self.certain else {}
        alike = alike or bool(opposed) or (classes and pictures(record))
        if "target" in record.facts.get("data", {}).get("train", {}).get("guessed", ()):  # no loss is seen to get this field
            alike = False
        unit = f"{seen['floor']:.3g} nats, chance being {seen['prior']:.3g}" if classes else f"{seen['floor']:.0%} of the variance"
        if seen["distinct"] == 1:
            what = "all training inputs read are identical, with different targets"
        elif most >= self.alike:
            what = f"{most:.0%} of the training inputs read are identical, with different targets"
        elif by_length:
            what = f"{seen['by_length']:.0%} of the training inputs read are the same as all others of their length, with different targets"
        else:
            what = (
                f"{seen['share']:.0%} of the training rows ({seen['involved']} of {seen['rows']}) have inputs that occur with other targets"
            )
        if opposed:
            pair = opposed.get("pair")
            of = f" of the classes {pair[0]} and {pair[1]}" if pair else ""
            what += (
                f", and two rows{of} with one input differ more often ({opposed['apart']:.0%}) than labels drawn one by one can "
                f"({opposed['most']:.0%})"
            )
            fix = "draw negative rows from what is not positive, or add the input that tells such rows apart"
            if pair:
                fix = "look at what tells these classes apart in the raw data, and where it gets lost on the way to the input"
        elif by_length:
            fix = "look at some of the tokens: words that the vocabulary does not hold all become one (case, prefixes, another tokenizer)"
        elif cut:
            fix = "cast the labels alone to integers: all input columns look standardised and cut to whole numbers"
        else:
            fix = "compare some of these rows: view the inputs after the last transform, and check the key that joined inputs and labels"
        yield self.finding(
            f"{what}, so the loss cannot fall below {unit}",
            where="train",
            fix=fix,
            severity=self.severity if alike and seen["floor"] >= least else Severity.INFO,
            share=seen["share"],
            rows=seen["involved"],
            floor=seen["floor"],
            prior=seen["prior"],
            threshold=self.share,
            **{name: opposed[name] for name in ("apart", "most") if opposed},
        )


def pictures(record: Record) -> bool:
    """Whether the one input is a picture: what stands in it was seen, and is no list of a few answers."""
    train = record.facts.get("data", {}).get("train", {})
    shapes = [train["fields"][name].get("shape") or [] for name in train.get("inputs", ())]
    return len(shapes) == 1 and len(shapes[0]) == 3 and min(shapes[0][1:]) >= SIDE
