"""Rule T307."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import begins_anew, climbing, losses, moving_targets, refuse_adversary, refuse_games, refuse_unknown, tail
from diagnose.rules.games import players
from diagnose.rules.objective import ERRORS, negated
from diagnose.rules.skill import like_training
from diagnose.rules.validated import own_errors
from diagnose.statistics import blocks, finite, mann_kendall, median, spread
from diagnose.values import Finding, Severity

NOT_NEGATIVE = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")


@dataclass(frozen=True, kw_only=True)
class DivergingLoss(Rule):
    """The training loss rises far above its start or its best.

    ## What it measures
    Block means of the loss of all batches (at most fifty blocks). The last tenth must lie `rise` times the start's size above the start, or
    have lost `lost` of all progress while being `rise` times above the best block; in both cases by more than four times the noise. A loss
    that grew tenfold within the finite batches before NaN counts too, and so does a cross-entropy that falls without end, to `below` times
    its start below zero. It needs `rows` batches and `epochs` epochs. A loss that is a negative multiple of a squared or absolute error in
    each of `measured` steps is found at once: the error is made as large as it can be. So is one, of `rising` times its first `measured`
    steps in the median of the last third, that an optimizer of most weights climbs (`maximize=True`), unless weights are frozen: then it
    may be an input that is to mislead a trained network; where the loss is not known, and may be a reward, so must all errors do that the
    module itself logs in `measured` validations or more (MAE, negative log-likelihood ...). Of several optimizers with a binary
    cross-entropy each, one is reported whose loss rose to `deceived` times what it was in its first ten measured steps, in the median of
    the last third, while that of another one, which holds all its layers as well, fell to `won` or less: it trains them the other way.

    ## Why it matters
    Training is undoing itself: what is saved at the end is worse than what was there before.

    ## When it is wrong
    Losses whose terms are switched on during training (annealed penalties, curricula) rise by design. Where the losses of `validations` or
    more, by the same function, end within `near` of their best and that much below the first, training has become a harder task (teacher
    forcing that fades) and nothing is said. Losses of adversarial games are not judged otherwise, nor are those of targets that spread more
    or less as training goes on, as the returns of an agent that learns.

    ## What to try
    A lower learning rate, warm-up, clipping; go back to the checkpoint of the best block.

    ## References
    TheDeepChecker (2023), twice the best; gradsnitch, 30 % above the best.
    """

    code = "T307"
    name = "diverging-loss"
    severity = Severity.ERROR
    needs = ("train/loss",)
    explains = ("loss-not-decreasing",)

    rise: float = 1.0
    lost: float = 0.9
    rows: int = 60
    epochs: int = 2
    below: float = 2.0
    measured: int = 5
    rising: float = 1.5
    deceived: float = 1.5
    won: float = 0.5
    validations: int = 4
    near: float = 0.1

    def judge(self, record: Record) -> Iterator[Finding]:
        deceived = self._deceived(record)
        if deceived is not None:
            yield deceived
            return
        refuse_games(record)
        refuse_adversary(record)
        every = record.series("train/loss").value
        factor = negated(record, self.measured)
        if factor is not None:
            called = record.facts["task"].get("name", record.facts["task"]["loss"])
            yield self.finding(
                f"the loss is {factor:.3g} times {called} in every measured step, so training makes the error larger",
                where=record.source("training_step") or "training_step",
                fix="take the minus away from the loss",
                factor=factor,
            )
            return
        climbed = self._climbed(record)
        if climbed is not None:
            yield climbed
            return
        before = every[: int(np.argmin(np.isfinite(every)))] if not np.isfinite(every).all() else every[:0]
        if len(before) >= 3 and before[-1] > 10 * max(abs(before[0]), 1e-12):
            yield self._found(before[0], before.min(), before[-1])
            return
        values = losses(record, self.rows, self.epochs)
        refuse_unknown(record, values)
        anew = begins_anew(record)
        if anew is not None and anew[2] > 0.5:
            raise NotRun("the loss begins anew with each epoch, of which loss-not-decreasing speaks")
        first, last = float(values[:3].mean()), float(values[-5:].mean())
        task = record.facts.get("task", {})
        kind, called = task.get("loss"), task.get("name", task.get("loss"))
        third = values[-len(values) // 3 :]
        if kind in NOT_NEGATIVE and last < -self.below * max(1.0, abs(first)) and mann_kendall(blocks(third, 50)) < -4:
            yield self.finding(
                f"the loss falls without bound, from {first:.4g} to {last:.4g}, where {called} is never below zero",
                where="train/loss",
                fix="look at what the loss is given (log-probabilities, targets in range) and at its sign",
                start=first,
                end=last,
                limit=self.below,
            )
            return
        if moving_targets(record):
            raise NotRun("the targets spread more or less as training goes on, and a loss that rises may be that of a harder task")
        means = blocks(values, 50)
        start, end = float(means[:3].mean()), float(means[-5:].mean())
        best, noise = float(means.min()), spread(np.diff(means))
        above_start = end - start > self.rise * max(abs(start), 1e-12) and end - start > 4 * noise
        undone = end - best > self.lost * (start - best) and end - best > self.rise * max(abs(best), 1e-12) and start - best > 4 * noise
        if (above_start or (undone and end - best > 4 * noise)) and not self._held(record):
            yield self._found(start, best, end)

    def _climbed(self, record: Record) -> Finding | None:
        """An error that grows since an optimizer is told to make it as large as it can."""
        name, task, errors = climbing(record), record.facts.get("task", {}), tail(record, "train/watched_loss", 1.0)
        if not name or record.facts.get("probe.parameters", {}).get("frozen"):  # an input that is to mislead a network trained before
            return None
        if task.get("loss") in (*ERRORS, *NOT_NEGATIVE):
            if len(errors) < 3 * self.measured or errors.min() < 0:
                return None
            risen = {task.get("name", task["loss"]): (median(errors[: self.measured]), median(errors[-len(errors) // 3 :]))}
        else:  # it may be a reward; the module's own errors tell
            own = {called: values for called, values in own_errors(record).items() if len(values) >= self.measured}
            risen = {called: (float(values[0]), median(values[-len(values) // 3 :])) for called, values in own.items()}
        if not risen or any(start <= 0 or end < self.rising * start for start, end in risen.values()):
            return None
        called, (start, end) = next(iter(risen.items()))
        return self.finding(
            f"{called} rose from {start:.4g} to {end:.4g}: {name} climbs the loss, it was made with maximize=True",
            where=record.source("configure_optimizers") or name,
            fix="take maximize=True from the optimizer of the network; it belongs to what is to make the loss large (a multiplier)",
            start=start,
            end=end,
            limit=self.rising,
        )

    def _held(self, record: Record) -> bool:
        """Whether validation, by the same function, ended near its best and clearly below its start: then training became a harder task."""
        held = finite(record.series("val/loss").value) if "val/loss" in record and like_training(record) else np.empty(0)
        known = len(held) >= self.validations and held[0] > 0 and not record.facts.get("validation", {}).get("logged")
        return bool(known and held[-1] <= (1 + self.near) * held.min() and held[-1] <= (1 - self.near) * held[0])

    def _deceived(self, record: Record) -> Finding | None:
        """A player whose own layers another one's optimizer trains the other way, as where both hold all parameters."""
        if not str(record.facts.get("task", {}).get("loss", "")).startswith("binary_cross_entropy"):
            return None
        for winner, loser in permutations(players(record), 2):
            if not set(loser.layers) <= set(winner.layers) or winner.course is None or loser.course is None:
                continue
            (start, end), (first, last) = loser.course, winner.course
            if end >= self.deceived * start > 0 and 0 <= last <= self.won * first:
                return self.finding(
                    f"the loss of {loser.name} rose from {start:.3g} to {end:.3g} while that of {winner.name}, which holds "
                    f"{', '.join(loser.layers[:3])} as well, fell from {first:.3g} to {last:.3g}: one trains them against the other",
                    where=", ".join(loser.layers[:3]),
                    fix="give each optimizer the weights of its own player alone, not self.parameters()"
                    + (f" ({place})" if (place := record.source("configure_optimizers")) else ""),
                    start=start,
                    end=end,
                    limit=self.deceived,
                    won=last / first,
                    layers=len(loser.layers),
                )
        return None

    def _found(self, start: float, best: float, end: float) -> Finding:
        return self.finding(
            f"the loss started at {start:.4g}, was {best:.4g} at its best and is {end:.4g} at the end",
            where="train/loss",
            fix="lower the learning rate, warm it up, or clip the gradients",
            start=start,
            best=best,
            end=end,
            limit=self.rise,
        )
