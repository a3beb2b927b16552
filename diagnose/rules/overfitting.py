"""Rule T310."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import refuse_games, run, tail
from diagnose.rules.skill import held_out_chance, like_training, never_better, one_answer
from diagnose.statistics import Values, finite, mann_kendall, median, progress, spread
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class Overfitting(Rule):
    """The validation loss rises while the training loss falls.

    ## What it measures
    The validation losses after their minimum: at least `after` of them, rising significantly, and the last three above the minimum by more
    than `rise` of it, by more than `share` of what validation had gained, and by three times the noise; while the training loss fell by
    `fall` in the same time (that of the loss call alone, where the step adds to it). Or the minimum is the first or second of at least
    `many` validations, and both losses have moved apart by `never` since. It is a warning unless the validation accuracy is still within
    `accuracy` of its best and the loss below `worse` times its first value, and below `constant` times that of a constant prediction: a
    sure model pays more for its errors, and that alone is only worth knowing.

    Or learning by heart, without any rise: the training loss fell below `nothing` of that of a constant prediction, and the validation loss
    never below `hardly` of it.

    Or nothing that holds: no validation, of `after` + 2 at least, came below `chance` times the loss of a constant prediction, while the
    training loss fell by `much`, and to that much below it; or by `little`, and the validation losses rose (Mann-Kendall above `certain`
    standard deviations) and ended above that of a constant, the training loss below it. Of squared errors the constant's loss in
    validation is the variance of its own targets, where these vary more.

    ## Why it matters
    From the minimum on the model learns its training data by heart, and what is saved last is not what is best.

    ## When it is wrong
    Few validation samples make noisy minima; hence the tests. Where early stopping ended the run, that is what it is for, and the
    finding is for information. Where nearly all predictions of training are one class nothing is judged: prediction-collapse speaks.

    ## What to try
    Stop at the minimum and use that checkpoint; more data, augmentation, weight decay, dropout, a smaller model.

    ## References
    SageMaker Debugger (overfit, 0.1); gradsnitch (3 %).
    """

    code = "T310"
    name = "overfitting"
    severity = Severity.WARNING
    needs = ("val/loss", "train/loss")
    explains = ("suspicious-validation",)

    after: int = 4
    rise: float = 0.15
    share: float = 0.3
    fall: float = 0.1
    accuracy: float = 0.02
    worse: float = 1.2
    constant: float = 1.05
    many: int = 10
    never: float = 0.05
    nothing: float = 0.01
    hardly: float = 0.7
    chance: float = 0.98
    certain: float = 2.3
    little: float = 0.02
    much: float = 0.3

    def judge(self, record: Record) -> Iterator[Finding]:
        refuse_games(record)
        if one_answer(record):
            raise NotRun("nearly all predictions of training are one class: nothing is learned by heart")
        series = record.series("val/loss")
        known = np.isfinite(series.value)
        value, batch = series.value[known], series.batch[known]
        if len(value) < self.after + 2:
            raise NotRun(f"too short: {len(value)} validations, at least {self.after + 2} are needed")
        by_heart = self._by_heart(record, value) or self._in_vain(record)
        if by_heart is not None:
            yield by_heart
            return
        best = int(np.argmin(value))
        later = value[best:]
        if len(later) <= self.after:
            return
        low, high = float(value[best]), median(later[-3:])
        rise = high - low
        noise = spread(np.diff(value))
        gained = max(float(value[0]) - low, 0.0)
        loss = record.series("train/watched_loss" if self._more(record) else "train/loss")
        at_best = finite(loss.value[(loss.batch > batch[best] - (batch[1] - batch[0])) & (loss.batch <= batch[best])])
        at_end = finite(loss.value[loss.batch > batch[-1] - (batch[1] - batch[0])])
        if not len(at_best) or not len(at_end):
            raise NotRun("the training losses around the validations were not recorded")
        fell = float(at_best.mean() - at_end.mean()) / max(abs(float(at_best.mean())), 1e-12)
        sure = mann_kendall(later)
        turned = rise > max(self.rise * abs(low), self.share * gained, 3 * noise) and sure > 2.5 and fell > self.fall
        never = best <= 1 and len(value) >= self.many and rise > max(self.never * abs(low), 3 * noise) and sure > 5 and fell > self.never
        if turned or never:
            right = finite(record.series("val/accuracy").value) if "val/accuracy" in record else np.empty(0)
            kept = len(right) > 3 and right[-3:].mean() > right.max() - self.accuracy and high < self.worse * float(value[0])
            kept = kept and not self._useless(record, high)
            stopped = bool(run(record).get("stopped"))
            yield self.finding(
                f"the validation loss rose from {low:.4g} (validation {best + 1} of {len(value)}) to {high:.4g} while the training "
                f"loss fell by {fell:.0%}",
                where=f"epoch {int(series.epoch[known][best])}",
                fix="use the checkpoint of the minimum; add data, augmentation or weight decay, or take a smaller model",
                severity=Severity.INFO if (kept and not never) or stopped else Severity.WARNING,
                rise=rise / max(abs(low), 1e-12),
                limit=self.rise,
                minimum=low,
                end=high,
                train_fall=fell,
            )

    def _useless(self, record: Record, loss: float) -> bool:
        """Whether a validation loss is above that of a constant prediction, as far as that is known."""
        start = record.facts.get("probe.initial_loss", {})
        chance, alike = start.get("chance"), like_training(record) and not record.facts.get("validation", {}).get("logged")
        known = chance and alike and start.get("total") == start.get("loss")
        return bool(known) and loss > self.constant * held_out_chance(record, chance)

    def _more(self, record: Record) -> bool:
        """Whether a training step adds something to the loss that validation is measured by."""
        start = record.facts.get("probe.initial_loss", {})
        return start.get("total") != start.get("loss") and "train/watched_loss" in record

    def _by_heart(self, record: Record, held: Values) -> Finding | None:
        """Nothing is left of the training loss, and hardly anything of it was gained in validation."""
        start = record.facts.get("probe.initial_loss", {})
        trained, chance = tail(record, "train/loss", 0.1), start.get("chance")
        alike = like_training(record) and not record.facts.get("validation", {}).get("logged")
        if not len(trained) or not chance or start.get("total") != start.get("loss") or not alike:
            return None
        low, base = float(held.min()), held_out_chance(record, chance)
        if median(trained) >= self.nothing * chance or low <= self.hardly * base or held[-1] <= low:
            return None
        return self.finding(
            f"the training loss fell to {median(trained):.2g} and the validation loss never below {low:.4g}, where a constant prediction "
            f"has {base:.4g}: the samples are learned by heart",
            where=f"epoch {int(record.series('val/loss').epoch[-1])}",
            fix="add data, augmentation or weight decay, or take a smaller model; look for inputs that number the samples",
            minimum=low,
            end=float(held[-1]),
            chance=base,
            limit=self.hardly,
        )

    def _in_vain(self, record: Record) -> Finding | None:
        """Training gets better, and validation, never better than a constant prediction, gets worse or stays far behind."""
        held = never_better(record, self.chance, self.after + 2)
        if held is None:
            return None
        come, chance = progress(record.series("train/loss").value), record.facts["probe.initial_loss"]["chance"]
        base = held_out_chance(record, chance)
        worse = held[-1] > base and chance > come.end and mann_kendall(held) >= self.certain and come.relative >= self.little
        apart = come.relative >= self.much and come.end < (1 - self.much) * chance
        if not (worse or apart) or come.drop < 3 * come.error:
            return None
        return self.finding(
            f"the training loss fell by {come.relative:.0%}, and the validation loss, {held[-1]:.4g} at the end, was never better than "
            f"{held.min():.4g}, where a constant prediction has {base:.4g}: what is learned holds in training alone",
            where=f"epoch {int(record.series('val/loss').epoch[-1])}",
            fix="check that inputs and labels belong together, that validation runs the weights and the scaling of training, and that the "
            "network can see what tells the label; then regularise",
            minimum=float(held.min()),
            end=float(held[-1]),
            chance=base,
            train_fall=come.relative,
            limit=self.chance,
        )
