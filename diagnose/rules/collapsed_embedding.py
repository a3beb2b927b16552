"""Rule E408."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, require
from diagnose.rules.evidence import collapsed, refuse_early, refuse_games
from diagnose.rules.objective import crowding
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class CollapsedEmbedding(Rule):
    """A hidden layer has collapsed to a point or a line, or has lost the classes that an earlier layer tells apart.

    ## What it measures
    Per mapped layer with at least `samples` samples and two features: its effective rank (0 if it gives the same for every sample) and
    the k-NN accuracy of the labels in it, by a binomial test at level `level` against the share of the largest class. It fires for a
    constant layer; for a layer at chance whose effective rank is below `rank`; and for a layer at chance after one that is clearly above
    (at a hundredth of that level).

    While training, of at least `done` of the run: an activation whose spread has fallen below `left` of what it was in the first batches,
    where the loss has fallen below `fallen` of what it was; where the loss compares embeddings, so that no predictions are known, also one
    of whose units less than half of `dead` gave the same for every sample at first, and `dead` of them do in the end. Then the loss is
    least where all samples give the same. Of a loss that compares embeddings also where the spread of their directions ends below `point`
    and below `left` of what it was: 1 less the squared length of their mean direction, which is 0 where all point the same way; and of an
    error between two embeddings that both have a gradient, whatever else the step learns.

    And where a term that the step adds to its loss call, and that depends on the batch (the divergence of a latent variable, a sparsity),
    crowds that call out: its gradient is `term` times that of the call in the first step, and the model gains less than `skill` over a
    constant prediction by the end; where that is not known, the square of how much its predictions vary, in units of the targets' own,
    stands in. A pull harder than that of the call is enough where what is added comes down to `rest` of its start, or where, of copies that
    `check` trained, the one by the call alone gains `cost` of what a constant prediction gives on unseen batches, and the one by the whole
    loss less than `skill`; before training these copies tell it, where the one gains twice as much.

    ## Why it matters
    What a layer has lost, no later layer can bring back.

    ## When it is wrong
    Classes can lie so that neighbours do not show them (parity) and still be separable; hence the comparison with an earlier layer. A layer
    at chance before one that is not is how deep networks work. In training the spread of activations hardly ever falls: in 141 healthy
    programs one fell to 0.14 of what it was, all others stayed above a half. Where several optimizers play against each other it is not
    judged.

    ## What to try
    Look for dead units, a saturated activation, a vanishing gradient or too strong a regularisation at this layer; lower the learning rate;
    check that the layer is trained at all; give a term that is added a smaller weight. Of a loss that compares embeddings look at the sign
    of the margin, and at what keeps different samples apart.

    ## References
    Roy and Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007. Jing et al., Understanding Dimensional
    Collapse in Contrastive Self-supervised Learning, ICLR 2022. Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016
    (posterior collapse).
    """

    code = "E408"
    name = "collapsed-embedding"
    severity = Severity.WARNING
    needs = ("embedding",)
    instead = ("activation/std", "embedding/spread", "embedding/pairs", "probe.unpenalised", "probe.penalty")
    role = "symptom"
    explains = (
        "prediction-collapse",
        "input-independent",
        "cannot-overfit-batch",
        "loss-not-decreasing",
        "underfitting",
        "below-baseline",
        "dead-units",
        "vanishing-gradient",
    )

    rank: float = 1.1
    level: float = 0.01
    samples: int = 50
    left: float = 0.05
    fallen: float = 0.01
    dead: float = 0.8
    done: float = 0.3
    point: float = 0.01
    term: float = 10.0
    skill: float = 0.05
    cost: float = 0.25
    rest: float = 0.02

    def judge(self, record: Record) -> Iterator[Finding]:
        crowded = crowding(record, self.term, self.skill, self.cost, self.rest)
        if crowded is not None and crowded.constrains:
            yield self.finding(
                f"{crowded.said}: all samples come to have one and the same code",
                where=record.source("training_step") or "training_step",
                fix=crowded.fix,
                force=crowded.force,
                limit=crowded.limit,
            )
            return
        if "embedding" not in record:
            yield from self._in_training(record)
            return
        layers = {
            name: fact
            for name, fact in record.facts["embedding"].items()
            if fact["n"] >= self.samples and fact.get("effective_rank") is not None and fact["dim"] >= 2
        }
        if not layers:
            raise NotRun(f"no mapped layer has {self.samples} samples and two features")
        chances = {name: self._chance(fact) for name, fact in layers.items()}
        informed = ""
        for name, fact in layers.items():
            p, fix = chances[name], "look for dead units, saturation or vanishing gradients at this layer, and lower the learning rate"
            numbers = {"effective_rank": fact["effective_rank"], "threshold": self.rank}
            if fact["effective_rank"] == 0:
                yield self.finding(f"gives the same {fact['dim']} numbers for all {fact['n']} samples", where=name, fix=fix, **numbers)
                continue
            if p is None or p < self.level:
                informed = name if p is not None and p < self.level / 100 else informed
                continue
            numbers |= {"knn_accuracy": fact["knn_accuracy"], "chance": fact["chance"], "p": p}
            told = f"the classes of neighbours agree no more than by chance ({fact['knn_accuracy']:.1%}, chance {fact['chance']:.1%})"
            if fact["effective_rank"] < self.rank:
                yield self.finding(f"all samples lie on a line, and {told}", where=name, fix=fix, **numbers)
            elif informed:
                other = layers[informed]["knn_accuracy"]
                yield self.finding(f"{told}, while they agree in {informed} ({other:.1%})", where=name, fix=fix, **numbers)

    def _in_training(self, record: Record) -> Iterator[Finding]:
        """Embeddings that have fallen together, or an activation that has become constant while the loss fell to next to nothing."""
        point = self._one_point(record)
        if point is not None:
            refuse_games(record)
            refuse_early(record, self.done)
            before, after = point
            yield self.finding(
                f"the embeddings that the loss compares point all the same way: their spread, 1 less the squared length of their mean "
                f"direction, is {after:.1g}, {before:.2g} at first",
                where=record.source("training_step"),
                fix="stop the gradient of the targets (detach), or add negative pairs or a term for the variance",
                spread=after,
                limit=min(self.point, self.left * before),
            )
            return
        found = collapsed(record, self.left, self.fallen, self.dead)
        if found is None:
            require(record, "embedding")
            return
        refuse_games(record)
        refuse_early(record, self.done)
        name, kept, height = found
        shrunk = kept < self.left
        if shrunk:
            what = f"what {name} gives has shrunk to {kept:.1%} of the spread that it had at first"
        else:
            what = f"{1 - kept:.0%} of the units of {name} have come to give the same for every sample"
        yield self.finding(
            f"{what}, and the loss fell with it, to {height:.1g} of its start: it is least where all samples give the same",
            where=name,
            fix="look at what is to keep different samples apart in the loss: the sign of a margin, negative pairs, a stopped gradient",
            left=kept,
            limit=self.left if shrunk else 1 - self.dead,
            loss=height,
        )

    def _one_point(self, record: Record) -> tuple[float, float] | None:
        """The spread of directions at first and in the end, where it is lost: of pairs, or of all where no predictions are known."""
        alone = not record.facts.get("task", {"loss": "?"})["loss"]
        for name in ("embedding/pairs", *(["embedding/spread"] if alone else [])):
            values = finite(record.series(name).value) if name in record else np.empty(0)
            if len(values) >= 10 and median(values[-3:]) < min(self.point, self.left * median(values[:3])):
                return median(values[:3]), median(values[-3:])
        return None

    def _chance(self, fact: dict[str, Any]) -> float | None:
        """How likely chance gives such a k-NN accuracy."""
        if fact.get("knn_accuracy") is None or not fact.get("chance"):
            return None
        return float(binom.sf(round(fact["knn_accuracy"] * fact["n"]) - 1, fact["n"], fact["chance"]))
