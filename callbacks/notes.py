"""Where training stands, when to measure, and the numbers on the device that wait for the next transfer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from diagnose.measure.plain import plain
from diagnose.record import Place, Record

Finish = Callable[[list[float]], Mapping[str, float | list[float]]]


@dataclass(frozen=True)
class Cadence:
    """At which optimizer steps to measure: each of the first ``dense``, then after ``ramp`` of the steps so far, then every ``every``-th.

    Without ``dense`` steps it is every ``every``-th from the beginning.

    >>> cadence, step, steps = Cadence(dense=3, every=50), 0, []
    >>> while step < 200:
    ...     steps.append(step)
    ...     step = cadence.after(step)
    >>> steps[:8], steps[-1] - steps[-2]
    ([0, 1, 2, 3, 4, 5, 7, 9], 37)
    """

    dense: int = 12
    every: int = 50
    ramp: float = 0.25

    def after(self, position: int) -> int:
        """The next position to measure at, after ``position``."""
        if position < self.dense:
            return position + 1
        gap = math.ceil(self.ramp * position) if self.dense else self.every
        return position + max(1, min(self.every, gap))


SELDOM = Cadence()
WAITING = 64  # rows
GOLDEN, TIMED = 0.618033988749895, 1 / 16  # this share of those passed by is timed, in no step with the workers of a loader


@dataclass(eq=False)
class Notes:
    """The notebook that the instruments of one callback share.

    Attributes:
        record: Where the numbers go.
        tell: Called with each row that was written, and its step.
        cadence: When to measure.
        step, epoch, batch: Optimizer steps taken, epoch and training batches seen when the present batch began.
        place: These three.
        due: Whether the present optimizer step is measured.
        open: Whether a batch is under way.
        fresh: Whether this is the first batch of a measured step (of several under accumulation).
        whole: Whether all is measured in this step; else only losses, gradients and learning rates are.
        watched: Whether the forward pass of the present batch is watched: where it is fresh, and all is measured.
        seldom: Whether it is the first batch of a step at which that is looked at which takes long and tells little of a single step:
            the measured steps, and of these no more than there are at the default cadence.
        thorough: In which of the measured steps all is measured.
        look: Batch at whose end somebody wants to look at what was written.
        wake: Whether an instrument wants to be called at the end of the present batch, which is passed by.
        loss: Loss of the present batch, where it costs no transfer to know it.
        accumulate: Batches per optimizer step.
        chosen: Which of the loss calls of a training step it is judged by, and of how many.
        unreduced: Mean of the loss call of the latest measured step, where it is not reduced, and the loss of that step.
        nonfinite, nonfinite_series: Place of the first loss or gradient that came out as NaN or infinity, and which of the two.
    """

    record: Record
    cadence: Cadence = Cadence()
    step: int = 0
    epoch: int = 0
    batch: int = -1
    place: Place = (0, 0, -1)
    due: bool = False
    open: bool = False
    fresh: bool = False
    watched: bool = False
    seldom: bool = False
    whole: bool = False
    thorough: Cadence = Cadence(dense=0, every=1)
    look: float = math.inf
    wake: bool = False
    loss: float | None = None
    accumulate: int = 1
    chosen: tuple[int, int] | None = None
    unreduced: tuple[Tensor, Tensor] | None = None
    nonfinite: Place | None = None
    nonfinite_series: str = ""
    next: int = 0
    next_whole: int = 0
    tell: Callable[[Record, dict[str, Any], int], None] | None = None
    _ready: int | None = None
    _window: int = 0
    _position: int = 0
    _next_seldom: int = 0
    _rows: dict[Place, dict[str, Any]] = field(default_factory=dict)
    _tensors: list[tuple[Place, str | Finish, Sequence[Tensor]]] = field(default_factory=list)

    def copy(self, record: Record) -> Notes:
        """The same place in another record, without the numbers that wait."""
        return replace(self, record=record, tell=None, _rows={}, _tensors=[])

    def begin(self, trainer: Any, module: Any) -> None:
        """A training batch begins."""
        self._count(trainer, 1)
        self.open, self.wake = True, False
        self.accumulate = trainer.accumulate_grad_batches
        # batches under manual optimisation, where steps may be many per batch or hidden
        self._position = self.step if module.automatic_optimization else self.batch
        self.due = self._position >= self.next
        self.fresh = self.due and self._window == 0
        if self.fresh:
            self.whole = self._position >= self.next_whole
            if self.whole:
                self.next_whole = self.thorough.after(self._position)
        self.watched = self.fresh and self.whole
        self.seldom = self.fresh and self._position >= self._next_seldom
        if self.seldom:
            self._next_seldom = SELDOM.after(self._position)

    def end(self, trainer: Any) -> bool:
        """The batch is over. Whether to flush: what was measured is transferred at the latest with what is measured next in whole."""
        self.open = False
        if self.due:
            self._window += 1
            if trainer.global_step > self.step or self._window >= self.accumulate:
                self.next, self._window = self.cadence.after(self._position), 0
        return (self.due and (self.whole or self.tell is not None)) or len(self._rows) >= WAITING

    def pass_by(self, trainer: Any) -> None:
        """A training batch is under way of which only the loss is noted."""
        self._count(trainer, 0)

    def _count(self, trainer: Any, least: int) -> None:
        ready = trainer.fit_loop.epoch_loop.batch_progress.total.ready  # batches that were skipped while they were passed by count too
        self.batch += 1 if self._ready is None else max(least, ready - self._ready)
        self._ready = ready
        self.step, self.epoch, self.loss = trainer.global_step, trainer.current_epoch, None
        self.place = (self.step, self.epoch, self.batch)

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the end of a batch that is passed by, or for the next one."""
        if self.wake or self.step + 1 >= self.next or self.batch >= self.look or len(self._rows) >= WAITING:
            return True
        return (self.batch * GOLDEN) % 1.0 < TIMED

    def calm(self, trainer: Any) -> bool:
        """Whether nobody waits for the next batch, the present one being over."""
        return not self.due and trainer.global_step + 1 < self.next

    def put(self, name: str, value: float | Sequence[float] | Tensor) -> None:
        """A number, or a vector in the order of the series' labels; tensors may stay on their device."""
        if not isinstance(value, Tensor):
            self._rows.setdefault(self.place, {})[name] = value
        elif value.dim():
            self.put_raw(plain(value).detach().reshape(-1).unbind(), lambda numbers: {name: numbers})
        else:
            self.put_raw((plain(value).detach(),), name)

    def put_raw(self, values: Sequence[Tensor], finish: Finish | str) -> None:
        """Single numbers: of one series, or for ``finish``, which gets them when they are on the host and gives values by series."""
        self._rows.setdefault(self.place, {})
        self._tensors.append((self.place, finish, values))

    def flush(self) -> None:
        """Write what waits, after one transfer from the device."""
        rows, self._rows, tensors, self._tensors = self._rows, {}, self._tensors, []
        if tensors:
            each = iter(transferred([value for _, _, values in tensors for value in values]))
            for place, target, values in tensors:
                if isinstance(target, str):
                    rows[place][target] = next(each)
                else:
                    rows[place].update(target(list(islice(each, len(values)))))
        places = sorted(place for place, row in rows.items() if row)
        for place in places if self.nonfinite is None else ():
            for name, what in (("train/loss", "loss"), ("grad_norm/total", "gradient")):
                if self.nonfinite is None and not math.isfinite(rows[place].get(name, 0.0)):
                    self.nonfinite, self.nonfinite_series = place, what
        self.record.extend([(place, rows[place]) for place in places])
        if self.tell is not None:
            for place in places:
                self.tell(self.record, rows[place], place[0])


def transferred(values: list[Tensor]) -> list[float]:
    """Single numbers, brought to the host at once."""
    values = [v if type(v) is Tensor else plain(v) for v in values]
    if all(v.is_cpu for v in values):  # they are there
        return [v.item() for v in values]
    try:
        together = torch.stack(values)
    except RuntimeError:  # they are on several devices
        together = torch.stack([v.to(values[0].device) for v in values])
    numbers: list[float] = together.tolist()
    return numbers
