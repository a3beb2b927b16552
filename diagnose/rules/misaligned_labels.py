"""Rule D110."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.class_weights import rising_weights
from diagnose.values import Finding, Severity

SILENT = 1e-6  # change of what a loss compares, up to which nobody reads a field


@dataclass(frozen=True, kw_only=True)
class MisalignedLabels(Rule):
    """Outputs are held against the labels of other samples: the step mixes them up, or nothing that is learned holds on other batches.

    ## What it measures
    In the step: one sample's input and its target are changed in turn, and are apart where they reach different rows of the loss; that is
    an error. So it is where a step that blends two samples, as mixup does, gives each target the share of the other sample in all of
    `draws` draws or more, and where a collate function of one's own, given some items and each of them alone, puts `mixed` or more of the
    rows that are known again beside the target of another item, and where inputs and targets come of two loaders of as many rows, of which
    one shuffles, or both on their own, and a copy learns nothing that holds on other batches (`clear`, see below). In images with a target
    for each pixel: what the pixels of a class look like tells which image a target belongs to, for at least `known` of the rows, and for
    `turned` of them only after it was mirrored or turned, which gains half of what the own target gains over another row's, or more. In
    boxes of images (rows of four numbers that lie in the image, all of them, and would not if their columns were dealt anew): items of the
    data set are read more than once, and where the image comes mirrored the box has to move; it is reported where it stays in `behind` of
    the items, of at least `mirrored` that a mirror would move clearly. In the data: a copy is trained on some batches and its predictions
    are held against the targets of others, by a permutation test: how many standard deviations the match lies above that with shuffled
    targets. It is reported when the match is clear on the batches trained on (`memorised`), not on the others (`clear`; `early` for the
    best of three looks after the first passes), and the training loss does not end below that with shuffled labels by `gain` of it. A large
    network learns both sorts of labels by heart, and both losses end at nearly nothing, one of them at a tenth of the other: then the whole
    fall is judged, and the finding is made where the area under the loss is not smaller than with shuffled labels by `lead` of it, and no
    look at the other batches showed more than `faint`, or more than `clear` where the areas are alike (`alike`). Then the same is tried
    with the targets of the rows before and after: where those are learned (`neighbour`), in a data set whose neighbouring rows are no more
    alike than any two, the targets are shifted by one. Where the network can learn one batch by heart (`overfits`) but not all of them in
    this time, an info says that nothing was found that holds elsewhere.

    ## Why it matters
    Features that were shuffled without their labels, or a join that matched the wrong rows, leave data that look right column by
    column. The training loss goes down, the validation loss goes up, and it looks like overfitting.

    ## When it is wrong
    A weak signal (clicks, returns) looks the same in a short training; so a copy is trained once over up to 300 batches, too, and where its
    predictions go with the targets of the last of them, by more than `clear`, nothing is said; nor is it where a model that needs no
    training (the nearest rows, a linear map, counts of words) gains `told` of what there is in validation. What cannot be told apart is a
    problem that the network cannot express: targets that no input tells anything about are like targets of other rows, except where a shift
    gives them away. Labels of equal inputs that differ more often than those of any two rows, by `opposed` standard errors, are no work of
    a shuffle, and nothing is said; nor is it of inputs that are but up to three whole numbers, which may be names of things (users and
    items). At least `samples` held-out samples are asked for. In a series of which rows are shuffled beforehand, a forecast looks like a
    shift. Two trainings by heart end at losses that differ by a third by chance, hence the size of `gain`; the areas under two such falls
    differ by up to 0.27 of them, and by 0.7 where labels are learned that hold for the rows of the same person or place alone. Where
    something was learned, healthy programs match the other samples by 2.6 standard deviations or more; a weak signal in a few hundred rows
    does by 1 to 2, hence `faint`: it learns faster than from shuffled labels, hence `alike`. Targets of images fit better when they are
    turned in 8 % of the rows or fewer of healthy programs, and in about half of them where one flip is drawn apart. Boxes that move with
    their image stay behind in none of the items, boxes that are forgotten in all of them; four targets that are no boxes, but of which one
    is always below another, as the ends of two ranges are, look like some.

    ## What to try
    Look at a few samples next to their labels, as they come out of the loader. Look for a shuffle, sort or join that moved only one of
    the two.

    ## References
    Ojala and Garriga, "Permutation Tests for Studying Classifier Performance" (JMLR 2010), test 1; Zhang et al., "Understanding deep
    learning requires rethinking generalization" (2017).
    """

    code = "D110"
    name = "misaligned-labels"
    severity = Severity.WARNING
    needs = ("probe.step",)
    explains = (
        "cannot-overfit-batch",
        "overfitting",
        "loss-not-decreasing",
        "below-baseline",
        "generalization-gap",
        "underfitting",
        "learning-rate-too-low",
        "prediction-collapse",
        "vanishing-gradient",
    )

    memorised: float = 4.0
    clear: float = 2.0
    neighbour: float = 6.0
    gain: float = 0.5
    lead: float = 0.45
    faint: float = 1.0
    alike: float = 0.05
    early: float = 3.0
    overfits: float = 0.8
    samples: int = 100
    opposed: float = 4.0
    known: float = 0.85
    turned: float = 0.2
    behind: float = 0.8
    mixed: float = 0.2
    draws: int = 2
    told: float = 0.25
    mirrored: int = 5

    def judge(self, record: Record) -> Iterator[Finding]:
        pairing, turned = record.facts.get("probe.pairing"), record.facts.get("data.turned")
        if pairing is not None and 2 * pairing["apart"] > pairing["samples"]:
            yield self._apart(record, pairing)
            return
        if (mixed := self._blended(record) or self._collated(record)) is not None:
            yield mixed
            return
        drawn, learned = record.facts.get("data.two_loaders"), record.facts.get("probe.learning")
        if drawn is not None and drawn["apart"] and learned is not None and learned["held_out"] <= self.clear:
            yield self._two_loaders(drawn)
            return
        if turned is not None and turned["known"] >= self.known and turned["turned"] >= self.turned:
            yield self._turned(turned)
            return
        if (stayed := self._behind(record)) is not None:
            yield stayed
            return
        if "probe.learning" not in record:
            raise NotRun(record.missing.get("probe.learning", "probe.learning was not recorded"))
        seen, shifted = record.facts["probe.learning"], record.facts.get("probe.neighbours")
        if shifted is not None and shifted["held_out"] >= self.neighbour and shifted["samples"] >= self.samples:
            yield self._shifted(seen, shifted)
            return
        if rising_weights(record) is not None:
            raise NotRun("the loss weighs frequent classes more than rare ones, so there is little to learn the rare ones for")
        opposed = record.facts.get("data.conflicts", {}).get("opposed")
        if opposed and opposed["z"] >= self.opposed:
            raise NotRun(
                f"labels of equal inputs differ in {opposed['apart']:.0%} of pairs, those of rows drawn at random in "
                f"{opposed['most']:.0%}: no shuffle does that"
            )
        overfits = record.facts.get("probe.overfit", {}).get("progress", 0.0) >= self.overfits
        memorised = seen["train"] >= self.memorised
        once = record.facts.get("probe.once", {}).get("held_out", 0.0)
        early = seen.get("early", 0.0)
        if max(seen["held_out"], once) > self.clear or early > self.early or not (memorised or overfits):
            return
        if seen["samples"] < self.samples:
            raise NotRun(f"too short: {seen['samples']} held-out samples, at least {self.samples} are needed")
        gain = 1 - seen["real"] / seen["shuffled"] if seen["shuffled"] > 0 else 1.0
        lead, most = seen.get("lead", gain), max(seen["held_out"], early, once)
        by_heart = memorised and lead < self.lead and (most <= self.faint or (lead < self.alike and most <= self.clear))
        if gain >= self.gain and not by_heart:
            return
        told = record.facts.get("data.simple") or {}
        gained = told.get("explained", (told.get("accuracy", 0.0) - (most := told.get("majority", 0.0))) / max(1 - most, 1e-9))
        if gained >= self.told:
            raise NotRun(f"the inputs tell the targets: a model that needs no training gains {gained:.0%} of what there is in validation")
        ends = f"the loss ends at {seen['real']:.3g}, with shuffled labels at {seen['shuffled']:.3g}"
        if memorised:
            message = (
                f"after {seen['steps']} steps the predictions match the labels of the batches trained on ({seen['train']:.1f} standard "
                f"deviations above chance) but not those of {seen['samples']} other samples ({seen['held_out']:.1f}); {ends}"
            )
        else:
            message = (
                f"the network can learn one batch by heart, but after {seen['steps']} steps on many its predictions do not match the "
                f"labels of {seen['samples']} other samples ({seen['held_out']:.1f} standard deviations above chance), and {ends}: "
                "the inputs tell nothing of these labels, or the labels are those of other rows"
            )
        yield self.finding(
            message,
            where="the pairs of input and target in the training loader",
            fix=(
                "look at samples next to their labels as the loader gives them, and for a shuffle, sort or join that moved "
                "only one of the two"
            ),
            severity=Severity.WARNING if memorised else Severity.INFO,
            held_out=seen["held_out"],
            clear=self.clear,
            train=seen["train"],
            gain=gain,
        )

    def _apart(self, record: Record, pairing: Mapping[str, Any]) -> Finding:
        row, outputs, targets = pairing["rows"]
        return self.finding(
            f"the step holds outputs against targets of other samples: the input of sample {row} reaches row {outputs[0]} of what the loss "
            f"compares, its target row {targets[0]}, and so for {pairing['apart']} of {pairing['samples']} samples that were tried",
            where=record.source("training_step") or f"{pairing['input']} and {pairing['target']} in training_step",
            fix="use one permutation, roll or reshape for inputs and targets alike",
            severity=Severity.ERROR,
            apart=pairing["apart"],
            samples=pairing["samples"],
        )

    def _blended(self, record: Record) -> Finding | None:
        found = record.facts.get("probe.mixture")
        if found is None or len(found["input"]) < self.draws or found["swapped"] < len(found["input"]):
            return None
        return self.finding(
            "the step blends two samples and gives their targets the shares of each other: in each of "
            f"{len(found['input'])} draws, as in that of {found['input'][0]:.2f} of a sample with {found['target'][0]:.2f} of its target",
            where=record.source("training_step") or "training_step",
            fix="weigh the target of each sample by the share that its input has in the blend",
            severity=Severity.ERROR,
            draws=len(found["input"]),
            limit=self.draws,
        )

    def _collated(self, record: Record) -> Finding | None:
        found = record.facts.get("data.collated")
        if found is None or found["apart"] < self.mixed * found["rows"]:
            return None
        return self.finding(
            f"the collate function puts rows and their targets into different orders: {found['apart']} of {found['rows']} rows of "
            f"{found['input']} stand beside the target of another item in {found['target']}",
            where="collate_fn of the training loader",
            fix="sort the items before they are taken apart, so that inputs and targets have one order",
            severity=Severity.ERROR,
            apart=found["apart"],
            rows=found["rows"],
            limit=self.mixed,
        )

    def _two_loaders(self, drawn: Mapping[str, Any]) -> Finding:
        return self.finding(
            f"{drawn['input']} and {drawn['target']} come of two loaders of {drawn['rows']} rows each, which shuffle on their own: an "
            "input meets the target of another row",
            where="the training loaders",
            fix="give both in one data set and shuffle that, or draw both in one order (generators with the same seed)",
            severity=Severity.ERROR,
            rows=drawn["rows"],
        )

    def _turned(self, found: Mapping[str, Any]) -> Finding:
        return self.finding(
            f"in {found['turned']:.0%} of {found['samples']} training images the target fits only after it is mirrored or turned "
            f"(most often: {found['most']}), so image and target are turned apart from each other",
            where=f"{found['input']} and its target in the training loader",
            fix="draw the parameters of a random flip or rotation once, and apply them to the image and to its target",
            turned=found["turned"],
            limit=self.turned,
            known=found["known"],
        )

    def _behind(self, record: Record) -> Finding | None:
        boxes = record.facts.get("data.boxes")
        fields = record.facts.get("probe.fields", ())
        if boxes is None or any(field["path"] == boxes["path"] and field["change"] <= SILENT for field in fields):
            return None  # there are none, or the step does not look at them
        for turn, seen in boxes["mirrors"].items():
            if seen["items"] >= self.mirrored and seen["left"] >= self.behind * seen["items"]:
                return self.finding(
                    f"of {seen['items']} training images that come {turn} when they are read again, {seen['left']} have boxes that stay "
                    f"where they were ({boxes['path']}, which is {boxes['form']} in {boxes['unit']} of the image)",
                    where=f"{boxes['input']} and {boxes['path']} in the training loader",
                    fix="draw the flip once for each item, and mirror its boxes where the image is mirrored",
                    behind=seen["left"] / seen["items"],
                    limit=self.behind,
                    items=seen["items"],
                )
        return None

    def _shifted(self, seen: Mapping[str, Any], shifted: Mapping[str, Any]) -> Finding:
        whose = "next" if shifted["lag"] > 0 else "previous"
        return self.finding(
            f"each row holds the target of the {whose} row of the {shifted['order']}: after {shifted['steps']} steps on targets moved "
            f"back by one, predictions match those of {shifted['samples']} other samples ({shifted['held_out']:.1f} standard deviations "
            f"above chance), as the data are they do not ({seen['held_out']:.1f} after {seen['steps']})",
            where="the pairs of input and target in the training loader",
            fix="look for an index i + 1 or i - 1, a shift or a roll that moved only the inputs or only the targets",
            held_out=seen["held_out"],
            clear=self.clear,
            shifted=shifted["held_out"],
            limit=self.neighbour,
            lag=shifted["lag"],
        )
