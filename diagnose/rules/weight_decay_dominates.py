"""Rule T323."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, require
from diagnose.rules.evidence import refuse_games, run, tail
from diagnose.rules.objective import crowding, penalty
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class WeightDecayDominates(Rule):
    """Weight decay is stronger than the data.

    ## What it measures
    For decay that is added to the gradient (Adam, SGD), decay times the norm of the weights over the norm of the data's gradient, of all
    layers together, in the median over the first ten measured steps. For decoupled decay (AdamW), the share of an early step that is decay:
    rate times decay over the relative size of the step. For a penalty that `training_step` adds to the loss by hand, the norm of its
    gradient over that of the data's in the first step, where what is added is the same for every batch, so that it depends on the weights
    alone. Above `coupled` or `decoupled`, and with weights that shrink below `shrunk` of their size, the finding is made. Where they shrink
    below `emptied`, `weak` is enough in place of `coupled`. It needs `records` measured steps. For a penalty added by hand `weak` is
    enough, too, where its cost is known: `check` trains two copies on some batches, one by the whole loss and one by the loss call alone;
    the first, and the run at its end, must be worse than the second is on batches that it has not seen, by `cost` of what a constant
    prediction gives.

    For a penalty of which that is not known, or for further loss calls, the gradient of what is added in the first step must be `term`
    times that of the loss call, and the model gain less than `skill` over a constant prediction by the end; where that is not known, the
    square of how much its predictions vary, in units of the targets' own, stands in. A pull harder than that of the loss call is enough
    where what is added comes down to `left` of its start, or where, of copies that `check` trained, the one by the loss call alone gains
    `cost` of what a constant prediction gives on unseen batches, and the one by the whole loss less than `skill`. Before training these
    copies tell it, where the one gains twice as much. Of a second task that pulls `term` times as hard, as one in other units does, it is
    enough that the run and the copy by the whole loss end worse than the other copy, by `cost` of what there is to gain. Of a single term
    that depends on the batch (a divergence, a sparsity) collapsed-embedding speaks.

    ## Why it matters
    The optimizer mostly makes the weights smaller; the network ends near zero and predicts a constant.

    ## When it is wrong
    At the end of every regularised training both forces balance: only the early steps count. A penalty that costs the training batches much
    and unseen ones little does what it is for.

    ## What to try
    A weight decay of 1e-4 to 1e-2; leave biases and normalisation layers out of it.

    ## References
    TheDeepChecker (2023), regularisation over data gradient; I. Loshchilov and F. Hutter (2019), decoupled weight decay.
    """

    code = "T323"
    name = "weight-decay-dominates"
    severity = Severity.WARNING
    needs = ("run", "weight_norm/layers", "grad_norm/layers")
    instead = ("probe.unpenalised",)
    explains = ("underfitting", "loss-not-decreasing", "prediction-collapse", "vanishing-gradient", "dead-units", "cannot-overfit-batch")

    coupled: float = 2.0
    decoupled: float = 0.5
    shrunk: float = 0.7
    weak: float = 0.5
    emptied: float = 0.3
    term: float = 10.0
    skill: float = 0.05
    records: int = 5
    cost: float = 0.25
    left: float = 0.02

    def judge(self, record: Record) -> Iterator[Finding]:
        optimizers = run(record).get("optimizers", ())
        decay = max((o.get("weight_decay", 0.0) for o in optimizers), default=0.0)
        by_hand = penalty(record)
        crowded = crowding(record, self.term, self.skill, self.cost, self.left)
        if crowded is not None and not crowded.constrains:
            where = record.source("training_step") or "training_step"
            yield self.finding(crowded.said, where=where, fix=crowded.fix, force=crowded.force, limit=crowded.limit)
            return
        require(record, *self.needs)
        if not decay and not by_hand:
            return
        refuse_games(record)
        weights = record.series("weight_norm/layers").value
        size = np.sqrt(np.nansum(weights**2, axis=1))
        pull = np.sqrt(np.nansum(record.series("grad_norm/layers").value ** 2, axis=1))
        if min(len(size), len(pull)) < self.records:
            raise NotRun(f"too short: {len(size)} measured steps, at least {self.records} are needed")
        shrank = float(np.min(size)) / float(size[0]) if size[0] > 0 else 1.0
        if shrank >= self.shrunk:
            return
        coupled = self.coupled if shrank >= self.emptied else self.weak
        costly = self._cost(record) if by_hand > self.weak else ""
        if by_hand > coupled or costly:
            yield self.finding(
                f"what training_step adds to the loss pulls {by_hand:.3g} times as hard as the data, and the weights shrank to {shrank:.0%}"
                f" of their size{costly}",
                where=record.source("training_step") or "training_step",
                fix=f"multiply the penalty by {min(0.01, 0.1 / by_hand):.0e} first, or use the optimizer's weight_decay",
                force=by_hand,
                limit=self.weak if costly else coupled,
                shrunk=shrank,
            )
            return
        if not decay:
            return
        optimizer = optimizers[0]
        if optimizer.get("decoupled"):
            moved = finite(record.series("update_ratio/layers").value[:10] if "update_ratio/layers" in record else [])
            if not len(moved):
                raise NotRun("no finite update of the weights was measured")
            rates = np.nanmax(record.series("lr").value[:10], axis=1) if "lr" in record else np.array([optimizer["lr"]])
            force, limit = median(rates) * decay / max(median(moved), 1e-12), self.decoupled
        else:
            force, limit = decay * median(size[:10]) / max(median(pull[:10]), 1e-12), coupled
        if force > limit:
            yield self.finding(
                f"weight decay {decay:g} pulls {force:.3g} times as hard as the data, and the weights shrank to {shrank:.0%} of their size",
                where=f"weight_decay={decay:g}",
                fix="lower the weight decay, to 1e-4 first",
                override=record.override("weight_decay", 1e-4),
                force=force,
                limit=limit,
                shrunk=shrank,
                weight_decay=decay,
            )

    def _cost(self, record: Record) -> str:
        """What the penalty costs, in words, where that is much."""
        seen, ends = record.facts.get("probe.unpenalised"), tail(record, "train/watched_loss", 0.2)
        if not seen or not len(ends) or not run(record).get("finished", True):
            return ""
        end = median(ends)
        if min(end, seen["whole"]) - seen["alone"] < self.cost * seen["chance"]:
            return ""
        return (
            f"; the loss call ends at {end:.3g}, that of a copy trained for {seen['steps']} steps without the penalty at "
            f"{seen['alone']:.3g} on batches that it had not seen"
        )
