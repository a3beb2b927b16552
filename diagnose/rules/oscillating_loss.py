"""Rule T308."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules.evidence import gathered, losses, planned_steps, refuse_games, refuse_unknown, remembered
from diagnose.statistics import blocks, finite, median, spread, trend
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class OscillatingLoss(Rule):
    """The training loss swings without getting anywhere.

    ## What it measures
    Means of forty blocks of the second half of all batches. They must show no trend, turn around at least `turns` times, spread by more
    than `swing` of their level and `scale` of the loss at the start of training, and by `excess` times what the batches within the blocks
    explain; and the half must have gained less than `gain` on its beginning. It needs `rows` batches and `epochs` epochs (or ten times the
    rows). Where momentum adds the steps up to more than `gathered` times the learning rate, it is named. It is named as well where it
    remembers more steps than the run has, 1 / (1 - momentum) or 1 / (1 - beta) of Adam, and the validation loss changes by more than
    `between` from one to the next, up and down in at least a third of them.

    ## Why it matters
    The steps jump across the valley instead of into it, or something in the data comes and goes.

    ## When it is wrong
    A loss without noise in its targets falls to a level where its last swings are nothing beside what it has lost: those are below
    `scale`. Cyclic learning rates make the loss swing on purpose. Adversarial games swing by nature and are not judged.

    ## What to try
    A lower learning rate or a larger batch; shuffle the data; clear the gradients before each step.

    ## References
    BTTackler; gradsnitch (six reversals, 1.6 times the noise).
    """

    code = "T308"
    name = "oscillating-loss"
    severity = Severity.WARNING
    needs = ("train/loss",)
    role = "symptom"

    turns: int = 8
    swing: float = 0.2
    scale: float = 0.02
    excess: float = 3.0
    gain: float = 0.1
    rows: int = 200
    epochs: int = 3
    gathered: float = 100.0
    between: float = 0.08

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        values = losses(record, self.rows, self.epochs)
        refuse_unknown(record, values)
        half = values[len(values) // 2 :]
        means = blocks(half, 40)
        within = spread(half - np.repeat(means, np.diff(np.linspace(0, len(half), len(means) + 1).astype(int)))) / np.sqrt(
            len(half) / len(means)
        )
        across, middle = spread(means), median(means)
        direction = trend(half, 40)
        steps = np.sign(np.diff(means))
        turned = int(np.sum(steps[1:] * steps[:-1] < 0))
        still = abs(direction.z) < 2 and float(means[:10].mean() - means[-10:].mean()) < self.gain * abs(middle)
        start = abs(median(values[: max(3, len(values) // 100)]))
        wide = across > self.swing * abs(middle) and across > self.scale * start and across > self.excess * within
        if still and turned >= self.turns and wide:
            factor = gathered(record)
            swinging = factor > self.gathered
            yield self.finding(
                f"in the second half of training the loss swings by {across:.3g} about {middle:.4g}, turns around {turned} times and "
                "gains nothing" + (f"; momentum adds the steps up to {factor:.3g} times the learning rate" if swinging else ""),
                where="momentum" if swinging else "train/loss",
                fix="lower the momentum to 0.9" if swinging else "lower the learning rate, shuffle the data, or use larger batches",
                override=record.override("momentum", 0.9) if swinging else "",
                swing=across / max(abs(middle), 1e-12),
                limit=self.swing,
                turns=turned,
                noise=float(within),
            )
        else:
            yield from self._longer_than_the_run(record)

    def _longer_than_the_run(self, record: Record) -> Iterator[Finding]:
        """Momentum that forgets nothing within the run, and a validation loss that swings with it."""
        held = finite(record.series("val/loss").value) if "val/loss" in record else np.empty(0)
        factor, steps = remembered(record), planned_steps(record)
        if steps is None or factor < max(steps, self.gathered) or len(held) < self.turns:
            return
        moves = np.diff(held)
        turned, size = int(np.sum(moves[1:] * moves[:-1] < 0)), median(np.abs(moves)) / max(abs(median(held)), 1e-12)
        if turned >= len(moves) / 3 and size > self.between:
            yield self.finding(
                f"momentum remembers {factor:.3g} steps of a run of {steps}, and from one validation to the next the loss changes by "
                f"{size:.0%}, up and down",
                where="momentum",
                fix="lower the momentum to 0.9",
                override=record.override("momentum", 0.9),
                swing=size,
                limit=self.between,
                turns=turned,
                remembered=factor,
            )
