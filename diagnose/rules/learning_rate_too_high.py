"""Rule T311."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import gathered, losses, moving_targets, periodic, refuse_games, refuse_unknown, run, tail
from diagnose.rules.games import players
from diagnose.rules.in_time import broken_in_time
from diagnose.rules.simple_models import behind
from diagnose.rules.skill import informed, near_chance, skill
from diagnose.statistics import Values, blocks, finite, level, median, medians, progress, spread
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class LearningRateTooHigh(Rule):
    """The steps are so large that they undo what they learn.

    ## What it measures
    The size of one optimizer step relative to the weights, per layer, over the measured steps before anything becomes NaN: its largest
    layer must be above `update` in the median of the first ten, or above ten times that at its peak. And the loss must show it: it
    becomes NaN or infinite after it grew, or it ends above `worse` times its start, or early blocks of it are `thrown` times the start
    and it never comes back far below, or one batch of the first quarter is `once` times the start and the model ends with less than `skill`
    of what there is to gain over a constant prediction, or the model ends with one answer to nearly everything (`collapsed` of the
    predictions, no such class among the targets) after first steps that were above `update` in half of the layers, or, after such steps, no
    validation (of `validations` at least) was better than a constant prediction, nor the loss at the end than at first, or a model that
    needs no training is ahead at the end by `behind` of what there is to gain (see underfitting). It needs `rows` batches where all are
    finite. One of the first ten measured steps that moves half of the layers by `leap` times their size or more
    throws the first weights away: `few` batches are enough there, and it is harm that one batch of the first quarter was `once` times the
    start and the model ends with less than `content` of what there is to gain, or with a validation loss of `once` times the start; or that
    no validation loss was ever below the start. A run whose input is not finite is not judged, nor a loss that repeats itself every epoch,
    which the order of the data explains.

    Steps that stay large go back on what was learned: where the largest layer moves by `restless` in the median of all measured steps,
    and the last fifth of the losses, which are those of one loss call alone, is `regress` above the best tenth before it, by more than
    four standard errors, the finding is made as well.

    Of several optimizers that have a loss each, when the run is over: one whose first ten measured steps move half of its layers by more
    than `update` in the median, if a loss became NaN, if its own loss was `thrown` times its start in the first quarter, or if its largest
    layer moves by more than `ongoing` in the median of all measured steps.

    Where momentum adds the steps up to more than `gathered` times the rate, lr / (1 - momentum), it is the momentum that is named.

    ## Why it matters
    A step that changes the weights by a tenth of their size throws the network to another place each time.

    ## When it is wrong
    Weights that start near zero take relatively large steps and are fine: without harm in the loss nothing is reported. Of twelve runs on
    digits at 10 to 1000 times a good rate, those that lost to chance had a batch of 4 to 1e12 times the start. Biases and norms are counted
    with the weights of their layer. Heavy tails make single batches leap at any time: one that does must be `apart` times what the last
    third has, and an end above the start more than three batches differ from each other. Where the targets spread more as an agent learns,
    a loss that went back is that of a harder task.

    ## What to try
    Divide the learning rate by ten until the loss falls; scale the targets; warm up; clip gradients.

    ## References
    TheDeepChecker (2023): log10 of the update ratio above -1; A. Karpathy: about 1e-3 is healthy.
    """

    code = "T311"
    name = "learning-rate-too-high"
    severity = Severity.WARNING
    needs = ("update_ratio/layers", "train/loss")
    explains = (
        "non-finite",
        "diverging-loss",
        "exploding-gradient",
        "oscillating-loss",
        "loss-not-decreasing",
        "prediction-collapse",
        "clipping-dominates",
        "dead-units",
        "saturated-units",
        "overfitting",
        "underfitting",
        "learning-rate-too-low",  # of another optimizer, beside which nobody keeps up
    )

    update: float = 0.1
    worse: float = 1.05
    thrown: float = 5.0
    once: float = 3.0
    skill: float = 0.15
    apart: float = 1.2
    collapsed: float = 0.98
    validations: int = 4
    rows: int = 60
    leap: float = 1.0
    few: int = 20
    content: float = 0.8
    restless: float = 0.02
    regress: float = 0.2
    gathered: float = 100.0
    ongoing: float = 0.05
    behind: float = 0.25

    def judge(self, record: Record) -> Iterator[Finding]:
        if record.facts.get("nonfinite", {}).get("what") == "input":
            raise NotRun("the input is not finite")
        runaways = list(self._runaways(record))
        if runaways:
            yield from runaways
            return
        refuse_games(record)
        if broken_in_time(record) is not None:
            raise NotRun("training broke on a gradient that grows through the steps of a loop, of which exploding-gradient speaks")
        ratios = record.series("update_ratio/layers").value
        known = ratios[np.isfinite(ratios).any(axis=1)]
        if len(known) < 2:
            raise NotRun(f"too short: {len(known)} measured steps, at least 2 are needed")
        largest = np.nanmax(known, axis=1)
        typical, peak = median(largest[:10]), float(largest.max())
        loss, leaped = record.series("train/loss").value, self._leaped(known)
        if np.isfinite(loss).all():
            refuse_unknown(record, losses(record, self.few if leaped else self.rows))
        outcome = ""
        if typical > self.update or peak > 10 * self.update:
            outcome = self._harm(record, loss, leaped) or self._flattened(record, loss, known)
        if not outcome and median(largest) >= self.restless:
            outcome = self._went_back(record, loss)
        if outcome and not periodic(record, loss):
            name = record.series("update_ratio/layers").labels[int(np.nanargmax(np.fmax.reduce(known, axis=0)))]
            optimizer = (run(record).get("optimizers") or [{"lr": 0.0}])[0]
            rate, momentum, factor = optimizer["lr"], optimizer.get("momentum", 0.0), gathered(record)
            where, fix = f"lr={rate:g}" if rate else name, "lower the learning rate tenfold first"
            override = record.override("learning_rate", rate / 10) if rate else ""
            if rate:
                fix = f"lower the learning rate, to {rate / 10:.1g} first"
            if rate and factor > self.gathered:
                outcome += f"; momentum={momentum:g} adds such steps to {factor:.3g} times the rate, {rate * factor:.3g}"
                where, fix, override = f"momentum={momentum:g}", "lower the momentum to 0.9", record.override("momentum", 0.9)
            yield self.finding(
                f"a step moves {name} by {typical:.2g} of its size in the median and by {peak:.2g} at most, where 0.001 is usual, "
                f"and the loss {outcome}",
                where=where,
                fix=fix,
                override=override,
                update=typical,
                peak=peak,
                limit=self.update,
                learning_rate=rate,
                momentum=momentum,
            )

    def _runaways(self, record: Record) -> Iterator[Finding]:
        """Of several optimizers those whose steps throw their weights about."""
        broken = not np.isfinite(record.series("train/loss").value).all()
        for player in players(record):
            half = [float(np.quantile(finite(row), 0.5, method="lower")) for row in player.updates[:10]]
            if len(half) < 5 or not (typical := median(half)) > self.update:
                continue
            early = player.loss[: max(3, len(player.loss) // 4)]
            if broken:
                outcome = "a loss became NaN or infinite"
            elif len(early) and early.max() > self.thrown * abs(early[0]):
                outcome = f"its loss leaped from {early[0]:.4g} to {early.max():.4g}"
            elif player.pace > self.ongoing:
                outcome = f"it still moves by {player.pace:.2g} in the median of the run"
            else:
                continue
            yield self.finding(
                f"the first steps of the optimizer of {player.name} move its weights by {typical:.2g} of their size, where 0.001 is usual, "
                f"and {outcome}",
                where=f"{player.name}, lr={player.rate:g}",
                fix=f"lower its learning rate, to {player.rate / 10:.1g} first" if player.rate else "lower its learning rate tenfold first",
                update=typical,
                pace=player.pace,
                limit=self.update,
                learning_rate=player.rate,
            )

    def _harm(self, record: Record, loss: Values, leaped: bool) -> str:
        """What large first steps did to the loss, or ``""``."""
        broken = ~np.isfinite(loss)
        if broken.any():
            before = loss[: int(np.argmax(broken))]
            return "became NaN or infinite" if len(before) > 1 and float(np.max(before)) > 2 * abs(float(before[0])) else ""
        start, end, scale = float(np.mean(loss[:3])), progress(loss).end, abs(float(loss[0]))
        first, held, learned = loss[: max(10, len(loss) // 4)], tail(record, "val/loss", 1.0), skill(record)
        highest = float(first.max())
        once = highest > self.once * scale and highest > self.apart * float(loss[-len(loss) // 3 :].max())
        spoilt = learned is None or learned < self.content or (len(held) > 0 and held[-1] > self.once * scale)
        lost = learned is not None and learned < self.skill
        if once and (lost or (leaped and spoilt)):
            return f"leaped from {loss[0]:.4g} to {highest:.4g} and ended at {end:.4g}"
        if leaped and len(held) > 3 and held.min() > scale:
            return f"was {loss[0]:.4g} at first, and never below {held.min():.4g} in validation"
        thrown = float(blocks(first, 10).max()) > self.thrown * scale and end > 0.9 * loss[0]
        rise = max((self.worse - 1) * abs(start), 3 * spread(loss[-len(loss) // 3 :]) / 3**0.5)  # three batches make the start
        return f"went from {start:.4g} to {end:.4g}" if thrown or end > start + rise else ""

    def _went_back(self, record: Record, loss: Values) -> str:
        """Whether a loss that is one loss call alone ended clearly above where it had been: what it did then, or ``""``."""
        watched = tail(record, "train/watched_loss")
        alone = len(watched) > 0 and abs(median(watched) - median(loss[-len(loss) // 3 :])) < 0.2 * abs(median(watched))
        if not np.isfinite(loss).all() or len(loss) < self.rows or not alone or moving_targets(record):
            return ""
        tenths = [level(part) for part in np.array_split(loss, 10)[:8]]
        (best, error), (end, last) = min(tenths), level(loss[-(len(loss) // 5) :])
        back = best > 0 and end - best > max(self.regress * best, 4 * math.hypot(error, last))
        return f"was {best:.4g} at its best and ended at {end:.4g}" if back else ""

    def _leaped(self, ratios: Values) -> bool:
        """Whether an early step moved half of the layers by more than they are long."""
        return bool((medians(ratios[:10].T) >= self.leap).any())

    def _flattened(self, record: Record, loss: Values, ratios: Values) -> str:
        """Whether most layers made giant first steps and the model is left with one answer, or with none: what became of it, or ``""``."""
        first = medians(ratios[:10][:, np.isfinite(ratios[:10]).any(axis=0)])
        if not len(first) or median(first) <= self.update:
            return ""
        if (far := behind(record)) is not None and far.gap >= self.behind:
            return f"ends far from what there is to learn: {far.said}"
        top, base = tail(record, "prediction/top_share"), tail(record, "target/top_share")
        one = (
            len(top) and len(base) and median(top) >= self.collapsed and float(base.mean()) < self.collapsed - 0.1 and not informed(record)
        )
        if one:
            return "leaves one answer to nearly everything"
        held, learned = near_chance(record, self.collapsed, self.validations), skill(record)
        lost = held is not None and learned is not None and learned < self.skill and progress(loss).end > self.collapsed * float(loss[0])
        return f"was {loss[0]:.4g} at first, and is never better than that of a constant prediction in validation" if lost else ""
