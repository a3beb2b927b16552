"""Rule T302."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, require
from diagnose.rules.evidence import falls_steadily, losses, planned_steps, refuse_early, refuse_games, update_of
from diagnose.rules.games import players
from diagnose.rules.skill import come_nowhere, never_better, skill
from diagnose.statistics import median, medians, progress
from diagnose.values import Finding, Severity


def largest_step(sizes: Sequence[float]) -> float:
    """The share that the largest step down has in a fall, in decades.

    >>> largest_step([1.0, 0.1, 0.01]), largest_step([1.0, 0.9, 1e-9]) > 0.9
    (0.5, True)
    """
    logs = np.log(sizes)
    return float(-np.diff(logs).min() / max(logs[0] - logs[-1], 1e-9))


@dataclass(frozen=True, kw_only=True)
class VanishingGradient(Rule):
    """The gradient shrinks on its way to the input, and the first layers hardly learn.

    ## What it measures
    The median over measured steps of each layer's gradient norm, in the order of the layers. The first layer with a gradient must get
    less than `ratio` of the largest gradient in at least `persistence` of at least `records` measured steps, the gradients must grow
    with depth on the whole, its weights must move by less than `update` of their size per step, and the loss must have lost less than
    `progress` of its start, or the model be hardly better than a constant prediction. Where an adaptive optimizer moves the weights all
    the same, less than `lost` of the largest gradient is asked for, and both signs that nothing is learned.

    Recurrent layers, and layers that run ten times or more in a forward pass, are judged in time as well: before training the gradient with
    respect to the first tenth of at least `steps` time steps was below `reach` of the largest, and over `rows` batches and `epochs` epochs,
    `done` of the run at least, the loss did not fall by what loss-not-decreasing asks for, or it lost less than `progress` and fell at the
    end as fast as at the start or was never better than a constant prediction in validation, though the layer could have moved by `travel`
    of its size.

    Before training, where the outputs hardly change when samples are replaced by others: what each layer gives then changes less and less,
    in `depth` layers or more, none of which takes more than `leap` of the fall (in decades), to less than `blurred` of its size and `ratio`
    of what it was. What is lost in one place is left to input-independent.

    Of several optimizers that have a loss each, when the run is over: one whose gradient in the last third of the measured steps is less
    than `ratio` of that in the first ten, while its own loss went up.

    ## Why it matters
    Layers that get no gradient stay as they were initialised: the network is as good as its last layers on random features.

    ## When it is wrong
    Adaptive optimizers undo small gradients, which is why the updates are judged too: in six and eight plain sigmoid layers under Adam the
    first got 2e-5 and 5e-7 of the largest gradient and nothing was learned, in sixteen ReLU layers 4e-6, and the loss fell by 43 %. A
    deep network that learns all the same is not reported. Models whose modules are declared in another order than they run in may look
    shuffled; then the rule is silent. In time the gradient vanishes in nearly every plain recurrence of many steps, and does no harm where
    the last steps tell enough (1.8e-21 over 90 steps in a network that learned, 2e-12 over 50 in one that did not); hence only where
    nothing was learned.

    ## What to try
    ReLU-like activations in place of sigmoid and tanh, normalisation layers, residual connections, an initialisation for the activation
    that is used. For recurrent layers nn.LSTM or nn.GRU with a forget bias, attention or a mean over the time steps, shorter sequences.

    ## References
    Y. Bengio, P. Simard and P. Frasconi (1994), on gradients in time.
    X. Glorot and Y. Bengio (2010); AUTOTRAINER (ICSE 2021): ratio below 1e-3 and norm below 1e-4.
    """

    code = "T302"
    name = "vanishing-gradient"
    severity = Severity.WARNING
    needs = ("grad_norm/layers", "train/loss")
    instead = ("probe.fading",)
    explains = ("learning-rate-too-low", "frozen-parameter", "underfitting", "overfitting")

    ratio: float = 1e-3
    lost: float = 1e-4
    update: float = 1e-4
    persistence: float = 0.8
    progress: float = 0.1
    records: int = 10
    layers: int = 3
    steps: int = 20
    reach: float = 1e-6
    rows: int = 100
    epochs: int = 3
    done: float = 0.3
    travel: float = 0.02
    depth: int = 6
    leap: float = 0.34
    blurred: float = 1e-5

    def judge(self, record: Record) -> Iterator[Finding]:
        faded = list(self._faded(record))
        if faded:
            yield from faded
            return
        blurred = self.blurs(record)
        if blurred is not None:
            yield blurred
            return
        require(record, *self.needs)
        refuse_games(record)
        lost = self._lost_in_time(record)
        if lost is not None:
            yield lost
            return
        loss = losses(record, 30)
        series = record.series("grad_norm/layers")
        value = np.where(series.value > 0, series.value, np.nan)
        kept = np.flatnonzero(np.isfinite(value).mean(0) > 0.5) if len(value) else np.empty(0, int)
        if len(value) < self.records:
            raise NotRun(f"too short: {len(value)} measured steps, at least {self.records} are needed")
        if len(kept) < self.layers:
            raise NotRun(f"{len(kept)} layers get a gradient, at least {self.layers} are needed")
        value = value[:, kept]
        with np.errstate(invalid="ignore"):
            share = value[:, 0] / np.fmax.reduce(value, axis=1)
        small = float(np.nanmean(share < self.ratio))
        if small < self.persistence:
            return
        come = progress(loss)
        sizes = medians(value)
        rising = float(np.mean(np.diff(np.log(sizes)) > 0))
        name = series.labels[kept[0]]
        moves = update_of(record, name)
        learned = skill(record)
        signs = [come.relative < self.progress, learned is not None and learned < self.progress]
        still = moves < self.update and any(signs)
        in_vain = float(np.nanmean(share < self.lost)) >= self.persistence and all(signs)
        if rising >= 0.6 and (still or in_vain):
            yield self.finding(
                f"the gradient of {name} is {median(share):.1g} of the largest in {small:.0%} of the measured steps, "
                f"and it moves by {moves:.1g} of its size per step; the loss went from {come.start:.4g} to {come.end:.4g}",
                where=name,
                fix="use ReLU-like activations, normalisation or residual connections between the first and the last layer",
                ratio=median(share),
                limit=self.ratio,
                persistence=small,
                update=moves,
                progress=come.relative,
                layers=len(kept),
                leap=largest_step(sizes[::-1].tolist()),
            )

    def blurs(self, record: Record) -> Finding | None:
        """What the samples differ in gets smaller from layer to layer until nothing of it arrives; not where one layer takes it all."""
        layers = [e for e in record.facts.get("probe.fading", ()) if e["change"] > 0]
        if len(layers) < self.depth:
            return None
        first, last, leap = layers[0], layers[-1], largest_step([e["change"] for e in layers])
        if last["change"] >= min(self.blurred, self.ratio * first["change"]) or leap > self.leap:
            return None
        return self.finding(
            f"what the samples differ in shrinks from {first['change']:.2g} of what {first['name']} gives to {last['change']:.1g} of what "
            f"{last['name']} gives, little by little through {len(layers)} layers, and so does the gradient on its way back",
            where=first["name"],
            fix="use residual connections, normalisation, or ReLU-like activations with nn.init.kaiming_normal_ between the first and the "
            "last layer",
            change=last["change"],
            limit=self.blurred,
            layers=len(layers),
            leap=leap,
        )

    def _faded(self, record: Record) -> Iterator[Finding]:
        """Of several optimizers those that lose, and whose gradient all but vanished: a critic that is always right tells nothing more."""
        for player in players(record):
            if player.course is None or len(player.pulls) < 20:
                continue
            (start, end), first, last = player.course, median(player.pulls[:10]), median(player.pulls[-len(player.pulls) // 3 :])
            if last < self.ratio * first and end > start:
                yield self.finding(
                    f"the gradient of {player.name} fell from {first:.2g} to {last:.2g} while its loss rose from {start:.4g} to {end:.4g}: "
                    "what it plays against has won, and tells it nothing more",
                    where=player.name,
                    fix="use the loss that does not saturate, -log D(G(z)) in place of log(1 - D(G(z))), or a slower or weaker opponent",
                    first=first,
                    last=last,
                    limit=self.ratio,
                )

    def _lost_in_time(self, record: Record) -> Finding | None:
        """A recurrent layer whose gradient never reached the beginning, in a run that learned next to nothing, though it moved."""
        short = [e for e in record.facts.get("probe.recurrence", ()) if e["steps"] >= self.steps and e["reach"] < self.reach]
        if not short:
            return None
        try:
            refuse_early(record, self.done)
            values = losses(record, self.rows, self.epochs)
        except NotRun:
            return None
        steps = planned_steps(record) or len(values)
        if update_of(record, short[0]["name"]) * steps < self.travel:
            return None
        late = progress(values).relative < self.progress and (falls_steadily(record, values) or never_better(record) is not None)
        if not late and come_nowhere(record, values) is None:
            return None
        layer = min(short, key=lambda e: float(e["reach"]))
        return self.finding(
            f"the gradient of {layer['name']} shrinks to {layer['reach']:.1g} of its largest over {layer['steps']} time steps, and the "
            f"loss {'hardly falls' if late else 'does not fall'}: what stands at their beginning reaches no weight",
            where=layer["name"],
            fix="use nn.LSTM or nn.GRU with a forget bias of 1 or more, or an orthogonal recurrence; or give the last layer a mean or "
            "attention over all time steps",
            reach=layer["reach"],
            limit=self.reach,
            steps=layer["steps"],
        )
