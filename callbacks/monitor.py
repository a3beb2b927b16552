"""A Lightning callback made of instruments: it calls them where training stands, and switches off those that fail."""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from diagnose.callbacks.forward import Forward
from diagnose.callbacks.instrument import HOOKS, IN_BATCH, Instrument, NotMonitored
from diagnose.callbacks.loggers import Loggers
from diagnose.callbacks.notes import Cadence, Notes
from diagnose.callbacks.ranks import anywhere
from diagnose.callbacks.rest import EVERY, around, in_batch, rest
from diagnose.namespace import Callback, LightningModule, Trainer, own_state
from diagnose.record import EVENTS, Record

log = logging.getLogger("diagnose")

AROUND_BATCH = ("before_batch", "after_batch")


@dataclass(eq=False)
class Shelf:
    """The record of the latest fit and the number of fits; a callback and its copies share one."""

    record: Record
    fits: int = 0


class Monitor(Callback, ABC):
    """What the monitors share: the notebook, the moments, and that no failure of theirs reaches training."""

    def __init__(
        self, *, record: Record | Path | str | None = None, every_n_steps: int | None = None, logged: int = 20, strict: bool = False
    ) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps must be a positive number of optimizer steps or None, got {every_n_steps!r}")
        self.path = Path(record) if isinstance(record, (str, Path)) else None
        self._shelf = Shelf(record if isinstance(record, Record) else Record())
        if logged < 0:
            raise ValueError(f"logged must be a number of scalars per record, 0 for none, got {logged!r}")
        self.every_n_steps, self.logged, self.strict = every_n_steps, logged, strict
        self.notes = Notes(self._shelf.record, Cadence() if every_n_steps is None else Cadence(dense=0, every=every_n_steps))
        self._key = self._generate_state_key(every_n_steps=every_n_steps, path=str(self.path))
        self._equip()

    def make(self) -> Iterator[Instrument]:
        """The instruments of this callback."""
        raise NotImplementedError

    @classmethod
    def of(cls, trainer: Trainer) -> Self:
        """The callback of this kind that a Trainer runs: for hosts that make their own from what they are given.

        Raises:
            ValueError: It runs none.
        """
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        found = next((c for c in callbacks if isinstance(c, cls)), None)
        if found is None:
            raise ValueError(f"expected a Trainer with a {cls.__name__}, its callbacks are {[type(c).__name__ for c in callbacks]}")
        return found

    @property
    def record(self) -> Record:
        """What the latest fit recorded, by this callback or a copy of it; what a copy in another process wrote is read from its folder."""
        if self._shelf.fits == 0 and self.path is not None and (self.path / EVENTS).is_file():
            return Record.read(self.path)
        return self._shelf.record

    @property
    def state_key(self) -> str:
        return self._key  # asked for by the Trainer at every hook

    def state_dict(self) -> dict[str, Any]:
        return {"batch": self.notes.batch, "next": self.notes.next, "next_whole": self.notes.next_whole}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.notes.batch, self.notes.next, self.notes.next_whole = (state_dict[key] for key in ("batch", "next", "next_whole"))
        self._resumed = True

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to a running fit: the instruments, which hold the user's modules, and the open file of the record."""
        record = copy(self.notes.record)
        record._file = None
        left_out = ("instruments", "_forward", "_calls", "_light", "_always", "_now", "_active", "_started", "_spare", "_idle", "_resting")
        state = {k: v for k, v in own_state(self).items() if k not in left_out and (v is not None or k not in EVERY)}
        return {**state, "_shelf": replace(self._shelf, record=record), "notes": self.notes.copy(record)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._equip()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy that writes to the same record: hosts run copies, and users look into the original."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        state = {k: deepcopy(v, memo) for k, v in self.__getstate__().items() if k not in ("_shelf", "notes")}
        twin.__setstate__({**state, "_shelf": self._shelf, "notes": self.notes.copy(self.notes.record)})
        return twin

    def _equip(self) -> None:
        self._forward = Forward()
        self.instruments = (self._forward, *self.make())
        for instrument in self.instruments:
            instrument.notes = self.notes
        self._started = self._resumed = False
        self._spare: tuple[str, ...] = ()
        self._idle: tuple[str, ...] = ()
        self._resting: tuple[str, ...] = ()
        self._arrange(self.instruments)

    def _arrange(self, instruments: Sequence[Instrument]) -> None:
        def own(instrument: Instrument, hook: str) -> bool:
            return getattr(type(instrument), hook) is not getattr(Instrument, hook)

        self._calls = {hook: [(i, getattr(i, hook)) for i in instruments if own(i, hook)] for hook in HOOKS}
        self._light = {hook: [(i, call) for i, call in self._calls[hook] if not i.thorough] for hook in IN_BATCH}
        self._always = {hook: [(i, call) for i, call in self._calls[hook] if hook in i.always] for hook in IN_BATCH}
        self._active = tuple(instruments)
        self._forward.serve(self._active)
        self._choose()

    def _choose(self) -> None:
        """Who is called in the present batch."""
        self._now = self._always if not self.notes.due else self._calls if self.notes.whole else self._light

    def _rest(self, hooks: tuple[str, ...] = ()) -> None:
        self._resting = rest(self, self._resting, hooks)

    def _may_doze(self, trainer: Trainer) -> bool:
        """Whether the next batches may be passed by."""
        calm = bool(self._idle) and self.notes.calm(trainer)
        return calm and all(i.patient for moment in AROUND_BATCH for i, _ in self._always[moment])

    def _each(self, moment: str, *arguments: Any) -> None:
        self._run(self._calls, moment, *arguments)

    def _run(self, calls: dict[str, list[tuple[Instrument, Callable[..., None]]]], moment: str, *arguments: Any) -> None:
        for instrument, call in calls[moment]:
            try:
                call(*arguments)
            except NotMonitored as why:
                log.info("%s: not monitored: %s", type(instrument).__name__, why)
                self._take_out(instrument, f"not monitored: {why}")
            except Exception as error:
                if self.strict:
                    raise
                self._switch_off(instrument, f"{type(instrument).__name__} failed in {moment} ({type(error).__name__}: {error})")

    def _switch_off(self, instrument: Instrument, why: str) -> None:
        log.warning("%s and switched itself off; training goes on. strict=True raises it", why)
        self._take_out(instrument, why)

    def _take_out(self, instrument: Instrument, why: str) -> None:
        self._arrange([i for i in self._active if i is not instrument])
        try:
            instrument.release()
        except Exception as error:
            log.warning("%s could not be released: %s", type(instrument).__name__, error)
        for name in instrument.writes:
            if name not in self.notes.record:
                self.notes.record.skip(name, why)

    def _agree(self, trainer: Trainer) -> None:
        """Switch off in this process what failed in another: those that communicate would wait for it."""
        if trainer.world_size > 1:
            off = anywhere(trainer, [i not in self._active for i in self.instruments])
            for instrument in [i for i, failed in zip(self.instruments, off, strict=True) if failed and i in self._active]:
                self._switch_off(instrument, f"{type(instrument).__name__} failed in another process")

    def _flush(self) -> None:
        self._writing(self.notes.flush)

    def _writing(self, write: Callable[..., None], *arguments: Any) -> None:
        """Write to the record; where that fails (a full disk), what follows is kept in memory."""
        try:
            write(*arguments)
        except Exception as error:
            if self.strict:
                raise
            with suppress(OSError):
                self.notes.record.close()
            why = f"{type(error).__name__}: {error}"
            log.warning("the record could not be written (%s); training goes on, the rest of it stays in memory", why)

    def _release(self) -> None:
        self._rest()
        self._each("release")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        shelf = self._shelf
        shelf.fits += 1
        writes = self.path if trainer.is_global_zero else None
        shared = shelf.record.path is not None and not trainer.is_global_zero  # the first process writes to it
        if shelf.fits > 1 or writes is not None or shared:  # each fit has a record of its own
            again = "" if shelf.fits == 1 else f"-{shelf.fits}"
            shelf.record = Record(writes.with_name(writes.name + again) if writes is not None else None)
            self.notes = Notes(shelf.record, self.notes.cadence, thorough=self.notes.thorough)
        if self.logged and trainer.loggers and trainer.is_global_zero:
            self.notes.tell = Loggers(trainer, self.logged).scalars
        self._rest()  # a fit may have ended without a word
        self._equip()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_steps is None:
            self.notes.cadence = Cadence(every=getattr(trainer, "log_every_n_steps", 0) or 50)
        self._started = True
        sharing = [c for c in trainer.callbacks if isinstance(c, Monitor) and c.path == self.path]  # type: ignore[attr-defined]
        if self.path is not None and sharing[:1] == [self]:
            self._writing(self.notes.record.part, self.notes.batch if self._resumed else None)
        self._each("start", trainer, pl_module)
        if any(c is self for c in trainer.callbacks):  # type: ignore[attr-defined]  # else somebody else calls the hooks
            self._spare = in_batch(self, Monitor, {moment for moment, calls in self._always.items() if calls})
            self._idle = around(self, Monitor, self._spare) if pl_module.automatic_optimization else ()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._started:  # a copy that was made during training
            self.on_train_start(trainer, pl_module)
        if self.notes.open:  # the batch before was skipped half way
            self._release()
        self.notes.begin(trainer, pl_module)
        if self.notes.due or not self._resting:
            self._choose()
            self._rest(() if self.notes.due else self._spare)
        self._run(self._now, "before_batch", pl_module, batch, batch_idx)

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self._run(self._now, "after_forward", pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        passes_by = bool(self._idle) and self._resting is self._idle
        if passes_by:
            self.notes.pass_by(trainer)
        self._run(self._now, "before_backward", pl_module, loss)
        if passes_by and self.notes.awaited:
            self._rest(self._spare)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self._run(self._now, "before_step", pl_module, optimizer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._run(self._now, "after_batch", pl_module, outputs, batch, batch_idx)
        begun = self.notes.open
        if self.notes.end(trainer):
            self._flush()
        self.look(trainer)
        if begun and self._may_doze(trainer):
            self._rest(self._idle)

    def look(self, trainer: Trainer) -> None:
        """A batch is over and written down; those that are passed by but for ``notes.look``."""

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._each("before_validation_batch", pl_module, dataloader_idx)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._each("after_validation_batch", pl_module, outputs, batch, dataloader_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._agree(trainer)
            self._each("after_validation", trainer, pl_module)
            self._flush()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._agree(trainer)
        self._each("after_epoch", trainer, pl_module)
        self._flush()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()
        self._each("finish", trainer, pl_module)
        self._flush()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._release()
        self._each("finish", trainer, pl_module)
        self._flush()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()
        self.notes.tell = None
