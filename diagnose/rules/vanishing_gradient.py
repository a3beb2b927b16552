"""Rule T302."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import losses, refuse_games, skill, update_of
from diagnose.statistics import progress
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class VanishingGradient(Rule):
    """The gradient shrinks on its way to the input, and the first layers hardly learn.

    ## What it measures
    The median over measured steps of each layer's gradient norm, in the order of the layers. The first layer with a gradient must get
    less than `ratio` of the largest gradient in at least `persistence` of at least `records` measured steps, the gradients must grow
    with depth on the whole, its weights must move by less than `update` of their size per step, and the loss must have lost less than
    `progress` of its start, or the model be hardly better than a constant prediction. Where an adaptive optimizer moves the weights all
    the same, less than `lost` of the largest gradient is asked for, and both signs that nothing is learned.

    ## Why it matters
    Layers that get no gradient stay as they were initialised: the network is as good as its last layers on random features.

    ## When it is wrong
    Adaptive optimizers undo small gradients, which is why the updates are judged too: in six and eight plain sigmoid layers under Adam the
    first got 2e-5 and 5e-7 of the largest gradient and nothing was learned, in sixteen ReLU layers 4e-6, and the loss fell by 43 %. A
    deep network that learns all the same is not reported. Models whose modules are declared in another order than they run in may look
    shuffled; then the rule is silent.

    ## What to try
    ReLU-like activations in place of sigmoid and tanh, normalisation layers, residual connections, an initialisation for the activation
    that is used.

    ## References
    X. Glorot and Y. Bengio (2010); AUTOTRAINER (ICSE 2021): ratio below 1e-3 and norm below 1e-4.
    """

    code = "T302"
    name = "vanishing-gradient"
    severity = Severity.WARNING
    needs = ("grad_norm/layers", "train/loss")
    explains = ("learning-rate-too-low", "frozen-parameter", "underfitting")

    ratio: float = 1e-3
    lost: float = 1e-4
    update: float = 1e-4
    persistence: float = 0.8
    progress: float = 0.1
    records: int = 10
    layers: int = 3

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        come = progress(losses(record, 30))
        series = record.series("grad_norm/layers")
        value = np.where(series.value > 0, series.value, np.nan)
        kept = np.flatnonzero(np.isfinite(value).mean(0) > 0.5) if len(value) else np.empty(0, int)
        if len(value) < self.records:
            raise NotRun(f"too short: {len(value)} measured steps, at least {self.records} are needed")
        if len(kept) < self.layers:
            raise NotRun(f"{len(kept)} layers get a gradient, at least {self.layers} are needed")
        value = value[:, kept]
        with np.errstate(invalid="ignore"):
            share = value[:, 0] / np.nanmax(value, axis=1)
            middle = np.nanmedian(value, axis=0)
        small = float(np.nanmean(share < self.ratio))
        rising = float(np.mean(np.diff(np.log(middle)) > 0))
        name = series.labels[kept[0]]
        moves = update_of(record, name)
        learned = skill(record)
        signs = [come.relative < self.progress, learned is not None and learned < self.progress]
        still = moves < self.update and any(signs)
        in_vain = float(np.nanmean(share < self.lost)) >= self.persistence and all(signs)
        if small >= self.persistence and rising >= 0.6 and (still or in_vain):
            yield self.finding(
                f"the gradient of {name} is {np.median(share):.1g} of the largest in {small:.0%} of the measured steps, "
                f"and it moves by {moves:.1g} of its size per step; the loss went from {come.start:.4g} to {come.end:.4g}",
                where=name,
                fix="use ReLU-like activations, normalisation or residual connections between the first and the last layer",
                ratio=float(np.median(share)),
                limit=self.ratio,
                persistence=small,
                update=moves,
                progress=come.relative,
            )
