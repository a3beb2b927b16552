"""Rule D102."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.skill import skill
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class UnnormalizedInput(Rule):
    """Float inputs reach the network far from zero mean and unit scale, or with features of very different scale.

    ## What it measures
    Each float input of the training loader (and bytes that the network was seen to take as they are), by feature: columns of a table,
    channels of an image or a series. The scale of a feature is the 90 % quantile of its absolute values, so that a few outliers do not
    count. It is a finding when

    - the whole field spreads by more than `spread` and most of its features (or, as in images, all of them alike) are that large;
    - or one feature has a scale above `scale`, as time stamps, years, identifiers and prices have;
    - or the standard deviations of two features differ by more than a factor of `ratio` while the larger exceeds `wide`;
    - or the field varies by less than `tiny` (its standard deviation), and a training, or one batch that was to be learned by heart,
      gained less than `skill` over a constant prediction.

    A model whose parameters are numbers and vectors alone (the constants of a law, as rates and half-lives) is no network that expects
    inputs of order one: all of this is a finding there only where a training gained less than `skill` or ended in NaN or infinity. Where
    gradients train nothing at all (prototypes that are moved to means) it is none.

    ## Why it matters
    Default initialisation assumes inputs of order one. Larger ones saturate sigmoid and tanh units or kill ReLU units at the first step,
    make the loss start far above chance, and let one feature set the learning rate of all.

    ## When it is wrong
    Integer fields (tokens), fields of zeros and ones, and sparse small counts are not judged; nor are inputs of a network that normalises,
    embeds or scales them first; where one begins with an embedding, single columns of floats beside what it embeds are. The limits are lax
    on purpose: pixels from 0 to 16, or features of spread 5, train well; faint ones may train well too, hence only where nothing was
    learned.

    ## What to try
    Divide pixels by 255; standardise columns with the mean and standard deviation of the training rows, kept with the model; take the
    logarithm of amounts that span orders of magnitude; or begin the network with a BatchNorm layer.

    ## References
    Schoop et al., UMLAUT (CHI 2021): inputs beyond [-1, 1]. Zhang et al., AUTOTRAINER (ICSE 2021): mean of absolute values above 10.
    LeCun et al., Efficient BackProp (1998), section 4.3.
    """

    code = "D102"
    name = "unnormalized-input"
    severity = Severity.WARNING
    needs = ("data",)
    explains = (
        "initial-loss",
        "poor-initialization",
        "cannot-overfit-batch",
        "saturated-units",
        "dead-units",
        "exploding-gradient",
        "vanishing-gradient",
        "learning-rate-too-high",
        "diverging-loss",
        "non-finite",
        "prediction-collapse",
        "input-independent",
        "no-gradient",
        "frozen-parameter",
        "clipping-dominates",
        "underfitting",
    )

    spread: float = 20.0
    scale: float = 100.0
    ratio: float = 30.0
    wide: float = 10.0
    tiny: float = 0.01
    skill: float = 0.1

    def judge(self, record: Record) -> Iterator[Finding]:
        facts = record.facts["data"]["train"]
        if (facts["loss"] or {}).get("input_normalised"):
            raise NotRun("the network normalises its inputs itself")
        embedded = (facts["loss"] or {}).get("embedded", False)
        weights = record.facts.get("probe.parameters", {})
        if weights.get("registered") == []:
            raise NotRun("no weight is trained by gradients, so inputs may have any unit")
        if weights.get("matrices") == 0 and "nonfinite" not in record.facts:
            learned = skill(record)
            if learned is None or learned >= self.skill:
                raise NotRun("the model has no matrix of weights, and no training came to nothing, so its inputs may have any unit")
        reached = (facts["loss"] or record.facts.get("probe.step", {})).get("input_max")
        for path in facts["inputs"]:
            field = facts["fields"][path]
            if "spread" not in field or _exempt(field) or (reached is not None and reached < _usual(field) / 2):
                continue
            if embedded and not _measured(field):
                continue
            faint = field["dtype"].startswith("float") and 0 < field["std"] < self.tiny
            learned, by_heart = (skill(record), record.facts.get("probe.overfit", {}).get("progress")) if faint else (None, None)
            if learned is not None and learned < self.skill:
                yield self._faint(path, field, learned, "the model gains {:.0%} of what there is over a constant prediction")
            elif learned is None and by_heart is not None and by_heart < self.skill:
                yield self._faint(path, field, by_heart, "one batch learned by heart gains {:.0%} over a constant prediction")
            elif field["dtype"].startswith("float") or (field["dtype"] == "uint8" and reached is not None):
                yield from self._judge(path, field)

    def _faint(self, path: str, field: Mapping[str, Any], learned: float, said: str) -> Finding:
        return self.finding(
            f"{path} lies between {field['min']:.3g} and {field['max']:.3g} (std {field['std']:.2g}), so that weights of the usual size "
            f"hardly see it vary, and {said.format(learned)}; a network expects inputs of order one",
            where=path,
            fix="look for a scaling that is done twice; standardise the inputs with the training mean and standard deviation",
            std=field["std"],
            threshold=self.tiny,
            skill=learned,
        )

    def _judge(self, path: str, field: Mapping[str, Any]) -> Iterator[Finding]:
        columns = field["columns"]
        largest = columns["largest"] if columns else None
        mostly = columns is None or columns["large"] >= 0.5 or (columns["count"] >= 16 and largest and largest["std"] < 5 * field["spread"])
        if field["spread"] > self.spread and mostly:
            whole = field["integers"] or len(field.get("shape") or ()) > 1
            pixels = whole and field["min"] >= 0 and 100 < field["max"] <= 255
            yield self.finding(
                f"{path} lies between {field['min']:.4g} and {field['max']:.4g} (mean {field['mean']:.3g}, std {field['std']:.3g})"
                f"{', as pixels of 0 to 255 do' if pixels else ''}; a network expects inputs of order one",
                where=path,
                fix="divide the pixels by 255" if pixels else "standardise the inputs with the training mean and standard deviation",
                mean=field["mean"],
                std=field["std"],
                spread=field["spread"],
                threshold=self.spread,
            )
        elif largest is not None and largest["scale"] > self.scale:
            yield self.finding(
                f"{columns['axis']} {largest['column']} of {path} is of the order of {largest['scale']:.3g} (std {largest['std']:.3g}); "
                "a network expects inputs of order one",
                where=f"{path}, {columns['axis']} {largest['column']}",
                fix="standardise each feature with its training mean and standard deviation",
                scale=largest["scale"],
                std=largest["std"],
                threshold=self.scale,
            )
        elif largest is not None:
            wide, narrow = columns["widest"], columns["narrowest"]
            if wide["std"] > self.wide and wide["std"] > self.ratio * narrow["std"]:
                yield self.finding(
                    f"{columns['axis']} {wide['column']} of {path} has standard deviation {wide['std']:.3g}, {columns['axis']} "
                    f"{narrow['column']} has {narrow['std']:.3g}: a factor of {wide['std'] / narrow['std']:.3g}",
                    where=f"{path}, {columns['axis']} {wide['column']}",
                    fix="standardise each feature with its training mean and standard deviation",
                    widest=wide["std"],
                    narrowest=narrow["std"],
                    threshold=self.ratio,
                )


def _usual(field: Mapping[str, Any]) -> float:
    """A magnitude that nearly every batch reaches; the largest of all may be an outlier of one."""
    largest = (field["columns"] or {}).get("largest")
    return float(largest["scale"] if largest else max(-field["min"], field["max"]))


def _measured(field: Mapping[str, Any]) -> bool:
    """One column of floats that are no whole numbers: of several some may be numbers of things, for an embedding."""
    return bool(field["dtype"].startswith("float") and not field["integers"] and (field["columns"] or {}).get("count") == 1)


def _exempt(field: Mapping[str, Any]) -> bool:
    """Zeros and ones, or sparse small counts."""
    return bool(field["binary"] or (field["integers"] and field["zeros"] >= 0.5 and field["min"] >= 0 and field["max"] <= 50))
