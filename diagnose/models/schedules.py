"""Schedules of the learning rate by name; each knows whether it is stepped per batch or per epoch.

Those per batch are functions of the step and of the length of the run: one that is resumed for longer follows the longer schedule, while
`CosineAnnealingLR` would climb again and `ExponentialLR` fall further, by the length that the checkpoint remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, cos, pi
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import LRSchedulerConfigType


def schedule(optimizer: Optimizer, name: str, steps: int, **options: Any) -> LRSchedulerConfigType | None:
    """The schedule of a name as Lightning wants it, ``None`` for ``none``.

    Args:
        optimizer: Whose rates are set.
        name: A name in `SCHEDULES`.
        steps: Optimizer steps of the whole run.
        options: As in the functions of this file, or of `ReduceLROnPlateau` for ``plateau``.

    Raises:
        ValueError: The name is not known, or an option is out of range.
        TypeError: An option that the schedule does not have.
    """
    if name not in SCHEDULES:
        raise ValueError(f"scheduler.name must be one of {', '.join(SCHEDULES)}, got {name!r}")
    make, unit = SCHEDULES[name]
    made = make(optimizer, max(1, steps), **options)
    if made is None:
        return None
    config: LRSchedulerConfigType = {"scheduler": made, "interval": unit, "name": name}
    if name == "plateau":
        config["monitor"] = "val/loss"
    return config


def _between(key: str, value: float, low: float, high: float) -> float:
    if not low < value <= high:
        raise ValueError(f"scheduler.{key} must be above {low:g} and at most {high:g}, got {value!r}")
    return value


def _none(optimizer: Optimizer, steps: int) -> None:
    """The rate stays."""


def _step(optimizer: Optimizer, steps: int, *, every: int = 10, factor: float = 0.3) -> LRScheduler:
    """The rate times ``factor`` after each ``every`` epochs."""
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"scheduler.every must be a whole number of epochs, at least 1, got {every!r}")
    return StepLR(optimizer, every, _between("factor", factor, 0, 1))


def _exponential(optimizer: Optimizer, steps: int, *, final: float = 0.01) -> LRScheduler:
    """The rate falls by the same share at each step, to ``final`` of it at the end."""
    _between("final", final, 0, 1)
    return LambdaLR(optimizer, lambda step: float(final ** (step / steps)))


def _two_stage(optimizer: Optimizer, steps: int, *, switch: float = 0.7, middle: float = 0.3, final: float = 0.003) -> LRScheduler:
    """Exponential to ``middle`` of the rate at the share ``switch`` of the run, then faster or slower to ``final`` of it at the end."""
    _between("middle", middle, 0, 1)
    _between("final", final, 0, 1)
    if not 0 < switch < 1:
        raise ValueError(f"scheduler.switch must be above 0 and below 1, got {switch!r}")

    def factor(step: int) -> float:
        done = min(1.0, step / steps)
        return float(middle ** (done / switch) if done < switch else middle * (final / middle) ** ((done - switch) / (1 - switch)))

    return LambdaLR(optimizer, factor)


def _cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Half a cosine, to zero at the end (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    return LambdaLR(optimizer, lambda step: (1 + cos(pi * min(1.0, step / steps))) / 2)


def _cyclic(optimizer: Optimizer, steps: int, *, cycles: int = 5) -> LRScheduler:
    """Half a cosine to zero, again and again from the full rate (Huang et al. 2017, equation 2)."""
    if not isinstance(cycles, int) or cycles < 1:
        raise ValueError(f"scheduler.cycles must be a whole number, at least 1, got {cycles!r}")
    length = ceil(steps / cycles)
    return LambdaLR(optimizer, lambda step: (1 + cos(pi * (step % length if step < steps else length) / length)) / 2)


def _onecycle(optimizer: Optimizer, steps: int, *, warmup: float = 0.3) -> LRScheduler:
    """From a 25th of the rate up to it during the share ``warmup`` of the run, and down to nearly nothing (Smith 2018)."""
    if not 0 < warmup < 1:
        raise ValueError(f"scheduler.warmup must be above 0 and below 1, got {warmup!r}")
    return OneCycleLR(optimizer, optimizer.param_groups[0]["lr"], total_steps=steps + 1, pct_start=warmup)


def forget_length(state: dict[str, Any]) -> None:
    """Take out of the state of a scheduler how long its run was, in place: `OneCycleLR` keeps it."""
    for key in ("total_steps", "_schedule_phases"):
        state.pop(key, None)


def _warmup(optimizer: Optimizer, steps: int, *, share: float = 0.1, then: str = "cosine") -> LRScheduler:
    """Straight up during ``share`` of the run (Goyal et al. 2017), then ``constant`` or half a ``cosine`` to zero."""
    if not 0 < share < 1:
        raise ValueError(f"scheduler.share must be above 0 and below 1, got {share!r}")
    if then not in ("cosine", "constant"):
        raise ValueError(f"scheduler.then must be cosine or constant, got {then!r}")
    climb = max(1, round(share * steps))

    def factor(step: int) -> float:
        if step < climb:
            return (step + 1) / climb
        return 1.0 if then == "constant" else (1 + cos(pi * min(1.0, (step - climb) / max(1, steps - climb)))) / 2

    return LambdaLR(optimizer, factor)


def _plateau(optimizer: Optimizer, steps: int, **options: Any) -> ReduceLROnPlateau:
    """The rate times ``factor`` when val/loss has not fallen for ``patience`` epochs."""
    if not isinstance(options.get("patience", 1), int) or options.get("patience", 1) < 0:
        raise ValueError(f"scheduler.patience must be a whole number of epochs, at least 0, got {options['patience']!r}")
    return ReduceLROnPlateau(optimizer, **options)


SCHEDULES: dict[str, tuple[Callable[..., Any], str]] = {
    "none": (_none, "epoch"),
    "step": (_step, "epoch"),
    "exponential": (_exponential, "step"),
    "two_stage": (_two_stage, "step"),
    "cosine": (_cosine, "step"),
    "cyclic": (_cyclic, "step"),
    "onecycle": (_onecycle, "step"),
    "warmup": (_warmup, "step"),
    "plateau": (_plateau, "epoch"),
}
