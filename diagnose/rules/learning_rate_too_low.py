"""Rule T312."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import falls_steadily, losses, planned_steps, refuse_early, refuse_games, run
from diagnose.rules.games import players
from diagnose.rules.raw_targets import unreached
from diagnose.rules.skill import below_chance
from diagnose.rules.skill import skill as skill_of
from diagnose.statistics import finite, median, progress
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class LearningRateTooLow(Rule):
    """The steps are so small that the weights hardly move in the whole run.

    ## What it measures
    The relative size of one step of the layer that moves most, in the median, times the number of steps of the whole run: how far the
    weights could travel if every step went the same way. Below `travel`, or with steps below `update`, and with a loss that lost less
    than `progress` of its start, or than three standard errors, while the gradients are not tiny (`gradient`), the finding is made. It
    needs `rows` batches, or `epochs` epochs of any length.

    Steps of usual size may be too small for the run as well: after a whole run of at least `long` batches the loss lost less than
    `whole` of its start, and its slope over the last third is still at least `steady` of the slope over the first (Mann-Kendall's
    statistic beyond `certain` standard deviations), and the validation loss, if there is one, fell as well; or eight validations or
    more fell from one to the next, at the end half as fast as at the start or faster. A loss that comes near to anything it can reach
    slows down before. With steps below `slow` in the median it may have lost more than `whole` by then, and with others it must be a loss
    that is known, whose start has a meaning.

    Of several optimizers that have a loss each, when the run is over: one whose steps are, relative to the weights, less than `behind` of
    those of another, and whose loss did not get better by `progress` either.

    ## Why it matters
    The model would learn, given a hundred times the steps, or ten times the rate.

    ## When it is wrong
    Fine-tuning changes weights little and starts from a good loss: losses below 0.7 of chance are not reported, and models that have
    gained more than `skill` over a constant prediction are not. During warm-up steps are small by design: while training goes on, half
    of the run must be done.

    ## What to try
    Multiply the learning rate by ten until the loss falls quickly or becomes unstable, then halve it.

    ## References
    TheDeepChecker (2023): log10 of the update ratio below -4; A. Karpathy: about 1e-3 is healthy.
    """

    code = "T312"
    name = "learning-rate-too-low"
    severity = Severity.WARNING
    needs = ("update_ratio/layers", "train/loss")
    explains = ("loss-not-decreasing", "underfitting", "undertrained", "miscalibrated")

    travel: float = 0.02
    update: float = 1e-6
    progress: float = 0.05
    gradient: float = 1e-5
    skill: float = 0.3
    slow: float = 3e-4
    rows: int = 100
    epochs: int = 30
    done: float = 0.5
    long: int = 300
    whole: float = 0.1
    steady: float = 0.8
    certain: float = 5.0
    behind: float = 0.03

    def judge(self, record: Record) -> Iterator[Finding]:
        behind = list(self._left_behind(record))
        if behind:
            yield from behind
            return
        refuse_games(record)
        refuse_early(record, self.done)
        if unreached(record) is not None:
            raise NotRun("the targets are so large that steps of usual size do not come to them, of which initial-loss speaks")
        series = record.series("train/loss")
        seen = int(series.epoch[-1]) + 1 if len(series) else 0
        values = losses(record, self.rows if seen < self.epochs else self.epochs)
        ratios = record.series("update_ratio/layers").value
        known = ratios[np.isfinite(ratios).any(axis=1)]
        if len(known) < 5:
            raise NotRun(f"too short: {len(known)} measured steps, at least 5 are needed")
        largest = np.nanmax(known, axis=1)
        typical = median(largest)
        steps = planned_steps(record) or int(series.step[-1]) + 1
        come = progress(values)
        gradient = finite(record.series("grad_norm/total").value) if "grad_norm/total" in record else np.ones(1)
        learned = skill_of(record)
        good = below_chance(record, come.end) or (learned is not None and learned > self.skill)
        level = come.relative < self.progress or come.drop < 3 * come.error
        moving = typical * steps < self.travel or typical < self.update
        spoken = bool(record.facts.get("task", {}).get("loss"))
        rate = (run(record).get("optimizers") or [{"lr": 0.0}])[0]["lr"]
        if moving and typical > 0 and level and median(gradient) > self.gradient and not good:
            yield self.finding(
                f"a step moves the weights by {typical:.1g} of their size, so {steps} steps move them by {typical * steps:.2g} at most, "
                f"and the loss went from {come.start:.4g} to {come.end:.4g}",
                where=f"lr={rate:g}" if rate else "optimizer",
                fix=f"raise the learning rate, to {rate * 100:.1g} first" if rate else "raise the learning rate a hundredfold first",
                override=record.override("learning_rate", rate * 100) if rate else "",
                update=typical,
                travel=typical * steps,
                limit=self.travel,
                progress=come.relative,
                learning_rate=rate,
            )
        elif (typical < self.slow or (spoken and come.relative < self.whole)) and falls_steadily(
            record, values, self.long, self.steady, self.certain
        ):
            yield self.finding(
                f"the loss went from {come.start:.4g} to {come.end:.4g} in {len(values)} batches and falls at the end as at the start",
                where=f"lr={rate:g}" if rate else "optimizer",
                fix="raise the learning rate" + (f", to {rate * 10:.1g} first, or train much longer" if rate else " tenfold first"),
                override=record.override("learning_rate", rate * 10) if rate else "",
                update=typical,
                progress=come.relative,
                limit=self.whole,
                learning_rate=rate,
            )

    def _left_behind(self, record: Record) -> Iterator[Finding]:
        """An optimizer that hardly moves while another runs away from it."""
        known = [player for player in players(record) if player.pace > 0]
        fastest = max(known, key=lambda player: player.pace, default=None)
        for player in known:
            if fastest is None or player.course is None or not player.pace < self.behind * fastest.pace:
                continue
            start, end = player.course
            if end > start - self.progress * abs(start):
                yield self.finding(
                    f"a step of the optimizer of {player.name} moves its weights by {player.pace:.1g} of their size, one of "
                    f"{fastest.name} by {fastest.pace:.1g}, and the loss of the first went from {start:.4g} to {end:.4g}",
                    where=f"{player.name}, lr={player.rate:g}",
                    fix="raise its learning rate until both move their weights about as far",
                    update=player.pace,
                    other=fastest.pace,
                    limit=self.behind,
                    learning_rate=player.rate,
                )
