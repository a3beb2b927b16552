"""The doctor: all instruments, and the rules that judge what they record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from diagnose.callbacks.activations import Activations
from diagnose.callbacks.by_hand import ByHand
from diagnose.callbacks.directions import Directions
from diagnose.callbacks.gradients import Gradients
from diagnose.callbacks.graphs import Graphs
from diagnose.callbacks.instrument import Instrument
from diagnose.callbacks.losses import Losses, Validation
from diagnose.callbacks.metrics import Metrics, Setup
from diagnose.callbacks.modes import Modes
from diagnose.callbacks.monitor import Monitor, log
from diagnose.callbacks.nonfinite import NonFinite
from diagnose.callbacks.notes import Cadence
from diagnose.callbacks.pace import Pace
from diagnose.callbacks.ranks import anywhere, gathered
from diagnose.callbacks.scaling import Scaling
from diagnose.callbacks.thawing import Thawing
from diagnose.callbacks.turns import Turns
from diagnose.callbacks.updates import Updates
from diagnose.callbacks.zeroing import Zeroing
from diagnose.namespace import LightningModule, Trainer
from diagnose.record import Record
from diagnose.rules import Rule, build, diagnose
from diagnose.values import Diagnosis, Finding, Severity

FIRST_LOOK = 30
ON_ERROR = ("warn", "stop", "raise")


class Doctor(Monitor):
    """Watches a training without changing it and says what is wrong with it; ``doctor.diagnosis`` at any moment.

    At the start of the fit the fast probes of `diagnose.check` run on a copy, or their evidence is taken over where `diagnose.check` has
    seen this module. They cost about as much as ten training batches; in runs of 9000 batches and more, one batch is also learned by heart
    (at most a twentieth of the run), which ``underfitting`` needs. Other probes that train are left to `diagnose.check`. During training
    losses, gradients, activations, updates, predictions, learning rates and times go to ``doctor.record``. The rules look at them after
    30, 90, 270 ... batches and at the end; each new finding is logged once. Every process of a distributed training records its own
    numbers, the first one keeps and reports them. They tell each other what failed, the sums of a validation, and the errors that only one
    of them can see, so that all of them stop or go on.

    Args:
        rules: The rules to judge by, from `diagnose.rules.build`; by default those chosen by the next three.
        select: Codes, prefixes of codes or names of rules; empty selects all.
        ignore: The same, taken away from the selected.
        options: Thresholds per rule: ``{"vanishing-gradient": {"ratio": 1e-4}}``.
        on_error: What an ``error`` found during training does: ``"warn"`` logs it, ``"stop"`` ends training after the step, ``"raise"``
            raises a RuntimeError at once.
        every_n_steps: Measure at every n-th optimizer step; by default each of the first 12, then ever fewer, then every
            ``log_every_n_steps`` of the Trainer. Activations, predictions and updates take longest and change slowly: they are looked at
            in each of the first 6 steps, then ever fewer, then in every second of the measured steps and at most in every tenth of all.
        logged: The most scalars of one record that go to the Trainer's loggers; 0 sends none.
        probes: Whether to run the fast probes at the start.
        record: The record to write to, or a folder for it; by default it is kept in memory.
        reproductions: Folder for saved steps that are not finite; by default beside the record's events, or nowhere without a folder.
        strict: Raise what fails in measuring or judging, where it would otherwise be reported once and switched off.
    """

    def __init__(
        self,
        *,
        rules: Sequence[Rule] | None = None,
        select: Sequence[str] = (),
        ignore: Sequence[str] = (),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        on_error: str = "warn",
        every_n_steps: int | None = None,
        logged: int = 20,
        probes: bool = True,
        record: Record | Path | str | None = None,
        reproductions: Path | str | None = None,
        strict: bool = False,
    ) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error must be one of {', '.join(ON_ERROR)}, got {on_error!r}")
        self.rules = tuple(rules) if rules is not None else build(select, ignore, options)
        self.on_error, self.probes = on_error, probes
        self.reproductions = Path(reproductions) if reproductions is not None else None
        self._told: set[tuple[str, str]] = set()
        super().__init__(record=record, every_n_steps=every_n_steps, logged=logged, strict=strict)

    def make(self) -> Iterator[Instrument]:
        folder = self.reproductions or self.notes.record.path or self.path
        self._setup = Setup()
        yield self._setup
        yield Metrics()
        yield Pace()
        yield Graphs()
        yield Losses()
        yield Modes()
        yield Activations()
        yield Directions()
        yield NonFinite(folder, eager=self.on_error != "warn")  # after those two, which are done when a loss is differentiated
        yield Zeroing()
        yield Turns()
        yield Thawing()
        yield Gradients()
        yield ByHand()
        yield Scaling()
        yield Updates()
        yield Validation()

    @property
    def diagnosis(self) -> Diagnosis:
        """What the rules say about all that was recorded so far."""
        self._flush()
        return diagnose(self.record, self.rules, strict=self.strict)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._told, self.notes.look = set(), self.notes.batch + FIRST_LOOK

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.notes.thorough = thorough(self.notes.cadence)
        if self.probes:
            self._probe(trainer, pl_module)
        self._look(trainer)

    def _probe(self, trainer: Trainer, module: LightningModule) -> None:
        try:
            from diagnose.experiments.check import fast_probes

            fast_probes(self.notes.record, trainer, module)
        except Exception as error:
            if self.strict:
                raise
            log.warning("the probes before training failed (%s: %s); training goes on", type(error).__name__, error)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        super().on_before_backward(trainer, pl_module, loss)
        if self.on_error == "raise" and "nonfinite" in self.notes.record.facts and trainer.world_size == 1:
            self._look(trainer)

    def look(self, trainer: Trainer) -> None:
        if self.notes.batch >= self.notes.look:
            self.notes.look = 3 * self.notes.batch
            self._flush()
            self._look(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._look(trainer, over=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._setup.interrupt(trainer, pl_module, exception)
        super().on_exception(trainer, pl_module, exception)
        if not isinstance(exception, KeyboardInterrupt):
            self._look(trainer, over=True, alone=True)

    def _look(self, trainer: Trainer, over: bool = False, alone: bool = False) -> None:
        """Judge what was recorded, log what is new, and act on errors; ``alone`` where other processes may be gone."""
        diagnosis = diagnose(self.notes.record, self.rules, strict=self.strict)
        new = [f for f in diagnosis.at_or_above("warning") if (f.code, f.where) not in self._told]
        self._told |= {(f.code, f.where) for f in new}
        if trainer.is_global_zero:
            for finding in new:
                log.warning("%s", line(finding))
        errors = [line(f) for f in diagnosis.at_or_above(Severity.ERROR)]
        if not alone:
            errors += self._hear(trainer, errors)
        if errors and not over and self.on_error == "stop":
            trainer.should_stop = True
        elif errors and not over and self.on_error == "raise":
            raise RuntimeError(f"the doctor found an error and was told to raise: {errors[0]}")

    def _hear(self, trainer: Trainer, errors: list[str]) -> list[str]:
        """The errors that other processes found in what they alone saw; the first process keeps their first number that is not finite."""
        if trainer.world_size == 1 or not anywhere(trainer, [bool(errors)])[0]:
            return []
        told = gathered(trainer, {"errors": errors, "nonfinite": self.notes.record.facts.get("nonfinite")})
        heard = []
        for rank, said in enumerate(told):
            if rank == trainer.global_rank:
                continue
            heard += [f"process {rank}: {error}" for error in said["errors"]]
            fact, own = said["nonfinite"], self.notes.record.facts.get("nonfinite")
            if fact is not None and (own is None or origin(fact) < origin(own)):
                self.notes.record.add("nonfinite", {**fact, "rank": rank})
        if trainer.is_global_zero:
            for error in heard:
                if ("rank", error) not in self._told:
                    self._told.add(("rank", error))
                    log.warning("%s", error)
        return heard


def thorough(cadence: Cadence) -> Cadence:
    """When to look at all there is, where losses and gradients are measured at a cadence."""
    return Cadence(dense=6, every=max(10, 2 * cadence.every), ramp=0.5)


def origin(nonfinite: dict[str, Any]) -> tuple[int, bool]:
    """What to sort by, where processes saw the same NaN: the earliest batch, and there what is not the average of all gradients."""
    return nonfinite["batch"], nonfinite["what"] == "gradient"


def line(finding: Finding) -> str:
    """A finding in one line of a log."""
    where = f" [{finding.where}]" if finding.where else ""
    fix = f" Fix: {finding.fix}{f' ({finding.override})' if finding.override else ''}" if finding.fix else ""
    return f"{finding.severity.value} {finding.code} {finding.rule}{where}: {finding.message}.{fix}"
